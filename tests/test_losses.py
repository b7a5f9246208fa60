from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import QUANTILES, SEASON, random_forecast, random_series, window

from pipeline.errors import GatecastError
from pipeline.evaluation import score_test
from pipeline.evidence import Measured
from pipeline.losses import METRICS, Losses, average_horizons, load_losses, measure_losses, save_losses, step_losses
from pipeline.storage import sha256_of
from pipeline.windows import Floats

if TYPE_CHECKING:
    from pipeline.windows import TestSet  # pytest would collect it

ROOTS = ["rmse", "rmsse"]
HORIZON = 5
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=8, deadline=None)


def random_case(seed: int, *, missing: float = 0.1, count: int = 3) -> tuple[TestSet, Floats]:
    rng = np.random.default_rng(seed)
    _, test = window(random_series(rng, missing=missing, count=count))
    return test, random_forecast(rng, test)


def measure(test: TestSet, forecast: Floats) -> Losses:
    return measure_losses(test, forecast, quantiles=QUANTILES, season_length=SEASON)


def loop_loss(test: TestSet, forecast: Floats, number: int, step: int) -> dict[str, float]:
    """The losses of one step of one window from their definitions; NaN where its target is missing."""
    series, y, f = test.windows.series[number], test.windows.targets()[number, step], forecast[number, step]
    history = test.history[series]
    pairs = [a - b for a, b in zip(history[SEASON:], history[:-SEASON], strict=True) if not np.isnan(a - b)]
    own = test.windows.targets()[test.windows.series == series].ravel()
    pinball = [q * (y - v) if y >= v else (1 - q) * (v - y) for q, v in zip(QUANTILES, f, strict=True)]
    return {
        "mae": abs(y - f[3]),
        "rmse": (y - f[3]) ** 2,
        "smape": 200 * abs(y - f[3]) / (abs(y) + abs(f[3])),
        "mase": abs(y - f[3]) / np.mean(np.abs(pairs)),
        "rmsse": (y - f[3]) ** 2 / np.mean(np.square(pairs)),
        "scaled_crps": 2 * np.mean(pinball) / np.mean([abs(value) for value in own if not np.isnan(value)]),
    }


def mean_of(losses: list[dict[str, float]]) -> dict[str, float]:
    known = [loss for loss in losses if not np.isnan(loss["mae"])]
    return {name: float(np.mean([loss[name] for loss in known])) if known else np.nan for name in METRICS}


@few
@given(seeds)
def test_a_windows_losses_are_means_of_a_loop_over_its_observed_steps(seed: int) -> None:
    test, forecast = random_case(seed, missing=0.4)
    found = measure(test, forecast).windows
    assert list(found.columns) == ["unique_id", "cutoff", "steps", *METRICS]
    assert len(found) == len(test.windows)
    for number, position in enumerate(test.windows.positions):
        row = found.iloc[number]
        losses = [loop_loss(test, forecast, number, step) for step in range(HORIZON)]
        assert row["unique_id"] == test.ids[test.windows.series[number]]
        assert row["cutoff"] == test.ds[position - 1]
        assert row["steps"] == sum(not np.isnan(loss["mae"]) for loss in losses)
        assert row[list(METRICS)].to_dict() == pytest.approx(mean_of(losses), nan_ok=True)


@few
@given(seeds)
def test_a_cutoffs_step_is_the_mean_of_a_loop_over_the_series_observed_there(seed: int) -> None:
    test, forecast = random_case(seed, missing=0.4)
    found = measure(test, forecast).horizon
    assert list(found.columns) == ["cutoff", "step", *METRICS]
    cutoffs = test.ds[test.windows.positions - 1]
    row = 0
    for cutoff in sorted(set(cutoffs)):
        for step in range(HORIZON):
            losses = [loop_loss(test, forecast, int(number), step) for number in np.flatnonzero(cutoffs == cutoff)]
            assert (found["cutoff"][row], found["step"][row]) == (cutoff, step + 1)
            assert found.loc[row, list(METRICS)].to_dict() == pytest.approx(mean_of(losses), nan_ok=True)
            row += 1
    assert row == len(found)


@few
@given(seeds)
def test_what_the_verdict_compares_are_the_scores_however_many_targets_are_missing(seed: int) -> None:
    test, forecast = random_case(seed, missing=0.4)
    measured = Measured("gru", measure(test, forecast).windows.assign(forecast="11"))
    overall = score_test(test, forecast, quantiles=QUANTILES, season_length=SEASON).overall
    expected = pytest.approx({name: overall[name] for name in METRICS})
    assert {name: measured.error(name) for name in METRICS} == expected
    assert {name: np.nanmean(measured.networks(name, by="cutoff")) for name in METRICS} == expected


@few
@given(seeds)
def test_of_one_series_means_over_cutoffs_are_the_scores_by_step(seed: int) -> None:
    test, forecast = random_case(seed, missing=0, count=1)
    means = measure(test, forecast).horizon.groupby("step")[list(METRICS)].mean()
    means[ROOTS] = np.sqrt(means[ROOTS])
    expected = score_test(test, forecast, quantiles=QUANTILES, season_length=SEASON).per_step.set_index("step")
    same = [name for name in METRICS if name != "scaled_crps"]  # scores divide that one by each step's own mean |y|
    np.testing.assert_allclose(means[same], expected[same])


