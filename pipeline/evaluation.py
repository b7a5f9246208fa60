"""The error of a served forecaster on the test part: of the ensemble, and of every network in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pipeline.intervals import forecast_columns
from pipeline.losses import Losses, average_horizons, measure_losses, save_losses, user_times
from pipeline.metrics import Scores, rounded, score, to_csv
from pipeline.storage import replacing, write_json
from pipeline.windows import Floats, TestSet, Windows

_OUTPUTS, _COPY = ("forecast", "uncalibrated", "members"), "copy_weights"
UNCALIBRATED = ("scaled_crps", "coverage_80", "width_80")


class ArrayForecaster(Protocol):
    """What is evaluated: a forecaster of windows, as a bundle gives it."""

    @property
    def cell(self) -> str:
        """Name of the recurrent cell."""

    @property
    def quantiles(self) -> Sequence[float]:
        """[Q] ascending, symmetric around 0.5."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """Of it, `seeds`: [K] of the networks in the ensemble."""

    @property
    def outputs(self) -> Sequence[str]:
        """What it gives: `forecast`, `uncalibrated`, `members`, and with a copy head `copy_weights`."""

    def predict_windows(self, windows: Windows, *, outputs: Sequence[str]) -> dict[str, Floats]:
        """Of all windows `forecast` and `uncalibrated` [N, H, Q], `members` [K, N, H, Q], `copy_weights` [N, F, S]."""


@dataclass(frozen=True)
class Evaluation:
    """How good a forecast of the test part is.

    Attributes:
        metrics: by name of the forecaster its errors, a flat JSON object; of a cell those of the ensemble, and under
            `per_seed` a list with those of each network alone (not calibrated) and its `seed`.
        details: a JSON object of what the errors rest on.
        forecasts: one row per window and step: `unique_id, ds, cutoff, y` and a column per model and quantile.
        steps: one row per forecast and step of the horizon, with its errors; mean over series.
        series: one row per forecast and series, with its errors over all cutoffs and steps.
        losses: one row per forecast and window: `forecast`, then as `Losses.windows`.
        horizon: one row per cutoff and step, as `Losses.horizon`: of a cell the mean over its single networks; of the
            baselines each after the other, told apart by a first column `forecast`.
        copies: with a copy head one row per future and past segment, both counted from the cutoff: `future_segment`,
            `past_segment` and the mean `weight` of the past one in the copy that the future one starts from; without
            rows for other heads, None for a baseline.
    """

    metrics: dict[str, Any]
    details: dict[str, Any]
    forecasts: pd.DataFrame
    steps: pd.DataFrame
    series: pd.DataFrame
    losses: pd.DataFrame
    horizon: pd.DataFrame
    copies: pd.DataFrame | None = None


def evaluate_forecaster(forecaster: ArrayForecaster, test: TestSet, *, season_length: int) -> Evaluation:
    """Evaluates what is served.

    Args:
        forecaster: the served bundle.
        test: the test part.
        season_length: of the seasonal naive forecast that scales MASE and RMSSE, in steps.

    Returns:
        The metrics of the cell, and what they are made of. Of the details `seeds_mean` and `seeds_sd` (sample standard
        deviation, null of a single seed) are over single networks, `uncalibrated` is of the ensemble's intervals before
        calibration. `steps` and `losses` have the ensemble and every seed, `series` the ensemble.

    Raises:
        GatecastError: the forecaster's lengths are not those of the windows, or it forecasts a value that is not
            finite.
    """
    outputs = [name for name in (*_OUTPUTS, _COPY) if name in forecaster.outputs]
    predicted = forecaster.predict_windows(test.windows, outputs=outputs)

    def scores_of(forecast: Floats) -> Scores:
        return score_test(test, forecast, quantiles=forecaster.quantiles, season_length=season_length)

    def losses_of(forecast: Floats) -> Losses:
        return measure_losses(test, forecast, quantiles=forecaster.quantiles, season_length=season_length)

    seeds = [str(seed) for seed in forecaster.meta["seeds"]]
    forecasts = {"ensemble": predicted["forecast"], **dict(zip(seeds, predicted["members"], strict=True))}
    scores = {name: scores_of(forecast) for name, forecast in forecasts.items()}
    losses = {name: losses_of(forecast) for name, forecast in forecasts.items()}
    uncalibrated = scores_of(predicted["uncalibrated"]).overall
    table = pd.DataFrame([scores[seed].overall for seed in seeds])
    # A list, as DVC shows no figures of lists: `dvc metrics show` compares what is served.
    per_seed = [{"seed": int(seed), **scores[seed].overall} for seed in seeds]
    details = {
        "seeds_mean": table.mean().to_dict(),
        "seeds_sd": table.std(ddof=1).to_dict(),  # null of a single network, whose spread is not known
        "uncalibrated": {name: uncalibrated[name] for name in UNCALIBRATED if name in uncalibrated},
        "series_without_scale": scores["ensemble"].series_without_scale,
        **count_windows(test),
    }
    return Evaluation(
        metrics={forecaster.cell: rounded({**scores["ensemble"].overall, "per_seed": per_seed})},
        details=rounded(details),
        forecasts=forecast_frame(test, {forecaster.cell: predicted["forecast"]}, quantiles=forecaster.quantiles),
        steps=stack({name: found.per_step for name, found in scores.items()}),
        series=stack({"ensemble": scores["ensemble"].per_series}),
        losses=stack({name: found.windows for name, found in losses.items()}),
        horizon=average_horizons([losses[seed].horizon for seed in seeds]),
        copies=copy_table(predicted.get(_COPY, np.zeros((1, 0, 0))).mean(axis=0)),
    )


def copy_table(weights: Floats) -> pd.DataFrame:
    """The weights of a copy head [F, S] as a table: see `Evaluation.copies`."""
    future, past = (places.ravel() for places in np.indices(weights.shape))
    columns = {"future_segment": future + 1, "past_segment": weights.shape[1] - past, "weight": weights.ravel()}
    return pd.DataFrame(columns)


def score_test(test: TestSet, forecast: Floats, *, quantiles: Sequence[float], season_length: int) -> Scores:
    """The errors of a forecast [N, H, Q] of the test windows."""
    return score(
        test.windows,
        forecast,
        quantiles=quantiles,
        ids=test.ids,
        history=test.history,
        season_length=season_length,
    )


def count_windows(test: TestSet) -> dict[str, int]:
    """How many series and windows an evaluation rests on, and cutoffs that follow each other: the most of one series.

    Series that end at different times have no cutoff in common, so different moments would count the series again.
    """
    by_series = np.bincount(test.windows.series)
    return {
        "n_series": int(np.count_nonzero(by_series)),
        "n_cutoffs": int(by_series.max(initial=0)),
        "n_windows": len(test.windows),
    }


def forecast_frame(test: TestSet, forecasts: Mapping[str, Floats], *, quantiles: Sequence[float]) -> pd.DataFrame:
    """Forecasts as Nixtla's tools read them.

    Args:
        test: the windows forecast.
        forecasts: for each model its forecast [N, H, Q], in units of y.
        quantiles: [Q] ascending, symmetric around 0.5.

    Returns:
        One row per window and step, in the order of the windows: `unique_id, ds, cutoff, y`, and for each model
        `<model>` (the median) and `<model>-lo-95, ..., <model>-hi-95`; `ds` and `cutoff` in the user's time, as
        `gatecast forecast` has them.
    """
    windows = test.windows
    steps = windows.positions[:, None] + np.arange(windows.horizon)
    series = np.repeat(windows.series, windows.horizon)
    columns: dict[str, Any] = {
        "unique_id": pd.Index(test.ids, dtype="str").take(series),
        "ds": user_times(test, test.ds[steps].ravel()),
        "cutoff": user_times(test, np.repeat(test.ds[windows.positions - 1], windows.horizon)),
        "y": windows.values[steps].ravel(),
    }
    for model, forecast in forecasts.items():
        columns |= {name: forecast[:, :, place].ravel() for name, place in forecast_columns(model, quantiles)}
    return pd.DataFrame(columns)


def stack(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of several forecasts as one, told apart by a first column `forecast`."""
    return pd.concat([table.assign(forecast=name) for name, table in tables.items()])[
        ["forecast", *next(iter(tables.values())).columns]
    ].reset_index(drop=True)


def save_evaluation(evaluation: Evaluation, folder: Path, *, name: str) -> None:
    """Writes an evaluation.

    Args:
        evaluation: of a cell or of the baselines.
        folder: where to.
        name: `name-details.json`, `name.parquet`, `name-losses.parquet`, `name-horizon.parquet`, `name-steps.csv`,
            `name-series.csv` and, of a cell, `name-copy.csv` are written; and the metrics of each forecaster in a file
            of its own, which is a row of `dvc metrics show`.
    """
    for forecaster, metrics in evaluation.metrics.items():
        write_json(metrics, folder / f"{forecaster}.json")
    write_json(evaluation.details, folder / f"{name}-details.json")
    with replacing(folder / f"{name}.parquet") as beside:
        evaluation.forecasts.to_parquet(beside, index=False, compression="zstd")
    save_losses(evaluation.losses, folder / f"{name}-losses.parquet")
    save_losses(evaluation.horizon, folder / f"{name}-horizon.parquet")
    tables = {"steps": evaluation.steps, "series": evaluation.series, "copy": evaluation.copies}
    for kind, table in tables.items():
        if table is None:
            continue
        with replacing(folder / f"{name}-{kind}.csv") as beside:
            beside.write_text(to_csv(table), encoding="utf-8")
