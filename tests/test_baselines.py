from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import QUANTILES, SEASON, WINDOW, random_series, small_project, window
from sklearn.linear_model import Ridge

from pipeline import linear_map
from pipeline.baselines import PointForecaster, choose_linear_map, evaluate_baselines, residual_offsets
from pipeline.evaluation import Evaluation
from pipeline.linear_map import LinearMap, fit_linear_maps, normalise
from pipeline.metrics import score
from pipeline.params import load_params
from pipeline.seasonal import fill_missing, seasonal_drift, seasonal_naive
from pipeline.splits import save_windows
from pipeline.stages import baselines as stage
from pipeline.storage import sha256_of
from pipeline.windows import FitSet, Floats, TestSet, draw_rows, load_fit, load_test

ALPHAS = (0.1, 10.0, 1000.0)
seeds = st.integers(0, 2**32 - 1)
some = settings(max_examples=60, deadline=None)
few = settings(max_examples=6, deadline=None)


@st.composite
def contexts(draw: st.DrawFn) -> Floats:
    """Contexts [N, C], each with something observed."""
    rng = np.random.default_rng(draw(seeds))
    values = rng.normal(size=(draw(st.integers(1, 4)), draw(st.integers(1, 20)))).round(1)
    values[rng.random(values.shape) < draw(st.sampled_from([0.0, 0.3, 0.9]))] = np.nan
    empty = ~np.isfinite(values).any(axis=1)
    values[empty, rng.integers(values.shape[1])] = 1.0
    return values


def evaluate(fit: FitSet, test: TestSet) -> Evaluation:
    ridge = choose_linear_map(fit, alphas=ALPHAS, season_length=SEASON)
    return evaluate_baselines(fit, test, ridge=ridge, quantiles=QUANTILES, season_length=SEASON)


def loop_source(context: Floats, target: int, season: int) -> int:
    """Position of the value that is repeated at a target position."""
    place = target - season
    while place >= 0:
        if place < len(context) and not np.isnan(context[place]):
            return place
        place -= season
    return max(i for i in range(len(context)) if not np.isnan(context[i]))


def loop_drift(context: Floats, season: int) -> float:
    """Drift per step."""
    for place in reversed(range(season, len(context))):
        if not np.isnan(context[place] - context[place - season]):
            return float(context[place] - context[place - season]) / season
    return 0.0


def some_map(context_length: int, horizon: int) -> LinearMap:
    rng = np.random.default_rng(0)
    return LinearMap(rng.normal(size=(context_length, horizon)), rng.normal(size=horizon), 1.0, SEASON)


@some
@given(contexts(), st.integers(1, 15), st.integers(1, 8))
def test_seasonal_naive_and_drift_are_those_of_a_loop(history: Floats, horizon: int, season_length: int) -> None:
    season = season_length if season_length <= history.shape[1] else 1
    naive = seasonal_naive(history, horizon=horizon, season_length=season_length)
    drift = seasonal_drift(history, horizon=horizon, season_length=season_length)
    assert naive.shape == drift.shape == (len(history), horizon)
    for row, context in enumerate(history):
        for step in range(horizon):
            target = len(context) + step
            source = loop_source(context, target, season)
            assert naive[row, step] == context[source]
            expected = context[source] + (target - source) * loop_drift(context, season)
            assert drift[row, step] == pytest.approx(expected)


@some
@given(contexts(), st.integers(1, 8))
def test_filling_takes_the_season_before_else_the_step_before_else_the_mean(history: Floats, season: int) -> None:
    filled = fill_missing(history, season)
    within = season if season <= history.shape[1] else 1
    for row, values in enumerate(history):
        for step, value in enumerate(values):
            earlier = values[:step]
            seen = np.flatnonzero(np.isfinite(earlier))
            if np.isfinite(value):
                expected = value
            elif np.isfinite(earlier[step % within :: within]).any():
                expected = earlier[seen[seen % within == step % within][-1]]
            else:
                expected = earlier[seen[-1]] if len(seen) else np.nanmean(values)
            assert filled[row, step] == pytest.approx(expected)


