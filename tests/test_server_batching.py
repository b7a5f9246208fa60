from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from server_models import H, build_app, client, tensor, together, trained

from pipeline.errors import GatecastError
from pipeline.forecaster import Forecaster
from pipeline.server import batching
from pipeline.server.batching import Batcher, forecast_together

CONTEXT = {"gru": 20, "lstm": 20, "odd": 13, "ridge": 20}
FORECASTERS = {name: Forecaster.load(trained()[name]) for name in CONTEXT}


def windows_of(count: int, name: str, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    shape = (1, CONTEXT[name])
    check = FORECASTERS[name].check_arrays
    return [check(100 + rng.standard_normal(shape), rng.random(shape) > 0.1) for _ in range(count)]


@pytest.mark.parametrize("name", CONTEXT)
@pytest.mark.parametrize("count", [2, 3, 7, 33, 70])
def test_a_forecast_has_the_same_bits_in_any_company(name: str, count: int) -> None:
    windows = windows_of(count, name)
    alone = [forecast_together(FORECASTERS[name], [window])[0] for window in windows]
    for found, expected in zip(forecast_together(FORECASTERS[name], windows), alone, strict=True):
        assert isinstance(found, np.ndarray)
        assert isinstance(expected, np.ndarray)
        assert found.tobytes() == expected.tobytes()


def test_concurrent_requests_get_what_single_ones_get() -> None:
    rng = np.random.default_rng(0)
    bodies = [{"inputs": [tensor("history", rng.standard_normal((1 + place % 3, 20)))]} for place in range(40)]
    expected = [client().post("/v2/models/gru/infer", json=body).json() for body in bodies]

    async def all_at_once(asking: httpx.AsyncClient) -> list[httpx.Response]:
        return await asyncio.gather(*[asking.post("/v2/models/gru/infer", json=body) for body in bodies])

    assert [response.json() for response in together(build_app(), all_at_once)] == expected


class Held:
    """A forecaster whose graph waits for a sign, and that notes the windows of its calls."""

    def __init__(self) -> None:
        self.spec = FORECASTERS["gru"].spec
        self.go = threading.Event()
        self.calls: list[int] = []

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self.go.wait(10)
        self.calls.append(len(inputs["history"]))
        return FORECASTERS["gru"].run(inputs)


def batched(held: Any, windows: Sequence[dict[str, Any]], most: int = 64) -> list[Any]:
    """The answers to requests of which the first finds the graph idle, and the others do not."""

    async def run() -> list[Any]:
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(held, executor=executor, most_windows=most, observe=lambda _: None, inside=lambda: 1)
            tasks = [asyncio.create_task(batcher.forecast(window)) for window in windows[:1]]
            await asyncio.sleep(0.05)
            tasks += [asyncio.create_task(batcher.forecast(window)) for window in windows[1:]]
            await asyncio.sleep(0.05)
            held.go.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(run())


def test_requests_that_come_while_the_graph_works_share_its_next_call() -> None:
    held = Held()
    answers = batched(held, windows_of(9, "gru"))
    assert held.calls == [2, 8]  # rows of pairs
    assert [answer.shape for answer in answers] == [(1, H, 9)] * 9


def test_a_call_has_no_more_windows_than_are_allowed() -> None:
    held = Held()
    batched(held, windows_of(10, "gru"), most=4)
    assert held.calls == [2, 4, 4, 2]


def threads_of(seconds: float) -> list[bool]:
    """Whether each of three calls, one after the other, is made without a thread, where each takes so long."""
    forecaster = FORECASTERS["gru"]
    at_once: list[bool] = []

    class Paced:
        spec = forecaster.spec

        def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
            at_once.append(threading.current_thread() is threading.main_thread())
            time.sleep(seconds)
            return forecaster.run(inputs)

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            paced: Any = Paced()
            batcher = Batcher(paced, executor=executor, most_windows=64, observe=lambda _: None, inside=lambda: 1)
            for window in windows_of(3, "gru"):
                await batcher.forecast(window)

    asyncio.run(run())
    return at_once


def test_a_call_that_is_known_to_be_short_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "AT_ONCE_S", 1.0)
    assert threads_of(seconds=0.0) == [False, True, True]


def test_a_call_that_would_hold_up_others_is_made_in_a_thread() -> None:
    assert threads_of(seconds=0.01) == [False, False, False]


def test_a_request_that_cannot_be_answered_leaves_its_company_alone() -> None:
    windows = windows_of(5, "gru")
    windows[3]["history"][0, -1], windows[3]["observed"][0, -1] = 1e300, 1.0
    answers = batched(Held(), windows)
    assert isinstance(answers[3], GatecastError)
    assert "row 0" in str(answers[3])
    for place in (0, 1, 2, 4):
        assert np.isfinite(answers[place]).all()


def test_a_graph_that_breaks_is_told_to_all_who_wait_and_the_next_are_answered() -> None:
    held = Held()
    windows = windows_of(3, "gru")
    missing = [{name: value for name, value in window.items() if name != "observed"} for window in windows]
    assert all(isinstance(answer, Exception) for answer in batched(held, missing))
    assert [answer.shape for answer in batched(held, windows)] == [(1, H, 9)] * 3
