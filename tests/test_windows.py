from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import GatecastError
from pipeline.params import WindowParams
from pipeline.splits import loss_scales, require_season, save_windows, split_positions
from pipeline.storage import sha256_of
from pipeline.windows import Floats, load_everything, load_fit, load_test


@st.composite
def window_params(draw: st.DrawFn) -> WindowParams:
    horizon = draw(st.integers(1, 8))
    context_length = draw(st.integers(1, 20))
    return WindowParams(
        context_length=context_length,
        horizon=horizon,
        val_size=horizon + draw(st.integers(0, 12)),
        test_size=horizon + draw(st.integers(0, 12)),
        step_size=draw(st.integers(1, 5)),
        stride=draw(st.integers(1, 3)),
        min_context=draw(st.integers(1, context_length)),
    )


@given(window_params(), st.integers(1, 120))
def test_the_windows_of_a_split_lie_in_it_and_end_where_it_ends(params: WindowParams, length: int) -> None:
    p = params
    bounds = (0, max(length - p.test_size - p.val_size, 0), max(length - p.test_size, 0), length)
    for positions, start, end in zip(split_positions(length, p), bounds, bounds[1:], strict=False):
        assert all(positions >= max(start, 1))
        assert all(positions + p.horizon <= end)
        if len(positions):
            assert positions[-1] + p.horizon == end


@given(window_params(), st.integers(60, 120))
def test_windows_a_horizon_apart_tile_the_validation_and_test_parts(params: WindowParams, length: int) -> None:
    params = params.model_copy(update={"step_size": params.horizon})
    _, val, test = split_positions(length, params)
    for positions, size in ((val, params.val_size), (test, params.test_size)):
        covered = np.concatenate([np.arange(p, p + params.horizon) for p in positions])
        assert len(set(covered)) == len(covered)
        assert len(covered) == size // params.horizon * params.horizon


@given(window_params(), st.integers(60, 120))
def test_with_a_step_size_of_one_every_origin_is_there(params: WindowParams, length: int) -> None:
    params = params.model_copy(update={"step_size": 1})
    _, val, test = split_positions(length, params)
    assert len(val) == params.val_size - params.horizon + 1
    assert len(test) == params.test_size - params.horizon + 1


def saved(series: list[Floats], params: WindowParams, folder: Path, *, season_length: int = 1) -> None:
    times = [np.datetime64("2020-01-01") + np.arange(len(v)).astype("timedelta64[D]") for v in series]
    ids = [f"s{i}" for i in range(len(series))]
    meta = {"freq": "D", "timezone": None}
    save_windows(ids, series, times, params, season_length=season_length, meta=meta, folder=folder)


SMALL = WindowParams(context_length=10, horizon=3, val_size=6, test_size=6, step_size=1, stride=1, min_context=4)


def numbered(*lengths: int) -> list[Floats]:
    """Series whose values tell their place: 1000 * series + step."""
    return [1000.0 * i + np.arange(n) for i, n in enumerate(lengths)]


def test_contexts_and_targets_equal_those_cut_by_hand(tmp_path: Path) -> None:
    series = numbered(30, 17, 40)
    series[0][5] = np.nan
    saved(series, SMALL, tmp_path)
    fit, test = load_fit(tmp_path / "fit"), load_test(tmp_path / "test")
    for windows, place in ((fit.train, 0), (fit.val, 1), (test.windows, 2)):
        expected = [(s, p) for s, values in enumerate(series) for p in split_positions(len(values), SMALL)[place]]
        assert len(windows) == len(expected)
        assert [int(s) for s in windows.series] == [s for s, _ in expected]
        for context, target, (s, p) in zip(windows.contexts(), windows.targets(), expected, strict=True):
            history = series[s][max(p - 10, 0) : p]
            np.testing.assert_array_equal(context, np.concatenate([np.full(10 - len(history), np.nan), history]))
            np.testing.assert_array_equal(target, series[s][p : p + 3])


def test_no_fit_window_touches_a_test_step(tmp_path: Path) -> None:
    series = numbered(30, 50)
    saved(series, SMALL, tmp_path)
    fit = load_fit(tmp_path / "fit")
    test_values = np.concatenate([values[-6:] for values in series])
    assert not np.isin(fit.train.values, test_values).any()
    assert (tmp_path / "fit").is_dir()
    everything = b"".join(path.read_bytes() for path in sorted((tmp_path / "fit").iterdir()))
    series[0][-6:] = -1e9
    saved(series, SMALL, tmp_path)
    assert everything == b"".join(path.read_bytes() for path in sorted((tmp_path / "fit").iterdir()))


