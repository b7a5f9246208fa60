"""Forecast errors: of each series first, then the mean over series. Thin over utilsforecast.losses."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import GatecastError
from pipeline.intervals import forecast_columns, interval_levels, snapped
from pipeline.seasonal import seasonal_scales
from pipeline.windows import Floats, Ints, Windows

with warnings.catch_warnings():
    # Compiling it tells of an escape sequence in a docstring, at the first import only.
    warnings.simplefilter("ignore", SyntaxWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from utilsforecast import losses

HEADLINE = ("mae", "rmse", "smape", "mase", "rmsse", "scaled_crps", "coverage_80", "width_80")
SCALED = ["mase", "rmsse", "scaled_crps"]
_DIGITS = 10  # significant digits of figures in text files
_MODEL = "forecast"


@dataclass(frozen=True)
class Scores:
    """The errors of one forecast.

    The intervals of every pair of quantiles have their `coverage_L` (share of targets inside, ends included) and
    `width_L` (mean, in units of y), L in percent.

    Attributes:
        per_series: one row per series with windows: `unique_id`, `n_windows` and the errors over all its cutoffs
            and steps with an observed target; NaN where the series has no scale.
        per_step: one row per step of the horizon: `step` (from 1) and the errors, mean over series.
    """

    per_series: pd.DataFrame
    per_step: pd.DataFrame

    @property
    def overall(self) -> dict[str, float]:
        """The headline metrics: means over series, without those that have no scale; NaN where none has one."""
        return {name: float(self.per_series[name].mean()) for name in HEADLINE if name in self.per_series}

    @property
    def series_without_scale(self) -> int:
        """Series that MASE, RMSSE or scaled CRPS leave out of their mean."""
        return int(self.per_series[SCALED].isna().any(axis=1).sum())

    def to_json(self) -> dict[str, Any]:
        """The headline metrics as a flat JSON object; null is undefined."""
        found: dict[str, Any] = rounded({**self.overall, "series_without_scale": self.series_without_scale})
        return found


def score(
    windows: Windows,
    forecast: Floats,
    *,
    quantiles: Sequence[float],
    ids: Sequence[str],
    history: Sequence[Floats],
    season_length: int,
) -> Scores:
    """Measures a forecast of all windows of a split.

    MAE, RMSE, sMAPE (0 to 200, as in the M4 competition), MASE and RMSSE are those of the median. MASE and RMSSE
    are divided by the MAE and the RMSE of the seasonal naive forecast over `history` (Hyndman and Koehler 2006).
    Scaled CRPS is twice the mean quantile loss, summed over targets and divided by the sum of |target|
    (Rangapuram et al. 2021). Missing targets are left out.

    Args:
        windows: the windows forecast.
        forecast: [N, H, Q] the forecast of each, in units of y, ascending along Q.
        quantiles: [Q] ascending, symmetric around 0.5.
        ids: [S] names of the series that `windows.series` counts.
        history: [S] for each series its values before the split; NaN is missing.
        season_length: of the seasonal naive forecast, in steps.

    Returns:
        The errors.

    Raises:
        GatecastError: the forecast has another shape than the windows, or a value that is not finite.
    """
    _check_finite(windows, forecast, quantiles=quantiles, ids=ids)
    frame, steps = _long(windows, forecast, quantiles)
    scales = seasonal_scales(history, season_length)
    per_series = _measure(frame, quantiles, scales=scales)
    # One whole number for step and series is grouped by in half the time of two columns.
    frame["unique_id"] += len(scales) * steps
    per_step = _measure(frame, quantiles, scales=np.tile(scales, (windows.horizon, 1)))
    per_step.insert(0, "step", per_step.pop("unique_id") // len(scales) + 1)
    numbers = per_series["unique_id"].to_numpy()
    per_series["unique_id"] = [ids[number] for number in numbers]
    per_series.insert(1, "n_windows", np.bincount(windows.series)[numbers])
    return Scores(per_series, per_step.groupby("step", as_index=False).mean())


def rounded(value: Any) -> Any:
    """The value with its numbers as text files have them: ten significant digits, null where not finite."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
    return value


