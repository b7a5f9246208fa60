from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from panels import QUANTILES, SEASON, random_series, small_project, window
from typer.testing import CliRunner

from pipeline.baselines import choose_linear_map, spread_on_validation
from pipeline.bundle import load_bundle
from pipeline.cli import app
from pipeline.errors import BundleError
from pipeline.forecaster import Forecaster
from pipeline.intervals import forecast_columns
from pipeline.linear_bundle import check_parity, save_linear_map
from pipeline.linear_map import normalise
from pipeline.params import Params, StaticParams
from pipeline.server.versions import publish_bundle, verify_files
from pipeline.stages import baselines as stage
from pipeline.storage import write_json
from pipeline.windows import load_fit, load_test

FOLDER, FIT, TEST = Path("models/trained/ridge"), Path("data/windows/fit"), Path("data/windows/test")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    """A folder in which the stage has run, and its parameters."""
    folder = tmp_path_factory.mktemp("project")
    params = small_project(folder)
    data = params.data.model_copy(update={"freq": "D", "past_covariates": ("price",), "future_covariates": ("open",)})
    static = StaticParams(categorical=("town",), numeric=("area",))
    data = data.model_copy(update={"static_covariates": static})
    params = params.model_copy(update={"data": data, "train": params.train.model_copy(update={"refit": "all"})})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(stage, "load_params", lambda: params)
        stage.main()
    return folder, params


@pytest.fixture
def here(project: tuple[Path, Params], monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(project[0])
    return project[1]


def test_what_is_served_is_what_was_evaluated_on_the_test_part(here: Params) -> None:
    evaluated = pd.read_parquet("models/evaluation/baselines.parquet")
    test = load_test(TEST)
    found = Forecaster.load(FOLDER).predict_windows(test.windows)["forecast"]
    assert np.isnan(test.windows.contexts()).mean() > 0.05
    scale = normalise(test.windows.contexts())[2]
    for column, place in forecast_columns("ridge", QUANTILES):
        expected = evaluated[column].to_numpy().reshape(found.shape[:2])
        assert (np.abs(found[:, :, place] - expected) <= 1e-9 * scale).all(), column


def test_the_bundle_says_what_it_is_fitted_on_and_takes_no_covariates(here: Params) -> None:
    verify_files(FOLDER)
    bundle = load_bundle(FOLDER)
    meta, spec = bundle.meta, bundle.spec
    assert (spec.cell, spec.quantiles, spec.hparams.units, spec.inputs.past) == ("ridge", QUANTILES, 0, ())
    assert (meta["evaluated"], meta["fitted_on"], meta["calibrated"], meta["seeds"]) == (True, "train", True, [])
    assert meta["ridge_alpha"] in here.baselines.ridge_alphas
    assert meta["parameters"] == 13 * 5 + 5
    assert meta["season_length"] == SEASON
    columns = meta["columns"]
    assert columns["target_col"] == ["co2"]
    assert columns["past_covariates"] == columns["future_covariates"] == []
    assert columns["static_covariates"] == {"categorical": [], "numeric": []}


def test_a_file_is_forecast_by_it_where_params_say_so(here: Params, tmp_path: Path) -> None:
    weeks = pd.date_range("2024-01-06", periods=30, freq="D")
    history = pd.DataFrame({"week": weeks, "co2": 400 + np.random.default_rng(0).normal(size=30), "price": 1.0})
    history.to_csv(tmp_path / "history.csv", index=False)
    write_json({"best_on_validation": "gru", "served": "ridge"}, tmp_path / "verdict.json")
    arguments = ["forecast", str(tmp_path / "history.csv"), str(tmp_path / "out.csv"), "--comparison", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(": 1 series, 5 steps each, by ridge\n")
    assert result.stderr == ""
    written = pd.read_csv(tmp_path / "out.csv")
    assert list(written) == [
        "unique_id",
        "ds",
        "cutoff",
        *(column for column, _ in forecast_columns("ridge", QUANTILES)),
    ]
    refused = CliRunner().invoke(app, [*arguments, "--cell", "seasonal_naive"])
    assert "models/trained has no cell seasonal_naive. Trained: ridge" in refused.stderr


def test_it_can_be_published(here: Params, tmp_path: Path) -> None:
    assert Forecaster.load(publish_bundle(FOLDER, tmp_path, name="co2")).cell == "ridge"


def test_a_bundle_that_differs_from_the_map_is_refused(here: Params, tmp_path: Path) -> None:
    fit, _ = window(random_series(np.random.default_rng(0)))
    linear = choose_linear_map(fit, alphas=(1.0,), season_length=SEASON)
    offsets, _ = spread_on_validation(fit, linear.forecast, QUANTILES)
    save_linear_map(tmp_path / "ridge", linear, offsets, fit=fit, params=here, source=FIT)
    served = Forecaster.load(tmp_path / "ridge")
    check_parity(served, linear, offsets, fit.val)
    for other in (replace(linear, intercept=linear.intercept + 1e-7), replace(linear, season_length=5)):
        with pytest.raises(BundleError, match="the bundle of ridge differs from the baseline by"):
            check_parity(served, other, offsets, fit.val)


def test_it_is_fitted_on_the_training_part_alone_though_networks_are_refitted_on_all(here: Params) -> None:
    assert here.train.refit == "all"
    fit = load_fit(FIT)
    linear = choose_linear_map(fit, alphas=here.baselines.ridge_alphas, season_length=SEASON)
    offsets, _ = spread_on_validation(fit, linear.forecast, QUANTILES)
    check_parity(Forecaster.load(FOLDER), linear, offsets, fit.refit)
