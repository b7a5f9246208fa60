"""A server as a process of its own: started, waited for, weighed and stopped."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.load import HOST
from pipeline.errors import GatecastError

PATIENCE_S = 120.0  # for a server to start
_LOOK_S = 0.01
_MB = 1e6


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        pid: of its first process.
        port: that it listens on.
        started_s: from its start to the first answer.
        answer: the body of that one.
    """

    pid: int
    port: int
    started_s: float
    answer: bytes


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


@contextmanager
def serving(
    command: list[str], *, port: int, request: tuple[str, bytes], variables: Mapping[str, str], log: Path
) -> Iterator[Server]:
    """Starts a server, and stops it with all its processes.

    Args:
        command: that starts it.
        port: that it will listen on.
        request: path and body that it is asked until it answers.
        variables: its environment.
        log: for what it says.

    Raises:
        GatecastError: it ends, or does not answer in time.
    """
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(variables), cwd=log.parent, stdout=output, stderr=output, start_new_session=True
        )
        try:
            answer = _first_answer(process, port, request, log)
            yield Server(process.pid, port, time.perf_counter() - start, answer)
        finally:
            _stop(process)


def _first_answer(process: subprocess.Popen[bytes], port: int, request: tuple[str, bytes], log: Path) -> bytes:
    deadline, status, answer = time.perf_counter() + PATIENCE_S, 0, b""
    while time.perf_counter() < deadline and process.poll() is None:
        status, answer = _ask(port, *request)
        if status == 200:
            return answer
        time.sleep(_LOOK_S)
    said = log.read_text(encoding="utf-8", errors="replace")[-1000:]
    told = f"{process.args!r:.200}: no forecast within {PATIENCE_S:g} s"
    raise GatecastError(f"{told}. Received: status {status or None}, {answer[:200]!r}; {log} ends with\n{said}")


def _ask(port: int, path: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of an answer; 0 where there is none."""
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE_S)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    tree = tree_of(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in tree:  # those that outlive their parent
        try:
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def tree_of(pid: int) -> list[int]:
    """A process and all that come of it."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):  # it has ended
            continue
        parents.setdefault(parent, []).append(int(status.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def resident_mb(pid: int) -> float:
    """The resident memory of a process and all that come of it, in MB; pages that they share count in each."""
    return sum(map(_resident, tree_of(pid))) / _MB


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
