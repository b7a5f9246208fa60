from __future__ import annotations

from math import ceil
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline import calibration
from pipeline.calibration import SHARES, choose_share, normalised, scale_in_units

Floats = NDArray[np.float64]

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
COVERAGES = (0.95, 0.8)


def conformal_offsets(target: Floats, forecast: Floats, quantiles: tuple[float, ...]) -> Floats:
    """Of windows that do not overlap."""
    return calibration.conformal_offsets(target, forecast, quantiles, independent=len(target))


def forecast_of(width: float, *, windows: int, steps: int) -> Floats:
    """Quantiles [N, H, Q] around 0."""
    return np.broadcast_to(width * np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), (windows, steps, 5))


def covered(target: Floats, forecast: Floats, pair: int) -> float:
    return float(((target >= forecast[..., pair]) & (target <= forecast[..., -1 - pair])).mean())


def offsets_by_loops(target: Floats, forecast: Floats) -> Floats:
    offsets = np.zeros((target.shape[1], len(QUANTILES)))
    for step in range(target.shape[1]):
        for pair, coverage in enumerate(COVERAGES):
            scores = []
            for row in range(len(target)):
                y, low, high = target[row, step], forecast[row, step, pair], forecast[row, step, -1 - pair]
                if not np.isnan(y):
                    scores.append(max(low - y, y - high))
            if scores:
                rank = ceil(round((len(scores) + 1) * coverage, 9))
                delta = sorted(scores)[min(rank, len(scores)) - 1]
                offsets[step, pair], offsets[step, -1 - pair] = -delta, delta
    return offsets


values = st.floats(-100, 100) | st.just(np.nan)


