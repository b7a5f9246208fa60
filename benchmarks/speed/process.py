"""A process of ours: python -m benchmarks.speed.process SETUP FOLDER

Builds what the setup says, tells the facts about it in one line, and then answers each line `{"measure", "seconds"}`
with the seconds of a step. It ends when nobody is left to ask.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.catalogue import Setup
from pipeline.quiet import load_tensorflow


@dataclass(frozen=True)
class Measure:
    """Something that can be timed: one call of `run` takes `steps` steps, and ends when they have ended."""

    run: Callable[[], Any]
    steps: int


def main() -> None:
    """Builds, and answers."""
    setup = Setup(**json.loads(sys.argv[1]))
    load_tensorflow(setup.threads)
    from benchmarks.speed.steps import build

    facts, measures = build(setup, Path(sys.argv[2]))
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(step_seconds(measures[asked["measure"]], asked["seconds"])), flush=True)


def step_seconds(measure: Measure, seconds: float) -> float:
    """The mean time of a step, over calls that take at least so many seconds together."""
    start, steps = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds or not steps:
        measure.run()
        steps += measure.steps
    return elapsed / steps


if __name__ == "__main__":
    main()
