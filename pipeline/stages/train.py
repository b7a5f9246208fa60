"""Stage train@{cell}: the tuned network, once per seed, and the bundle of them all -> models/trained/{cell}/."""

import csv
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.ensemble import calibrate, load_weights, save_ensemble
from pipeline.forecaster import Forecaster
from pipeline.hparams import Hparams, NetworkSpec
from pipeline.lineage import describe_data, hash_of
from pipeline.members import train_members
from pipeline.metrics import score
from pipeline.onnx_graph import build_graph
from pipeline.params import Params, load_params
from pipeline.scratch import scratch
from pipeline.series import Columns
from pipeline.stages import run_stage
from pipeline.storage import read_json, replacing, sha256_of, write_json
from pipeline.windows import FitSet, load_fit
from pipeline.worker import parity_rows, prepare, run_seed

FIT = Path("data/windows/fit")


def main() -> None:
    params, cell = load_params(), sys.argv[1]
    fit = load_fit(FIT)
    spec = fit.spec(cell, params.quantiles, Hparams(**read_json(Path(f"models/tuned/{cell}.json"))["best"]["hparams"]))
    refit = "none" if params.train.refit == "none" else "fit"  # all is what comes after this stage
    rule = params.train.model_dump(mode="json", include={"max_epochs", "patience", "windows_per_epoch"})
    values = {"spec": spec.to_json(), "rule": rule | {"refit": refit}, "threads": params.compute.threads}
    with scratch(f"train-{cell}", inputs=[FIT], values=values) as folder:
        records = train_members(
            f"train@{cell}",
            {seed: (spec, seed, params.train, folder) for seed in params.train.seeds},
            function=run_seed,
            initializer=prepare,
            arguments=(FIT, params.compute.threads),
            parallel=params.train.parallel,
            folder=folder,
        )
        with replacing(Path(f"models/trained/{cell}")) as out:
            out.mkdir()
            save_model(out, spec, records, params, fit, finished=folder)
        write_json(timings(records), Path(f"models/timings/train-{cell}.json"))


def save_model(
    out: Path, spec: NetworkSpec, records: Sequence[dict[str, Any]], params: Params, fit: FitSet, *, finished: Path
) -> None:
    """Writes the networks, their learning curves, the validation error and the bundle into `out`."""
    write_curves(out / "curves.csv", records)
    fitted = [load_weights(finished / f"fitted-{record['seed']}.npz") for record in records]
    # What is calibrated and measured on the validation part has not seen it: the networks before the refit.
    calibration = calibrate(spec, fitted, fit.val) if params.calibrate.method == "conformal" else None
    write_json(
        {
            "seeds": {str(record["seed"]): {key: record[key] for key in ("best_epoch", "alpha")} for record in records},
            "calibration": None if calibration is None else calibration.tolist(),
        },
        out / "training.json",
    )
    validated = Forecaster.from_graph(build_graph(spec, fitted, calibration), spec, {})
    write_json(validation(validated, fit, params), out / "validation.json")
    save_ensemble(
        out,
        spec,
        params.train.seeds,
        finished=finished,
        calibration=calibration,
        meta={
            "evaluated": True,
            "freq": params.data.freq,
            "columns": Columns.from_params(params.data).to_json(),
            "repair": params.data.repair.model_dump(),
            "season_length": params.evaluate.season_length,
            "kernel": records[0]["kernel"],
            **describe_data(fit.refit if params.train.refit != "none" else fit.train, fit.ids, fit.meta),
            "data_sha256": sha256_of(FIT),
            "params_sha256": hash_of(spec.to_json()),
        },
        inputs=fit.val.inputs(spec, parity_rows(fit.val)),
    )


def validation(forecaster: Forecaster, fit: FitSet, params: Params) -> dict[str, Any]:
    """The ensemble's error on the validation part."""
    scores = score(
        fit.val,
        forecaster.predict_windows(fit.val)["forecast"],
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
        "seconds": round(sum(sum(record["seconds"]) + record["refit_seconds"] for record in records), 3),
        "seeds": {
            str(record["seed"]): {
                "seconds": round(sum(record["seconds"]), 3),
                "refit_seconds": round(record["refit_seconds"], 3),
                "seconds_per_epoch": round(statistics.median(record["seconds"]), 4),
                "epochs": len(record["seconds"]),
            }
            for record in records
        },
    }


if __name__ == "__main__":
    run_stage(main)
