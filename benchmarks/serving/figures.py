"""From measurements to figures: medians over rounds with their spread, and whether the targets are met."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.serving.contenders import BATCHING, EMPTY, OWN
from pipeline.errors import GatecastError

NATIVE_MORE_MS = 3.0
TIMES_KERAS = 10
RESIDENT_MB = 250.0
STARTED_S = 2.5
SLOPE_MB = 1.0  # a minute
MANY = 64  # clients
WARM_UP_SHARE = 0.2  # of a soak, in which memory may grow

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """A figure of several rounds.

    Attributes:
        median: of the rounds.
        low: the lowest.
        high: the highest.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """The figure of one value per round."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Target:
    """Something that was promised.

    Attributes:
        words: what.
        limit: that the figure is held against.
        figure: that was measured.
        unit: of both.
        met: whether it holds.
    """

    words: str
    limit: float
    figure: float
    unit: str
    met: bool

    @classmethod
    def at_most(cls, words: str, limit: float, figure: float, unit: str) -> Target:
        """A target that a figure does not exceed."""
        return cls(words, limit, figure, unit, figure <= limit)

    @classmethod
    def at_least(cls, words: str, limit: float, figure: float, unit: str) -> Target:
        """A target that a figure reaches."""
        return cls(words, limit, figure, unit, figure >= limit)


def load_figure(results: Json, name: str, clients: int, quantity: str) -> Figure | None:
    """A figure of a contender under load.

    Args:
        results: all that was measured.
        name: of the contender.
        clients: that asked at a time.
        quantity: `per_second`, `p50_ms` or `p99_ms`.

    Returns:
        The figure over rounds; None where a round had no answer.
    """
    rounds = results["contenders"][name]["loads"][str(clients)]
    if not all(one["answered"] for one in rounds):
        return None
    return Figure.of(
        [one["answered"] / one["seconds"] if quantity == "per_second" else one[quantity] for one in rounds]
    )


def floor_ms(results: Json) -> float:
    """An empty route and a bare call of the engine: the least that a server in Python can take."""
    return _median(results, EMPTY, 1, "p50_ms") + float(statistics.median(results["engine_ms"]))


def targets(results: Json) -> list[Target]:
    """What was promised, and whether it holds."""
    floor = floor_ms(results)
    held = [
        Target.at_most(
            "Open Inference, p50 at one client: at most twice the floor", 2 * floor, _p50(results, "oip"), "ms"
        ),
        Target.at_most(
            f"native, p50 at one client: at most {NATIVE_MORE_MS:g} ms more than that",
            2 * floor + NATIVE_MORE_MS,
            _p50(results, "native"),
            "ms",
        ),
    ]
    keras = TIMES_KERAS * _per_second(results, "keras")
    best = max(_per_second(results, name) for name in BATCHING)
    for name in OWN:
        own = _per_second(results, name)
        held.append(Target.at_least(f"{name}, {MANY} clients: at least {TIMES_KERAS} times (a)", keras, own, "/s"))
        held.append(Target.at_least(f"{name}, {MANY} clients: no fewer than the best of (b) to (d)", best, own, "/s"))
    resident = max(max(results["contenders"][name]["resident_mb"]) for name in OWN)
    held.append(Target("resident memory: under 250 MB", RESIDENT_MB, resident, "MB", resident < RESIDENT_MB))
    started = max(statistics.median(results["contenders"][name]["started_s"]) for name in OWN)
    held.append(Target.at_most("from the start to the first forecast", STARTED_S, started, "s"))
    return held + (soak_targets(results["soak"]) if "soak" in results else [])


def soak_targets(soak: Json) -> list[Target]:
    """What was promised of a soak."""
    slope, failed = soak["slope_mb_per_minute"], float(sum(soak["failed"].values()))
    return [
        Target(f"resident memory over {soak['minutes']:g} minutes", SLOPE_MB, slope, "MB/min", slope < SLOPE_MB),
        Target.at_most(f"failed requests in {soak['minutes']:g} minutes", 0.0, failed, ""),
    ]


def slope_per_minute(seconds: Sequence[float], values: Sequence[float]) -> float:
    """The slope of values over time by least squares, in units a minute.

    Raises:
        GatecastError: there are fewer than two values.
    """
    if len(values) < 2:
        raise GatecastError(f"a slope needs two values. Received: {len(values)}; soak for longer")
    return float(60 * np.polyfit(seconds, values, 1)[0])


def after_warm_up(seconds: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Times and values without those of the warm-up."""
    start = WARM_UP_SHARE * seconds[-1] if seconds else 0.0
    kept = [(second, value) for second, value in zip(seconds, values, strict=True) if second >= start]
    return [second for second, _ in kept], [value for _, value in kept]


def _median(results: Json, name: str, clients: int, quantity: str) -> float:
    figure = load_figure(results, name, clients, quantity)
    if figure is None:
        raise GatecastError(f"{name} has not answered {clients} clients in every round; measure again, for longer")
    return figure.median


def _p50(results: Json, name: str) -> float:
    return _median(results, name, 1, "p50_ms")


def _per_second(results: Json, name: str) -> float:
    return _median(results, name, MANY, "per_second")
