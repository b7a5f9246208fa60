"""One network trained with every seed, and the bundle of them all: what stages train and train_view write."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.ensemble import calibrate, load_weights, save_ensemble
from pipeline.forecaster import Forecaster
from pipeline.hparams import NetworkSpec
from pipeline.lineage import describe_data, hash_of
from pipeline.members import train_members
from pipeline.metrics import score
from pipeline.onnx_graph import build_graph
from pipeline.params import Params
from pipeline.scratch import scratch
from pipeline.series import Columns
from pipeline.storage import replacing, sha256_of, write_json
from pipeline.windows import FitSet, Windows
from pipeline.worker import parity_rows, prepare, run_seed, suits

BATCHES = (1, 64)  # windows forecast at once when the bundle's latency is measured
WARM_UP, REPEATS = 3, 30

Record = dict[str, Any]


def train_seeds(
    spec: NetworkSpec, params: Params, fit: FitSet, *, source: Path, out: Path, stage: str, kept_as: str
) -> Record:
    """Trains a network with every seed and writes them, their bundle and how they did into `out`.

    Args:
        spec: the network.
        params: seeds, the rule of training, and what the bundle says of its data.
        fit: what it is trained on.
        source: the folder that `fit` was read from.
        out: the folder to write; what lies there is replaced.
        stage: its name, for messages.
        kept_as: name of the scratch where finished networks are kept; equal networks of one name are trained once.

    Returns:
        The timings, a JSON object: see `timings`, with `inference_ms` of the bundle.

    Raises:
        GatecastError: a network could not be trained, or the bundle does not forecast what Keras does.
    """
    refit = "none" if params.train.refit == "none" else "fit"  # all is what comes after this stage
    rule = params.train.model_dump(mode="json", include={"max_epochs", "patience", "windows_per_epoch"})
    values = {"spec": spec.to_json(), "rule": rule | {"refit": refit}, "threads": params.compute.threads}
    with scratch(kept_as, inputs=[source], values=values) as folder:
        records = train_members(
            stage,
            {seed: (spec, seed, params.train, folder) for seed in params.train.seeds},
            function=run_seed,
            initializer=prepare,
            arguments=(source, params.compute.threads),
            parallel=params.train.parallel,
            folder=folder,
            usable=lambda record: suits(record["kernel"], params.train),
        )
        with replacing(out) as beside:
            beside.mkdir()
            save_model(beside, spec, records, params, fit, source=source, finished=folder)
    return timings(records) | {"inference_ms": latencies(Forecaster.load(out), fit.val)}


def save_model(
    out: Path,
    spec: NetworkSpec,
    records: Sequence[Record],
    params: Params,
    fit: FitSet,
    *,
    source: Path,
    finished: Path,
) -> None:
    """Writes the networks, their learning curves, the validation error and the bundle into `out`."""
    write_curves(out / "curves.csv", records)
    fitted = [load_weights(finished / f"fitted-{record['seed']}.npz") for record in records]
    # What is calibrated and measured on the validation part has not seen it: the networks before the refit.
    calibration, share = None, 0.0
    if params.calibrate.method == "conformal":
        calibration, share = calibrate(spec, fitted, fit.val, fit.loss_scale)
    write_json(
        {
            "seeds": {str(record["seed"]): {key: record[key] for key in ("best_epoch", "alpha")} for record in records},
            "calibration": None if calibration is None else calibration.tolist(),
            "calibration_share": share,
        },
        out / "training.json",
    )
    validated = Forecaster(build_graph(spec, fitted, calibration), spec, {})
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
            "data_sha256": sha256_of(source),
            "params_sha256": hash_of(spec.to_json()),
        },
        inputs=fit.val.inputs(spec, parity_rows(fit.val)),
    )


def validation(forecaster: Forecaster, fit: FitSet, params: Params) -> Record:
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


def write_curves(path: Path, records: Sequence[Record]) -> None:
    """Writes the learning curves of all seeds."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["seed", "epoch", "loss", "val_loss", "learning_rate"])
        for record in records:
            for e in record["epochs"]:
                writer.writerow([record["seed"], e["epoch"], e["loss"], e["val_loss"], e["learning_rate"]])


def timings(records: Sequence[Record]) -> Record:
    """What differs from run to run: wall time, all in all and by seed, and memory.

    Args:
        records: of the seeds, as `worker.run_seed` gives them; one of an earlier version may not tell its memory.

    Returns:
        `seconds` in all, and under `seeds` of each one `seconds`, `refit_seconds`, `seconds_per_epoch` (the median),
        `epochs`, `best_epoch`, and `peak_memory_mib` of the process that trained it (or None), which holds
        TensorFlow and what it trained before, too.
    """
    return {
        "seconds": round(sum(sum(record["seconds"]) + record["refit_seconds"] for record in records), 3),
        "seeds": {
            str(record["seed"]): {
                "seconds": round(sum(record["seconds"]), 3),
                "refit_seconds": round(record["refit_seconds"], 3),
                "seconds_per_epoch": round(statistics.median(record["seconds"]), 4),
                "epochs": len(record["seconds"]),
                "best_epoch": record["best_epoch"],
                "peak_memory_mib": None if (peak := record.get("peak_memory_mib")) is None else round(peak, 1),
            }
            for record in records
        },
    }


def latencies(forecaster: Forecaster, windows: Windows) -> dict[str, list[float]]:
    """Milliseconds that a bundle takes for one call, by number of windows in it, each measured `REPEATS` times.

    Args:
        forecaster: the bundle, loaded from disk.
        windows: what it forecasts; some are taken more than once where there are too few.
    """
    spread = parity_rows(windows)
    return {
        str(size): _milliseconds(forecaster, windows.inputs(forecaster.spec, np.resize(spread, size)))
        for size in BATCHES
    }


def _milliseconds(forecaster: Forecaster, inputs: dict[str, Any]) -> list[float]:
    """Of every call after the first ones, which find nothing in the processor's caches."""
    taken = []
    for _ in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        forecaster.predict_arrays(**inputs)
        taken.append(round(1000 * (time.perf_counter() - start), 4))
    return taken[WARM_UP:]