@some
@given(contexts(), st.floats(1e-3, 1e3), st.floats(-1e6, 1e6))
def test_every_baseline_follows_an_affine_change_of_its_context(history: Floats, scale: float, shift: float) -> None:
    horizon, offset = 4, scale * shift
    forecasters: list[PointForecaster] = [
        partial(seasonal_naive, horizon=horizon, season_length=SEASON),
        partial(seasonal_drift, horizon=horizon, season_length=SEASON),
        some_map(history.shape[1], horizon).forecast,
    ]
    for forecaster in forecasters:
        expected = scale * forecaster(history) + offset
        np.testing.assert_allclose(forecaster(scale * history + offset), expected, rtol=1e-6, atol=1e-4 * scale)


def test_seasonal_naive_is_exact_on_a_season_and_drift_on_a_season_with_a_trend() -> None:
    steps = np.arange(60)
    season = np.random.default_rng(0).normal(size=SEASON)[steps % SEASON]
    trend = season + 0.3 * steps
    history = np.stack([season[:40], trend[:40]])
    history[:, [3, 20, 30, 34]] = np.nan  # another place in the season each
    naive = seasonal_naive(history, horizon=20, season_length=SEASON)
    drift = seasonal_drift(history, horizon=20, season_length=SEASON)
    np.testing.assert_allclose(naive[0], season[40:])
    np.testing.assert_allclose(drift, [season[40:], trend[40:]])


def test_a_context_shorter_than_a_season_repeats_its_last_value() -> None:
    history = np.array([[1.0, 2.0, 4.0, np.nan]])
    np.testing.assert_array_equal(seasonal_naive(history, horizon=3, season_length=7), [[4.0, 4.0, 4.0]])
    np.testing.assert_array_equal(seasonal_drift(history, horizon=3, season_length=7), [[8.0, 10.0, 12.0]])


def test_a_context_that_never_changes_is_forecast_as_it_is() -> None:
    history = np.full((2, 9), 0.1)
    history[1, :5] = np.nan
    np.testing.assert_array_equal(some_map(9, 4).forecast(history), np.full((2, 4), 0.1))


@few
@given(seeds, st.sampled_from([0.0, 0.2]))
def test_the_linear_map_is_the_weighted_ridge_regression_of_scikit_learn(seed: int, missing: float) -> None:
    fit, _ = window(random_series(np.random.default_rng(seed), missing=missing))
    windows = fit.train
    z, last, scale = normalise(windows.contexts())
    filled = fill_missing(z, SEASON)
    targets = np.where(scale > 0, windows.targets() - last, 0.0) / np.where(scale > 0, scale, 1.0)
    targets = fill_missing(np.concatenate([filled, targets], axis=1), SEASON)[:, 13:]
    weight = (scale[:, 0] / fit.loss_scale[windows.series]) ** 2
    for found in fit_linear_maps(windows, fit.loss_scale, alphas=ALPHAS, season_length=SEASON):
        twin = Ridge(alpha=found.alpha).fit(filled, targets, sample_weight=weight / weight.mean())
        np.testing.assert_allclose(found.weights, twin.coef_.T, atol=1e-8)
        np.testing.assert_allclose(found.intercept, twin.intercept_, atol=1e-8)
        expected = last + scale * twin.predict(filled)
        np.testing.assert_allclose(found.forecast(windows.contexts()), expected, atol=1e-7)


def test_the_linear_map_is_the_same_whatever_the_size_of_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, _ = window(random_series(np.random.default_rng(1)))
    (whole,) = fit_linear_maps(fit.train, fit.loss_scale, alphas=(1.0,), season_length=SEASON)
    monkeypatch.setattr(linear_map, "CHUNK", 7)
    (chunked,) = fit_linear_maps(fit.train, fit.loss_scale, alphas=(1.0,), season_length=SEASON)
    np.testing.assert_allclose(chunked.weights, whole.weights, atol=1e-10)


