"""Stage final@{cell}: with `train.refit: all`, the networks trained once more on all data -> models/final/{cell}/.

They are for serving alone: no part of the data is left to evaluate them on, and the bundle says so.
"""

from pathlib import Path

import numpy as np

from pipeline.bundle import DESCRIPTION
from pipeline.ensemble import save_ensemble
from pipeline.forecaster import Forecaster
from pipeline.lineage import describe_data
from pipeline.members import train_members
from pipeline.params import load_params
from pipeline.scratch import scratch
from pipeline.stages import run_stage
from pipeline.storage import read_json, replacing, sha256_of, write_json
from pipeline.windows import load_everything, load_test
from pipeline.worker import parity_rows, prepare_final, run_final, suits

FIT, TEST = Path("data/windows/fit"), Path("data/windows/test")


def main(cell: str) -> None:
    params = load_params()
    out = Path(f"models/final/{cell}")
    if params.train.refit != "all":
        with replacing(out) as beside:
            beside.mkdir()
            write_json({"made": False, "why": f"train.refit is {params.train.refit}"}, beside / "not-made.json")
        return
    trained = Path(f"models/trained/{cell}")
    evaluated, training = Forecaster.load(trained), read_json(trained / "training.json")
    spec, test = evaluated.spec, load_test(TEST)
    windows, _ = load_everything(TEST, params.window)
    rule = params.train.model_dump(mode="json", include={"max_epochs", "windows_per_epoch"})
    values = {"spec": spec.to_json(), "rule": rule, "seeds": training["seeds"], "threads": params.compute.threads}
    values["window"] = params.window.model_dump()
    with scratch(f"final-{cell}", inputs=[FIT, TEST], values=values) as folder:
        records = train_members(
            f"final@{cell}",
            {int(seed): (spec, int(seed), found, params.train, folder) for seed, found in training["seeds"].items()},
            function=run_final,
            initializer=prepare_final,
            arguments=(FIT, params.compute.threads, TEST, params.window),
            parallel=params.train.parallel,
            folder=folder,
            usable=lambda record: suits(record["kernel"], params.train),
        )
        calibration = training["calibration"]
        with replacing(out) as beside:
            beside.mkdir()
            save_ensemble(
                beside,
                spec,
                [int(seed) for seed in training["seeds"]],
                finished=folder,
                calibration=None if calibration is None else np.array(calibration),
                meta={
                    **{key: evaluated.meta[key] for key in ("freq", "columns", "repair", "season_length")},
                    "kernel": records[0]["kernel"],
                    "evaluated": False,
                    **describe_data(windows, test.ids, test.meta),
                    "data_sha256": sha256_of(TEST),
                    "params_sha256": evaluated.meta["params_sha256"],
                    "trained_sha256": sha256_of(trained / DESCRIPTION),
                },
                inputs=windows.inputs(spec, parity_rows(windows)),
            )


if __name__ == "__main__":
    run_stage(main)
