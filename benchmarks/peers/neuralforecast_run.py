# mypy: ignore-errors
"""Trains one model of NeuralForecast and forecasts every test window: python neuralforecast_run.py SPEC.JSON

Runs in an environment of its own and knows nothing of this project but the files that `exchange.py` writes and reads.
"""

from __future__ import annotations

import copy
import json
import resource
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytorch_lightning as pl
import torch
from neuralforecast import NeuralForecast, models
from neuralforecast.auto import AutoGRU, AutoLSTM, OptunaOptions
from neuralforecast.losses.pytorch import MQLoss

AUTO = {"LSTM": AutoLSTM, "GRU": AutoGRU}
KEYS = ["unique_id", "cutoff", "ds"]
TRAINER = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
QUICK = {"max_steps": 2, "val_check_steps": 2}
STUDY = "search"
SEARCHED_SEEDS = 20  # the highest of a search, which draws one with the rest


def main() -> None:
    """Fits, forecasts and writes; each is timed apart."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # As TensorFlow does by itself: some processors need ten times as long for numbers below 1e-38, which gradients of
    # an input's first steps are. Before there are other threads, which take it over.
    torch.set_flush_denormal(True)
    torch.set_num_threads(spec["threads"])
    frame = long_frame(spec)
    start = time.perf_counter()
    forecaster, told = fit(spec, frame)
    fitted = time.perf_counter()
    forecast = forecast_all(forecaster, spec, frame)
    predicted = time.perf_counter()
    checked = np.stack([forecast_one(forecaster, spec, frame, place) for place in spec["checked"]])
    out = Path(spec["out"])
    np.savez(out / "forecast.npz", forecast=forecast, checked=checked)
    told = {
        "fit_seconds": fitted - start,
        "predict_seconds": predicted - fitted,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "versions": {name: version(name) for name in ("neuralforecast", "torch", "pytorch-lightning", "optuna")},
        **told,
    }
    (out / "told.json").write_text(json.dumps(told, indent=2, default=str), encoding="utf-8")


def long_frame(spec) -> pd.DataFrame:
    """All series in the format of the library, in the order of the data."""
    with np.load(spec["data"], allow_pickle=False) as data:
        y, times, x = data["y"], pd.DatetimeIndex(data["times"]), data["x"]
    parts = [
        pd.DataFrame({"unique_id": name_of(i), "ds": times, "y": y[i]}).assign(
            **{column: x[i, :, k] for k, column in enumerate(spec["columns"])}
        )
        for i in range(len(y))
    ]
    return pd.concat(parts, ignore_index=True)


def name_of(series: int) -> str:
    """A name that sorts as the number does."""
    return f"{series:04d}"


def first_rows(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
    """The first rows of each series."""
    return frame.groupby("unique_id", sort=False).head(rows).reset_index(drop=True)


def fit(spec, frame):
    """Trains, after a search where the specification has one.

    Returns:
        The library's forecaster, and what is to be told of it.
    """
    if spec["search"] is None:
        return train(spec, frame, spec["arguments"] | {"random_seed": spec["seed"]})
    if unfinished(stored_study(spec), spec) > 0 or spec["seed"] == 1:
        found = search(spec, frame)  # and what the library makes of it
        if spec["seed"] == 1:
            return found
    return refit(spec, frame, stored_study(spec))


def train(spec, frame, arguments):
    """Trains one model; where the best weights are kept, on the rows before those that they are chosen by."""
    arguments = {"h": spec["horizon"], "loss": MQLoss(quantiles=spec["quantiles"]), **arguments}
    if spec["covariates"]:
        arguments["futr_exog_list"] = spec["columns"]
    if spec["max_seconds"] is not None:
        arguments["max_time"] = {"seconds": spec["max_seconds"]}
    if spec["quick"]:
        arguments |= QUICK
    callbacks = [Steps(), Best()] if spec["keep_best"] else [Steps()]
    model = getattr(models, spec["model"])(**arguments, **TRAINER, callbacks=callbacks)
    forecaster = NeuralForecast([model], freq=spec["freq"])
    rows = spec["train_rows"] + spec["val_rows"] if spec["keep_best"] else spec["fit_rows"]
    forecaster.fit(first_rows(frame, rows), val_size=spec["val_rows"] if spec["keep_best"] else 0)
    if Best.weights is not None:
        forecaster.models[0].load_state_dict(Best.weights)
    return forecaster, {"steps": Steps.taken, "input_size": model.input_size, "parameters": count(forecaster)}


def search(spec, frame):
    """Searches until as many trials as are wanted have ended well, and trains the best as the library does."""
    study, wanted = stored_study(spec), spec["search"]["trials"]
    repeat_interrupted(study)
    missing, ended = unfinished(study, spec), {trial.number for trial in study.trials if trial.duration}
    ends = optuna.study.MaxTrialsCallback(wanted, states=(optuna.trial.TrialState.COMPLETE,))
    auto = AUTO[spec["model"]](
        h=spec["horizon"],
        loss=MQLoss(quantiles=spec["quantiles"]),
        config=search_space(spec),
        search_alg=optuna.samplers.TPESampler(seed=spec["seed"] + len(study.trials)),
        num_samples=missing + wanted if missing > 0 else 0,  # as many may fail
        refit_with_val=spec["fit_rows"] == spec["train_rows"],
        backend="optuna",
        optuna_options=OptunaOptions(
            # A trial that diverges raises a bare Exception.
            study_kwargs={"catch": (Exception,), "callbacks": [ends]},
            create_study_kwargs={"storage": storage_of(spec), "study_name": STUDY, "load_if_exists": True},
        ),
    )
    forecaster = NeuralForecast([auto], freq=spec["freq"])
    start = time.perf_counter()
    forecaster.fit(first_rows(frame, spec["train_rows"] + spec["val_rows"]), val_size=spec["val_rows"])
    seconds = time.perf_counter() - start
    study = stored_study(spec)
    if (missing := unfinished(study, spec)) > 0:
        sys.exit(f"{missing} of {wanted} trials are missing: too many have failed")
    new = [trial for trial in study.trials if trial.duration and trial.number not in ended]
    here = sum(trial.duration.total_seconds() for trial in new)
    return forecaster, {**told_of(study), "fit_seconds": seconds - here, "parameters": count(forecaster)}


def repeat_interrupted(study):
    """Puts trials that an earlier run was stopped in first in the queue: the longest ones are stopped most often."""
    repeated = {trial.user_attrs.get("repeats") for trial in study.trials}
    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.RUNNING and trial.number not in repeated:
            study.enqueue_trial(trial.params, user_attrs={"repeats": trial.number})


def refit(spec, frame, study):
    """Trains the best of a finished search with another seed, which the search cannot have drawn itself."""
    best = study.best_trial.user_attrs["ALL_PARAMS"]
    kept = {name: value for name, value in best.items() if name not in (*TRAINER, "futr_exog_list", "h")}
    start = time.perf_counter()
    kept["random_seed"] = SEARCHED_SEEDS + spec["seed"]
    forecaster, told = train({**spec, "max_seconds": None}, frame, kept)
    return forecaster, told_of(study) | told | {"fit_seconds": time.perf_counter() - start}  # without the search


def told_of(study):
    """What a search is remembered by; the time of trials that failed is part of it."""
    ended = [trial for trial in study.trials if trial.duration]
    done = [trial for trial in ended if trial.state == optuna.trial.TrialState.COMPLETE]
    best = study.best_trial.user_attrs["ALL_PARAMS"]
    return {
        "search_seconds": sum(trial.duration.total_seconds() for trial in ended),
        "trials": len(done),
        "trials_failed": len(ended) - len(done),
        "best": {name: best[name] for name in sorted(study.best_trial.params)},
        "steps": best["max_steps"],
        "input_size": best["input_size"] if best["input_size"] > 0 else 3 * best["h"],
    }


def search_space(spec):
    """The library's own search space, with the covariates; where the specification says so with few input sizes."""
    default = AUTO[spec["model"]].get_default_config(h=spec["horizon"], backend="optuna")
    allowed = spec["search"]["input_sizes"]

    def config(trial):
        chosen = default(trial if allowed is None else Narrowed(trial, allowed)) | TRAINER
        if spec["covariates"]:
            chosen["futr_exog_list"] = list(spec["columns"])
        # By default also after every 100 steps, a quarter of a trial's time; but nothing stops it, so no one asks.
        chosen["val_check_steps"] = chosen["max_steps"]
        return chosen | QUICK if spec["quick"] else chosen

    return config