def test_of_too_many_windows_the_same_are_drawn_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, _ = window(random_series(np.random.default_rng(2)))
    monkeypatch.setattr(linear_map, "MAX_WINDOWS", 40)
    drawn = draw_rows(len(fit.train), 40)
    assert len(set(drawn)) == 40
    assert len(np.unique(fit.train.series[drawn])) == 3
    first, second = (
        fit_linear_maps(fit.train, fit.loss_scale, alphas=(1.0,), season_length=SEASON)[0] for _ in range(2)
    )
    np.testing.assert_array_equal(first.weights, second.weights)


def test_constant_series_leave_the_linear_map_without_weights() -> None:
    fit, _ = window([np.full(90, 3.0), np.arange(90.0)])  # of constant series alone there is no training part
    constant = fit.train.series == 0
    train = replace(fit.train, positions=fit.train.positions[constant], series=fit.train.series[constant])
    (found,) = fit_linear_maps(train, fit.loss_scale, alphas=(1.0,), season_length=SEASON)
    assert not found.weights.any()


def test_the_alpha_taken_has_the_lowest_mase_on_validation() -> None:
    fit, _ = window(random_series(np.random.default_rng(3)))
    errors = {
        found.alpha: score(
            fit.val,
            found.forecast(fit.val.contexts())[:, :, None],
            quantiles=(0.5,),
            ids=fit.ids,
            history=fit.history,
            season_length=SEASON,
        ).overall["mase"]
        for found in fit_linear_maps(fit.train, fit.loss_scale, alphas=ALPHAS, season_length=SEASON)
    }
    assert choose_linear_map(fit, alphas=ALPHAS, season_length=SEASON).alpha == min(errors, key=errors.__getitem__)


def test_without_any_scale_the_alpha_is_chosen_by_mae() -> None:
    fit, _ = window(random_series(np.random.default_rng(3), count=1))
    unscaled = replace(fit, history=[np.zeros(0)])
    chosen = choose_linear_map(unscaled, alphas=ALPHAS, season_length=SEASON)
    assert chosen.alpha == choose_linear_map(fit, alphas=ALPHAS, season_length=SEASON).alpha  # one series: the same


