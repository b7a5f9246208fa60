"""The server as a process of its own: how it starts, what it loads, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from server_models import call_unevaluated, history_of, trained
from typer.testing import CliRunner

from pipeline.cli import app as command
from pipeline.server.versions import publish_bundle

ROOT = Path(__file__).parents[1]
HEAVY = ("tensorflow", "keras", "keras_tuner", "dvc", "sklearn", "scipy", "utilsforecast", "onnx", "tensorboard")
BLOCKED = "import sys; sys.modules.update(dict.fromkeys({}))"
RUN = "from pipeline.cli import app; app()"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder after `dvc repro`."""
    for cell in ("gru", "lstm"):
        shutil.copytree(trained()[cell], tmp_path / "models/trained" / cell)
    (tmp_path / "models/comparison").mkdir()
    (tmp_path / "models/comparison/verdict.json").write_text('{"best_on_validation": "gru", "served": "lstm"}')
    return tmp_path


def start_line(folder: Path, *options: str) -> str:
    """What the command says when it is ready."""
    with serving(folder, *options) as (process, _):
        return process.told


class Server(subprocess.Popen[str]):
    """A process that serves.

    Attributes:
        told: what it says until it is ready.
    """

    told = ""


@contextmanager
def serving(folder: Path, *options: str, **environment: str) -> Iterator[tuple[Server, str]]:
    """The process and the address that it tells; heavy packages cannot be imported in it."""
    code = f"{BLOCKED.format(HEAVY)}; sys.argv[1:] = {['serve', '--port', '0', *options]}; {RUN}"
    process = Server(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        told = None
        while told is None and (line := process.stderr.readline()):
            process.told += line
            told = re.match(r"(http://\S+) serves", line)
        assert told, process.told
        yield process, told[1]
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def ended(process: subprocess.Popen[str]) -> str:
    """What the process wrote until it ended by itself."""
    _, written = process.communicate(timeout=40)
    return written


def test_what_an_earlier_run_left_is_not_served_unless_it_is_named(project: Path) -> None:
    verdict = {"best_on_validation": "gru", "served": "gru", "models": ["gru", "ridge"]}
    (project / "models/comparison/verdict.json").write_text(json.dumps(verdict))
    left, serves = start_line(project).splitlines()
    assert left == "models/trained/lstm: left by an earlier run with other cells, not served"
    assert serves.endswith(" serves models/trained/gru; Ctrl-C stops it")
    assert "serves models/trained/gru, models/trained/lstm;" in start_line(project, "models/trained")


def test_the_server_forecasts_without_what_only_training_needs(project: Path) -> None:
    with serving(project) as (process, address):
        answer = httpx.post(f"{address}/v1/forecast", json={"history": history_of({"a": 30})}, timeout=60)
        assert answer.json()["model"] == "lstm"
        files = {"history": ("a.csv", "meter,when,load\na,2024-01-01,1\na,2024-01-01 01:00,2")}
        assert httpx.post(f"{address}/v1/forecast", files=files, timeout=60).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert "Traceback" not in ended(process)


def test_requests_that_are_being_answered_end_before_the_server_does(project: Path) -> None:
    body = json.dumps({"inputs": [{"name": "history", "shape": [1, 2], "datatype": "FP64", "data": [1.0, 2.0]}]})
    with serving(project) as (process, address):
        host, _, port = address.removeprefix("http://").partition(":")
        head = f"POST /v2/models/gru/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall((head + body[:20]).encode())
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert process.poll() is None
            connection.sendall(body[20:].encode())
            answer = connection.recv(65536).decode()
        assert answer.startswith("HTTP/1.1 200"), answer
        written = ended(process)
        assert "Traceback" not in written, written
        assert process.returncode in {0, -signal.SIGTERM}
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/v2/health/live")


def test_a_key_is_never_written_anywhere(project: Path) -> None:
    with serving(project, "--cell", "gru", GATECAST_API_KEY="s3cret-key") as (process, address):
        for key in ("s3cret-key", "wrong-key"):
            for path in ("/v1/models", "/v2/models/x", "/%ff"):
                httpx.get(address + path, headers={"X-API-Key": key})
        assert httpx.get(f"{address}/v1/models").status_code == 401
        told = httpx.get(f"{address}/v1/models", headers={"Authorization": "Bearer s3cret-key"}).json()["models"]
        assert [model["name"] for model in told if model["default"]] == ["gru"]
        process.send_signal(signal.SIGINT)
        written = ended(process)
        assert "s3cret" not in written
        assert "wrong-key" not in written


def test_the_first_line_names_the_folders_served_and_which_are_not_evaluated(project: Path) -> None:
    shutil.copytree(trained()["ridge"], project / "models/trained/ridge")
    assert start_line(project).endswith(
        " serves models/trained/gru, models/trained/lstm, models/trained/ridge; Ctrl-C stops it\n"
    )
    call_unevaluated(shutil.copytree(trained()["lstm"], project / "models/final/lstm"))
    assert " serves models/trained/gru, models/final/lstm (not evaluated), models/trained/ridge;" in start_line(project)
    for folder in ("trained/gru", "final/lstm"):
        publish_bundle(project / "models" / folder, project / "published", name="co2")
    told = start_line(project, "published")
    assert told.endswith(" serves published/co2/2 (not evaluated), watches published; Ctrl-C stops it\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["absent"], "error: absent holds no bundle"),
        (["--host", "0.0.0.0"], "error: --host 0.0.0.0 serves other machines, which needs an API key"),
        (["--cell", "rnn"], "error: --cell: rnn is not among the models. Served: gru, lstm"),
        (["--comparison", "absent"], "error: absent/verdict.json not found"),
        (["--api-key-file", "absent"], "error: --api-key-file: absent cannot be read"),
        (["--host", "203.0.113.1", "--no-auth"], "error: 203.0.113.1:8000 cannot be listened on"),
    ],
)
def test_mistakes_end_the_command_with_one_line(
    arguments: list[str], told: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.delenv("GATECAST_API_KEY", raising=False)
    result = CliRunner().invoke(command, ["serve", *arguments])
    assert result.exit_code == 1
    assert result.stderr.startswith(told), result.stderr
    assert result.stderr.count("\n") == 1


@pytest.fixture
def published(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder with published models of both cells, one of them in its second version."""
    for cell, name in (("lstm", "co2"), ("gru", "co2"), ("lstm", "load")):
        publish_bundle(project / "models/trained" / cell, project / "published", name=name)
    monkeypatch.chdir(project)
    monkeypatch.delenv("GATECAST_API_KEY", raising=False)
    return project


@pytest.mark.parametrize(
    ("options", "name"),
    [([], None), (["--cell", "gru"], "co2"), (["--cell", "lstm"], "load"), (["--cell", "best"], "co2"),
     (["--cell", "load"], "load")],
)  # fmt: skip
def test_the_cell_of_published_models_answers_where_none_is_named(
    options: list[str], name: str | None, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps: list[FastAPI] = []
    monkeypatch.setattr("pipeline.server.process.run", lambda app, listener, _: (listener.close(), apps.append(app)))
    result = CliRunner().invoke(command, ["serve", "published", "--port", "0", *options])
    assert result.exit_code == 0, result.stderr
    assert apps[0].state.registry.default == name


def test_a_cell_that_none_or_several_of_the_published_models_have_is_refused(published: Path) -> None:
    def refusal(cell: str) -> str:
        result = CliRunner().invoke(command, ["serve", "published", "--port", "0", "--cell", cell])
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        return result.stderr

    served = "Served: co2 (gru), load (lstm); name one of them\n"
    assert refusal("ridge") == f"error: --cell: ridge is not among the models. {served}"
    publish_bundle(published / "models/trained/gru", published / "published", name="load")
    served = "Served: co2 (gru), load (gru); name one of them\n"
    assert refusal("best") == f"error: --cell: gru is the cell of several models. {served}"


def test_a_port_that_is_taken_is_told_in_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = CliRunner().invoke(command, ["serve", "--port", str(taken.getsockname()[1])])
    assert "cannot be listened on: Address already in use" in result.stderr


def test_an_altered_bundle_is_refused_with_the_files_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    graph = project / "models/trained/lstm/forecaster.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    result = CliRunner().invoke(command, ["serve", "--port", "0"])
    assert result.stderr.startswith("error: models/trained/lstm/forecaster.onnx was altered")


def test_pandas_is_loaded_with_the_first_table_and_not_before() -> None:
    code = (
        f"{BLOCKED.format(HEAVY)}; sys.path.append('tests'); from pathlib import Path\n"
        "from pipeline.server.app import create_app\n"
        f"app = create_app({{'gru': Path({str(trained()['gru'])!r})}})\n"
        "import asyncio, httpx\n"
        "async def ask():\n"
        "    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url='http://x') as client:\n"
        "        answer = await client.post('/v1/models/gru:predict', json={'instances': [[1.0, 2.0]]})\n"
        "        print(answer.status_code, 'pandas' in sys.modules, 'pyarrow' in sys.modules)\n"
        "asyncio.run(ask())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert run.stdout.strip() == "200 False False", run.stderr


def test_the_modules_of_the_server_import_one_way() -> None:
    sources = {path.stem: path.read_text() for path in (ROOT / "pipeline/server").glob("*.py")}
    uses = {name: set(re.findall(r"from pipeline\.server\.(\w+) import", text)) for name, text in sources.items()}
    uses["app"] |= {"browser", "native", "oip", "series", "tfserving", "timeseries"}
    done: set[str] = set()
    while free := {name for name in uses.keys() - done if uses[name] <= done}:
        done |= free
    assert done == uses.keys()


def test_every_option_is_explained() -> None:
    for name, options in {
        "serve": ("MODELS", "--host", "--port", "--cell", "--comparison", "--api-key-file", "--no-auth", "--threads"),
        "publish": ("--to", "--cell", "--name", "--models", "--comparison"),
    }.items():
        told = CliRunner().invoke(command, [name, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).stdout
        assert [option for option in options if option not in told.upper() + told] == []
