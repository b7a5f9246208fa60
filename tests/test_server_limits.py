from __future__ import annotations

import asyncio
import gzip
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from server_models import Client, H, build_app, client, history_of, hours, tensor, together

from pipeline.server.admission import Admitted
from pipeline.server.app import respond
from pipeline.server.limits import Limits
from pipeline.server.metrics import Metrics

SMALL = Limits(body_bytes=5_000, series=3, points=50)
PATHS = ["/v1/forecast", "/v1/models/gru:predict", "/v2/models/gru/infer", "/v1/timeseries/forecast"]


def message_of(response: httpx.Response) -> str:
    error = response.json()["error"]
    return str(error if isinstance(error, str) else error["message"])


@pytest.fixture(scope="module")
def small() -> Client:
    return Client(build_app(limits=SMALL))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("chunks", [1, 6])
def test_a_body_that_is_too_large_is_refused_with_413(path: str, chunks: int, small: Client) -> None:
    async def parts() -> Any:
        for _ in range(chunks):
            yield b" " * 1_000

    content = b" " * 5_001 if chunks == 1 else parts()
    response = small.post(path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert "5,000 bytes" in message_of(response)


@pytest.mark.parametrize("path", [*PATHS, "/v1/series"])
def test_a_packed_body_is_refused_with_415_and_its_encoding(path: str) -> None:
    body = gzip.compress(b"{}")
    for encoding in ("gzip", "br, gzip"):
        response = client().post(path, content=body, headers={"Content-Encoding": encoding})
        assert response.status_code == 415
        assert f"Content-Encoding: a body that is not packed is needed. Received: '{encoding}'" in message_of(response)
    assert client().post(path, json=1, headers={"Content-Encoding": "Identity"}).status_code in {400, 422}


def test_too_many_series_are_refused_by_every_protocol(small: Client) -> None:
    table = history_of(dict.fromkeys("abcd", 2))
    native = small.post("/v1/forecast", json={"history": table})
    assert (native.status_code, native.json()["error"]["code"]) == (422, "limit-series")
    rows = [[1.0, 2.0]] * 4
    foreign = [
        small.post(PATHS[1], json={"instances": rows}),
        small.post(PATHS[2], json={"inputs": [tensor("history", rows)]}),
        small.post(PATHS[3], json={"model": "weekly", "inputs": [{"series": row} for row in rows]}),
    ]
    assert [response.status_code for response in foreign] == [400] * 3
    for response in [native, *foreign]:
        assert "at most 3 series in a request. Received: 4" in message_of(response)


def test_too_many_points_are_refused_by_every_protocol(small: Client) -> None:
    values = list(range(51))
    native = small.post("/v1/forecast", json={"history": {"meter": ["a"] * 51, "when": hours(51), "load": values}})
    assert (native.status_code, native.json()["error"]["code"]) == (422, "limit-points")
    uploaded = small.post("/v1/forecast", files={"history": ("a.csv", "meter,when,load\n" + "a,2024-01-01,1\n" * 51)})
    foreign = [
        small.post(PATHS[1], json={"instances": [values]}),
        small.post(PATHS[2], json={"inputs": [tensor("history", [values])]}),
        small.post(PATHS[3], json={"model": "weekly", "inputs": [{"series": values}]}),
    ]
    assert [response.status_code for response in foreign] == [400] * 3
    for response in [native, uploaded, *foreign]:
        assert "at most 50 points in a request. Received: 51" in message_of(response)


def send_tables(form: str, path: str, model: str, tables: dict[str, pd.DataFrame]) -> httpx.Response:
    """Asks with tables as JSON or as files."""
    if form in {"list", "records"}:
        body = {name: table.to_dict(orient=form) for name, table in tables.items()}
        return client().post(path, json={"model": model} | body)
    files = {
        name: (f"a.{form}", table.to_csv(index=False) if form == "csv" else table.to_parquet(index=False))
        for name, table in tables.items()
    }
    return client().post(path, files=files, data={"model": model})


@pytest.mark.parametrize("form", ["list", "records", "csv", "parquet"])
def test_a_name_that_is_too_long_is_refused_in_every_table(form: str) -> None:
    def ask(path: str, field: str, length: int) -> httpx.Response:
        history = pd.DataFrame({"meter": "a", "when": hours(5), "load": 1.0, "price": 1.0, "open": 1.0, "town": "Ulm"})
        future = pd.DataFrame({"meter": "a", "when": hours(5 + H)[5:], "open": 1.0})
        tables = {"history": history, "future": future} if field == "future" else {"history": history}
        named = tables[field].head(1).assign(meter="é" * length)
        tables[field] = pd.concat([tables[field], named])
        return send_tables(form, path, "shops" if field == "future" else "gru", tables)

    for path, field in ((PATHS[0], "history"), ("/v1/series", "history"), (PATHS[0], "future")):
        assert ask(path, field, 1_000).status_code == 200
        response = ask(path, field, 1_001)
        assert (response.status_code, response.json()["error"]["code"]) == (422, "limit-name")
        told = f"{field}: a series' name has at most 1,000 characters. Received: 1,001; shorten it"
        assert message_of(response) == told


def test_a_name_that_is_too_long_is_refused_before_it_is_repeated() -> None:
    def ask(length: int) -> httpx.Response:
        named = {"name": "x" * length, "series": [1.0, None, 2.0], "start_timestamp": "2026-01-03"}
        return client().post(PATHS[3], json={"model": "weekly", "inputs": [{"series": [1.0]}, named]})

    assert ask(1_000).status_code == 200
    response = ask(1_001)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "inputs[1].name")
    assert "at most 1,000 characters" in message_of(response)


