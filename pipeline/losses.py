"""The loss of every test window, and of every cutoff and step: what significance is decided on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import GatecastError
from pipeline.seasonal import seasonal_scales
from pipeline.storage import replacing
from pipeline.timestamps import to_user_time
from pipeline.windows import Floats, Ints, TestSet

METRICS = ("mae", "rmse", "smape", "mase", "rmsse", "scaled_crps")


@dataclass(frozen=True)
class Losses:
    """The losses of one forecast of the test part, additive: a metric is a mean of them, or the root of one.

    The columns of `METRICS` are the absolute error (`mae`), the squared error (`rmse`), the symmetric percentage
    error from 0 to 200 (`smape`), the absolute and the squared error in units of the series' scale and of its square
    (`mase`, `rmsse`), and twice the mean quantile loss in units of the mean |target| of the series over all its test
    windows (`scaled_crps`). Missing targets are left out; NaN is undefined, for want of a target or of a scale.

    Attributes:
        windows: one row per window, in their order: `unique_id`, `cutoff` (the last timestamp seen), `steps` (how
            many targets were observed) and the means over those steps.
        horizon: one row per cutoff and step, in that order: `cutoff`, `step` (from 1) and the means over series.
    """

    windows: pd.DataFrame
    horizon: pd.DataFrame


def measure_losses(test: TestSet, forecast: Floats, *, quantiles: Sequence[float], season_length: int) -> Losses:
    """Measures a forecast of every test window.

    Args:
        test: the test part.
        forecast: [N, H, Q] the forecast of each window, in units of y, ascending along Q.
        quantiles: [Q] ascending, symmetric around 0.5.
        season_length: of the seasonal naive forecast that scales MASE and RMSSE, in steps.

    Returns:
        Its losses.
    """
    windows = test.windows
    targets = windows.targets()
    scales = seasonal_scales(test.history, season_length)[windows.series]
    sizes = mean_sizes(targets, windows.series)
    cutoffs = test.ds[windows.positions - 1]
    by_cutoff = np.argsort(cutoffs, kind="stable")
    each, first = np.unique(cutoffs[by_cutoff], return_index=True)
    by_window: dict[str, Any] = {
        "unique_id": pd.Index(test.ids, dtype="str").take(windows.series),
        "cutoff": user_times(test, cutoffs),
        "steps": (~np.isnan(targets)).sum(axis=1),
    }
    by_step: dict[str, Any] = {
        "cutoff": user_times(test, np.repeat(each, windows.horizon)),
        "step": np.tile(np.arange(1, windows.horizon + 1), len(each)),
    }
    for name, losses in step_losses(targets, forecast, quantiles=quantiles, scales=scales, sizes=sizes):
        by_window[name] = _means(losses.T, np.zeros(1, np.int64))[0]
        by_step[name] = _means(losses[by_cutoff], first).ravel()
    return Losses(pd.DataFrame(by_window), pd.DataFrame(by_step))


def user_times(test: TestSet, ds: NDArray[Any]) -> pd.Series:
    """Times of a test part as the user has them, in the zone of the data."""
    return to_user_time(pd.Series(ds), freq=test.meta["freq"], timezone=test.meta["timezone"])


def step_losses(
    targets: Floats, forecast: Floats, *, quantiles: Sequence[float], scales: Floats, sizes: Floats
) -> Iterator[tuple[str, Floats]]:
    """The loss of every step, a metric at a time, so that few arrays of this size are held at once.

    Args:
        targets: [N, H] in units of y; NaN is missing.
        forecast: [N, H, Q] quantiles of each target.
        quantiles: [Q] ascending, symmetric around 0.5.
        scales: [N, 2] for each window what MASE and RMSSE are divided by; NaN where undefined.
        sizes: [N] for each window what scaled CRPS is divided by; NaN where undefined.

    Yields:
        The name of a metric, in the order of `METRICS`, and its losses [N, H].
    """
    median = forecast[:, :, len(quantiles) // 2]
    error = np.abs(targets - median)
    size = np.abs(targets) + np.abs(median)
    yield "mae", error
    yield "rmse", np.square(error)
    yield "smape", 200 * np.divide(error, size, out=np.zeros_like(error), where=size != 0)
    yield "mase", error / scales[:, :1]
    yield "rmsse", np.square(error / scales[:, 1:])
    yield "scaled_crps", 2 * mean_quantile_loss(targets, forecast, quantiles) / sizes[:, None]


def mean_quantile_loss(targets: Floats, forecast: Floats, quantiles: Sequence[float]) -> Floats:
    """The pinball loss [N, H] of targets [N, H], mean over the quantiles of the forecast [N, H, Q]."""
    total = np.zeros(targets.shape)
    for place, quantile in enumerate(quantiles):
        error = targets - forecast[:, :, place]
        total += np.maximum(quantile * error, (quantile - 1) * error)
    return total / len(quantiles)


def mean_sizes(targets: Floats, series: Ints) -> Floats:
    """For each window of targets [N, H] the mean |target| over all windows of its series [N]; NaN where it is 0."""
    counts = np.bincount(series, (~np.isnan(targets)).sum(axis=1))
    sums = np.bincount(series, np.nansum(np.abs(targets), axis=1))
    means: Floats = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=sums > 0)
    return means[series]


def average_horizons(horizons: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables `Losses.horizon` of several forecasts of the same windows as one: the mean over the forecasts."""
    total = np.zeros((len(horizons[0]), len(METRICS)))
    for table in horizons:
        total += table[list(METRICS)].to_numpy()
    return horizons[0].assign(**dict(zip(METRICS, total.T / len(horizons), strict=True)))


def save_losses(losses: pd.DataFrame, path: Path) -> None:
    """Writes a table of losses, by window or by cutoff and step, as Parquet with the same bytes for the same table."""
    with replacing(path) as beside:
        losses.to_parquet(beside, index=False, compression="zstd")


def load_losses(path: Path) -> pd.DataFrame:
    """Reads what `save_losses` wrote.

    Raises:
        GatecastError: there is no such file.
    """
    if not path.exists():
        raise GatecastError(f"{path} not found; run `dvc repro` to make it")
    return pd.read_parquet(path)


def _means(losses: Floats, first: Ints) -> Floats:
    """Means of groups of rows: losses [R, K] without NaN, of the groups that begin at rows `first` [G], as [G, K]."""
    seen: NDArray[np.bool_] = ~np.isnan(losses)
    counts = np.add.reduceat(seen, first, axis=0, dtype=np.int64)
    sums = np.add.reduceat(np.where(seen, losses, 0.0), first, axis=0)
    means: Floats = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means
