from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from random_networks import build_inputs, build_spec
from shops import HPARAMS, Project, build_project, shop_frame
from trainings import SEEDS, params, train_here

from pipeline import trained
from pipeline.cost import parameter_count
from pipeline.errors import GatecastError, ParamsError
from pipeline.forecaster import Forecaster
from pipeline.hparams import NetworkSpec
from pipeline.params import load_params
from pipeline.stages import evaluate_view, train, train_view
from pipeline.storage import read_json, sha256_of, write_json
from pipeline.views import reference_cell, view_spec

CELLS = ("lstm", "gru", "rnn")
TUNED = {
    "lstm": build_spec("lstm", units=16, segment_length=4, layers=2),
    "gru": build_spec("gru", units=24, segment_length=5, head="copy", inputs=build_inputs()),
    "rnn": build_spec("rnn", units=40, segment_length=1),
}


def scores(**by_cell: float) -> dict[str, Any]:
    return {cell: {"best": {"score": score}} for cell, score in by_cell.items()}


def test_the_reference_is_the_cell_with_the_lowest_score_and_of_equals_the_first() -> None:
    assert reference_cell(scores(lstm=0.31, gru=0.3, rnn=0.4)) == "gru"
    assert reference_cell(scores(rnn=0.3, lstm=0.3, gru=0.5)) == "rnn"


@pytest.mark.parametrize("reference", CELLS)
def test_with_equal_units_networks_differ_in_their_cell_alone(reference: str) -> None:
    for cell in CELLS:
        assert view_spec("equal_units", cell, TUNED, reference=reference) == replace(TUNED[reference], cell=cell)


@pytest.mark.parametrize("reference", CELLS)
def test_with_equal_parameters_no_other_units_come_nearer(reference: str) -> None:
    goal = parameter_count(TUNED[reference])

    def with_units(cell: str, units: int) -> NetworkSpec:
        return replace(TUNED[reference], cell=cell, hparams=replace(TUNED[reference].hparams, units=units))

    for cell in CELLS:
        spec = view_spec("equal_parameters", cell, TUNED, reference=reference)
        assert spec == with_units(cell, spec.hparams.units)
        nearest = min(abs(parameter_count(with_units(cell, units)) - goal) for units in range(1, 200))
        assert abs(parameter_count(spec) - goal) == nearest


@pytest.mark.parametrize("view", ["equal_units", "equal_parameters"])
def test_the_reference_is_its_own_tuned_network_in_an_equal_view(view: str) -> None:
    for cell in CELLS:
        assert view_spec(view, cell, TUNED, reference=cell) == TUNED[cell]


def test_point_wise_networks_keep_their_own_hyperparameters_and_take_one_step_at_a_time() -> None:
    for cell in CELLS:
        spec = view_spec("point_wise", cell, TUNED, reference="gru")
        assert replace(spec.hparams, segment_length=TUNED[cell].hparams.segment_length) == TUNED[cell].hparams
        assert (spec.past_segments, spec.future_segments) == (13, 7)
        assert (spec.cell, spec.inputs) == (cell, TUNED[cell].inputs)


def test_an_unknown_view_is_told_with_those_there_are() -> None:
    with pytest.raises(GatecastError, match=r"equal_units, equal_parameters, point_wise. Received: equal;"):
        view_spec("equal", "gru", TUNED, reference="gru")


