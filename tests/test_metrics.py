from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import QUANTILES, SEASON, random_forecast, random_series, window

from pipeline.errors import GatecastError
from pipeline.metrics import Scores, rounded, score
from pipeline.seasonal import seasonal_scales
from pipeline.windows import Floats

if TYPE_CHECKING:
    from pipeline.windows import TestSet  # pytest would collect it

losses = import_module("utilsforecast.losses")  # after pipeline.metrics, which quiets its first compilation
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=8, deadline=None)


def random_case(seed: int) -> tuple[TestSet, Floats]:
    rng = np.random.default_rng(seed)
    _, test = window(random_series(rng))
    return test, random_forecast(rng, test)


def score_case(test: TestSet, forecast: Floats, quantiles: tuple[float, ...] = QUANTILES) -> Scores:
    return score(test.windows, forecast, quantiles=quantiles, ids=test.ids, history=test.history, season_length=SEASON)


def windows_of(test: TestSet, series: int) -> list[int]:
    return [int(n) for n in np.flatnonzero(test.windows.series == series)]


def loop_scores(test: TestSet, forecast: Floats, cells: Iterable[tuple[int, int]], series: int) -> dict[str, float]:
    """Errors of one series over the (window, step) cells named, from their definitions."""
    history = test.history[series]
    pairs = [(a, b) for a, b in zip(history[SEASON:], history[:-SEASON], strict=True) if not np.isnan(a - b)]
    targets = test.windows.targets()
    absolute, squared, smape, pinball, size = [], [], [], [], []
    inside: dict[str, list[bool]] = {"95": [], "80": [], "50": []}
    widths: dict[str, list[float]] = {"95": [], "80": [], "50": []}
    for window_number, step in cells:
        y, f = targets[window_number, step], forecast[window_number, step]
        if np.isnan(y):
            continue
        median = f[3]
        absolute.append(abs(y - median))
        squared.append((y - median) ** 2)
        smape.append(200 * abs(y - median) / (abs(y) + abs(median)))
        pinball.append(np.mean([max(q * (y - v), (q - 1) * (y - v)) for q, v in zip(QUANTILES, f, strict=True)]))
        size.append(abs(y))
        for level, low, high in (("95", 0, 6), ("80", 1, 5), ("50", 2, 4)):
            inside[level].append(f[low] <= y <= f[high])
            widths[level].append(f[high] - f[low])
    mae, rmse = float(np.mean(absolute)), float(np.sqrt(np.mean(squared)))
    return {
        "mae": mae,
        "rmse": rmse,
        "smape": float(np.mean(smape)),
        "mase": mae / float(np.mean([abs(a - b) for a, b in pairs])),
        "rmsse": rmse / float(np.sqrt(np.mean([(a - b) ** 2 for a, b in pairs]))),
        "scaled_crps": 2 * sum(pinball) / sum(size),
        **{f"coverage_{level}": float(np.mean(values)) for level, values in inside.items()},
        **{f"width_{level}": float(np.mean(values)) for level, values in widths.items()},
    }


@few
@given(seeds)
def test_errors_per_series_are_those_of_a_loop_over_all_cutoffs_and_steps(seed: int) -> None:
    test, forecast = random_case(seed)
    found = score_case(test, forecast).per_series
    assert list(found["unique_id"]) == ["a", "b", "c"]
    assert list(found["n_windows"]) == [sum(test.windows.series == number) for number in range(3)]
    for number in range(3):
        cells = [(n, step) for n in windows_of(test, number) for step in range(5)]
        expected = loop_scores(test, forecast, cells, number)
        assert found.iloc[number][list(expected)].to_dict() == pytest.approx(expected)


@few
@given(seeds)
def test_errors_per_step_are_means_over_series_of_a_loop_over_cutoffs(seed: int) -> None:
    test, forecast = random_case(seed)
    found = score_case(test, forecast).per_step
    assert list(found["step"]) == [1, 2, 3, 4, 5]
    for step in range(5):
        each = [
            loop_scores(test, forecast, [(n, step) for n in windows_of(test, number)], number) for number in range(3)
        ]
        expected = {name: float(np.mean([errors[name] for errors in each])) for name in each[0]}
        assert found.iloc[step][list(expected)].to_dict() == pytest.approx(expected)


