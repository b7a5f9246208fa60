"""`dvc repro` in fresh copies of the project, with a small configuration: the hashes, the cache, and kills."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.metrics import HEADLINE
from pipeline.storage import read_json, sha256_of

ROOT = Path(__file__).parents[1]
YAML_12 = YAML(typ="safe", pure=True)
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
KINDS = ("trained", "final")
EXEMPT = ("models/timings", "models/report", "models/export")  # seconds are in them, or in files of them


def fresh_copy(folder: Path) -> Path:
    """The project as a new user has it, with a search and a training that take seconds."""
    folder.mkdir()
    for name in ("pipeline", ".dvc", "data/raw"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("cache", "config.local", "tmp", "__pycache__")
        )
    shutil.copyfile(ROOT / "dvc.yaml", folder / "dvc.yaml")
    params = YAML_12.load((ROOT / "params.yaml").read_text())
    params["window"] |= {"context_length": 52, "horizon": 13, "min_context": 52, "step_size": 4}
    params["tune"] |= {"parallel": 1, "max_trials": 4, "max_epochs": 3, "patience": 2, "windows_per_epoch": 512}
    params["train"] |= {"parallel": 1, "seeds": [1, 2], "max_epochs": 3, "patience": 2, "windows_per_epoch": 512}
    params["train"]["refit"] = "all"
    for space in params["tune"]["space"].values():
        space |= {"segment_length": ["season/4"], "units": [8, 12], "layers": [1], "batch_size": [64]}
        space |= {"linear": ["none", "ridge"], "calendar": ["auto"], "identity": ["none", "embedding"]}
    write_params(folder, params)
    dvc(folder, "config", "core.no_scm", "true")
    return folder


def stand_in(folder: Path) -> Path:
    """A copy in which every stage only writes its outputs, so that all have run in seconds."""
    fresh_copy(folder)
    (folder / "stand_in.sh").write_text(
        'for out; do case $out in *.*) mkdir -p "${out%/*}" && echo "$out" > "$out" ;;'
        ' *) mkdir -p "$out" && echo "$out" > "$out/audit.json" ;; esac; done\n'
    )
    stages = YAML_12.load((folder / "dvc.yaml").read_text())
    for stage in stages["stages"].values():
        outs = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, ())]
        stage["cmd"] = f"sh stand_in.sh {' '.join(out if isinstance(out, str) else next(iter(out)) for out in outs)}"
    with (folder / "dvc.yaml").open("w") as file:
        YAML_12.dump(stages, file)
    dvc(folder, "repro")
    return folder


def write_params(folder: Path, params: dict[str, Any]) -> None:
    with (folder / "params.yaml").open("w") as file:
        YAML_12.dump(params, file)


def read_params(folder: Path) -> dict[str, Any]:
    return dict(YAML_12.load((folder / "params.yaml").read_text()))


def dvc(folder: Path, *arguments: str) -> str:
    """Runs dvc and gives what it printed."""
    run = subprocess.run(
        ["dvc", *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=540, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def stages_run(output: str) -> list[str]:
    """The stages that ran; those taken from the cache are not among them."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def hashes(folder: Path) -> dict[str, str]:
    """Of every output of every stage, and of every exported file but the one that tells latencies."""
    lock = YAML_12.load((folder / "dvc.lock").read_text())
    exported = [path for path in folder.glob("models/export/**/*") if path.is_file() and path.name != "parity.json"]
    assert {"saved_model.pb", "gatecast.tflite"} <= {path.name for path in exported}
    return {str(path.relative_to(folder)): sha256_of(path) for path in exported} | {
        out["path"]: out["md5"]
        for stage in lock["stages"].values()
        for out in stage["outs"]
        if not out["path"].startswith(EXEMPT)
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which everything has run once, undisturbed."""
    folder = fresh_copy(tmp_path_factory.mktemp("dvc") / "project")
    dvc(folder, "repro")
    return folder


def test_a_second_run_does_nothing(project: Path) -> None:
    output = dvc(project, "repro")
    assert stages_run(output) == []
    assert "up to date" in output


def test_dropping_a_cell_runs_compare_and_report_only_and_putting_it_back_is_all_cache(project: Path) -> None:
    params = read_params(project)
    before = hashes(project)
    write_params(project, params | {"cells": ["lstm"]})
    assert stages_run(dvc(project, "repro")) == ["compare", "report"]
    assert "gru" not in (project / "models" / "comparison" / "table.csv").read_text()
    write_params(project, params)
    assert stages_run(dvc(project, "repro")) == []
    assert hashes(project) == before


def test_adding_a_cell_runs_its_own_stages_and_what_follows_compare_alone(tmp_path: Path) -> None:
    folder = stand_in(tmp_path / "stand_in")
    params = read_params(folder)
    write_params(folder, params | {"cells": [*params["cells"], "rnn"]})
    of_rnn = [f"{stage}@rnn" for stage in ("evaluate", "export", "final", "train", "tune")]
    assert sorted(stages_run(dvc(folder, "repro"))) == sorted(["compare", "report", *of_rnn])


def test_editing_one_cells_search_space_touches_that_cell_and_what_follows_alone(project: Path) -> None:
    params = read_params(project)
    edited = read_params(project)
    edited["tune"]["space"]["gru"]["units"] = [16]
    write_params(project, edited)
    try:
        assert stages_run(dvc(project, "repro", "--dry")) == ["tune@gru"]
        after = dvc(project, "repro", "--dry", "--force", "--downstream", "tune@gru")
        of_gru = [f"{stage}@gru" for stage in ("evaluate", "export", "final", "train", "tune")]
        assert sorted(stages_run(after)) == sorted(["compare", "report", *of_gru])
    finally:
        write_params(project, params)


def test_what_users_of_dvc_look_at_is_there(project: Path) -> None:
    shown = json.loads(dvc(project, "metrics", "show", "--json"))[""]["data"]
    models = ("lstm", "gru", "seasonal_naive", "seasonal_drift", "ridge")
    assert {path for path, found in shown.items() if found} == {f"models/evaluation/{name}.json" for name in models}
    for found in shown.values():  # a row of one table each, narrow enough for a terminal
        assert set(found["data"]) == set(HEADLINE)
    graph = dvc(project, "dag")
    assert "tune@gru" in graph
    plots = dvc(project, "plots", "show", "-o", str(project / "plots"))
    page = Path(plots.split("file://")[1].split()[0]).read_text()
    assert page.count("vegaEmbed(") >= 2
    assert "undefined" not in plots


def test_the_models_of_all_data_lie_apart_and_are_not_evaluated(project: Path) -> None:
    for cell in ("lstm", "gru"):
        trained, final = (read_json(project / "models" / kind / cell / "forecaster.json") for kind in KINDS)
        assert (trained["evaluated"], final["evaluated"]) == (True, False)
        assert trained["training_range"]["end"] < final["training_range"]["end"]
        assert trained["files"]["forecaster.onnx"] != final["files"]["forecaster.onnx"]
        for key in ("cell", "hparams", "inputs", "seeds", "calibrated"):
            assert trained[key] == final[key]


def test_no_output_holds_seconds(project: Path) -> None:
    for path in project.joinpath("models").rglob("*.json"):
        if "timings" not in path.parts:
            assert "second" not in path.read_text(), path


def test_a_bad_value_ends_a_stage_with_one_line_and_the_way_back(project: Path) -> None:
    params = read_params(project)
    edited = read_params(project)
    edited["data"]["time_col"] = "wek"
    write_params(project, edited)
    try:
        run = subprocess.run(
            ["dvc", "repro"], cwd=project, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
        )
        told = run.stdout + run.stderr
        assert run.returncode != 0
        assert "Traceback" not in told
        assert "wek" in told
        assert "`dvc repro` brings them back from its cache" in told
    finally:
        write_params(project, params)
    dvc(project, "checkout")
    assert stages_run(dvc(project, "repro")) == []


def test_a_fair_view_is_trained_beside_the_tuned_networks_and_repeats_nothing(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "viewed"
    shutil.copytree(project, folder)
    params = read_params(folder)
    params["compare"]["views"] = ["equal_parameters"]
    write_params(folder, params)
    stages = ["train_view@equal_parameters", *(f"evaluate_view@equal_parameters-{cell}" for cell in ("gru", "lstm"))]
    output = dvc(folder, "repro")
    assert sorted(set(stages_run(output)) - {"compare", "report"}) == sorted(stages)
    scores = {cell: read_json(folder / f"models/tuned/{cell}.json")["best"]["score"] for cell in ("lstm", "gru")}
    reference, other = sorted(scores, key=lambda cell: scores[cell])
    assert f"{reference}: 2 seeds, 2 of them finished before" in output
    views = folder / "models/views/equal_parameters"
    assert sha256_of(views / reference) == sha256_of(folder / "models/trained" / reference)
    made, model = (read_json(path / "forecaster.json") for path in (views / other, views / reference))
    assert made["cell"] == other
    assert {**made["hparams"], "units": 0} == {**model["hparams"], "units": 0}
    assert abs(made["parameters"] / model["parameters"] - 1) < 0.15
    assert stages_run(dvc(folder, "repro")) == []


def kill_during_repro(folder: Path, seconds: float, *, group: bool) -> bool:
    """Starts `dvc repro` and kills it with -9 after a while; True if it had ended before."""
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        return False


def repro_with_kills(folder: Path, moments: list[tuple[float, bool]]) -> int:
    """Runs to the end with kills on the way; gives how many of them hit."""
    hits = 0
    for seconds, group in moments:
        if kill_during_repro(folder, seconds, group=group):
            break
        hits += 1
    dvc(folder, "repro")
    return hits


def test_a_run_killed_on_the_way_ends_with_the_hashes_of_an_undisturbed_one(project: Path, tmp_path: Path) -> None:
    rng = random.Random(4)
    folder = fresh_copy(tmp_path / "killed")
    moments = [(rng.uniform(10, 30), group) for group in (False, True)]
    assert repro_with_kills(folder, moments) >= 1
    assert hashes(folder) == hashes(project)


@pytest.mark.long
def test_ten_kills_change_nothing(project: Path, tmp_path: Path) -> None:
    rng = random.Random(time.time_ns())
    hits = 0
    for attempt in range(20):
        folder = fresh_copy(tmp_path / f"killed-{attempt}")
        hits += repro_with_kills(folder, [(rng.uniform(5, 25), rng.random() < 0.5) for _ in range(5)])
        assert hashes(folder) == hashes(project)
        if hits >= 10:
            return
    raise AssertionError("fewer than ten kills hit")