@given(arrays(np.float64, st.tuples(st.integers(0, 60), st.just(3)), elements=values), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_offsets_equal_those_found_by_loops(target: Floats, seed: int) -> None:
    forecast = np.sort(np.random.default_rng(seed).normal(0, 30, (len(target), 3, 5)), axis=2)
    np.testing.assert_allclose(conformal_offsets(target, forecast, QUANTILES), offsets_by_loops(target, forecast))


@pytest.mark.parametrize("width", [0.1, 1.0, 10.0])
def test_calibrated_intervals_cover_new_windows_as_promised(width: float) -> None:
    rng = np.random.default_rng(3)
    coverages = []
    for _ in range(300):
        target = rng.standard_t(3, (60, 4))
        offsets = conformal_offsets(target[:40], forecast_of(width, windows=40, steps=4), QUANTILES)
        new = target[40:]
        coverages.append([covered(new, forecast_of(width, windows=20, steps=4) + offsets, pair) for pair in (0, 1)])
    mean = np.mean(coverages, axis=0)
    # Over all draws coverage lies between 1 - alpha and 1 - alpha + 1 / (n + 1); .01 is simulation noise.
    for found, promised in zip(mean, COVERAGES, strict=True):
        assert promised - 0.01 < found < promised + 1 / 41 + 0.01


def test_too_wide_intervals_shrink_and_too_narrow_ones_grow() -> None:
    target = np.random.default_rng(4).standard_normal((500, 2))
    wide = conformal_offsets(target, forecast_of(10, windows=500, steps=2), QUANTILES)
    narrow = conformal_offsets(target, forecast_of(0.1, windows=500, steps=2), QUANTILES)
    assert (wide[:, :2] > 0).all()
    assert (wide[:, 3:] < 0).all()
    assert (narrow[:, :2] < 0).all()
    assert (narrow[:, 3:] > 0).all()


@given(arrays(np.float64, (20, 3), elements=values), st.floats(0.1, 10))
def test_both_ends_move_by_the_same_and_the_median_stays(target: Floats, width: float) -> None:
    offsets = conformal_offsets(target, forecast_of(width, windows=20, steps=3), QUANTILES)
    assert np.array_equal(offsets, -offsets[:, ::-1])
    assert (offsets[:, 2] == 0).all()


def test_the_rank_is_exact_where_the_coverage_is_not_a_binary_fraction() -> None:
    # (19 + 1) * (0.975 - 0.025) is 19, a little more in floating point.
    target = np.arange(1.0, 20.0)[:, None]
    offsets = conformal_offsets(target, forecast_of(0, windows=19, steps=1), QUANTILES)
    assert offsets[0, -1] == 19
    target = np.arange(1.0, 41.0)[:, None]
    offsets = conformal_offsets(target[:39], forecast_of(0, windows=39, steps=1), QUANTILES)
    assert offsets[0, -1] == 38


def test_with_too_few_windows_the_largest_score_is_taken() -> None:
    target = np.array([[1.0], [3.0], [2.0]])
    assert conformal_offsets(target, forecast_of(0, windows=3, steps=1), QUANTILES)[0, -1] == 3


def test_steps_without_any_target_are_left_alone() -> None:
    target = np.array([[1.0, np.nan], [3.0, np.nan]])
    offsets = conformal_offsets(target, forecast_of(0, windows=2, steps=2), QUANTILES)
    assert (offsets[1] == 0).all()
    assert offsets[0, -1] == 3
    assert (conformal_offsets(np.empty((0, 2)), np.empty((0, 2, 5)), QUANTILES) == 0).all()


@given(st.permutations(range(12)))
def test_the_order_of_windows_does_not_matter(order: list[int]) -> None:
    rng = np.random.default_rng(5)
    target, forecast = rng.standard_normal((12, 2)), np.sort(rng.standard_normal((12, 2, 5)), axis=2)
    expected = conformal_offsets(target, forecast, QUANTILES)
    assert np.array_equal(conformal_offsets(target[order], forecast[order], QUANTILES), expected)


@pytest.mark.parametrize("transform", ["none", "log1p"])
def test_normalising_undoes_what_the_network_does_at_its_end(transform: str) -> None:
    rng = np.random.default_rng(6)
    z, location, scale = rng.standard_normal((5, 4, 3)), rng.uniform(1, 5, (5, 1)), rng.uniform(1, 5, (5, 1))
    values = z * scale[:, :, None] + location[:, :, None]
    if transform == "log1p":
        values = np.expm1(values)
    np.testing.assert_allclose(normalised(values, location=location, scale=scale, transform=transform), z, atol=1e-9)
    np.testing.assert_allclose(
        normalised(values[:, :, 0], location=location, scale=scale, transform=transform), z[:, :, 0], atol=1e-9
    )


def test_values_that_have_no_normalised_form_are_missing() -> None:
    location, scale = np.array([[1.0], [1.0]]), np.array([[0.0], [2.0]])
    values = np.array([[1.0, 2.0], [np.nan, 3.0]])
    expected = [[np.nan, np.nan], [np.nan, 1.0]]
    np.testing.assert_array_equal(normalised(values, location=location, scale=scale, transform="none"), expected)
    below = normalised(np.array([[-1.0, -2.0]]), location=location[:1], scale=scale[1:], transform="log1p")
    assert np.isnan(below).all()


def test_windows_that_repeat_each_other_count_as_often_as_they_are_independent() -> None:
    rng = np.random.default_rng(7)
    coverages: dict[float, list[float]] = {12.0: [], 240.0: []}
    for _ in range(400):
        target = np.repeat(rng.standard_normal((12, 3)), 20, axis=0)
        forecast = forecast_of(0.1, windows=240, steps=3)
        new = rng.standard_normal((200, 3))
        for independent, found in coverages.items():
            offsets = calibration.conformal_offsets(target, forecast, QUANTILES, independent=independent)
            found.append(covered(new, forecast_of(0.1, windows=200, steps=3) + offsets, 1))
    assert 0.79 < np.mean(coverages[12.0]) < 0.8 + 1 / 13 + 0.01
    assert np.mean(coverages[240.0]) < 0.78


def share_of(target: Floats, forecast: Floats, blocks: NDArray[np.int64], weights: Floats | None = None) -> float:
    weights = np.ones(len(target)) if weights is None else weights
    folds = [(blocks == block, blocks != block) for block in np.unique(blocks)]
    return choose_share(target, forecast, QUANTILES, weights=weights, independent=len(target), folds=folds)


def test_where_every_block_agrees_that_intervals_are_too_narrow_the_whole_offset_is_applied() -> None:
    target = np.random.default_rng(8).standard_normal((400, 3))
    assert share_of(target, forecast_of(0.2, windows=400, steps=3), np.arange(400) // 100) == 1


def test_where_one_block_says_nothing_of_the_next_calibration_is_left_out() -> None:
    rng = np.random.default_rng(9)
    spread = np.repeat([0.3, 4.0, 0.3, 4.0], 100)[:, None]
    target = spread * rng.standard_normal((400, 3))
    forecast = spread[:, :, None] * np.broadcast_to([NormalDist().inv_cdf(q) for q in QUANTILES], (400, 3, 5))
    # The network knows each block's spread; constants for all of them can only blur it.
    assert share_of(target, forecast, np.arange(400) // 100) == 0


def test_windows_that_hardly_move_do_not_choose_for_those_that_do() -> None:
    rng = np.random.default_rng(11)
    still = np.arange(400) % 10 == 0
    # A step of a still window is many of its standard deviations; the others are forecast as they should be.
    target = np.where(still, 100.0, 1.0)[:, None] * rng.standard_normal((400, 3))
    forecast = np.broadcast_to([NormalDist().inv_cdf(q) for q in QUANTILES], (400, 3, 5))
    blocks = np.arange(400) // 100
    assert share_of(target, forecast, blocks) == 1
    assert share_of(target, forecast, blocks, np.where(still, 1e-4, 1.0)) == 0


@pytest.mark.parametrize("transform", ["none", "log1p"])
def test_a_scale_in_units_of_the_series_is_what_a_small_step_of_it_changes(transform: str) -> None:
    location, scale, unit = np.array([[2.0], [0.5], [1.0]]), np.array([[0.3], [0.0], [0.7]]), np.array([4.0, 4.0, 0.0])
    found = scale_in_units(unit, location=location, scale=scale, transform=transform)
    step = 1e-6
    back = np.expm1 if transform == "log1p" else np.asarray
    change = (back(location + step * scale) - back(location))[:, 0] / step
    np.testing.assert_allclose(found[:2], change[:2] / 4, rtol=1e-5)
    assert found[2] == 0  # a series without a unit


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5))
@settings(deadline=None, max_examples=25)
def test_the_share_is_the_best_one_on_blocks_left_out(seed: int, width: float) -> None:
    rng = np.random.default_rng(seed)
    target, weights = rng.standard_t(3, (40, 2)), rng.uniform(0, 2, 40)
    forecast, blocks = forecast_of(width, windows=40, steps=2), np.arange(40) % 4
    losses = {}
    for share in SHARES:
        losses[share] = 0.0
        for block in range(4):
            rest, left_out = blocks != block, blocks == block
            offsets = calibration.conformal_offsets(target[rest], forecast[rest], QUANTILES, independent=30)
            for row in np.flatnonzero(left_out):
                for q, level in enumerate(QUANTILES):
                    error = target[row] - forecast[row, :, q] - share * offsets[:, q]
                    loss = np.where(error > 0, level * error, (level - 1) * error).sum()
                    losses[share] += float(weights[row] * loss)
    assert losses[share_of(target, forecast, blocks, weights)] == pytest.approx(min(losses.values()))


def test_a_single_block_proves_nothing_and_changes_nothing() -> None:
    target = np.random.default_rng(10).standard_normal((50, 2))
    assert share_of(target, forecast_of(0.1, windows=50, steps=2), np.zeros(50, np.int64)) == 0
