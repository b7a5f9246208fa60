"""What goes to a peer and comes back: data and a specification, forecasts and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.benchmark import Json
from benchmarks.measuring import Part, deviations
from pipeline.clock import calendar_features
from pipeline.errors import GatecastError
from pipeline.params import load_params
from pipeline.storage import read_json, replacing, write_json
from pipeline.windows import Floats, load_fit, load_test

METRICS = ("z_mse", "z_mae", "mase", "scaled_crps")
EXACT = 1e-3  # standard deviations of a series by which two ways to the same forecast may differ
DRAWN = 0.3  # the same of drawn ones, in widths between the quartiles
_MEDIAN = (0.5,)

Place = tuple[int, int]  # a series, and one of its test windows


@dataclass(frozen=True)
class Panel:
    """The rows and windows that the stages have made, as every library can take them: series of equal steps.

    Attributes:
        y: [S, T] values.
        times: [T] timestamps, a step apart.
        x: [S, T, K] covariates known ahead.
        columns: [K] their names.
        freq: as `data.freq`.
        train_rows: steps before the validation part.
        val_rows: steps of the validation part.
        fit_rows: steps that our final networks are trained on.
        part: the test windows, by series and time, and what errors are measured by.
    """

    y: Floats
    times: NDArray[Any]
    x: Floats
    columns: tuple[str, ...]
    freq: str
    train_rows: int
    val_rows: int
    fit_rows: int
    part: Part

    @property
    def windows(self) -> int:
        """Test windows of each series."""
        return len(self.part.windows) // len(self.y)

    def last(self, windows: int) -> Panel:
        """The same with the last test windows of each series alone."""
        rows = np.arange(len(self.part.windows)).reshape(len(self.y), -1)[:, -windows:].ravel()
        all_ = self.part.windows
        few = replace(all_, positions=all_.positions[rows], series=all_.series[rows])
        return replace(self, part=replace(self.part, windows=few))

    def checked(self) -> list[Place]:
        """The windows that are forecast in two ways: at both ends, and one between."""
        last, middle = len(self.y) - 1, len(self.y) // 2
        return [(0, 0), (middle, self.windows // 2), (last, self.windows - 1)]


def load_panel(work: Path, calendar: Sequence[str]) -> Panel:
    """Reads what the stages ingest and window left in a folder.

    Args:
        work: the folder of a benchmark.
        calendar: features of the calendar that are told beside the covariates.

    Raises:
        GatecastError: series differ in their steps, or values are missing.
    """
    params, folder = load_params(work / "params.yaml"), work / "data/windows/test"
    fit, test = load_fit(work / "data/windows/fit"), load_test(folder)
    lengths, ds = np.load(folder / "lengths.npy"), np.load(folder / "ds.npy")
    shape, times = (len(lengths), int(lengths[0])), ds[: lengths[0]]
    if np.any(lengths != lengths[0]) or np.any(ds.reshape(shape) != times):
        raise GatecastError(f"{work}: peers are given series of equal steps. Received: lengths {lengths.tolist()}")
    names, features = calendar_features(times, freq=params.data.freq, timezone=params.data.timezone)
    told = np.broadcast_to(features[:, [names.index(name) for name in calendar]], (*shape, len(calendar)))
    columns = tuple(params.data.future_covariates)
    beside = np.load(folder / "covariates.npy") if columns else np.zeros((len(ds), 0))
    train_rows, val_rows = len(fit.history[0]), params.window.val_size
    panel = Panel(
        y=np.load(folder / "values.npy").reshape(shape),
        times=times,
        x=np.concatenate([beside.reshape(*shape, len(columns)), told], axis=-1),
        columns=(*columns, *calendar),
        freq=str(params.data.freq),
        train_rows=train_rows,
        val_rows=val_rows,
        fit_rows=train_rows if params.train.refit == "none" else train_rows + val_rows,
        part=Part(
            test.windows, test.history, fit.ids, deviations(fit), params.quantiles, params.evaluate.season_length
        ),
    )
    missing = int(np.isnan(panel.y).sum() + np.isnan(panel.x).sum())
    expected = shape[0] * (params.window.test_size - params.window.horizon + 1)
    if missing or len(test.windows) != expected:
        raise GatecastError(
            f"{work}: peers are given series without gaps, and every test window. Received: {missing} missing values, "
            f"{len(test.windows)} windows of {expected}"
        )
    return panel


def save_data(panel: Panel, path: Path) -> None:
    """Writes the values, times and covariates for a peer."""
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez(file, y=panel.y, times=panel.times, x=panel.x)


def specify(instructions: Mapping[str, Any], panel: Panel, *, seed: int, threads: int, quick: bool) -> Json:
    """All that a peer's script is told but where its files are.

    Args:
        instructions: what `Model.instruct` gave.
        panel: the data.
        seed: of training.
        threads: of its process.
        quick: a few steps, to see that it runs.
    """
    return {
        **instructions,
        "horizon": panel.part.windows.horizon,
        "quantiles": list(panel.part.quantiles),
        "freq": panel.freq,
        "columns": list(panel.columns),
        "train_rows": panel.train_rows,
        "val_rows": panel.val_rows,
        "fit_rows": panel.fit_rows,
        "windows": panel.windows,
        "checked": [list(place) for place in panel.checked()],
        "seed": seed,
        "threads": threads,
        "quick": quick,
    }


def read_answer(folder: Path, panel: Panel, *, drawn: bool) -> Json:
    """What a peer's script wrote: the errors of its forecasts, and what it tells.

    Args:
        folder: with `forecast.npz` and `told.json`.
        panel: what it was given.
        drawn: its forecasts are samples, and differ from one time to the next.

    Raises:
        GatecastError: forecasts are missing, or those of `predict` are others.
    """
    with np.load(folder / "forecast.npz", allow_pickle=False) as file:
        forecast, checked = file["forecast"].astype(np.float64), file["checked"].astype(np.float64)
    horizon, quantiles = panel.part.windows.horizon, panel.part.quantiles
    expected = (len(panel.y), panel.windows, horizon)
    if forecast.shape[:3] != expected or forecast.shape[3] not in (1, len(quantiles)):
        raise GatecastError(f"{folder}: forecasts of shape {expected} are needed. Received: {forecast.shape}")
    difference = disagreement(forecast, checked, panel, drawn=drawn)
    if not difference <= (DRAWN if drawn else EXACT):
        raise GatecastError(
            f"{folder}: forecasts of all windows at once differ from those of predict, by {difference:.3g} "
            f"{'of the width between the quartiles' if drawn else 'standard deviations'}"
        )
    told: Json = read_json(folder / "told.json")
    return {**told, "figures": figures(forecast.reshape(-1, *forecast.shape[2:]), panel.part), "checked": difference}


def disagreement(forecast: Floats, checked: Floats, panel: Panel, *, drawn: bool) -> float:
    """How far two ways to the same forecasts are apart.

    Args:
        forecast: [S, W, H, Q] of all windows.
        checked: [n, H, Q] of some, one at a time.
        panel: which ones.
        drawn: they are samples, whose medians are compared by the mean, in widths between their quartiles; else the
            most of anything, in standard deviations of its series.
    """
    places = panel.checked()
    apart = np.abs(np.stack([forecast[place] for place in places]) - checked)
    if drawn:
        low, median, high = (panel.part.quantiles.index(quantile) for quantile in (0.25, 0.5, 0.75))
        return float(apart[:, :, median].mean() / (checked[:, :, high] - checked[:, :, low]).mean())
    return float((apart / panel.part.deviation[[series for series, _ in places]][:, None, None]).max())


def figures(forecast: Floats, part: Part) -> Json:
    """The four errors of forecasts [N, H, Q]; those of points [N, H, 1] have no scaled CRPS."""
    points = forecast.shape[2] == 1
    found = (replace(part, quantiles=_MEDIAN) if points else part).figures(forecast)
    return {name: None if points and name == "scaled_crps" else found[name] for name in METRICS}


def save_specification(specification: Json, folder: Path, data: Path) -> Path:
    """Writes what a script is told, with the place of its data and of its answer."""
    path = folder / "spec.json"
    write_json({**specification, "data": str(data), "out": str(folder)}, path)
    return path
