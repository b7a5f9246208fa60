"""What the offsets of a served ensemble are found from: units, blocks, and what windows that overlap are worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import build_spec, random_weights

from pipeline import ensemble
from pipeline.calibration import conformal_offsets
from pipeline.forecaster import Forecaster
from pipeline.onnx_graph import build_graph
from pipeline.windows import FitSet, Windows

NOTHING: Any = None  # covariates, which no block depends on


@pytest.mark.parametrize("transform", ["none", "log1p"])
def test_offsets_come_from_the_validation_windows_in_units_of_each(
    transform: str, small_fit: FitSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = build_spec(context_length=24, context_used=24, horizon=6, transform=transform, quantiles=(0.1, 0.5, 0.9))
    members, windows = [random_weights(spec, seed) for seed in (1, 2)], small_fit.val
    out = Forecaster(build_graph(spec, members, None), spec, {}).predict_windows(
        windows, outputs=("forecast", "location", "scale")
    )
    location, scale = out["location"], out["scale"]
    inside = np.log1p if transform == "log1p" else np.asarray
    target = (inside(windows.targets()) - location) / scale
    forecast = (inside(out["forecast"]) - location[:, :, None]) / scale[:, :, None]

    # Two series of 19 cutoffs each, which span three horizons and one step more.
    assert np.bincount(windows.series).tolist() == [19, 19]
    worth = 2 * 19 / 6
    places = [
        (range(5), range(10, 19)),
        (range(5, 10), range(15, 19)),
        (range(10, 15), range(5)),
        (range(15, 19), range(10)),
    ]
    slope = np.exp(location[:, 0]) if transform == "log1p" else 1.0
    weights = scale[:, 0] * slope / small_fit.loss_scale[windows.series]

    asked: dict[str, Any] = {}

    def choose_share(target_z: Any, forecast_z: Any, quantiles: Any, **given: Any) -> float:
        asked.update(given, target=target_z, forecast=forecast_z, quantiles=quantiles)
        return 0.5

    monkeypatch.setattr(ensemble, "choose_share", choose_share)
    offsets, share = ensemble.calibrate(spec, members, windows, small_fit.loss_scale)
    np.testing.assert_allclose(asked["target"], target, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(asked["forecast"], forecast, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(asked["weights"], weights, rtol=1e-6)
    folds = [[[place + 19 * series for series in range(2) for place in some] for some in pair] for pair in places]
    assert [[np.flatnonzero(some).tolist() for some in pair] for pair in asked["folds"]] == folds
    assert (asked["independent"], asked["quantiles"], share) == (pytest.approx(worth), (0.1, 0.5, 0.9), 0.5)

    whole = conformal_offsets(asked["target"], asked["forecast"], spec.quantiles, independent=worth)
    np.testing.assert_array_equal(offsets, 0.5 * whole)
    as_if_apart = conformal_offsets(asked["target"], asked["forecast"], spec.quantiles, independent=len(windows))
    assert not np.array_equal(whole, as_if_apart)


def windows_of(cutoffs: list[int], *, horizon: int, step: int = 1) -> Windows:
    """Windows of series that are called 10, 11, ..., so many each and so many steps apart."""
    series = np.repeat(10 + np.arange(len(cutoffs)), cutoffs)
    positions = np.concatenate([1000 * place + step * np.arange(count) for place, count in enumerate(cutoffs)])
    return Windows(np.zeros(1), positions, series, 1, horizon, NOTHING)


@pytest.mark.parametrize(
    ("cutoffs", "horizon", "step", "blocks"),
    [
        ([8], 2, 1, [0, 0, 1, 1, 2, 2, 3, 3]),
        ([8], 3, 1, [0] * 8),  # too short to leave a part of it out
        ([4], 9, 9, [0, 1, 2, 3]),
        ([9], 14, 5, [0, 0, 0, 1, 1, 2, 2, 3, 3]),  # of four horizons, whose last step no window reaches
        ([8], 14, 5, [0] * 8),
        ([5], 1, 1, [0, 0, 1, 2, 3]),  # no block is empty, and none is interrupted
        ([1, 1, 1, 1, 1], 2, 1, [0, 1, 2, 3, 0]),  # of many short series every fourth
        ([3, 2, 8], 2, 1, [0, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3]),
        ([3, 2, 8], 3, 1, [0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]),
    ],
)
def test_blocks_are_stretches_of_time_or_whole_short_series(
    cutoffs: list[int], horizon: int, step: int, blocks: list[int]
) -> None:
    folds = ensemble.folds_of(windows_of(cutoffs, horizon=horizon, step=step))
    assert [np.flatnonzero(inside).tolist() for inside, _ in folds] == [
        np.flatnonzero(np.array(blocks) == block).tolist() for block in sorted(set(blocks))
    ]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 8), st.integers(1, 4))
def test_a_blocks_offsets_come_from_all_windows_that_share_no_target_with_it(
    cutoffs: list[int], horizon: int, step: int
) -> None:
    windows = windows_of(cutoffs, horizon=horizon, step=step)  # far apart, so that one series is told by its positions
    for inside, others in ensemble.folds_of(windows):
        distance = np.abs(windows.positions[:, None] - windows.positions[None, inside]).min(axis=1)
        assert others.tolist() == (distance >= horizon).tolist()


def test_a_validation_part_that_repeats_itself_does_not_calibrate(small_fit: FitSet) -> None:
    spec = build_spec(context_length=24, context_used=24, horizon=6, quantiles=(0.1, 0.5, 0.9))
    members, val = [random_weights(spec, 1)], small_fit.val
    first = np.flatnonzero(val.series == 0)
    of_one = replace(val, positions=val.positions[first], series=val.series[first])
    assert ensemble.calibrate(spec, members, of_one, small_fit.loss_scale)[1] == 1  # intervals at random are wrong
    short = replace(of_one, positions=of_one.positions[:17], series=of_one.series[:17])
    offsets, share = ensemble.calibrate(spec, members, short, small_fit.loss_scale)
    assert (share, np.abs(offsets).max()) == (0, 0)
