"""Published clients of the protocols, in environments of their own, build requests that a running server answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from server_models import C, trained

from pipeline.forecaster import Forecaster

ROOT = Path(__file__).parents[1]
CLIENTS = Path(__file__).parent / "clients"
HISTORY = np.random.default_rng(0).standard_normal((3, C)).cumsum(axis=1)


@dataclass(frozen=True)
class Published:
    """A client package.

    Attributes:
        requirements: of its environment.
        beside: whether it stands beside this environment's packages, of which it needs large ones.
    """

    requirements: tuple[str, ...]
    beside: bool = False


PACKAGES = {
    "kserve_client": Published(("kserve==0.21.0",)),
    "triton_client": Published(("tritonclient[http]==2.73.0",)),
    "open_inference_client": Published(("open-inference-openapi==2.0.0.1", "numpy")),
    "tensorflow_serving_client": Published(("tensorflow-serving-api==2.21.0",), beside=True),
}


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of a server of two models."""
    for cell in ("gru", "lstm"):
        shutil.copytree(trained()[cell], tmp_path / "models/trained" / cell)
    code = "from pipeline.cli import app; app()"
    command = [sys.executable, "-c", code, "serve", "--cell", "gru", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            yield process.stderr.readline().partition(" ")[0]
        finally:
            process.terminate()


def install(package: Published, folder: Path) -> tuple[str, dict[str, str]]:
    """Installs a client; gives the Python that has it, and what that needs in its environment."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("no uv to build an environment with")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if package.beside:
        python = sys.executable
        commands = [[uv, "pip", "install", "-q", "--no-deps", "--target", str(folder), *package.requirements]]
        variables |= {"PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    else:
        python = str(folder / "bin/python")
        commands = [
            [uv, "venv", "-q", "-p", sys.executable, str(folder)],
            [uv, "pip", "install", "-q", "-p", python, *package.requirements],
        ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{', '.join(package.requirements)} cannot be installed: {done.stderr.strip()[-300:]}")
    return python, variables


@pytest.mark.long
@pytest.mark.parametrize("name", PACKAGES)
def test_requests_of_published_clients_are_answered(name: str, address: str, tmp_path: Path) -> None:
    python, variables = install(PACKAGES[name], tmp_path / "environment")
    command = [python, str(CLIENTS / f"{name}.py"), address, "gru"]
    history = json.dumps(HISTORY.tolist())
    done = subprocess.run(command, input=history, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    forecast = Forecaster.load(trained()["gru"]).predict_arrays(HISTORY, np.ones(HISTORY.shape))["forecast"]
    expected = forecast[:, :, forecast.shape[2] // 2]
    for way, median in json.loads(done.stdout).items():
        tolerance = 1e-5 if way == "FP32" else 1e-12
        np.testing.assert_allclose(median, expected, rtol=tolerance, atol=tolerance, err_msg=way)


def test_every_client_has_a_package() -> None:
    assert {path.stem for path in CLIENTS.glob("*.py")} == set(PACKAGES)
