"""From timings to figures: of each round, then their median, lowest and highest; and whether promises are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.serving.figures import Figure, Target
from benchmarks.speed.catalogue import AGAINST_BARE, CELLS, PRODUCT, SHAPES, THREADS

INPUT_SHARE = 3.0  # % of a step
SLOWER = 3.0  # % than the bare network
FORWARD_AND_BACKWARD = 3  # a product of the forward pass has two in the backward pass

Json = Mapping[str, Any]
Round = Mapping[str, float]


def figure(group: Json, of: Callable[[Round], float]) -> Figure:
    """A figure of a group.

    Args:
        group: as `time_group` gave it.
        of: what is made of the seconds of one round, by name.
    """
    seconds = group["seconds"]
    count = len(next(iter(seconds.values())))
    return Figure.of([of({name: values[number] for name, values in seconds.items()}) for number in range(count)])


def milliseconds(name: str) -> Callable[[Round], float]:
    """The time of a step."""
    return lambda one: 1000 * one[name]


def times(name: str, base: str) -> Callable[[Round], float]:
    """How many times as long one takes as another."""
    return lambda one: one[name] / one[base]


def input_share(one: Round) -> float:
    """Part of a step, in percent, in which its input is made: windows are drawn, and gathered in the graph.

    The difference to a step on one batch says the same, but is one of two large times, and noisier than what is sought.
    """
    return 100 * (one["gather"] + one["draw"]) / one["whole"]


def slower(pair: str) -> Callable[[Round], float]:
    """By how many percent the first of a pair of steps is slower than the second."""
    return lambda one: 100 * (one[pair] - 1)


def backward_ms(one: Round) -> float:
    """What the gradient takes beside the forward pass."""
    return 1000 * (one["gradient"] - one["forward"])


def optimizer_ms(one: Round) -> float:
    """What is left of a step on one batch: clipping and Adam."""
    return 1000 * (one["bare"] - one["gradient"])


def python_us(one: Round) -> float:
    """Python's part of a step: an epoch's windows are drawn, and its graph is called, once for all of its steps."""
    return 1e6 * (one["draw"] + one["call"])


def windows_per_second(name: str, batch: int) -> Callable[[Round], float]:
    """How many windows are trained on."""
    return lambda one: batch / one[name]


def gigaflops(results: Json, threads: int) -> Figure | None:
    """The yardstick: a large matrix product, a multiplication and an addition being two; None where it was left out."""
    group = results["groups"].get(f"product/{threads}")
    return None if group is None else figure(group, lambda one: 2e-9 * PRODUCT**3 / one["product"])


def share_of_peak(results: Json, group: Json, threads: int) -> float | None:
    """What a step's matrix products would take at the speed of the yardstick, in percent of the step."""
    peak = gigaflops(results, threads)
    if peak is None:
        return None
    facts = group["facts"]["ours"]
    work = 2e-9 * FORWARD_AND_BACKWARD * facts["multiply_accumulates"] * facts["batch"]
    return float(100 * work / figure(group, lambda one: one["whole"]).median / peak.median)


def steps_of(results: Json, shape: str) -> dict[tuple[str, int], Json]:
    """The groups of a shape that were timed, by cell and threads."""
    keys = ((cell, threads) for cell in CELLS for threads in THREADS)
    known = results["groups"]
    return {key: known[name] for key in keys if (name := f"step/{shape}/{key[0]}/{key[1]}") in known}


def targets(results: Json) -> list[Target]:
    """What was promised of a step: by shape, of the cell and the threads that are worst."""
    held = []
    for words, limit, of in (
        ("input, part of the step", INPUT_SHARE, input_share),
        ("slower than the bare network by", SLOWER, slower(AGAINST_BARE)),
    ):
        for shape, told in SHAPES.items():
            found = [(figure(group, of).median, key) for key, group in steps_of(results, shape).items()]
            if found:
                worst, (cell, threads) = max(found)
                where = f"{told.words} (most: {cell.upper()}, {counted(threads)})"
                held.append(Target.at_most(f"{words}: {where}", limit, worst, "%"))
    return held


def counted(threads: int) -> str:
    """A number of threads in words."""
    return f"{threads} thread{'s' if threads > 1 else ''}"