@few
@given(seeds)
def test_every_error_agrees_with_utilsforecast_on_a_long_frame(seed: int) -> None:
    test, forecast = random_case(seed)
    found = score_case(test, forecast).per_series
    rows = [
        {"unique_id": test.ids[number], "y": y, **{f"q{place}": value for place, value in enumerate(quantiles)}}
        for number, targets, steps in zip(test.windows.series, test.windows.targets(), forecast, strict=True)
        for y, quantiles in zip(targets, steps, strict=True)
        if not np.isnan(y)
    ]
    frame = pd.DataFrame(rows).assign(**{"q3-lo-80": lambda f: f["q1"], "q3-hi-80": lambda f: f["q5"]})
    history = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": np.arange(len(values)), "y": values})
        for name, values in zip(test.ids, test.history, strict=True)
    )
    expected = {
        "mae": losses.mae(frame, ["q3"]),
        "rmse": losses.rmse(frame, ["q3"]),
        "mase": losses.mase(frame, ["q3"], SEASON, history),
        "rmsse": losses.rmsse(frame, ["q3"], SEASON, history),
        "scaled_crps": losses.scaled_crps(frame, {"q3": [f"q{i}" for i in range(7)]}, np.array(QUANTILES)),
        "coverage_80": losses.coverage(frame, ["q3"], 80),
    }
    for name, result in expected.items():
        by_series = result.set_index("unique_id")["q3"].loc[test.ids]
        np.testing.assert_allclose(found[name], by_series, rtol=1e-12, err_msg=name)
    # The competition's sMAPE ends at 200, utilsforecast's at 1.
    smape = losses.smape(frame, ["q3"]).set_index("unique_id")["q3"].loc[test.ids]
    np.testing.assert_allclose(found["smape"], 200 * smape)


