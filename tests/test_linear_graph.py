from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import QUANTILES
from test_baselines import contexts, seeds

from pipeline.forecaster import Forecaster
from pipeline.linear_bundle import linear_spec
from pipeline.linear_graph import build_linear_graph
from pipeline.linear_map import LinearMap, normalise
from pipeline.windows import Floats, split_missing

H = 4
some = settings(max_examples=60, deadline=None)


def random_map(context_length: int, season_length: int, seed: int = 0) -> tuple[LinearMap, Floats]:
    """A linear map, and the offsets of its quantiles."""
    rng = np.random.default_rng(seed)
    offsets = np.sort(rng.normal(size=(H, len(QUANTILES))), axis=1)
    offsets -= offsets[:, 3:4]
    return LinearMap(rng.normal(size=(context_length, H)), rng.normal(size=H), 1.0, season_length), offsets


def forecaster_of(linear: LinearMap, offsets: Floats) -> Forecaster:
    spec = linear_spec(len(linear.weights), H, QUANTILES)
    return Forecaster(build_linear_graph(spec, linear, offsets), spec, {})


@some
@given(contexts(), st.integers(1, 12), seeds, st.sampled_from([(1.0, 0.0), (1e-3, 1e3), (1e6, -1e6)]))
def test_the_graph_forecasts_what_the_map_does_whatever_is_missing(
    history: Floats, season_length: int, seed: int, change: tuple[float, float]
) -> None:
    history = history * change[0] + change[1]
    linear, offsets = random_map(history.shape[1], season_length, seed)
    given_, observed = split_missing(history)
    found = forecaster_of(linear, offsets).predict_arrays(
        given_, observed, outputs=("forecast", "uncalibrated", "members", "location", "scale")
    )
    _, last, scale = normalise(history)
    points = linear.forecast(history)
    tolerance = 1e-9 * scale[:, :, None] + 1e-14 * np.abs(points)[:, :, None]
    assert (np.abs(found["forecast"] - (points[:, :, None] + scale[:, :, None] * offsets)) <= tolerance).all()
    for name in ("uncalibrated", "members"):
        values = found[name].reshape(len(history), H, len(QUANTILES))
        assert (np.abs(values - points[:, :, None]) <= tolerance).all()
    assert found["members"].shape[0] == 1
    np.testing.assert_array_equal(found["location"], last)
    np.testing.assert_allclose(found["scale"], scale, rtol=1e-12)


@pytest.mark.parametrize("season_length", [1, 5, 52, 104, 105])
def test_seasons_of_any_length_are_looked_back_to_through_long_gaps(season_length: int) -> None:
    rng = np.random.default_rng(season_length)
    history = rng.normal(size=(20, 104)).cumsum(axis=1)
    history[rng.random(history.shape) < 0.7] = np.nan
    history[:, -1] = 1.0
    linear, offsets = random_map(104, season_length)
    found = forecaster_of(linear, offsets).predict_arrays(*split_missing(history))["forecast"][:, :, 3]
    assert (np.abs(found - linear.forecast(history)) <= 1e-9 * normalise(history)[2]).all()


def test_a_window_that_never_changes_or_is_empty_has_intervals_without_width() -> None:
    history = np.full((2, 9), 0.1)
    history[1] = np.nan
    found = forecaster_of(*random_map(9, 3)).predict_arrays(*split_missing(history))["forecast"]
    assert (found[0] == 0.1).all()
    assert (found[1] == 0.0).all()


def test_what_lies_where_nothing_is_observed_has_no_effect() -> None:
    history = np.random.default_rng(0).normal(size=(3, 12))
    observed = np.ones((3, 12))
    observed[:, [2, 7, 11]] = 0
    forecaster = forecaster_of(*random_map(12, 5))
    expected = forecaster.predict_arrays(history, observed)["forecast"]
    for filler in (np.nan, 1e9):
        changed = np.where(observed > 0, history, filler)
        np.testing.assert_array_equal(forecaster.predict_arrays(changed, observed)["forecast"], expected)


def test_the_same_map_gives_the_same_bytes() -> None:
    linear, offsets = random_map(13, 6)
    spec = linear_spec(13, H, QUANTILES)
    assert build_linear_graph(spec, linear, offsets) == build_linear_graph(spec, linear, offsets)
    assert build_linear_graph(spec, linear, 2 * offsets) != build_linear_graph(spec, linear, offsets)
