from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import QUANTILES, SEASON, WINDOW, random_series, small_project, window

from pipeline.errors import GatecastError
from pipeline.evaluation import (
    Evaluation,
    count_windows,
    evaluate_forecaster,
    forecast_frame,
    save_evaluation,
    score_test,
)
from pipeline.intervals import forecast_columns
from pipeline.losses import METRICS, load_losses, measure_losses
from pipeline.stages import evaluate as stage
from pipeline.storage import read_json, sha256_of
from pipeline.windows import Floats, Windows, split_missing

if TYPE_CHECKING:
    from pipeline.windows import TestSet  # pytest would collect it

losses = import_module("utilsforecast.losses")  # after pipeline.metrics, which quiets its first compilation
FIGURES = ["mae", "rmse", "smape", "mase", "rmsse", "scaled_crps", "coverage_80", "width_80"]
seeds = st.integers(0, 2**32 - 1)


@dataclass
class MeanForecaster:
    """Stands in for a bundle: the mean of each context, wider by `spread`, each network off by its seed."""

    meta: Mapping[str, Any] = field(default_factory=lambda: {"seeds": [11, 12, 13]})
    cell: str = "gru"
    quantiles: Sequence[float] = QUANTILES
    horizon: int = 5
    outputs: Sequence[str] = ("forecast", "uncalibrated", "members")

    def predict_windows(self, windows: Windows, *, outputs: Sequence[str]) -> dict[str, Floats]:
        history, observed = split_missing(windows.contexts())
        mean = (history * observed).sum(axis=1) / observed.sum(axis=1)
        shape = (len(mean), self.horizon, len(self.quantiles))
        spread = np.arange(len(self.quantiles)) - len(self.quantiles) // 2
        forecast = np.broadcast_to(mean[:, None, None], shape) + 0.5 * spread
        members = np.stack([forecast + seed / 10 for seed in self.meta["seeds"]])
        found = {"forecast": forecast, "uncalibrated": forecast - 0.2 * spread, "members": members}
        return {name: found[name] for name in outputs}


def small_test(seed: int = 0) -> TestSet:
    return window(random_series(np.random.default_rng(seed)))[1]


def evaluate(test: TestSet, **changes: Any) -> Evaluation:
    return evaluate_forecaster(MeanForecaster(**changes), test, season_length=SEASON)


def predict(test: TestSet) -> dict[str, Floats]:
    outputs = ("forecast", "uncalibrated", "members")
    return MeanForecaster().predict_windows(test.windows, outputs=outputs)


def overall_of(test: TestSet, forecast: Floats) -> dict[str, float]:
    return score_test(test, forecast, quantiles=QUANTILES, season_length=SEASON).overall


