"""Windows of made-up series in the shape of a data set; the time of a step does not depend on their values."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.speed.catalogue import UNITS, Shape
from pipeline.hparams import Hparams, NetworkSpec
from pipeline.params import WindowParams
from pipeline.splits import save_windows
from pipeline.windows import FitSet, load_fit

QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)


def build_fit(shape: Shape) -> FitSet:
    """As many windows as the data set has whose shape it is, of a season and noise."""
    rng, steps = np.random.default_rng(1), np.arange(shape.length)
    series = [
        np.sin(2 * np.pi * steps / shape.segment_length) + rng.normal(size=steps.size) for _ in range(shape.series)
    ]
    params = WindowParams(
        context_length=shape.context_length,
        horizon=shape.horizon,
        val_size=shape.held_out,
        test_size=shape.held_out,
        step_size=1,
        stride=1,
        min_context=shape.context_length,
    )
    with TemporaryDirectory() as folder:
        save_windows(
            [f"series {number}" for number in range(shape.series)],
            series,
            [steps] * shape.series,
            params,
            season_length=shape.segment_length,
            meta={"freq": 1, "timezone": None},
            folder=Path(folder),
        )
        return load_fit(Path(folder) / "fit")


def build_spec(cell: str, shape: Shape, batch: int, fit: FitSet) -> NetworkSpec:
    """The network of a shape."""
    hparams = Hparams(
        segment_length=shape.segment_length,
        units=UNITS,
        layers=1,
        dropout=0.1,
        learning_rate=0.001,
        batch_size=batch,
        context_used=shape.context_length,
        location="last",
        transform="none",
        head="plain",
        linear="none",
        calendar="none",
        identity=shape.identity,
    )
    return fit.spec(cell, QUANTILES, hparams)
