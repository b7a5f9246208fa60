"""The installation that serves and forecasts, and knows nothing of training."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import httpx
import pandas as pd
import pytest
from server_models import history_of, trained

ROOT = Path(__file__).parents[1]
SLIM = ROOT / "requirements-serve.txt"
TRAINING = {"tensorflow", "keras", "keras-tuner", "dvc", "scikit-learn", "scipy", "onnx", "utilsforecast", "plotly"}
# What no command imports before it is needed, and what serving and forecasting never need.
NEVER = {"pipeline.onnx_graph", "pipeline.windows", "pipeline.splits"}


def pins(path: Path) -> set[str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return {line for line in lines if line and not line.startswith("#")}


def names(lines: set[str]) -> set[str]:
    return {re.split(r"[=<>; \[]", line)[0].lower().replace("_", "-").replace(".", "-") for line in lines}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, but for what only type checkers read."""
    tree = ast.parse(path.read_text())
    typing = {id(part) for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
              for part in ast.walk(node)}  # fmt: skip
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def closure(*modules: str) -> set[str]:
    """The packages of others that modules of ours bring in, however late."""
    todo, seen, others = list(modules), set(NEVER), set()
    while todo:
        name = todo.pop()
        if not name.startswith("pipeline"):
            others.add(name.partition(".")[0])
        path = ROOT / (name.replace(".", "/") + ".py")
        if name in seen or not path.exists():
            continue
        seen.add(name)
        todo += imported(path)
    return others - set(sys.stdlib_module_names)


def test_the_slim_requirements_are_versions_of_the_constraints() -> None:
    pinned = {line.split(";")[0].strip() for line in pins(ROOT / "constraints.txt")}
    assert {line.split(";")[0].strip() for line in pins(SLIM)} <= pinned


def test_the_slim_requirements_know_nothing_of_training() -> None:
    assert names(pins(SLIM)) & TRAINING == set()


def test_what_serving_and_forecasting_import_is_required() -> None:
    distributions = packages_distributions()
    modules = closure("pipeline.cli", "pipeline.server.app", "pipeline.server.process")
    needed = {name for module in modules for name in distributions.get(module, [module])}
    assert names(needed) - names(pins(SLIM)) == set()


@pytest.mark.long
def test_a_slim_environment_serves_and_forecasts(tmp_path: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("no uv to build an environment with")
    source = tmp_path / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", "pipeline"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    environment, project = tmp_path / "venv", tmp_path / "project"
    python = environment / "bin/python"
    commands = [
        [uv, "venv", "-q", "-p", sys.executable, str(environment)],
        [uv, "pip", "install", "-q", "-p", str(python), "-r", str(SLIM)],
        [uv, "pip", "install", "-q", "-p", str(python), "--no-deps", str(source)],
    ]
    for command in commands:
        subprocess.run(command, check=True)
    shutil.copytree(trained()["gru"], project / "models/trained/gru")
    pd.DataFrame(history_of({"a": 30})).to_csv(project / "history.csv", index=False)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    gatecast = str(environment / "bin/gatecast")
    forecast = [gatecast, "forecast", "history.csv", "forecast.csv", "--cell", "gru"]
    subprocess.run(forecast, cwd=project, env=clean, check=True)
    subprocess.run([gatecast, "publish", "--to", "published", "--cell", "gru"], cwd=project, env=clean, check=True)
    serve = [gatecast, "serve", "published", "--port", "0"]
    with subprocess.Popen(serve, cwd=project, env=clean, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = process.stderr.readline().partition(" ")[0]
        with (project / "history.csv").open("rb") as file:
            answer = httpx.post(f"{address}/v1/forecast", files={"history": file}, timeout=60).json()
        process.terminate()
        process.wait(40)
    written = pd.read_csv(project / "forecast.csv")
    assert answer["series"][0]["median"] == pytest.approx(written["gru"].tolist(), rel=1e-5)
