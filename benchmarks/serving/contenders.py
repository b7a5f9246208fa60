"""Who is measured: how each server is started, what it is asked, and where its answer has the median."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.serving.environments import OURS, ROOT
from benchmarks.serving.windows import Window

PEERS = Path(__file__).parent / "peers"
Json = Any


@dataclass(frozen=True)
class Place:
    """Where a server is started.

    Attributes:
        environment: its folder.
        models: the folder of the trained models.
        cell: whose model is asked.
        work: a folder for what is prepared.
        port: to listen on.
    """

    environment: Path
    models: Path
    cell: str
    work: Path
    port: int

    @property
    def graph(self) -> str:
        """The ONNX file."""
        return str(self.models / self.cell / "forecaster.onnx")

    def command(self, name: str) -> str:
        """A command of the environment."""
        return str(self.environment / "bin" / name)


@dataclass(frozen=True)
class Contender:
    """A server and a way to ask it.

    Attributes:
        words: how the page calls it.
        environment: name of its requirements.
        start: the command that serves.
        path: that is asked, given the cell.
        body: of a request, given a window.
        median: out of an answer, the median [H] of its one window; None where it is no forecast.
        prepare: a command that is run once before; None for none.
        variables: of its processes.
    """

    words: str
    environment: str
    start: Callable[[Place], list[str]]
    path: Callable[[str], str]
    body: Callable[[Window], Json]
    median: Callable[[Json], Sequence[float]] | None
    prepare: Callable[[Place], list[str]] | None = None
    variables: Callable[[Place], Mapping[str, str]] = field(default=lambda _: {})

    def requests(self, windows: Sequence[Window], cell: str) -> list[tuple[str, bytes]]:
        """Paths and bodies."""
        return [(self.path(cell), json.dumps(self.body(window)).encode()) for window in windows]


def _of_quantiles(quantiles: Sequence[Sequence[float]]) -> list[float]:
    """The median of [H, Q], whose levels are symmetric."""
    return [row[len(row) // 2] for row in quantiles]


def _serve(place: Place) -> list[str]:
    return [place.command("gatecast"), "serve", str(place.models), "--cell", place.cell, "--port", str(place.port)]


def _peer(name: str, *arguments: Callable[[Place], str]) -> Callable[[Place], list[str]]:
    return lambda place: [place.command("python"), str(PEERS / name), *(give(place) for give in arguments)]


def _port(place: Place) -> str:
    return str(place.port)


def _graph(place: Place) -> str:
    return place.graph


def _networks(place: Place) -> str:
    return str(place.models / place.cell)


def _with_pipeline(_: Place) -> Mapping[str, str]:
    return {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def _saved(place: Place) -> str:
    return str(place.work / "mlflow-model")


def _mlflow(place: Place) -> list[str]:
    serve = ["models", "serve", "-m", _saved(place), "--env-manager", "local", "--host", "127.0.0.1"]
    return [place.command("mlflow"), *serve, "--port", str(place.port)]


def _bentoml(place: Place) -> list[str]:
    serve = ["serve", "bentoml_service:Forecasts", "--working-dir", str(PEERS), "--host", "127.0.0.1"]
    return [place.command("bentoml"), *serve, "--port", str(place.port)]


def _keras(words: str, script: str) -> Contender:
    """A server of the Keras networks, which takes and gives what TensorFlow Serving would."""
    return Contender(
        words,
        "keras",
        _peer(script, _networks, _port),
        lambda _: "/predict",
        lambda window: {"instances": [window.values]},
        lambda answer: _of_quantiles(answer["predictions"][0]),
        variables=_with_pipeline,
    )


EMPTY = "empty"
ANSWER_BYTES = 5_000  # about what a forecast of CO2 takes in any protocol

CONTENDERS: Mapping[str, Contender] = {
    EMPTY: Contender(
        "an empty FastAPI route",
        OURS,
        _peer("empty.py", _port, lambda _: str(ANSWER_BYTES)),
        lambda _: "/",
        lambda window: {"instances": [window.values]},
        None,
    ),
    "native": Contender(
        "`gatecast serve`, `POST /v1/forecast`",
        OURS,
        _serve,
        lambda _: "/v1/forecast",
        lambda window: {"history": window.records},
        lambda answer: answer["series"][0]["median"],
    ),
    "tfserving": Contender(
        "`gatecast serve`, TensorFlow Serving's `:predict`",
        OURS,
        _serve,
        lambda cell: f"/v1/models/{cell}:predict",
        lambda window: {"instances": [window.values]},
        lambda answer: answer["predictions"][0]["mean"],
    ),
    "oip": Contender(
        "`gatecast serve`, Open Inference `/infer`",
        OURS,
        _serve,
        lambda cell: f"/v2/models/{cell}/infer",
        lambda window: {
            "inputs": [{"name": "history", "shape": [1, len(window.values)], "datatype": "FP64", "data": window.values}]
        },
        lambda answer: answer["outputs"][1]["data"],
    ),
    "keras": _keras("(a) `model.predict` of five Keras networks behind FastAPI", "keras_predict.py"),
    "tf_function": _keras("(b) one `tf.function` of five Keras networks behind FastAPI", "tf_function.py"),
    "mlflow": Contender(
        "(c) MLflow's server with our ONNX file",
        "mlflow",
        _mlflow,
        lambda _: "/invocations",
        lambda window: {"inputs": {"history": [window.values], "observed": [[1.0] * len(window.values)]}},
        lambda answer: _of_quantiles(answer["predictions"]["forecast"][0]),
        prepare=_peer("mlflow_model.py", _graph, _saved),
        variables=lambda _: {"UVICORN_ACCESS_LOG": "0"},
    ),
    "bentoml": Contender(
        "(d) BentoML's server with our ONNX file, batching",
        "bentoml",
        _bentoml,
        lambda _: "/predict",
        lambda window: {"history": [window.values]},
        lambda answer: _of_quantiles(answer[0]),
        variables=lambda place: {"FORECASTER": place.graph, "BENTOML_DO_NOT_TRACK": "1"},
    ),
    "litserve": Contender(
        "(d) LitServe's server with our ONNX file, batching",
        "litserve",
        _peer("litserve_server.py", _graph, _port),
        lambda _: "/predict",
        lambda window: {"history": window.values},
        lambda answer: _of_quantiles(answer["forecast"]),
    ),
}
OWN = ("native", "tfserving", "oip")
BATCHING = ("tf_function", "mlflow", "bentoml", "litserve")  # (b) to (d)
