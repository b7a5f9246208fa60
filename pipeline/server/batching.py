"""Micro-batching: requests that come while the graph works go through it together, in its next call."""

from __future__ import annotations

import asyncio
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

ROWS = 4  # a batch has a multiple of these; kernels treat what is left over in another way


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
        executor: of threads, in which the graph works.
        most_windows: in one call; a request with more goes alone.
        observe: is told the number of windows of each call.
    """

    def __init__(
        self, forecaster: Forecaster, *, executor: Executor, most_windows: int, observe: Callable[[int], None]
    ) -> None:
        self._forecaster, self._executor, self._most, self._observe = forecaster, executor, most_windows, observe
        self._waiting: deque[_Waiting] = deque()
        self._work: asyncio.Task[None] | None = None

    async def forecast(self, inputs: Inputs) -> Floats:
        """Forecasts.

        Args:
            inputs: what `Forecaster.check_arrays` gave, N windows.

        Returns:
            The quantiles [N, H, Q].

        Raises:
            GatecastError: values are so large that a forecast of them overflows.
        """
        waiting = _Waiting(inputs, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._empty())
        return await waiting.answer

    async def _empty(self) -> None:
        """Works until nobody waits."""
        loop = asyncio.get_running_loop()
        while batch := self._take():
            inputs = [waiting.inputs for waiting in batch]
            self._observe(sum(map(_count, inputs)))
            try:
                results: Sequence[Floats | Exception] = await loop.run_in_executor(
                    self._executor, forecast_together, self._forecaster, inputs
                )
            except Exception as error:  # whatever it is, those who wait are told
                results = [error] * len(batch)
            for waiting, result in zip(batch, results, strict=True):
                if waiting.answer.done():  # its request was given up
                    continue
                if isinstance(result, Exception):
                    waiting.answer.set_exception(result)
                else:
                    waiting.answer.set_result(result)

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        windows = 0
        while self._waiting and (not batch or windows + _count(self._waiting[0].inputs) <= self._most):
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
                windows += _count(waiting.inputs)
        return batch


def forecast_together(forecaster: Forecaster, requests: Sequence[Inputs]) -> list[Floats | Exception]:
    """Forecasts the windows of several requests in one call of the graph.

    Args:
        forecaster: with the graph.
        requests: the inputs of each.

    Returns:
        For each its quantiles [N, H, Q], or what is wrong with it alone.
    """
    try:
        quantiles = _run(forecaster, {name: np.concatenate([r[name] for r in requests]) for name in requests[0]})
    except GatecastError as error:
        if len(requests) == 1:
            return [error]
        return [result for request in requests for result in forecast_together(forecaster, [request])]
    ends = np.cumsum([_count(request) for request in requests])
    return list(np.split(quantiles, ends[:-1]))


def _run(forecaster: Forecaster, inputs: Inputs) -> Floats:
    """Runs the graph so that the bits of a window's forecast depend on neither its place nor on its company.

    Sums over a window depend on whether it starts at a multiple of 16 bytes, so that windows of odd length take two
    rows; and kernels treat the rows that are left over from a block in another way, so that blocks are filled.
    """
    stride = 1 + forecaster.spec.context_length % 2
    rows = np.repeat(np.arange(_count(inputs)), stride)
    filled = np.concatenate([rows, np.zeros(-len(rows) % ROWS, np.int64)])
    padded = {name: value[filled] for name, value in inputs.items()}
    try:
        return forecaster.run(padded)["forecast"][: len(rows) : stride]
    except GatecastError:
        return forecaster.run(inputs)["forecast"]  # fails too, and names the row as it came


def _count(inputs: Inputs) -> int:
    return len(inputs["history"])
