"""A process of ours: python -m benchmarks.speed.process SETUP FOLDER

Builds what the setup says, tells the facts about it in one line, and then answers each line `{"measure", "seconds"}`
with the seconds of a step, or with the ratio of two. It ends when nobody is left to ask.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speed.catalogue import Setup
from pipeline.quiet import load_tensorflow


@dataclass(frozen=True)
class Measure:
    """Something that can be timed: one call of `run` takes `steps` steps, and ends when they have ended."""

    run: Callable[[], Any]
    steps: int

    def warm(self) -> None:
        """Runs it once to be traced, and once more."""
        self.run()
        self.run()

    def time(self, seconds: float) -> float:
        """The mean time of a step, over calls that take at least so many seconds together."""
        start, steps = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < seconds or not steps:
            self.run()
            steps += self.steps
        return elapsed / steps


@dataclass(frozen=True)
class Pair:
    """Two measures that are held against each other."""

    one: Measure
    other: Measure

    def warm(self) -> None:
        """Runs both as `Measure.warm` does."""
        self.one.warm()
        self.other.warm()

    def time(self, seconds: float) -> float:
        """How many times as long a step of the one takes as one of the other.

        It is the median over pairs of calls, one right after the other and each of them first in turn, so that what
        slows the machine down for longer than a call slows both: over an even number of pairs, which take at least so
        many seconds together.
        """
        start, ratios = time.perf_counter(), list[float]()
        while time.perf_counter() - start < seconds or not ratios:
            ratios.append(self.one.time(0) / self.other.time(0))
            ratios.append(1 / (self.other.time(0) / self.one.time(0)))
        return median(ratios)


def main() -> None:
    """Builds, and answers."""
    setup = Setup(**json.loads(sys.argv[1]))
    load_tensorflow(setup.threads)
    from benchmarks.speed.steps import build

    facts, measures = build(setup, Path(sys.argv[2]))
    for measure in measures.values():
        measure.warm()
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(measures[asked["measure"]].time(asked["seconds"])), flush=True)


if __name__ == "__main__":
    main()