def to_csv(frame: pd.DataFrame) -> str:
    """The table as CSV with ten significant digits; an empty field is undefined."""
    return str(frame.to_csv(index=False, float_format=f"%.{_DIGITS}g", lineterminator="\n"))


def _check_finite(windows: Windows, forecast: Floats, *, quantiles: Sequence[float], ids: Sequence[str]) -> None:
    expected = (len(windows), windows.horizon, len(quantiles))
    if forecast.shape != expected:
        raise GatecastError(
            f"the forecast does not fit the windows: expected shape [N, H, Q] {expected}. Received: {forecast.shape}; "
            "train the model again on these windows"
        )
    finite = np.isfinite(forecast)
    if not finite.all():
        window, step, place = np.argwhere(~finite)[0]
        raise GatecastError(
            f"the forecast is not finite for series {ids[windows.series[window]]}, window {window}, step {step + 1}, "
            f"quantile {quantiles[place]}. Received: {forecast[window, step, place]}; look at the model's training "
            "curves and train it again with a lower learning rate"
        )


def _long(windows: Windows, forecast: Floats, quantiles: Sequence[float]) -> tuple[pd.DataFrame, Ints]:
    """One row per observed target: number of its series, y and a column per quantile; and its step, from 0."""
    targets = windows.targets()
    seen = np.isfinite(targets)
    row, step = np.nonzero(seen)
    columns: dict[str, NDArray[Any]] = {"unique_id": windows.series[row], "y": targets[seen]}
    for name, place in forecast_columns(_MODEL, quantiles):
        columns[name] = forecast[:, :, place][seen]
    return pd.DataFrame(columns), step


def _measure(frame: pd.DataFrame, quantiles: Sequence[float], *, scales: Floats) -> pd.DataFrame:
    """One row per `unique_id`, in their order, with all errors; `scales` are counted by it."""
    table: pd.DataFrame = losses.mae(frame, [_MODEL]).reset_index(drop=True).rename(columns={_MODEL: "mae"})
    scale = scales[table["unique_id"].to_numpy()]
    size = losses.mae(frame.assign(zero=0.0), ["zero"])["zero"].to_numpy()
    names, places = zip(*forecast_columns(_MODEL, quantiles), strict=True)
    crps = losses.scaled_crps(frame, {_MODEL: list(names)}, np.array(quantiles)[list(places)])
    # Results are ordered by their keys, but their indices are not: only arrays go together.
    table["rmse"] = losses.rmse(frame, [_MODEL])[_MODEL].to_numpy()
    table["smape"] = 200 * losses.smape(frame, [_MODEL])[_MODEL].to_numpy()  # utilsforecast's ends at 1
    table["mase"] = table["mae"].to_numpy() / scale[:, 0]
    table["rmsse"] = table["rmse"].to_numpy() / scale[:, 1]
    table["scaled_crps"] = np.where(size > 0, crps[_MODEL].to_numpy(), np.nan)
    return table.assign(**_measure_intervals(frame, quantiles))


def _measure_intervals(frame: pd.DataFrame, quantiles: Sequence[float]) -> dict[str, Floats]:
    """Coverage and width of every interval, in the order of `_measure`."""
    errors = {}
    for level in interval_levels(quantiles):
        low, high = f"{_MODEL}-lo-{level}", f"{_MODEL}-hi-{level}"
        part_of_name: Any = level  # and no more than that, so 97.5 is as good as 95
        ends = {end: snapped(frame[end].to_numpy(), frame["y"].to_numpy()) for end in (low, high)}
        within = frame[["unique_id", "y"]].assign(**ends)
        errors[f"coverage_{level}"] = losses.coverage(within, [_MODEL], part_of_name)[_MODEL].to_numpy()
        # The mean absolute difference of its two ends is an interval's width.
        errors[f"width_{level}"] = losses.mae(frame, [low], target_col=high)[low].to_numpy()
    return errors
