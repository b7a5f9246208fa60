"""How many requests are answered at a time, how long each may take, and how long it took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.server.limits import Limits
from pipeline.server.metrics import Metrics
from pipeline.server.request_errors import RequestError, echo

Respond = Callable[[str, RequestError], Response]


class Admitted:
    """Lets so many requests in at a time, each for so long. Only POST requests count.

    Args:
        app: that they reach.
        limits: how many, how long.
        metrics: that are told how many there are.
        respond: turns an error into a response.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, metrics: Metrics, respond: Respond) -> None:
        self._app, self._limits, self._metrics, self._respond = app, limits, metrics, respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif error := self._refusal(Headers(scope=scope)):
            await self._respond(scope["path"], error)(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    def _refusal(self, headers: Headers) -> RequestError | None:
        """Why a request is not let in; None where it is."""
        if _declared(headers) > self._limits.body_bytes:
            return body_too_large(self._limits)
        encoding = headers.get("content-encoding", "").strip()
        if encoding.lower() not in {"", "identity"}:
            told = (
                f"Content-Encoding: a body that is not packed is needed. Received: {echo(encoding)}; send it as it is"
            )
            return RequestError(415, told, code="body-format")
        if self._metrics.inside >= self._limits.requests:
            told = f"the server answers {self._limits.requests:,} requests already; try again later"
            again = {"Retry-After": str(self._limits.retry_after_s)}
            return RequestError(429, told, code="busy", headers=again)
        return None

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        self._metrics.inside += 1
        try:
            async with asyncio.timeout(self._limits.deadline_s) as deadline:
                await self._app(scope, receive, note)
        except TimeoutError:
            if begun or not deadline.expired():
                raise
            told = f"no answer within {self._limits.deadline_s:g} s; ask for less at a time, or try again later"
            await self._respond(scope["path"], RequestError(504, told, code="deadline"))(scope, receive, send)
        finally:
            self._metrics.inside -= 1


def body_too_large(limits: Limits) -> RequestError:
    """What a request is told whose body is too large."""
    told = f"body: at most {limits.body_bytes:,} bytes are taken. Received: more; send several requests"
    return RequestError(413, told, code="limit-body")


def _declared(headers: Headers) -> int:
    """The length of the body as its header has it; 0 where it has none that is one."""
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0


class Observed:
    """Counts requests, and the time that each took.

    Args:
        app: that they reach.
        metrics: that are told.
        protocol_of: names the protocol of a path.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, protocol_of: Callable[[str], str]) -> None:
        self._app, self._metrics, self._protocol_of = app, metrics, protocol_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            protocol = self._protocol_of(scope["path"])
            self._metrics.requests.labels(protocol, str(status)).inc()
            self._metrics.seconds.labels(protocol).observe(time.perf_counter() - start)
