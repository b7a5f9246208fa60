# mypy: ignore-errors
"""Trains one model of Darts and forecasts every test window: python darts_run.py SPEC.JSON

Runs in an environment of its own and knows nothing of this project but the files that `exchange.py` writes and reads.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries, models
from darts.dataprocessing.transformers import Scaler
from darts.utils.likelihood_models import QuantileRegression
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import EarlyStopping

TRAINER = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
QUICK = {"limit_train_batches": 2, "limit_val_batches": 1, "max_epochs": 1}
ENDLESS = 10**6  # epochs, where the clock stops training
BATCH = 1024  # windows forecast at once
TRIED = 24  # steps for each number of threads that is tried, twice
WARM_UP = 4  # of them are not timed


def main() -> None:
    """Fits, forecasts and writes; each is timed apart."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # As TensorFlow does by itself: some processors need ten times as long for numbers below 1e-38, which gradients of
    # an input's first steps are. Before there are other threads, which take it over.
    torch.set_flush_denormal(True)
    series, covariates = read_series(spec)
    threads = faster(spec, series, covariates)
    torch.set_num_threads(threads)
    start = time.perf_counter()
    scaler = Scaler().fit([one[: rows_of(spec)] for one in series])
    scaled, beside = scaler.transform(series), scaled_covariates(spec, covariates)
    model = fit(spec, scaled, beside)
    fitted = time.perf_counter()
    forecast = unscale(scaler, forecast_all(model, spec, scaled, beside), range(len(series)))
    predicted = time.perf_counter()
    checked = np.stack([forecast_one(model, spec, scaled, beside, place) for place in spec["checked"]])
    checked = unscale(scaler, checked[:, None], [series for series, _ in spec["checked"]])[:, 0]
    out = Path(spec["out"])
    np.savez(out / "forecast.npz", forecast=forecast, checked=checked)
    told = {
        "fit_seconds": fitted - start,
        "predict_seconds": predicted - fitted,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "versions": {name: version(name) for name in ("darts", "torch", "pytorch-lightning")},
        "threads_used": threads,
        "steps": Steps.taken,
        "input_size": spec["arguments"]["input_chunk_length"],
        "parameters": sum(weights.numel() for weights in model.model.parameters()),
    }
    (out / "told.json").write_text(json.dumps(told, indent=2), encoding="utf-8")


def read_series(spec):
    """The series, and the covariates of each; none where there are no columns."""
    with np.load(spec["data"], allow_pickle=False) as data:
        y, times, x = data["y"], pd.DatetimeIndex(data["times"]), data["x"]
    series = [series_of(times, values[:, None], ["y"], spec) for values in y]
    if spec["covariates"] is None:
        return series, None
    return series, [series_of(times, values, spec["columns"], spec) for values in x]


def series_of(times, values, columns, spec):
    """A series of the library."""
    return TimeSeries.from_times_and_values(times, values.astype(np.float32), columns=columns, freq=spec["freq"])


def scaled_covariates(spec, covariates):
    """The covariates as the library's scaler makes them, by the name that its methods take them under."""
    if covariates is None:
        return {}
    scaler = Scaler().fit([one[: rows_of(spec)] for one in covariates])
    return {spec["covariates"]: scaler.transform(covariates)}


def faster(spec, series, covariates):
    """The number of threads that a few steps take less time with: one, or all that there are."""
    choices = sorted({1, spec["threads"]})
    if len(choices) == 1:
        return choices[0]
    scaled = Scaler().fit_transform(series)
    beside = scaled_covariates(spec, covariates)
    seconds = {threads: [] for threads in choices}
    for threads in choices * 2:  # in turn, so that a busy moment does not fall on one of them alone
        torch.set_num_threads(threads)
        clock = Clock()
        trainer = TRAINER | {"callbacks": [clock], "limit_train_batches": TRIED, "max_epochs": 1}
        model = build(spec, spec["arguments"], trainer)
        model.fit([one[: rows_of(spec)] for one in scaled], **beside)
        seconds[threads].append(clock.step_seconds())
    return min(choices, key=lambda threads: min(seconds[threads]))


def build(spec, arguments, trainer):
    """A model that is not trained yet."""
    arguments = dict(arguments)
    if spec["likelihood"] is not None:
        own = spec["quantiles"] if spec["likelihood"] == "quantiles" else None
        arguments["likelihood"] = QuantileRegression(own)
    return getattr(models, spec["model"])(**arguments, random_state=spec["seed"], pl_trainer_kwargs=trainer)


