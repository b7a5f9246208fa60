"""Windows of made-up series in the shape of a data set; the time of a step does not depend on their values."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.speed.catalogue import Shape
from pipeline.covariates import Known
from pipeline.hparams import Hparams, NetworkSpec
from pipeline.params import WindowParams
from pipeline.splits import save_windows
from pipeline.windows import FitSet, load_fit

QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)


def build_fit(shape: Shape) -> FitSet:
    """As many windows as the data set has whose shape it is, of a season and noise, and never negative."""
    rng, steps = np.random.default_rng(1), np.arange(shape.length)
    level = 10 + np.sin(2 * np.pi * steps / shape.segment_length)
    series = [np.abs(level + rng.normal(size=steps.size)) for _ in range(shape.series)]
    params = WindowParams(
        context_length=shape.context_length,
        horizon=shape.horizon,
        val_size=shape.held_out,
        test_size=shape.held_out,
        step_size=1,
        stride=1,
        min_context=shape.context_length,
    )
    columns = tuple(f"covariate {number}" for number in range(shape.covariates))
    beside = [rng.normal(size=(steps.size, len(columns))) for _ in series]
    with TemporaryDirectory() as folder:
        save_windows(
            [f"series {number}" for number in range(shape.series)],
            series,
            [_times(shape)] * shape.series,
            params,
            season_length=shape.segment_length,
            meta={"freq": shape.freq, "timezone": None},
            folder=Path(folder),
            known=Known(past=columns, future=columns, values=beside) if columns else None,
        )
        return load_fit(Path(folder) / "fit")


def build_spec(cell: str, shape: Shape, batch: int | None, fit: FitSet) -> NetworkSpec:
    """The network of a shape, with its own batch or another."""
    hparams = shape.hparams(cell) | ({} if batch is None else {"batch_size": batch})
    return fit.spec(cell, QUANTILES, Hparams(**hparams))


def _times(shape: Shape) -> NDArray[Any]:
    """Whole numbers, or times of a frequency."""
    if isinstance(shape.freq, int):
        return np.arange(shape.length)
    return pd.date_range("2012-01-01", periods=shape.length, freq=shape.freq).to_numpy("datetime64[us]")