@pytest.mark.parametrize(
    ("views", "told"),
    [("[equal]", "compare.views.0: .* 'point_wise'. Received: \"equal\""), ("[point_wise, point_wise]", "repeat")],
)
def test_params_name_known_views_once_each(views: str, told: str, tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "params.yaml").read_text()
    assert "views: []" in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("views: []", f"views: {views}"))
    with pytest.raises(ParamsError, match=told):
        load_params(path)
    path.write_text(text.replace("views: []", "views: [point_wise, equal_units]"))
    assert load_params(path).compare.views == ("point_wise", "equal_units")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Stage train of a GRU, the best in tuning, then stages train_view and evaluate_view of both cells."""
    built = build_project(tmp_path_factory.mktemp("views"), shop_frame())
    used = params("none").model_copy(update={"cells": ("lstm", "gru")})
    tuned: Mapping[str, Any] = {"gru": replace(HPARAMS, units=24), "lstm": HPARAMS}
    for cell, score in (("lstm", 0.4), ("gru", 0.3)):
        found = {"best": {"score": score, "hparams": tuned[cell].to_json()}}
        write_json(found, built.folder / f"models/tuned/{cell}.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(built.folder)
        patch.setattr("pipeline.worker.load_tensorflow", lambda threads: None)
        patch.setattr(trained, "train_members", train_here)
        for stage in (train, train_view, evaluate_view):
            patch.setattr(stage, "load_params", lambda: used)
        train.main("gru")
        shutil.move("data/windows/test", "aside")  # what trains has to do without
        train_view.main("equal_parameters")
        shutil.move("aside", "data/windows/test")
        for cell in used.cells:
            evaluate_view.main("equal_parameters", cell)
    return built


def test_a_view_has_a_bundle_of_every_cell_as_stage_train_makes_them(project: Project) -> None:
    views = project.folder / "models/views/equal_parameters"
    assert sorted(path.name for path in views.iterdir()) == ["gru", "lstm"]
    lstm, gru = (Forecaster.load(views / cell) for cell in ("lstm", "gru"))
    assert gru.spec == project.spec("gru", units=24)
    tuned = {"gru": gru.spec, "lstm": project.spec("lstm")}
    assert lstm.spec == view_spec("equal_parameters", "lstm", tuned, reference="gru")
    assert 8 < lstm.spec.hparams.units < 24
    assert lstm.meta["seeds"] == gru.meta["seeds"] == list(SEEDS)
    trained_names = {path.name for path in (project.folder / "models/trained/gru").iterdir()}
    assert {path.name for path in (views / "lstm").iterdir()} == trained_names


def test_what_stage_train_has_trained_is_not_trained_again(project: Project) -> None:
    folder = project.folder
    assert sha256_of(folder / "models/views/equal_parameters/gru") == sha256_of(folder / "models/trained/gru")
    assert {path.name for path in (folder / ".scratch").iterdir() if path.is_dir()} == {
        "train-gru",
        "view-equal_parameters-lstm",
    }
    by_train = read_json(folder / "models/timings/train-gru.json")
    assert read_json(folder / "models/timings/view-equal_parameters.json")["gru"]["seeds"] == by_train["seeds"]


def test_the_timings_of_a_view_are_those_of_every_cell(project: Project) -> None:
    timings = read_json(project.folder / "models/timings/view-equal_parameters.json")
    assert list(timings) == ["lstm", "gru"]
    for told in timings.values():
        assert list(told) == ["seconds", "seeds", "inference_ms"]
        assert list(told["seeds"]) == [str(seed) for seed in SEEDS]
        for seed in told["seeds"].values():
            assert 1 <= seed["best_epoch"] <= seed["epochs"]
            assert 100 < seed["peak_memory_mib"] < 100_000  # TensorFlow alone takes some hundreds
        assert {size: len(taken) for size, taken in told["inference_ms"].items()} == {"1": 30, "64": 30}


def test_the_losses_of_a_view_are_of_every_network_and_test_window(project: Project) -> None:
    windows = len(project.test.windows)
    for cell in ("lstm", "gru"):
        losses = pd.read_parquet(project.folder / f"models/evaluation/view-equal_parameters-{cell}-losses.parquet")
        assert losses["forecast"].unique().tolist() == ["ensemble", *map(str, SEEDS)]
        assert len(losses) == (1 + len(SEEDS)) * windows
        assert np.isfinite(losses.loc[losses["steps"] > 0, "mae"]).all()