def fit(spec, scaled, beside):
    """Trains one model, and keeps the weights of its lowest validation loss where it has a validation part."""
    trainer, arguments = TRAINER | {"callbacks": [Steps()]}, dict(spec["arguments"])
    if spec["early_stopping"] is not None:
        trainer["callbacks"].append(EarlyStopping(monitor="val_loss", mode="min", **spec["early_stopping"]))
    if spec["keep_best"]:
        arguments |= {"save_checkpoints": True, "force_reset": True, "work_dir": spec["out"], "model_name": "model"}
    if spec["max_seconds"] is not None:
        trainer["max_time"] = {"seconds": spec["max_seconds"]}
        arguments["n_epochs"] = ENDLESS
    model = build(spec, arguments, trainer | (QUICK if spec["quick"] else {}))
    rows, validation = rows_of(spec), {}
    if spec["keep_best"]:
        first = rows - arguments["input_chunk_length"]
        validation["val_series"] = [one[first : rows + spec["val_rows"]] for one in scaled]
        validation |= {f"val_{name}": value for name, value in beside.items()}
    model.fit([one[:rows] for one in scaled], **beside, **validation, load_best=spec["keep_best"])
    return model


def rows_of(spec):
    """Rows of training: without the validation part where the best weights are chosen by it."""
    return spec["train_rows"] if spec["keep_best"] else spec["fit_rows"]


class Steps(Callback):
    """Counts the steps of training."""

    taken = 0

    def on_train_end(self, trainer, pl_module):  # noqa: ARG002
        """Takes the number of steps down."""
        Steps.taken = trainer.global_step


class Clock(Callback):
    """Takes the time of each step."""

    def __init__(self):
        self.started, self.seconds = 0.0, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):  # noqa: ARG002
        """A step begins."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002
        """A step ends."""
        self.seconds.append(time.perf_counter() - self.started)

    def step_seconds(self):
        """Of the steps after the first ones, the median."""
        return float(np.median(self.seconds[WARM_UP:] or self.seconds))


def how(spec):
    """What is asked of a forecast: quantiles themselves, or samples, or points."""
    if spec["samples"] is not None:
        return {"num_samples": spec["samples"]}
    return {"predict_likelihood_parameters": spec["likelihood"] is not None}


def forecast_all(model, spec, scaled, beside):
    """Forecasts [S, W, H, Q] of every window: the library's historical forecasts, one call for each series."""
    return np.stack(
        [
            np.stack(
                [
                    quantiles_of(one, spec)
                    for one in model.historical_forecasts(
                        series,
                        **{name: value[i] for name, value in beside.items()},
                        start=len(series) - spec["horizon"] - spec["windows"] + 1,
                        start_format="position",
                        forecast_horizon=spec["horizon"],
                        stride=1,
                        retrain=False,
                        overlap_end=False,
                        last_points_only=False,
                        show_warnings=False,
                        predict_kwargs={"batch_size": BATCH},
                        **how(spec),
                    )
                ]
            )
            for i, series in enumerate(scaled)
        ]
    )


def forecast_one(model, spec, scaled, beside, place):
    """The forecast [H, Q] of one window by the library's `predict`, which sees no target after the cutoff."""
    series, window = place
    first = len(scaled[series]) - spec["horizon"] - spec["windows"] + 1 + window
    known = first if spec["covariates"] == "past_covariates" else first + spec["horizon"]
    return quantiles_of(
        model.predict(
            spec["horizon"],
            series=scaled[series][:first],
            **{name: value[series][:known] for name, value in beside.items()},
            show_warnings=False,
            **how(spec),
        ),
        spec,
    )


def quantiles_of(forecast, spec):
    """The quantiles [H, Q] of a forecast; of a point forecast itself [H, 1]."""
    if spec["samples"] is not None:
        return np.quantile(forecast.all_values()[:, 0], spec["quantiles"], axis=-1).T.astype(np.float32)
    return forecast.values().astype(np.float32)


def unscale(scaler, forecast, series):
    """Forecasts [N, W, H, Q] of N series in units of the data; the scaler is a line, known by where 0 and 1 go."""
    line = TimeSeries.from_values(np.array([[0.0], [1.0]]), columns=["y"])
    ends = [one.values()[:, 0] for one in scaler.inverse_transform([line] * (1 + max(series)))]
    low, high = (np.array([ends[i][end] for i in series])[:, None, None, None] for end in (0, 1))
    return (low + forecast * (high - low)).astype(np.float32)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