def test_a_copy_head_shows_what_it_copies_counted_from_the_cutoff() -> None:
    class Copier(MeanForecaster):
        def predict_windows(self, windows: Windows, *, outputs: Sequence[str]) -> dict[str, Floats]:
            weights = np.tile([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]], (len(windows), 1, 1))
            weights[: len(windows) // 2] = 1 / 3
            found = {"copy_weights": weights}
            rest = [name for name in outputs if name not in found]
            return {**found, **super().predict_windows(windows, outputs=rest)}

    test = small_test()
    assert len(test.windows) % 2 == 0
    copier = Copier(outputs=("forecast", "uncalibrated", "members", "copy_weights"))
    copies = evaluate_forecaster(copier, test, season_length=SEASON).copies
    assert copies is not None
    latest = copies[copies["past_segment"] == 1].set_index("future_segment")["weight"]
    assert latest.to_dict() == pytest.approx({1: (0.7 + 1 / 3) / 2, 2: (0.4 + 1 / 3) / 2})
    assert copies.groupby("future_segment")["weight"].sum().tolist() == pytest.approx([1, 1])
    plain = evaluate(test).copies
    assert plain is not None
    assert plain.empty


def test_the_ensemble_is_at_the_top_and_every_network_beside_it() -> None:
    test = small_test()
    evaluation, predicted = evaluate(test), predict(test)
    found, before = evaluation.metrics["gru"], evaluation.details["uncalibrated"]
    assert list(found) == [*FIGURES, "per_seed"]
    assert {name: found[name] for name in FIGURES} == pytest.approx(overall_of(test, predicted["forecast"]))
    uncalibrated = overall_of(test, predicted["uncalibrated"])
    assert list(before) == ["scaled_crps", "coverage_80", "width_80"]
    assert before == pytest.approx({name: uncalibrated[name] for name in before})
    assert [network["seed"] for network in found["per_seed"]] == [11, 12, 13]
    for network, member in zip(found["per_seed"], predicted["members"], strict=True):
        assert network == pytest.approx({"seed": network["seed"], **overall_of(test, member)})


def test_seeds_are_summed_up_by_mean_and_sample_standard_deviation() -> None:
    found = evaluate(small_test())
    for name in FIGURES:
        values = [network[name] for network in found.metrics["gru"]["per_seed"]]
        assert found.details["seeds_mean"][name] == pytest.approx(np.mean(values))
        assert found.details["seeds_sd"][name] == pytest.approx(np.std(values, ddof=1), abs=1e-7)


def test_the_spread_of_a_single_seed_is_not_known() -> None:
    found = evaluate(small_test(), meta={"seeds": [3]}).details
    assert set(found["seeds_sd"].values()) == {None}


def test_what_the_figures_rest_on_is_counted() -> None:
    test = small_test()
    found = evaluate(test).details
    by_series = [list(test.windows.series).count(series) for series in range(3)]
    assert (found["n_series"], found["n_cutoffs"], found["n_windows"]) == (3, max(by_series), len(test.windows))


def test_series_that_end_at_different_times_have_no_more_cutoffs_than_one_of_them() -> None:
    rng = np.random.default_rng(0)
    test = window([rng.normal(size=90), rng.normal(size=190)], WINDOW.model_copy(update={"test_size": 5}))[1]
    assert len(set(test.ds[test.windows.positions - 1])) == 2
    assert count_windows(test) == {"n_series": 2, "n_cutoffs": 1, "n_windows": 2}


def test_metrics_are_plain_json() -> None:
    evaluation = evaluate(small_test())
    for found in (evaluation.metrics, evaluation.details):
        assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_step_has_the_ensemble_and_every_seed() -> None:
    test = small_test()
    steps = evaluate(test).steps
    assert list(steps["forecast"].unique()) == ["ensemble", "11", "12", "13"]
    members = predict(test)["members"]
    twelve = score_test(test, members[1], quantiles=QUANTILES, season_length=SEASON).per_step
    np.testing.assert_allclose(steps.loc[steps["forecast"] == "12", "mase"], twelve["mase"])


def test_losses_have_the_ensemble_and_then_every_seed_window_by_window() -> None:
    test = small_test()
    losses, predicted = evaluate(test).losses, predict(test)
    assert list(losses.columns) == ["forecast", "unique_id", "cutoff", "steps", *METRICS]
    assert list(losses["forecast"].unique()) == ["ensemble", "11", "12", "13"]
    for name, forecast in zip(losses["forecast"].unique(), [predicted["forecast"], *predicted["members"]], strict=True):
        found = losses[losses["forecast"] == name].drop(columns="forecast").reset_index(drop=True)
        expected = measure_losses(test, forecast, quantiles=QUANTILES, season_length=SEASON).windows
        pd.testing.assert_frame_equal(found, expected)


def test_the_horizon_is_the_mean_of_single_networks_and_not_the_ensemble() -> None:
    test = small_test()
    horizon = evaluate(test).horizon
    single = [
        measure_losses(test, member, quantiles=QUANTILES, season_length=SEASON).horizon["mae"]
        for member in predict(test)["members"]
    ]
    assert list(horizon.columns) == ["cutoff", "step", *METRICS]
    np.testing.assert_allclose(horizon["mae"], np.mean(single, axis=0))


@settings(max_examples=8, deadline=None)
@given(seeds, st.booleans())
def test_forecasts_are_a_loop_over_windows_and_steps(seed: int, whole_numbers: bool) -> None:
    rng = np.random.default_rng(seed)
    _, test = window(random_series(rng), whole_numbers=whole_numbers)
    forecast = rng.normal(size=(len(test.windows), 5, len(QUANTILES)))
    frame = forecast_frame(test, {"gru": forecast}, quantiles=QUANTILES)
    row = 0
    for number, position in enumerate(test.windows.positions):
        for step in range(5):
            found = frame.iloc[row]
            assert found["unique_id"] == test.ids[test.windows.series[number]]
            assert found["ds"] == test.ds[position + step]
            assert found["cutoff"] == test.ds[position - 1]
            np.testing.assert_equal(found["y"], test.windows.values[position + step])
            assert found["gru"] == forecast[number, step, 3]
            assert (found["gru-lo-80"], found["gru-hi-80"]) == (forecast[number, step, 1], forecast[number, step, 5])
            row += 1
    assert row == len(frame)


def test_forecasts_are_told_at_the_times_of_the_users_zone() -> None:
    test = small_test()
    test = replace(test, meta={**test.meta, "freq": "h", "timezone": "Europe/Berlin"})
    forecast = np.zeros((len(test.windows), 5, len(QUANTILES)))
    frame = forecast_frame(test, {"gru": forecast}, quantiles=QUANTILES)
    plain = forecast_frame(small_test(), {"gru": forecast}, quantiles=QUANTILES)
    for column in ("ds", "cutoff"):
        assert str(frame[column].dtype) == "datetime64[us, Europe/Berlin]"
        instants = frame[column].dt.tz_convert("UTC").dt.tz_localize(None)
        pd.testing.assert_series_equal(instants, plain[column])


def test_columns_have_the_names_and_the_order_of_nixtla() -> None:
    assert list(evaluate(small_test()).forecasts.columns) == [
        *("unique_id", "ds", "cutoff", "y", "gru"),
        *("gru-lo-95", "gru-lo-80", "gru-lo-50", "gru-hi-50", "gru-hi-80", "gru-hi-95"),
    ]
    assert [name for name, _ in forecast_columns("m", (0.0125, 0.5, 0.9875))] == ["m", "m-lo-97.5", "m-hi-97.5"]
    assert forecast_columns("m", (0.5,)) == [("m", 0)]


@settings(max_examples=50)
@given(st.sets(st.integers(1, 499), max_size=6))
def test_a_column_names_its_quantile(thousandths: set[int]) -> None:
    low = [number / 1000 for number in sorted(thousandths)]
    quantiles = [*low, 0.5, *(1 - q for q in reversed(low))]
    columns = dict(forecast_columns("m", quantiles))
    assert sorted(columns.values()) == list(range(len(quantiles)))
    for name, place in columns.items():
        _, *end = name.split("-")
        share = float(end[1]) / 100 if end else 0.0
        assert quantiles[place] == pytest.approx(0.5 + (share / 2 if "hi" in end else -share / 2))


def test_saved_forecasts_give_the_saved_metrics_with_utilsforecast(tmp_path: Path) -> None:
    save_evaluation(evaluate(small_test()), tmp_path, name="gru")
    metrics = read_json(tmp_path / "gru.json")
    frame = pd.read_parquet(tmp_path / "gru.parquet").dropna().drop(columns="cutoff")
    assert losses.mae(frame, ["gru"])["gru"].mean() == pytest.approx(metrics["mae"])
    assert losses.coverage(frame, ["gru"], 80)["gru"].mean() == pytest.approx(metrics["coverage_80"])
    series = pd.read_csv(tmp_path / "gru-series.csv")
    assert list(series["unique_id"]) == ["a", "b", "c"]
    assert series["mase"].mean() == pytest.approx(metrics["mase"])
    assert len(pd.read_csv(tmp_path / "gru-steps.csv")) == 4 * 5
    ensemble = load_losses(tmp_path / "gru-losses.parquet").query("forecast == 'ensemble'")
    absolute = frame.assign(error=(frame["y"] - frame["gru"]).abs()).groupby("unique_id")["error"].sum()
    by_window = ensemble.assign(error=ensemble["mae"] * ensemble["steps"]).groupby("unique_id")["error"].sum()
    np.testing.assert_allclose(by_window, absolute)


def test_the_same_evaluation_is_the_same_bytes(tmp_path: Path) -> None:
    test = small_test()
    for folder in ("first", "second"):
        save_evaluation(evaluate(test), tmp_path / folder, name="gru")
    assert sha256_of(tmp_path / "first") == sha256_of(tmp_path / "second")
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == [
        *("gru-copy.csv", "gru-details.json", "gru-horizon.parquet", "gru-losses.parquet", "gru-series.csv"),
        *("gru-steps.csv", "gru.json", "gru.parquet"),
    ]


def test_undefined_figures_are_null_and_empty_fields(tmp_path: Path) -> None:
    save_evaluation(evaluate(replace(small_test(), history=[np.zeros(0)] * 3)), tmp_path, name="gru")
    metrics, details = read_json(tmp_path / "gru.json"), read_json(tmp_path / "gru-details.json")
    assert metrics["mase"] is details["seeds_mean"]["mase"] is metrics["per_seed"][0]["mase"] is None
    assert details["series_without_scale"] == 3
    assert metrics["mae"] > 0
    assert pd.read_csv(tmp_path / "gru-steps.csv")["mase"].isna().all()


def test_a_forecaster_of_another_horizon_is_refused() -> None:
    with pytest.raises(GatecastError, match="does not fit the windows"):
        evaluate(small_test(), horizon=4)


def test_the_stage_evaluates_the_bundle_of_the_cell_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = small_project(tmp_path)
    loaded: list[Path] = []

    def load(path: Path) -> MeanForecaster:
        loaded.append(path)
        return MeanForecaster(cell="lstm")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "load_params", lambda: params)
    monkeypatch.setattr("pipeline.stages.evaluate.Forecaster.load", load)
    stage.main("lstm")
    assert loaded == [Path("models/trained/lstm")]
    assert "lstm-lo-95" in pd.read_parquet("models/evaluation/lstm.parquet")
    assert read_json(Path("models/evaluation/lstm-details.json"))["n_series"] == 3