@some
@given(seeds, st.integers(0, 40))
def test_offsets_are_the_quantiles_of_the_errors_and_never_cross_the_median(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    residuals = rng.normal(1.0, size=(count, 3))
    residuals[rng.random(residuals.shape) < 0.2] = np.nan
    offsets = residual_offsets(residuals, QUANTILES)
    assert (np.diff(offsets, axis=1) >= 0).all()
    assert (offsets[:, 3] == 0).all()
    for step in range(3):
        known = residuals[:, step][np.isfinite(residuals[:, step])]
        for place, quantile in enumerate(QUANTILES):
            if len(known) and place != 3:
                bound = min if quantile < 0.5 else max
                assert offsets[step, place] == pytest.approx(bound(0.0, float(np.quantile(known, quantile))))
            else:
                assert offsets[step, place] == 0


def test_intervals_cover_what_they_claim_where_they_were_fitted() -> None:
    fit, test = window(random_series(np.random.default_rng(5), count=4), WINDOW.model_copy(update={"val_size": 40}))
    found = evaluate(fit, test)
    for name in ("seasonal_naive", "seasonal_drift", "ridge"):
        assert found.details["validation"][name]["coverage_80"] == pytest.approx(0.8, abs=0.05)


def test_targets_of_the_test_part_never_change_a_forecast() -> None:
    series = random_series(np.random.default_rng(6), count=2)
    changed = [np.concatenate([values[:-5], values[-5:] + 100.0]) for values in series]
    before, after = (evaluate(*window(panel)) for panel in (series, changed))
    rows = before.forecasts["cutoff"] <= before.forecasts.groupby("unique_id")["ds"].transform("max") - pd.Timedelta(
        5, "D"
    )
    models = before.forecasts.columns[4:]
    assert rows.sum() > 50
    pd.testing.assert_frame_equal(after.forecasts.loc[rows, models], before.forecasts.loc[rows, models])
    assert after.metrics["seasonal_naive"]["mae"] > before.metrics["seasonal_naive"]["mae"]
    assert after.details["validation"] == before.details["validation"]


def test_baselines_are_evaluated_side_by_side() -> None:
    fit, test = window(random_series(np.random.default_rng(7)))
    found = evaluate(fit, test)
    names = ["seasonal_naive", "seasonal_drift", "ridge"]
    assert list(found.metrics) == list(found.details["validation"]) == names
    assert found.details["ridge_alpha"] in ALPHAS
    assert found.details["n_windows"] == len(test.windows)
    assert [name for name in found.forecasts.columns[4:] if "-" not in name] == names
    assert list(found.steps["forecast"].unique()) == list(found.series["forecast"].unique()) == names
    naive = found.forecasts["seasonal_naive"].to_numpy().reshape(-1, test.windows.horizon)
    expected = seasonal_naive(test.windows.contexts(), horizon=test.windows.horizon, season_length=SEASON)
    np.testing.assert_array_equal(naive, expected)


def test_losses_of_every_baseline_stand_one_after_the_other() -> None:
    fit, test = window(random_series(np.random.default_rng(8), missing=0))
    found = evaluate(fit, test)
    names = ["seasonal_naive", "seasonal_drift", "ridge"]
    for table in (found.losses, found.horizon):
        assert table.columns[0] == "forecast"
        assert list(table["forecast"].unique()) == names
    assert found.losses["forecast"].value_counts().to_dict() == dict.fromkeys(names, len(test.windows))
    naive = found.forecasts.assign(error=(found.forecasts["y"] - found.forecasts["seasonal_naive"]).abs())
    by_window = naive["error"].to_numpy().reshape(len(test.windows), -1).mean(axis=1)
    np.testing.assert_allclose(found.losses.loc[found.losses["forecast"] == "seasonal_naive", "mae"], by_window)
    means = found.losses.groupby(["forecast", "unique_id"])["mase"].mean().groupby("forecast").mean()
    assert means.to_dict() == pytest.approx({name: found.metrics[name]["mase"] for name in names})


def test_the_baselines_of_the_committed_co2_data_have_their_known_errors(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    params = load_params(root / "params.yaml").window.model_copy(
        update={"context_length": 104, "horizon": 26, "val_size": 208, "test_size": 208, "step_size": 1, "stride": 1}
    )
    co2 = pd.read_csv(root / "data/raw/co2.csv", parse_dates=["week"])
    meta = {"freq": "W-SAT", "timezone": None}
    values, weeks = co2["co2"].to_numpy(np.float64), co2["week"].to_numpy()
    save_windows(["co2"], [values], [weeks], params, season_length=52, meta=meta, folder=tmp_path)
    fit, test = load_fit(tmp_path / "fit"), load_test(tmp_path / "test")
    ridge = choose_linear_map(fit, alphas=(100.0,), season_length=52)
    metrics = evaluate_baselines(fit, test, ridge=ridge, quantiles=(0.1, 0.5, 0.9), season_length=52).metrics
    assert metrics["seasonal_naive"]["mae"] / metrics["seasonal_naive"]["mase"] == pytest.approx(1.289, abs=5e-4)
    assert metrics["seasonal_naive"]["mase"] == pytest.approx(1.375, abs=1e-3)
    assert metrics["seasonal_drift"]["mase"] == pytest.approx(0.545, abs=1e-3)
    assert metrics["ridge"]["mase"] == pytest.approx(0.368, abs=1e-3)


def test_the_stage_writes_the_same_bytes_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = small_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "load_params", lambda: params)
    found = set()
    for _ in range(2):
        stage.main()
        found.add(sha256_of(Path("models")))
        files = sorted(path.name for path in Path("models/evaluation").iterdir())
        assert files == [
            *("baselines-details.json", "baselines-horizon.parquet", "baselines-losses.parquet"),
            *("baselines-series.csv", "baselines-steps.csv", "baselines.parquet"),
            *("ridge.json", "seasonal_drift.json", "seasonal_naive.json"),
        ]
        assert sorted(path.name for path in Path("models/trained").iterdir()) == ["ridge"]
    assert len(found) == 1
