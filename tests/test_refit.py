"""Stages train and final, in this process: what is served with each `train.refit`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shops import HPARAMS, QUANTILES, WINDOW, Project, build_project, shop_frame
from trainings import RULE, SEEDS, params, train_here

from pipeline import trained
from pipeline.ensemble import load_weights
from pipeline.forecaster import Forecaster
from pipeline.network import load_network, network_weights
from pipeline.onnx_graph import build_graph
from pipeline.params import CalibrateParams, Params
from pipeline.stages import final, train
from pipeline.storage import read_json, sha256_of, write_json
from pipeline.training import fit_network, refit_network
from pipeline.windows import load_everything

TUNED = replace(HPARAMS, linear="ridge", learning_rate=0.03)
TRAINED, FINAL = Path("models/trained/gru"), Path("models/final/gru")

Weights = Mapping[str, np.ndarray[Any, Any]]


def run(folder: Path, used: Params) -> None:
    """Runs train and final."""
    write_json({"best": {"hparams": TUNED.to_json()}}, folder / "models/tuned/gru.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("pipeline.worker.load_tensorflow", lambda threads: None)
        for module in (trained, final):
            patch.setattr(module, "train_members", train_here)
        for stage in (train, final):
            patch.setattr(stage, "load_params", lambda: used)
            stage.main("gru")


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """A project for `none`, one for `all`, and one for `all` whose very last value is another."""
    frame = shop_frame()
    other = frame.copy()
    last = other[other["shop"] == "b"]["hour"].idxmax()
    assert np.isfinite(other.loc[last, "sold"])
    other.loc[last, "sold"] += 3
    built = {
        name: build_project(tmp_path_factory.mktemp(name), rows)
        for name, rows in (("none", frame), ("all", frame), ("other", other))
    }
    run(built["none"].folder, params("none"))
    run(built["all"].folder, params("all"))
    # What stage train keeps is good for the other one too, if it depends on the fit part alone.
    shutil.copytree(built["all"].folder / ".scratch/train-gru", built["other"].folder / ".scratch/train-gru")
    run(built["other"].folder, params("all"))
    return built


def served_weights(folder: Path) -> dict[int, Weights]:
    return {seed: network_weights(load_network(folder / f"seed-{seed}.keras")) for seed in SEEDS}


def equal(one: Weights, other: Weights) -> bool:
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


def calibration_of(project: Project) -> Any:
    return np.array(read_json(project.folder / TRAINED / "training.json")["calibration"])


def test_without_a_refit_the_networks_of_the_best_epoch_are_served(projects: dict[str, Project]) -> None:
    project = projects["none"]
    spec, served = project.fit.spec("gru", QUANTILES, TUNED), served_weights(project.folder / TRAINED)
    told = read_json(project.folder / TRAINED / "training.json")["seeds"]
    for seed in SEEDS[:1]:
        best = fit_network(spec, project.fit, seed=seed, patience=5, **RULE)
        assert equal(served[seed], network_weights(best.network))
        assert told[str(seed)] == {"best_epoch": best.best_epoch, "alpha": best.alpha}


def test_a_refit_serves_networks_of_training_and_validation_part(projects: dict[str, Project]) -> None:
    project = projects["all"]
    spec, served = project.fit.spec("gru", QUANTILES, TUNED), served_weights(project.folder / TRAINED)
    told = read_json(project.folder / TRAINED / "training.json")["seeds"]
    for seed in SEEDS[1:]:
        found = {"epochs": told[str(seed)]["best_epoch"], "alpha": told[str(seed)]["alpha"]}
        again = refit_network(spec, project.fit.refit, project.fit.refit_scale, seed=seed, **found, **RULE)
        assert equal(served[seed], network_weights(again))
    assert len(project.fit.refit) > len(project.fit.train)
    for name in ("none", "other"):
        assert equal(served[1], served_weights(projects[name].folder / TRAINED)[1]) == (name == "other")


def test_what_is_measured_on_validation_has_not_seen_it_whatever_is_served(projects: dict[str, Project]) -> None:
    folders = [projects[name].folder / TRAINED for name in ("none", "all")]
    for file in ("validation.json", "training.json", "curves.csv"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()
    assert (folders[0] / "forecaster.onnx").read_bytes() != (folders[1] / "forecaster.onnx").read_bytes()
    project = projects["all"]
    scratch = next((project.folder / ".scratch/train-gru").iterdir())
    fitted = [load_weights(scratch / f"fitted-{seed}.npz") for seed in SEEDS]
    assert equal(fitted[0], served_weights(folders[0])[1])
    spec = project.fit.spec("gru", QUANTILES, TUNED)
    forecaster = Forecaster(build_graph(spec, fitted, calibration_of(project)), spec, {})
    assert trained.validation(forecaster, project.fit, params("all")) == read_json(folders[1] / "validation.json")


@pytest.mark.parametrize("kind", [TRAINED, FINAL])
def test_a_bundle_is_made_of_its_networks_and_the_calibration_before_the_refit(
    kind: Path, projects: dict[str, Project]
) -> None:
    project = projects["all"]
    loaded, windows = Forecaster.load(project.folder / kind), project.test.windows
    spec = project.fit.spec("gru", QUANTILES, TUNED)
    graph = build_graph(spec, list(served_weights(project.folder / kind).values()), calibration_of(project))
    expected = Forecaster(graph, spec, {}).predict_windows(windows)["forecast"]
    np.testing.assert_array_equal(loaded.predict_windows(windows)["forecast"], expected)
    assert calibration_of(project).shape == (WINDOW.horizon, len(QUANTILES))
    assert np.abs(calibration_of(project)).max() > 0
    assert (loaded.spec, loaded.meta["seeds"], loaded.meta["calibrated"]) == (spec, list(SEEDS), True)
    assert loaded.meta["evaluated"] == (kind == TRAINED)


def test_the_final_networks_have_seen_the_very_last_step(projects: dict[str, Project]) -> None:
    one, other = projects["all"].folder, projects["other"].folder
    assert sha256_of(one / "data/windows/fit") == sha256_of(other / "data/windows/fit")
    assert len(list((other / ".scratch/train-gru").iterdir())) == 1
    assert sha256_of(one / TRAINED) == sha256_of(other / TRAINED)
    for seed in SEEDS:
        assert not equal(served_weights(one / FINAL)[seed], served_weights(other / FINAL)[seed])
        assert not equal(served_weights(one / FINAL)[seed], served_weights(one / TRAINED)[seed])


def test_the_final_networks_are_trained_by_the_rule_that_validation_found(projects: dict[str, Project]) -> None:
    project = projects["all"]
    windows, scale = load_everything(project.folder / "data/windows/test", WINDOW)
    assert windows.positions.max() + WINDOW.horizon == len(windows.values)
    told = read_json(project.folder / TRAINED / "training.json")["seeds"]["2"]
    found = {"epochs": told["best_epoch"], "alpha": told["alpha"]}
    spec = project.fit.spec("gru", QUANTILES, TUNED)
    again = refit_network(spec, windows, scale, seed=2, **found, **RULE)
    assert equal(network_weights(again), served_weights(project.folder / FINAL)[2])


def test_the_final_bundle_tells_what_it_was_trained_on(projects: dict[str, Project]) -> None:
    trained, final_ = (read_json(projects["all"].folder / kind / "forecaster.json") for kind in (TRAINED, FINAL))
    assert trained["training_range"]["start"] == final_["training_range"]["start"]
    assert trained["training_range"]["end"] < final_["training_range"]["end"]
    assert trained["data_sha256"] != final_["data_sha256"]
    for key in ("ids", "vocabularies", "columns", "repair", "freq", "hparams", "inputs", "params_sha256"):
        assert trained[key] == final_[key], key
    history = shop_frame()
    future = history.assign(hour=history["hour"] + np.timedelta64(24, "h"))
    forecaster = Forecaster.load(projects["all"].folder / FINAL)
    assert len(forecaster.forecast(history, future=future.dropna(subset="promo"))) == 4 * WINDOW.horizon


def test_without_a_final_training_there_is_a_note_alone(projects: dict[str, Project], tmp_path: Path) -> None:
    folder = projects["none"].folder / FINAL
    assert {path.name: read_json(path) for path in folder.iterdir()} == {
        "not-made.json": {"made": False, "why": "train.refit is none"}
    }
    shutil.copytree(projects["all"].folder, tmp_path / "copy")
    run(tmp_path / "copy", params("fit"))
    assert [path.name for path in (tmp_path / "copy" / FINAL).iterdir()] == ["not-made.json"]
    assert sha256_of(tmp_path / "copy" / TRAINED) == sha256_of(projects["all"].folder / TRAINED)


def test_without_calibration_the_networks_own_quantiles_are_served(
    projects: dict[str, Project], tmp_path: Path
) -> None:
    project, plain = projects["none"], params("none").model_copy(update={"calibrate": CalibrateParams(method="none")})
    shutil.copytree(project.folder, tmp_path / "plain")
    run(tmp_path / "plain", plain)
    loaded = Forecaster.load(tmp_path / "plain" / TRAINED)
    windows = project.test.windows
    found = loaded.predict_windows(windows, outputs=("forecast", "uncalibrated"))
    np.testing.assert_array_equal(found["forecast"], found["uncalibrated"])
    told = read_json(tmp_path / "plain" / TRAINED / "training.json")
    assert (told["calibration"], told["calibration_share"], loaded.meta["calibrated"]) == (None, 0.0, False)
    calibrated = Forecaster.load(project.folder / TRAINED).predict_windows(windows)["forecast"]
    assert np.abs(calibrated - found["forecast"]).max() > 1e-3
