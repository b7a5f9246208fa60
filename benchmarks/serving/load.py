"""The load generator, a process of its own: clients that ask again as soon as they are answered.

    python -m benchmarks.serving.load < load.json        what `Load.to_json` gave; writes what `Measured.to_json` gives

A client is a connection that is kept and a few lines around it, so that a core asks for tens of thousands of answers a
second: far more than a server in Python gives.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

HOST = "127.0.0.1"
SETTLED = 2  # answers that each client has had when the measurement begins

Json = dict[str, Any]


@dataclass(frozen=True)
class Load:
    """What is asked of a server.

    Attributes:
        port: of this machine.
        requests: whole requests of HTTP, which every client asks in turn.
        clients: that ask at a time.
        seconds: measured.
        warm_up_s: before, at least, and until each client has had two answers.
        patience_s: after which the measurement begins anyway.
    """

    port: int
    requests: Sequence[str]
    clients: int
    seconds: float
    warm_up_s: float = 1.0
    patience_s: float = 60.0

    def to_json(self) -> Json:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """How a server answered.

    Attributes:
        seconds: measured.
        answered: answers with status 200 in that time.
        failed: how often what else has come, warm-up included, by its status or in words.
        p50_ms: median of the time to answer; None where there was no answer.
        p99_ms: what one answer in a hundred took longer than.
        client_cpu_s: that the load generator took for it.
    """

    seconds: float
    answered: int
    failed: dict[str, int]
    p50_ms: float | None
    p99_ms: float | None
    client_cpu_s: float

    def to_json(self) -> Json:
        """As a JSON object."""
        return asdict(self)


def run_load(load: Load) -> Measured:
    """Puts a load on a server, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.serving.load"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, input=json.dumps(load.to_json()), cwd=root, stdout=subprocess.PIPE, text=True, check=True
    )
    return Measured(**json.loads(done.stdout))


def http_request(path: str, body: bytes) -> str:
    """A whole POST of JSON, on a connection that is kept."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body.decode()])


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least a share of all do not exceed (nearest rank); None of no values."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else None


class Tally:
    """What the clients of one load have seen."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.failed: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self.measuring = False
        self.over = False

    def note(self, client: int, status: str, seconds: float) -> None:
        """Takes an answer."""
        self.answers[client] += 1
        if status != "200":
            self.failed[status] += 1
        elif self.measuring:
            self.latencies.append(seconds)


class Connection(asyncio.Protocol):
    """A connection of a client, which asks again as soon as it is answered.

    Args:
        client: its number, which also says which request is its first.
        requests: that it asks in turn.
        tally: that is told.
        lost: is done when the connection is.
    """

    def __init__(self, client: int, requests: Sequence[bytes], tally: Tally, lost: asyncio.Future[None]) -> None:
        self._client, self._requests, self._tally, self._lost = client, requests, tally, lost
        self._next = client % len(requests)
        self._received = bytearray()
        self._begun: float | None = None
        self._transport: Any = None

    def itself(self) -> Connection:
        """Gives the loop what it makes connections of."""
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks the first time."""
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Asks again once the answer is whole."""
        self._received += data
        if self._begun is None or not is_whole(self._received):
            return
        self._tally.note(self._client, self._received[9:12].decode(), time.perf_counter() - self._begun)
        self._begun = None
        self._received.clear()
        if self._tally.over:
            self._transport.abort()
        else:
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Says so; what was asked is lost with it."""
        if not self._tally.over:
            self._tally.failed["connection lost"] += self._begun is not None
        if not self._lost.done():  # else its client has gone
            self._lost.set_result(None)

    def _ask(self) -> None:
        self._begun = time.perf_counter()
        self._transport.write(self._requests[self._next])
        self._next = (self._next + 1) % len(self._requests)


def is_whole(received: bytearray) -> bool:
    """Whether a response of HTTP/1.1 has come to its end."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(received[:end]).lower()
    if b"transfer-encoding: chunked" in head:
        return received.endswith(b"\r\n0\r\n\r\n")
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(received) >= end + 4 + int(length or 0)


async def measure(load: Load) -> Measured:
    """Puts a load on a server, from this process."""
    tally = Tally()
    requests = [request.encode() for request in load.requests]
    clients = [asyncio.create_task(_ask_on(client, requests, tally, load)) for client in range(load.clients)]
    start = time.perf_counter()
    while not _is_settled(tally, load, time.perf_counter() - start):
        await asyncio.sleep(0.02)
    tally.measuring = True
    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(load.seconds)
    tally.measuring, tally.over = False, True
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    for client in clients:
        client.cancel()
    latencies = [1000 * value for value in tally.latencies]
    p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
    return Measured(seconds, len(latencies), dict(tally.failed), p50, p99, cpu)


async def _ask_on(client: int, requests: Sequence[bytes], tally: Tally, load: Load) -> None:
    """Connects, as often as the connection is lost."""
    loop = asyncio.get_running_loop()
    while not tally.over:
        lost: asyncio.Future[None] = loop.create_future()
        connection = Connection(client, requests, tally, lost)
        try:
            await loop.create_connection(connection.itself, HOST, load.port)
        except OSError:
            tally.failed["connection refused"] += 1
            await asyncio.sleep(0.1)
        else:
            await lost


def _is_settled(tally: Tally, load: Load, seconds: float) -> bool:
    each = len(tally.answers) == load.clients and min(tally.answers.values()) >= SETTLED
    return seconds >= load.patience_s or (seconds >= load.warm_up_s and each)


def main() -> None:
    """Puts the load of the standard input on a server."""
    load = Load(**json.load(sys.stdin))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured = runner.run(measure(load))
    json.dump(measured.to_json(), sys.stdout)


if __name__ == "__main__":
    main()