def test_a_series_younger_than_the_parts_held_out_counts_once_networks_are_trained_on_them(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal
    flat_before = np.concatenate([np.ones(30), noise(12)])
    flat_before_test = np.concatenate([np.ones(36), noise(6)])
    series = [noise(40), noise(13), flat_before, flat_before_test, np.ones(40)]
    saved(series, SMALL, tmp_path)
    fit = load_fit(tmp_path / "fit")
    _, final_scale = load_everything(tmp_path / "test", SMALL)
    scales = (fit.loss_scale, fit.refit_scale, final_scale)
    assert [(scale > 0).tolist() for scale in scales] == [
        [True, False, False, False, False],
        [True, True, True, False, False],
        [True, True, True, True, False],
    ]
    for earlier, later in pairwise(scales):  # what has a unit keeps it
        np.testing.assert_array_equal(later[earlier > 0], earlier[earlier > 0])
    assert 1 in fit.refit.series


def test_covered_steps_are_those_of_some_context_or_target(tmp_path: Path) -> None:
    saved(numbered(30, 14, 40), SMALL, tmp_path)
    fit = load_fit(tmp_path / "fit")
    for windows in (fit.train, fit.val, fit.refit):
        shown = np.concatenate([windows.contexts().ravel(), windows.targets().ravel()])
        covered = windows.values[windows.covered()]
        assert set(covered[np.isfinite(covered)]) == set(shown[np.isfinite(shown)])
    assert fit.train.covered().sum() < fit.refit.covered().sum()


@given(st.integers(0, 29), st.floats(-1e6, 1e6))
def test_editing_a_value_changes_no_context_of_an_earlier_cutoff(
    tmp_path_factory: pytest.TempPathFactory, step: int, value: float
) -> None:
    folder = tmp_path_factory.mktemp("edit")
    before, after = numbered(30), numbered(30)
    after[0][step] = value
    saved(before, SMALL, folder / "before")
    saved(after, SMALL, folder / "after")
    a, b = (load_test(folder / name / "test").windows for name in ("before", "after"))
    earlier = a.positions - SMALL.context_length <= step
    np.testing.assert_array_equal(a.contexts()[earlier], b.contexts()[earlier])


def test_the_unit_of_the_loss_is_the_seasonal_naive_error_of_the_training_part_alone(tmp_path: Path) -> None:
    series = [np.array([1.0, 3.0] * 9 + [1e6] * 12)]
    saved(series, SMALL, tmp_path)
    assert load_fit(tmp_path / "fit").loss_scale == 2


def test_where_the_seasonal_naive_error_says_nothing_the_loss_is_in_units_of_the_spread() -> None:
    rng = np.random.default_rng(3)
    noise = rng.standard_normal(24)
    periodic, constant, unseen = np.tile(noise[:4], 6), np.full(24, 5.0), np.full(24, np.nan)
    barely = periodic + 1e-9 * noise
    found = loss_scales([noise, periodic, barely, constant, unseen, noise[:4]], 4)
    assert found[0] == pytest.approx(np.abs(noise[4:] - noise[:-4]).mean())
    assert found[[1, 5]] == pytest.approx([periodic.std(), noise[:4].std()])
    assert found[2] == pytest.approx(barely.std() / 1000)
    assert (found[3:5] == 0).all()


@given(st.floats(-1e9, 1e9), st.integers(2, 400))
def test_a_series_that_never_changes_has_no_unit_whatever_its_value(value: float, count: int) -> None:
    assert loss_scales([np.full(count, value)], 1) == 0  # the computed deviation of 365 times .3 is not 0


def test_values_below_zero_in_the_test_part_alone_are_told_and_change_nothing_of_the_fit_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, edited in (("positive", slice(0, 0)), ("negative", slice(-3, None)), ("always", slice(0, None))):
        series = [1.0 + np.arange(40.0)]
        series[0][edited] *= -1
        caplog.clear()
        saved(series, SMALL, tmp_path / name)
        assert ("leave log1p out of tune.space" in caplog.text) == (name == "negative")
    assert sha256_of(tmp_path / "positive/fit") == sha256_of(tmp_path / "negative/fit")


@pytest.mark.parametrize(("season", "refused"), [(7, False), (8, True), (100, True)])
def test_there_is_a_season_before_the_test_part(season: int, refused: bool) -> None:
    if not refused:
        require_season(8, season)
        return
    with pytest.raises(
        GatecastError, match=f"season_length {season} is as long as all .* test part, of at most 8 steps"
    ):
        require_season(8, season)


@pytest.mark.parametrize(
    ("season", "words", "told"),
    [
        (27, "MASE and RMSSE are undefined there", False),
        (28, "MASE and RMSSE are undefined there", True),  # as long as the training part
        (10, "drift forecasts go without a season", False),
        (11, "drift forecasts go without a season", True),  # longer than the context
    ],
)
def test_a_season_too_long_for_what_it_is_used_for_is_told(
    season: int, words: str, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved(numbered(40), SMALL, tmp_path, season_length=season)
    assert (words in caplog.text) == told


def test_a_training_part_that_never_changes_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    flat = np.append(np.full(28, 3.0), np.arange(12.0))
    with pytest.raises(GatecastError, match="never change in any of the 2 series .*val_size 6 and test_size 6"):
        saved([flat, flat], SMALL, tmp_path)
    assert not (tmp_path / "fit").exists()
    saved([flat, *numbered(40)], SMALL, tmp_path)
    assert load_fit(tmp_path / "fit").loss_scale.tolist()[0] == 0


def test_a_series_without_room_for_training_windows_is_still_evaluated(tmp_path: Path) -> None:
    saved(numbered(40, 9), SMALL, tmp_path)
    fit, test = load_fit(tmp_path / "fit"), load_test(tmp_path / "test")
    assert set(fit.train.series) == {0}
    assert set(test.windows.series) == {0, 1}


def test_windows_with_nothing_observed_are_left_out(tmp_path: Path) -> None:
    series = numbered(60)
    series[0][20:35] = np.nan
    saved(series, SMALL, tmp_path)
    fit = load_fit(tmp_path / "fit")
    assert np.isfinite(fit.train.contexts()).any(axis=1).all()
    assert np.isfinite(fit.train.targets()).any(axis=1).all()
    assert len(fit.train) < len(split_positions(60, SMALL)[0])


def test_timestamps_follow_the_padded_values(tmp_path: Path) -> None:
    saved(numbered(30, 20), SMALL, tmp_path)
    test = load_test(tmp_path / "test")
    windows = test.windows
    first = test.ds[windows.positions[0]]
    assert first == np.datetime64("2020-01-01") + np.timedelta64(24, "D")
    assert np.isnat(test.ds[:10]).all()


def test_history_ends_before_the_part_that_it_scales(tmp_path: Path) -> None:
    saved(numbered(30), SMALL, tmp_path)
    assert len(load_fit(tmp_path / "fit").history[0]) == 18
    assert len(load_test(tmp_path / "test").history[0]) == 24


def test_a_split_without_a_window_is_refused_with_the_lengths_that_matter(tmp_path: Path) -> None:
    with pytest.raises(GatecastError, match="no training window.*13 steps.*test_size 6 need 19"):
        saved(numbered(13), SMALL, tmp_path)
    assert not (tmp_path / "fit").exists()


def test_a_split_in_which_nothing_was_observed_is_told_so(tmp_path: Path) -> None:
    for part, name in ((slice(-6, None), "test"), (slice(0, -12), "training")):
        (series,) = numbered(40)
        series[part] = np.nan
        with pytest.raises(GatecastError, match=f"no {name} window with .*; 0 % of the steps there have a value"):
            saved([series], SMALL, tmp_path)


def test_overlapping_windows_are_worth_the_horizons_they_span(tmp_path: Path) -> None:
    saved(numbered(40, 50), SMALL, tmp_path / "overlapping")
    assert load_test(tmp_path / "overlapping" / "test").windows.independent() == pytest.approx(2 * 4 / 3)
    apart = SMALL.model_copy(update={"step_size": 3})
    saved(numbered(40, 50), apart, tmp_path / "apart")
    assert load_test(tmp_path / "apart" / "test").windows.independent() == pytest.approx(2 * 4 / 3)
    one = SMALL.model_copy(update={"val_size": 3, "test_size": 3})
    saved(numbered(40, 50), one, tmp_path / "one")
    assert load_test(tmp_path / "one" / "test").windows.independent() == 2