class Narrowed:
    """A trial that proposes some input sizes alone."""

    def __init__(self, trial, allowed):
        self._trial, self._allowed = trial, allowed

    def __getattr__(self, name):
        return getattr(self._trial, name)

    def suggest_categorical(self, name, choices):
        """A choice, of the allowed ones for the input size."""
        return self._trial.suggest_categorical(name, self._allowed if name == "input_size" else choices)


def stored_study(spec):
    """The search as far as it is on the disk."""
    return optuna.create_study(storage=storage_of(spec), study_name=STUDY, direction="minimize", load_if_exists=True)


def storage_of(spec) -> str:
    """Where the search is kept."""
    return f"sqlite:///{spec['search']['storage']}"


def unfinished(study, spec) -> int:
    """Trials that are still to be made."""
    done = sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials)
    return spec["search"]["trials"] - done


class Steps(pl.Callback):
    """Counts the steps of training; the library copies its models, so the class does it."""

    taken = 0

    def on_train_end(self, trainer, pl_module):  # noqa: ARG002
        """Takes the number of steps down."""
        Steps.taken = trainer.global_step


class Best(pl.Callback):
    """Keeps the weights of the lowest validation loss, which the library by itself does not."""

    loss, weights = float("inf"), None

    def on_validation_end(self, trainer, pl_module):
        """Takes the weights down where they are better than all before."""
        if trainer.sanity_checking:
            return
        loss = float(trainer.callback_metrics["ptl/val_loss"])
        if loss < Best.loss:
            Best.loss, Best.weights = loss, copy.deepcopy(pl_module.state_dict())