@few
@given(seeds, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_mase_and_rmsse_do_not_change_with_scale_and_offset(seed: int, scale: float, offset: float) -> None:
    test, forecast = random_case(seed)
    moved = replace(
        test,
        windows=replace(test.windows, values=scale * test.windows.values + offset),
        history=[scale * values + offset for values in test.history],
    )
    before, after = score_case(test, forecast).overall, score_case(moved, scale * forecast + offset).overall
    for name in ("mase", "rmsse", "coverage_80"):
        assert after[name] == pytest.approx(before[name], rel=1e-6)
    for name in ("mae", "rmse", "width_80"):
        assert after[name] == pytest.approx(scale * before[name], rel=1e-6)


@few
@given(seeds)
def test_overall_is_the_mean_over_series_whatever_their_number_of_windows(seed: int) -> None:
    test, forecast = random_case(seed)
    keep = (test.windows.series > 0) | (np.arange(len(test.windows)) % 3 == 0)
    windows = replace(test.windows, positions=test.windows.positions[keep], series=test.windows.series[keep])
    found = score_case(replace(test, windows=windows), forecast[keep])
    assert len(set(found.per_series["n_windows"])) > 1
    for name, value in found.overall.items():
        assert value == pytest.approx(np.mean(found.per_series[name]))


@few
@given(seeds)
def test_scaled_crps_of_a_point_is_its_absolute_error_over_the_size_of_the_targets(seed: int) -> None:
    test, forecast = random_case(seed)
    point = np.repeat(forecast[:, :, 3:4], len(QUANTILES), axis=2)
    found = score_case(test, point).per_series
    targets = test.windows.targets()
    for number in range(3):
        rows = test.windows.series == number
        error = np.nansum(np.abs(targets[rows] - point[rows][:, :, 0]))
        assert found["scaled_crps"][number] == pytest.approx(error / np.nansum(np.abs(targets[rows])))
    assert score_case(test, forecast[:, :, 3:4], (0.5,)).overall["scaled_crps"] == pytest.approx(
        found["scaled_crps"].mean()
    )


@few
@given(seeds, st.integers(0, 40))
def test_coverage_counts_the_targets_inside_their_ends_included(seed: int, outside: int) -> None:
    rng = np.random.default_rng(seed)
    _, test = window(random_series(rng, count=1))
    targets = test.windows.targets()
    offsets = np.array([-3.0, -2, -1, 0, 1, 2, 3])
    forecast = np.where(np.isfinite(targets), targets, 0.0)[:, :, None] + offsets
    seen = np.argwhere(np.isfinite(targets))
    for row, step in rng.permutation(seen)[:outside]:
        forecast[row, step] += 3.5
    ends = seen[rng.integers(len(seen))]
    assert score_case(test, forecast).overall["coverage_80"] == pytest.approx(1 - min(outside, len(seen)) / len(seen))
    at_the_end = forecast.copy()
    at_the_end[tuple(ends)] = targets[tuple(ends)] + (offsets - offsets[1])  # the target is the lower end
    assert score_case(test, at_the_end).overall["coverage_80"] >= score_case(test, forecast).overall["coverage_80"]


def test_a_perfect_forecast_has_no_error_and_covers_all() -> None:
    test, _ = random_case(0)
    targets = test.windows.targets()
    perfect = np.repeat(np.where(np.isfinite(targets), targets, 0.0)[:, :, None], len(QUANTILES), axis=2)
    expected = dict.fromkeys(("mae", "rmse", "smape", "mase", "rmsse", "scaled_crps", "width_80"), 0.0)
    assert score_case(test, perfect).overall == {**expected, "coverage_80": 1.0}


@pytest.mark.parametrize("price", [0.01, 3.0, 9.99, 12.49, 1e6])
def test_a_constant_is_covered_by_what_rounding_leaves_of_it(price: float) -> None:
    _, test = window([np.append(0.0, np.full(89, price))])
    forecast = np.full((len(test.windows), 5, len(QUANTILES)), np.expm1(np.log1p(price)))  # as of `transform: log1p`
    assert score_case(test, forecast).overall["coverage_80"] == 1
    assert score_case(test, forecast * (1 - 1e-9)).overall["coverage_80"] == 0


@few
@given(seeds)
def test_the_order_of_the_windows_does_not_matter(seed: int) -> None:
    test, forecast = random_case(seed)
    order = np.random.default_rng(seed).permutation(len(test.windows))
    shuffled = replace(
        test,
        windows=replace(test.windows, positions=test.windows.positions[order], series=test.windows.series[order]),
    )
    before, after = score_case(test, forecast), score_case(shuffled, forecast[order])
    pd.testing.assert_frame_equal(after.per_series, before.per_series)
    pd.testing.assert_frame_equal(after.per_step, before.per_step)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_forecast_that_is_not_finite_is_refused_even_where_the_target_is_missing(value: float) -> None:
    test, forecast = random_case(1)
    row, step = np.argwhere(np.isnan(test.windows.targets()))[0]
    forecast[row, step, 2] = value
    series = test.ids[test.windows.series[row]]
    with pytest.raises(GatecastError, match=f"series {series}, window {row}, step {step + 1}, quantile 0.25.*{value}"):
        score_case(test, forecast)


def test_a_forecast_of_other_shape_is_refused() -> None:
    test, forecast = random_case(1)
    with pytest.raises(GatecastError, match=r"\[N, H, Q\].*Received: \(\d+, 4, 7\)"):
        score_case(test, forecast[:, 1:])


def test_a_series_without_scale_leaves_the_mean_and_is_counted() -> None:
    test, forecast = random_case(2)
    whole = score_case(test, forecast)
    constant = replace(test, history=[np.full(50, 0.1), *test.history[1:]])
    found = score_case(constant, forecast)
    assert whole.series_without_scale == 0
    assert found.series_without_scale == 1
    assert found.overall["mase"] == pytest.approx(whole.per_series["mase"][1:].mean())
    assert found.overall["mae"] == whole.overall["mae"]


@pytest.mark.parametrize(
    "history",
    [
        *(np.full(50, 0.1), np.arange(SEASON) * 1.0, np.zeros(0), np.full(50, np.nan)),
        10 + 3 * np.sin(2 * np.pi * np.arange(200) / SEASON),  # equal but for the last bits
    ],
    ids=str,
)
def test_a_history_without_seasonal_differences_gives_no_scale(history: Floats) -> None:
    assert np.isnan(seasonal_scales([history], SEASON)).all()


def test_without_any_scale_the_metric_is_null_and_the_others_stay() -> None:
    test, forecast = random_case(3)
    found = score_case(replace(test, history=[np.zeros(0)] * 3), forecast).to_json()
    assert (found["mase"], found["rmsse"], found["series_without_scale"]) == (None, None, 3)
    assert found["mae"] > 0
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_targets_that_are_all_zero_have_no_scaled_crps() -> None:
    test, forecast = random_case(3)
    zero = replace(test, windows=replace(test.windows, values=np.where(np.isnan(test.windows.values), np.nan, 0.0)))
    assert np.isnan(score_case(zero, forecast).overall["scaled_crps"])


def test_series_without_windows_are_left_out() -> None:
    test, forecast = random_case(4)
    keep = test.windows.series != 1
    windows = replace(test.windows, positions=test.windows.positions[keep], series=test.windows.series[keep])
    assert list(score_case(replace(test, windows=windows), forecast[keep]).per_series["unique_id"]) == ["a", "c"]


def test_without_an_80_percent_interval_its_coverage_is_left_out() -> None:
    test, forecast = random_case(5)
    found = score_case(test, forecast[:, :, [0, 3, 6]], (0.0125, 0.5, 0.9875))
    assert "coverage_80" not in found.overall
    assert "coverage_97.5" in found.per_series


def test_figures_are_written_with_ten_digits_and_null_where_undefined() -> None:
    value = {"a": 1 / 3, "b": [float("nan"), float("inf"), 12345678901234.5], "c": {"d": 7, "e": "text", "f": True}}
    assert rounded(value) == {"a": 0.3333333333, "b": [None, None, 12345678900000.0], "c": value["c"]}
