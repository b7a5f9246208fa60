"""Micro-batching: requests that come while the graph works go through it together, in its next call."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import GatecastError
from pipeline.forecaster import Forecaster

Inputs = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]

ROWS = 2  # a batch has a multiple of these; kernels treat what is left over in another way
AT_ONCE_S = 0.001  # a call as short as this holds up nobody for longer than it takes to wake a thread


@dataclass(frozen=True)
class _Waiting:
    inputs: Inputs
    answer: asyncio.Future[Floats]


class Batcher:
    """Puts the windows of concurrent requests through one graph.

    Nothing waits for company: a request that finds the graph idle goes at once, alone. What a forecast is does not
    depend on what it shares a call with, to the last bit.

    Args:
        forecaster: with the graph.
        executor: of threads, in which the graph works, but for the one window of the only request there is.
        most_windows: in one call; a request with more goes alone.
        observe: is told the number of windows of each call.
        inside: gives the number of requests that the server is answering.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        *,
        executor: Executor,
        most_windows: int,
        observe: Callable[[int], None],
        inside: Callable[[], int],
    ) -> None:
        self._forecaster, self._executor, self._most = forecaster, executor, most_windows
        self._observe, self._inside = observe, inside
        self._waiting: deque[_Waiting] = deque()
        self._work: asyncio.Task[None] | None = None
        self._alone_s = math.inf  # what the last call with one window took

    async def forecast(self, inputs: Inputs) -> Floats:
        """Forecasts.

        Args:
            inputs: what `Forecaster.check_arrays` gave, N windows.

        Returns:
            The quantiles [N, H, Q].

        Raises:
            GatecastError: values are so large that a forecast of them overflows.
        """
        if _count(inputs) == 1 and self._alone_s <= AT_ONCE_S and self._inside() <= 1:
            return self._forecast_at_once(inputs)
        waiting = _Waiting(inputs, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._empty())
        return await waiting.answer

    def _forecast_at_once(self, inputs: Inputs) -> Floats:
        """Forecasts one window where nobody has to wait for it."""
        self._observe(1)
        (result,), self._alone_s = _timed(self._forecaster, [inputs])
        if isinstance(result, Exception):
            raise result
        return result

    async def _empty(self) -> None:
        """Works until nobody waits."""
        while batch := self._take():
            try:
                results = await self._call([waiting.inputs for waiting in batch])
            except Exception as error:  # whatever it is, those who wait are told
                results = [error] * len(batch)
            for waiting, result in zip(batch, results, strict=True):
                if waiting.answer.done():  # its request was given up
                    continue
                if isinstance(result, Exception):
                    waiting.answer.set_exception(result)
                else:
                    waiting.answer.set_result(result)

    async def _call(self, inputs: Sequence[Inputs]) -> Sequence[Floats | Exception]:
        """Calls the graph, and notes how long that takes with one window."""
        windows = sum(map(_count, inputs))
        self._observe(windows)
        loop = asyncio.get_running_loop()
        results, seconds = await loop.run_in_executor(self._executor, _timed, self._forecaster, inputs)
        if windows == 1:
            self._alone_s = seconds
        return results

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        windows = 0
        while self._waiting and (not batch or windows + _count(self._waiting[0].inputs) <= self._most):
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
                windows += _count(waiting.inputs)
        return batch


def _timed(forecaster: Forecaster, requests: Sequence[Inputs]) -> tuple[list[Floats | Exception], float]:
    """What `forecast_together` gives, and its seconds."""
    start = time.perf_counter()
    return forecast_together(forecaster, requests), time.perf_counter() - start


def forecast_together(forecaster: Forecaster, requests: Sequence[Inputs]) -> list[Floats | Exception]:
    """Forecasts the windows of several requests in one call of the graph.

    Args:
        forecaster: with the graph.
        requests: the inputs of each.

    Returns:
        For each its quantiles [N, H, Q], or what is wrong with it alone.
    """
    if len(requests) == 1:
        try:
            return [_run(forecaster, requests[0])]
        except GatecastError as error:
            return [error]
    try:
        quantiles = _run(forecaster, {name: np.concatenate([r[name] for r in requests]) for name in requests[0]})
    except GatecastError:
        return [result for request in requests for result in forecast_together(forecaster, [request])]
    ends = np.cumsum([_count(request) for request in requests])
    return list(np.split(quantiles, ends[:-1]))


def _run(forecaster: Forecaster, inputs: Inputs) -> Floats:
    """Runs the graph so that the bits of a window's forecast depend on neither its place nor on its company.

    Sums over a window depend on whether it starts at a multiple of 16 bytes, so that windows of odd length take two
    rows; and kernels treat a row that is left over from a pair in another way, so that pairs are filled.
    """
    stride = 1 + forecaster.spec.context_length % 2
    rows = _count(inputs) * stride
    windows = np.minimum(np.arange(rows + -rows % ROWS) // stride, _count(inputs) - 1)
    try:
        return forecaster.run({name: value[windows] for name, value in inputs.items()})["forecast"][:rows:stride]
    except GatecastError:
        return forecaster.run(inputs)["forecast"]  # fails too, and names the row as it came


def _count(inputs: Inputs) -> int:
    return len(inputs["history"])
