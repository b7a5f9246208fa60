"""Stage train@{cell}: the tuned network, once per seed, and the bundle of them all -> models/trained/{cell}/."""

import csv
import hashlib
import json
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bundle import save_bundle
from pipeline.ensemble import calibrate, load_weights, parity_error
from pipeline.errors import GatecastError
from pipeline.executor import workers
from pipeline.forecaster import Forecaster
from pipeline.hparams import Hparams, NetworkSpec
from pipeline.metrics import score
from pipeline.onnx_graph import build_graph
from pipeline.params import Params, load_params
from pipeline.progress import Progress
from pipeline.scratch import scratch
from pipeline.series import Columns
from pipeline.stages import run_stage
from pipeline.storage import read_json, replacing, sha256_of, write_json
from pipeline.windows import FitSet, load_fit, split_missing
from pipeline.worker import parity_rows, prepare, run_seed

FIT = Path("data/windows/fit")


def main() -> None:
    params, cell = load_params(), sys.argv[1]
    fit = load_fit(FIT)
    hparams = Hparams(**read_json(Path(f"models/tuned/{cell}.json"))["best"]["hparams"])
    spec = NetworkSpec(cell, fit.train.context_length, fit.train.horizon, params.quantiles, hparams)
    rule = params.train.model_dump(mode="json", include={"max_epochs", "patience", "windows_per_epoch"})
    values = {"spec": spec.to_json(), "rule": rule, "threads": params.compute.threads}
    with scratch(f"train-{cell}", inputs=[FIT], values=values) as folder:
        records = train_seeds(spec, params, folder)
        with replacing(Path(f"models/trained/{cell}")) as out:
            out.mkdir()
            save_model(out, spec, records, params, fit, finished=folder)
        write_json(timings(records), Path(f"models/timings/train-{cell}.json"))


def train_seeds(spec: NetworkSpec, params: Params, folder: Path) -> list[dict[str, Any]]:
    """Trains every seed that `folder` does not hold finished, and gives all their records in the order of params."""
    seeds = params.train.seeds
    records = {s: read_json(path) for s in seeds if (path := folder / f"seed-{s}.json").exists()}
    missing = [s for s in seeds if s not in records]
    progress = Progress(f"train@{spec.cell}", "seed", total=len(seeds), done=len(records))
    if missing:
        with workers(params.train.parallel, initializer=prepare, arguments=(FIT, params.compute.threads)) as pool:
            for i, result in pool.map(run_seed, [(spec, s, params.train, folder) for s in missing]):
                if isinstance(result, GatecastError):
                    raise result
                if isinstance(result, Exception):
                    raise GatecastError(f"train@{spec.cell}: seed {missing[i]} failed: {result}") from result
                records[missing[i]] = result
                progress.step(str(missing[i]), score=result["val_loss"], note=f"{len(result['epochs'])} epochs")
    return [records[s] for s in seeds]


def save_model(
    out: Path, spec: NetworkSpec, records: Sequence[dict[str, Any]], params: Params, fit: FitSet, *, finished: Path
) -> None:
    """Writes the networks, their learning curves, the validation error and the bundle into `out`."""
    for record in records:
        shutil.copyfile(finished / f"seed-{record['seed']}.keras", out / f"seed-{record['seed']}.keras")
    write_curves(out / "curves.csv", records)
    members = [load_weights(finished / f"seed-{record['seed']}.npz") for record in records]
    calibration = calibrate(spec, members, fit.val) if params.calibrate.method == "conformal" else None
    observed = fit.train.values[np.isfinite(fit.train.values)]
    meta = {
        "freq": params.data.freq,
        "columns": Columns.from_params(params.data).to_json(),
        "repair": params.data.repair.model_dump(),
        "season_length": params.evaluate.season_length,
        "seeds": [record["seed"] for record in records],
        "kernel": records[0]["kernel"],
        "ids": fit.ids,
        "training_range": fit.meta["range"],
        "value_range": dict(
            zip(("min", "p01", "p99", "max"), np.quantile(observed, [0, 0.01, 0.99, 1]).tolist(), strict=True)
        ),
        "data_sha256": sha256_of(FIT),
        "params_sha256": hashlib.sha256(json.dumps(spec.to_json(), sort_keys=True).encode()).hexdigest(),
    }
    contexts = fit.val.contexts(parity_rows(fit.val))
    keras_forecasts = np.stack([np.load(finished / f"seed-{record['seed']}.npy") for record in records])
    served = Forecaster.from_graph(build_graph(spec, members, calibration), spec, meta)
    parity_error(served, keras_forecasts, contexts)
    write_json(validation(served, fit, params), out / "validation.json")
    save_bundle(out, spec=spec, members=members, calibration=calibration, meta=meta)


def validation(forecaster: Forecaster, fit: FitSet, params: Params) -> dict[str, Any]:
    """The ensemble's error on the validation part."""
    forecast = forecaster.predict_arrays(*split_missing(fit.val.contexts()))["forecast"]
    scores = score(
        fit.val,
        forecast,
        quantiles=params.quantiles,
        ids=fit.ids,
        history=fit.history,
        season_length=params.evaluate.season_length,
    )
    return scores.to_json()


def write_curves(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Writes the learning curves of all seeds."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["seed", "epoch", "loss", "val_loss", "learning_rate"])
        for record in records:
            for e in record["epochs"]:
                writer.writerow([record["seed"], e["epoch"], e["loss"], e["val_loss"], e["learning_rate"]])


def timings(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Wall time by seed; the only file of this stage that differs from run to run."""
    return {
        "seconds": round(sum(sum(record["seconds"]) for record in records), 3),
        "seeds": {
            str(record["seed"]): {
                "seconds": round(sum(record["seconds"]), 3),
                "seconds_per_epoch": round(statistics.median(record["seconds"]), 4),
                "epochs": len(record["seconds"]),
            }
            for record in records
        },
    }


if __name__ == "__main__":
    run_stage(main)