@few
@given(seeds, st.floats(1e-3, 1e3))
def test_all_but_mae_and_rmse_are_free_of_the_unit(seed: int, unit: float) -> None:
    test, forecast = random_case(seed)
    history = [unit * values for values in test.history]
    scaled = replace(test, windows=replace(test.windows, values=unit * test.windows.values), history=history)
    before, after = measure(test, forecast).windows, measure(scaled, unit * forecast).windows
    powers = {"mae": unit, "rmse": unit**2}
    for name in METRICS:
        np.testing.assert_allclose(after[name], powers.get(name, 1.0) * before[name], rtol=1e-9)


def test_cutoffs_that_are_whole_numbers_stay_whole_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    _, test = window(random_series(rng), whole_numbers=True)
    save_losses(measure(test, random_forecast(rng, test)).windows, tmp_path / "losses.parquet")
    found = load_losses(tmp_path / "losses.parquet")["cutoff"]
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, test.ds[test.windows.positions - 1])


def test_a_window_without_targets_has_no_loss_and_no_part_in_its_cutoffs_mean() -> None:
    test, forecast = random_case(1, missing=0)
    cutoffs = test.ds[test.windows.positions - 1]
    shared = np.intersect1d(cutoffs[test.windows.series == 1], cutoffs[test.windows.series == 2])[-1]  # past series 0
    twin, number = np.flatnonzero(cutoffs == shared)
    values = test.windows.values.copy()
    values[test.windows.positions[number] + np.arange(HORIZON)] = np.nan
    found = measure(replace(test, windows=replace(test.windows, values=values)), forecast)
    assert found.windows.loc[number, "steps"] == 0
    assert found.windows.loc[number, list(METRICS)].isna().all()
    means = found.horizon[found.horizon["cutoff"] == shared][list(METRICS)].mean()
    assert means.to_dict() == pytest.approx(found.windows.loc[twin, list(METRICS)].to_dict())


def test_a_series_without_a_scale_has_losses_in_its_own_unit_only() -> None:
    test, forecast = random_case(2, missing=0)
    unscaled = replace(test, history=[np.zeros(0), *test.history[1:]])
    found = measure(unscaled, forecast)
    first = found.windows["unique_id"] == "a"
    assert found.windows.loc[first, ["mase", "rmsse"]].isna().to_numpy().all()
    assert not found.windows.loc[first, ["mae", "rmse", "smape", "scaled_crps"]].isna().to_numpy().any()
    pd.testing.assert_frame_equal(found.windows[~first], measure(test, forecast).windows[~first])
    alone = found.horizon["cutoff"] < found.windows.loc[~first, "cutoff"].min()
    assert alone.any()
    np.testing.assert_array_equal(found.horizon["mase"].isna(), alone)


def test_zeros_forecast_as_zeros_lose_nothing_and_have_no_crps() -> None:
    zeros = np.zeros((2, 3))
    losses = step_losses(zeros, np.zeros((2, 3, 1)), quantiles=(0.5,), scales=np.ones((2, 2)), sizes=np.full(2, np.nan))
    found = dict(losses)
    assert tuple(found) == METRICS
    assert np.isnan(found.pop("scaled_crps")).all()
    assert not any(loss.any() for loss in found.values())


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_series_of_nothing_but_zeros_or_missing_targets_has_no_crps(value: float) -> None:
    test, forecast = random_case(5, missing=0)
    values = test.windows.values.copy()
    first = test.windows.series == 0
    values[test.windows.positions[first][:, None] + np.arange(HORIZON)] = value
    found = measure(replace(test, windows=replace(test.windows, values=values)), forecast).windows
    np.testing.assert_array_equal(found["scaled_crps"].isna(), first)


def test_horizons_of_several_forecasts_are_averaged_row_by_row() -> None:
    test, forecast = random_case(3)
    horizons = [measure(test, forecast + shift).horizon for shift in (0.0, 1.0, 2.0)]
    found = average_horizons(horizons)
    assert list(found.columns) == list(horizons[0].columns)
    pd.testing.assert_frame_equal(found[["cutoff", "step"]], horizons[0][["cutoff", "step"]])
    for name in METRICS:
        expected = (horizons[0][name] + horizons[1][name] + horizons[2][name]) / 3
        np.testing.assert_allclose(found[name], expected)


def test_saved_losses_are_read_back_and_are_the_same_bytes(tmp_path: Path) -> None:
    losses = measure(*random_case(4))
    tables: dict[str, Any] = {"losses": losses.windows, "horizon": losses.horizon}
    for name, table in tables.items():
        hashes = set()
        for folder in ("first", "second"):
            save_losses(table, tmp_path / folder / f"{name}.parquet")
            hashes.add(sha256_of(tmp_path / folder / f"{name}.parquet"))
        assert len(hashes) == 1
        pd.testing.assert_frame_equal(load_losses(tmp_path / "first" / f"{name}.parquet"), table)


def test_losses_that_are_not_there_are_asked_for_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(GatecastError, match=r"gru-losses\.parquet not found; run `dvc repro` to make it"):
        load_losses(tmp_path / "gru-losses.parquet")