def count(forecaster) -> int:
    """Parameters of the network."""
    model = forecaster.models[0]
    return sum(weights.numel() for weights in getattr(model, "model", model).parameters())


def forecast_all(forecaster, spec, frame):
    """Forecasts [S, W, H, Q] of every window: the library's cross-validation of a fitted model, one call."""
    table = forecaster.cross_validation(
        frame,
        n_windows=None,
        test_size=spec["windows"] + spec["horizon"] - 1,
        step_size=1,
        use_fitted=True,
    ).sort_values(KEYS)
    shape = (frame["unique_id"].nunique(), spec["windows"], spec["horizon"], len(spec["quantiles"]))
    return table[quantile_columns(table)].to_numpy(np.float32).reshape(shape)


def forecast_one(forecaster, spec, frame, place):
    """The forecast [H, Q] of one window by the library's `predict`, which sees no target after the cutoff."""
    series, window = place
    own = frame[frame["unique_id"] == name_of(series)].reset_index(drop=True)
    first = len(own) - spec["horizon"] - spec["windows"] + 1 + window
    future = own.iloc[first : first + spec["horizon"]].drop(columns="y")
    table = forecaster.predict(df=own.iloc[:first], futr_df=future if spec["covariates"] else None)
    return table[quantile_columns(table)].to_numpy(np.float32)


def quantile_columns(table):
    """The columns of the forecast, in the order of the quantiles."""
    return [column for column in table.columns if column not in {*KEYS, "y"}]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