def test_a_horizon_beyond_the_trained_one_is_refused() -> None:
    response = client().post("/v1/forecast", json={"history": history_of({"a": 5}), "h": 8})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "limit-horizon")
    assert "1 to 7 steps. Received: 8" in message_of(response)


def admitted(work: Any, **limits: Any) -> Any:
    """An app that does work, behind limits."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await work()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    return Admitted(app, limits=Limits(**limits), metrics=Metrics(), respond=respond)


def test_more_requests_than_are_answered_at_a_time_are_told_to_come_again() -> None:
    app = admitted(lambda: asyncio.sleep(0.2), requests=2, retry_after_s=7)

    async def ask(asking: httpx.AsyncClient) -> list[httpx.Response]:
        many = [asking.post(path) for path in (PATHS[0], PATHS[0], *PATHS)]
        looked = asking.get("/v2/health/live")
        responses = await asyncio.gather(*many, looked)
        return [*responses, await asking.post("/v1/forecast")]

    responses = together(app, ask)
    assert [response.status_code for response in responses] == [200, 200, 429, 429, 429, 429, 200, 200]
    for response in responses[2:6]:
        assert response.headers["Retry-After"] == "7"
        assert "2 requests already" in message_of(response)


def test_a_request_that_takes_longer_than_its_deadline_is_given_up() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            ended.append("given up")
            raise

    response = together(admitted(work, deadline_s=0.05), lambda asking: asking.post("/v2/models/gru/infer"))
    assert response.status_code == 504
    assert "no answer within 0.05 s" in message_of(response)
    assert ended == ["given up"]


def test_a_body_that_never_ends_is_given_up() -> None:
    async def slowly() -> Any:
        yield b"{"
        await asyncio.sleep(10)

    app = build_app(limits=Limits(deadline_s=0.1))
    response = together(app, lambda asking: asking.post("/v1/models/gru:predict", content=slowly()))
    assert response.status_code == 504


def test_a_timeout_inside_is_no_deadline() -> None:
    async def work() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        together(admitted(work), lambda asking: asking.post("/v1/forecast"))


def test_the_limits_are_those_of_the_readme() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    usual = Limits()
    for name, value in vars(usual).items():
        shown = re.search(rf"\| `{name}` \| ([\d.,]+) \|", readme)
        assert shown, name
        assert float(shown[1].replace(",", "")) == float(value), name


def test_large_requests_within_the_limits_are_answered() -> None:
    rng = np.random.default_rng(0)
    response = client().post("/v2/models/gru/infer", json={"inputs": [tensor("history", rng.random((256, 390)))]})
    assert response.json()["outputs"][0]["shape"][0] == 256
