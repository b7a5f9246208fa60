"""Bundles of untrained networks, apps that serve them, and clients without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import httpx
import numpy as np
from fastapi import FastAPI
from random_networks import QUANTILES, REPAIR, build_spec, random_weights

from pipeline.bundle import DESCRIPTION, save_bundle, write_bundle
from pipeline.columns import Columns
from pipeline.hparams import Inputs
from pipeline.linear_bundle import linear_spec
from pipeline.linear_graph import build_linear_graph
from pipeline.linear_map import LinearMap
from pipeline.server.app import create_app
from pipeline.storage import read_json, write_json

C, H = 20, 7
COLUMNS = Columns("meter", ("when",), None, None, ("load",), "h")
RANGE = {"min": -10.0, "p01": -5.0, "p99": 5.0, "max": 10.0}
SHOPS = Columns("meter", ("when",), None, None, ("load",), "h", ("price",), ("open",), ("town",), ())
BESIDE = Inputs(("price", "open"), ("open",), (0.5, 0.5), (2.0, 1.0), ("town",), (2,))

Result = TypeVar("Result")


def save_model(folder: Path, cell: str = "gru", *, seed: int = 1, columns: Columns = COLUMNS, **changes: Any) -> Path:
    """Writes a bundle."""
    spec = build_spec(cell, **{"context_length": C, "context_used": C, "horizon": H} | changes)
    vocabularies = {name: ["Bonn", "Ulm"] for name in spec.inputs.categorical}
    meta = {"columns": columns.to_json(), "repair": REPAIR.model_dump(), "value_range": RANGE}
    save_bundle(
        folder,
        spec=spec,
        members=[random_weights(spec, seed), random_weights(spec, seed + 100)],
        calibration=None,
        meta={**meta, "vocabularies": vocabularies},
    )
    return folder


def save_ridge(folder: Path) -> Path:
    """Writes the bundle of a linear map."""
    rng = np.random.default_rng(1)
    linear = LinearMap(0.3 * rng.standard_normal((C, H)), rng.standard_normal(H), 1.0, season_length=6)
    offsets = np.sort(rng.standard_normal((H, 9)), axis=1)
    spec = linear_spec(C, H, QUANTILES)
    meta = {"columns": COLUMNS.to_json(), "repair": REPAIR.model_dump(), "value_range": RANGE, "seeds": []}
    graph = build_linear_graph(spec, linear, offsets - offsets[:, 4:5])
    write_bundle(folder, graph, spec=spec, parameters=C * H + H, calibrated=True, meta=meta)
    return folder


def call_unevaluated(folder: Path) -> Path:
    """Makes a bundle say that it is trained on all data."""
    path = folder / DESCRIPTION
    write_json(read_json(path) | {"evaluated": False}, path)
    return folder


@cache
def trained() -> Mapping[str, Path]:
    """Bundles of all kinds: of both cells; of ridge; with covariates; of one weekly series; of whole-numbered times."""
    root = Path(mkdtemp(prefix="gatecast-test-"))
    weekly = Columns(None, ("ds",), None, None, ("y",), "W-SAT")
    return {
        "gru": save_model(root / "gru"),
        "lstm": save_model(root / "lstm", "lstm"),
        "ridge": save_ridge(root / "ridge"),
        "shops": save_model(root / "shops", columns=SHOPS, inputs=BESIDE),
        "weekly": save_model(root / "weekly", columns=weekly),
        "numbered": save_model(root / "numbered", columns=Columns(None, ("ds",), None, None, ("y",), 10)),
        "odd": save_model(root / "odd", context_length=13, context_used=13, units=24),
    }


def build_app(**options: Any) -> FastAPI:
    """An app of all of them, whose default is gru."""
    return create_app(trained(), default="gru", **options)


class Client:
    """Asks an app one thing after another; what the app does not handle is raised here."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return together(self.app, lambda asking: asking.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@cache
def client() -> Client:
    """A client of an app of all bundles, for tests that change nothing."""
    return Client(build_app())


def together(app: FastAPI, work: Callable[[httpx.AsyncClient], Awaitable[Result]]) -> Result:
    """Runs work with a client whose requests may be concurrent."""

    async def run() -> Result:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as asking:
            return await work(asking)

    return asyncio.run(run())


def hours(count: int) -> list[str]:
    return [str(time) for time in np.datetime64("2024-01-01T00:00:00") + np.arange(count).astype("timedelta64[h]")]


def history_of(lengths: Mapping[str, int], seed: int = 0) -> dict[str, list[Any]]:
    """Columns of a history."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {"meter": [], "when": [], "load": []}
    for name, length in lengths.items():
        columns["meter"] += [name] * length
        columns["when"] += hours(length)
        columns["load"] += rng.standard_normal(length).cumsum().tolist()
    return columns


def tensor(name: str, value: Any, datatype: str = "FP64") -> dict[str, Any]:
    """An input of the Open Inference Protocol."""
    array = np.asarray(value)
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.tolist()}
