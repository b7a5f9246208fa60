"""Full load for minutes: whether memory stays flat, and whether anything fails."""

from __future__ import annotations

import threading
import time
from typing import Any

from benchmarks.serving.contenders import CONTENDERS, OWN
from benchmarks.serving.figures import MANY, after_warm_up, slope_per_minute
from benchmarks.serving.load import Load, http_request, run_load
from benchmarks.serving.measuring import Laboratory, Plan
from benchmarks.serving.processes import resident_mb

EVERY = 10  # seconds between the values of memory that are written down


class Weighed(threading.Thread):
    """Looks at the resident memory of a server each second.

    Args:
        pid: of the server.

    Attributes:
        seconds: of each look, from the first one.
        resident_mb: at each.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._over = pid, threading.Event()
        self.seconds: list[float] = []
        self.resident_mb: list[float] = []

    def run(self) -> None:
        """Looks until told to stop."""
        start = time.perf_counter()
        while not self._over.wait(1.0):
            self.seconds.append(time.perf_counter() - start)
            self.resident_mb.append(resident_mb(self._pid))

    def stop(self) -> None:
        """Ends the looking."""
        self._over.set()
        self.join()


def soak(plan: Plan, minutes: float) -> dict[str, Any]:
    """Puts full load on `gatecast serve`, its protocols in turn.

    Args:
        plan: of the measurement.
        minutes: that it lasts.

    Returns:
        The slope of its memory after the warm-up, the memory over time, and what was answered and what failed.
    """
    laboratory = Laboratory(plan)
    protocols = [CONTENDERS[name].requests(laboratory.windows, plan.cell) for name in OWN]
    requests = [http_request(*request) for one_of_each in zip(*protocols, strict=True) for request in one_of_each]
    with laboratory.serve(OWN[0]) as server:
        weighed = Weighed(server.pid)
        weighed.start()
        measured = run_load(Load(server.port, requests, MANY, 60 * minutes))
        weighed.stop()
    slope = slope_per_minute(*after_warm_up(weighed.seconds, weighed.resident_mb))
    return {
        "minutes": minutes,
        "clients": MANY,
        "answered": measured.answered,
        "failed": measured.failed,
        "p50_ms": measured.p50_ms,
        "p99_ms": measured.p99_ms,
        "slope_mb_per_minute": slope,
        "resident_mb": [round(value, 1) for value in weighed.resident_mb[::EVERY]],
    }
