"""Small panels, windowed, for tests of errors and baselines."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.params import EvaluateParams, Params, RepairParams, WindowParams, load_params
from pipeline.splits import save_windows
from pipeline.windows import FitSet, Floats, TestSet, load_fit, load_test

# What can be repaired is, but for series that are too short.
LENIENT = RepairParams(
    duplicate_rows="drop",
    conflicting_rows="mean",
    null_time="drop",
    bad_time="drop",
    off_grid="drop",
    bad_value="missing",
    infinite="missing",
    gaps="missing",
    constant="keep",
    short="error",
)
QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
SEASON = 6
WINDOW = WindowParams(context_length=13, horizon=5, val_size=20, test_size=20, step_size=1, stride=1, min_context=3)


def window(
    series: list[Floats], params: WindowParams = WINDOW, *, whole_numbers: bool = False
) -> tuple[FitSet, TestSet]:
    """Both parts of a panel, in days or whole numbers, whose series are called a, b, c, ..."""
    with TemporaryDirectory() as folder:
        save(series, Path(folder), params, whole_numbers=whole_numbers)
        return load_fit(Path(folder) / "fit"), load_test(Path(folder) / "test")


def save(series: list[Floats], folder: Path, params: WindowParams = WINDOW, *, whole_numbers: bool = False) -> None:
    """Writes both parts of a panel into a folder."""
    steps = [np.arange(len(values)) for values in series]
    days = [np.datetime64("2020-01-01", "us") + np.timedelta64(1, "D") * s for s in steps]
    ids = [chr(ord("a") + number) for number in range(len(series))]
    meta = {"freq": 1 if whole_numbers else "D", "timezone": None}
    save_windows(ids, series, steps if whole_numbers else days, params, season_length=7, meta=meta, folder=folder)


def small_project(folder: Path) -> Params:
    """Writes the windows of a small panel where stages expect them, and gives parameters that fit."""
    save(random_series(np.random.default_rng(0)), folder / "data/windows")
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    return params.model_copy(
        update={"window": WINDOW, "quantiles": QUANTILES, "evaluate": EvaluateParams(season_length=SEASON)}
    )


def random_series(rng: np.random.Generator, *, count: int = 3, missing: float = 0.1) -> list[Floats]:
    """Seasonal series of different length, level and noise, with missing values."""
    series = []
    for number in range(count):
        steps = np.arange(90 + 7 * number)
        values = 5 * number + np.sin(2 * np.pi * steps / SEASON) + (number + 1) * rng.normal(size=len(steps))
        values[rng.random(len(steps)) < missing] = np.nan
        series.append(values)
    return series


def random_forecast(rng: np.random.Generator, test: TestSet, quantiles: tuple[float, ...] = QUANTILES) -> Floats:
    """Ascending quantiles [N, H, Q] that have little to do with the targets."""
    size = (len(test.windows), test.windows.horizon, len(quantiles))
    noise: Floats = rng.standard_normal(size)
    noise.sort(axis=2)
    return noise + 5.0 * test.windows.series[:, None, None]
