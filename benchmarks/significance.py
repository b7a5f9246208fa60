"""How often the tests of `pipeline.significance` find a difference, where there is none and where there is one.

    python -m benchmarks.significance            2,000 repetitions of each shape, about 15 minutes on one core
    python -m benchmarks.significance --page     the page alone, from results/significance.json

The losses of two models at overlapping cutoffs are made of shocks that both forecasts meet for a whole horizon, of
autocorrelation 0 and .5, and of what every seed adds of its own. What the methods reject at 5 % is written to
results/significance.json and, as a table, to SIGNIFICANCE.md.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import lfilter

from benchmarks.pages import read_results, save_page
from pipeline.significance import (
    HORIZONS_NEEDED,
    LEVEL,
    RESAMPLES,
    Floats,
    bootstrap_interval,
    diebold_mariano,
    over_series,
    over_time,
)
from pipeline.storage import write_json
from pipeline.tables import align_rows

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "significance.json", HERE / "SIGNIFICANCE.md"
SEEDS = 5
EFFECTS = (0.0, 0.02, 0.05, 0.1)
FEW_RESAMPLES = 200  # of a bootstrap, of which there are thousands here

INTRODUCTION = """\
# How often a difference is found

Share of simulated comparisons in which a test at {level:.0f} % finds a difference between two models of {seeds}
networks each: first, of {repetitions:,} comparisons, where there is none (a good test stays near {level:.0f} %), in the
columns *ours*, *DM-HLN* and *block bootstrap*; then, of {power_repetitions:,}, where one is worse. A bootstrap has
{resamples:,} resamples here, and {usual:,} in the pipeline. Made by `python -m benchmarks.significance`.
"""
READING = """\
Where there is no difference, the expected errors of the models are equal but not those of the networks at hand: here as
in training, each seed adds something of its own. *Ours* has a variance for that. DM-HLN is given the networks' mean
losses and takes the networks as they are, so that what the seeds did is a difference to it, the more so the more
windows there are: its column shows how often it is wrong about the models, not about these networks. The block
bootstrap draws networks too, but the variance among five drawn from five is four fifths of theirs on average. With few
horizons' worth of cutoffs both take what successive cutoffs share for less than it is. The pipeline decides on *ours*
alone; the two others stand beside it.
"""


@dataclass(frozen=True)
class Shape:
    """The test part of a data set.

    Attributes:
        windows: cutoffs, or series.
        horizon: in steps; None where the windows are independent series.
        noise: standard deviation of one step's relative loss difference.
        apart: steps from one cutoff to the next.
    """

    windows: int
    horizon: int | None
    noise: float
    apart: int = 1

    @property
    def name(self) -> str:
        """In words."""
        if self.horizon is None:
            return f"{self.windows:,} series"
        apart = f", {self.apart} apart" if self.apart > 1 else ""
        return f"{self.windows:,} cutoffs{apart}, {self.horizon} steps"

    @property
    def overlap(self) -> int:
        """Cutoffs within one horizon."""
        return 1 if self.horizon is None else math.ceil(self.horizon / self.apart)

    @property
    def allowed(self) -> bool:
        """Whether a decision may rest on it."""
        return self.horizon is None or self.windows >= HORIZONS_NEEDED * self.overlap


SHAPES = (
    Shape(183, 26, 0.5),
    Shape(2785, 96, 1.0),
    Shape(8, 24, 0.4, apart=24),
    Shape(2161, 720, 2.0),
    Shape(414, None, 0.5),
)


def draw(
    shape: Shape, rng: np.random.Generator, *, correlation: float, effect: float = 0.0, seeds: int = SEEDS
) -> tuple[Floats, Floats]:
    """Losses of two models, of which A's expected loss is larger by the share `effect`.

    Args:
        shape: of the test part.
        rng: draws.
        correlation: of the shocks from step to step.
        effect: relative difference of the expected losses.
        seeds: networks of each model.

    Returns:
        [seeds, windows] losses of A and of B.
    """
    if shape.horizon is None:
        common = rng.gamma(4.0, 0.25, shape.windows)
        shock = common * shape.noise * rng.standard_normal(shape.windows)
    else:
        common = 1 + 0.3 * _overlapping(shape, rng, correlation)
        shock = shape.noise * _overlapping(shape, rng, correlation)
    own = rng.normal(0, 0.02, (2, seeds, 1)) + rng.normal(0, 0.05, (2, seeds, shape.windows))
    return (1 + effect) * (common + shock / 2 + own[0]), common - shock / 2 + own[1]


def _overlapping(shape: Shape, rng: np.random.Generator, correlation: float) -> Floats:
    """[windows] means over the horizon of shocks that cutoffs share which lie less than it apart."""
    assert shape.horizon is not None
    burn = 100
    innovations = rng.standard_normal((shape.windows - 1) * shape.apart + shape.horizon + burn)
    steps = lfilter([np.sqrt(1 - correlation**2)], [1.0, -correlation], innovations)[burn:]
    sums = np.concatenate([[0.0], np.cumsum(steps)])
    means: Floats = (sums[shape.horizon :] - sums[: -shape.horizon]) / shape.horizon
    return means[:: shape.apart]


def methods(shape: Shape, *, resamples: int) -> dict[str, Callable[[Floats, Floats], bool]]:
    """What rejects, by name."""
    overlap = shape.overlap

    def decides(a: Floats, b: Floats) -> bool:
        found = over_series(a, b) if shape.horizon is None else over_time(a, b, overlap=overlap)
        return found.p <= LEVEL

    def bootstraps(a: Floats, b: Floats) -> bool:
        low, high = bootstrap_interval(a, b, overlap=overlap, resamples=resamples)
        return not low <= 0 <= high

    def compares(a: Floats, b: Floats) -> bool:
        return diebold_mariano(a.mean(axis=0) - b.mean(axis=0), overlap=overlap) <= LEVEL

    return {"decides": decides, "diebold_mariano": compares, "bootstrap": bootstraps}


def rejections(
    shape: Shape,
    *,
    correlation: float,
    repetitions: int,
    effect: float = 0.0,
    only: tuple[str, ...] = ("decides",),
    resamples: int = FEW_RESAMPLES,
) -> dict[str, float]:
    """The share of repetitions in which each method finds a difference at 5 %."""
    tests = {name: test for name, test in methods(shape, resamples=resamples).items() if name in only}
    rng, found = np.random.default_rng(1), dict.fromkeys(tests, 0)
    for _ in range(repetitions):
        a, b = draw(shape, rng, correlation=correlation, effect=effect)
        for name, test in tests.items():
            found[name] += bool(test(a, b))
    return {name: count / repetitions for name, count in found.items()}


def measure(repetitions: int) -> dict[str, Any]:
    """All shapes, correlations and effects."""
    rows, counts = [], {"repetitions": repetitions, "power_repetitions": max(200, repetitions // 5)}
    counts |= {"resamples": FEW_RESAMPLES, "seeds": SEEDS}
    for shape in SHAPES:
        for correlation in (0.0, 0.5) if shape.horizon else (0.0,):
            null = rejections(
                shape,
                correlation=correlation,
                repetitions=repetitions,
                only=("decides", "diebold_mariano", "bootstrap"),
            )
            power = {
                str(effect): rejections(
                    shape, correlation=correlation, repetitions=counts["power_repetitions"], effect=effect
                )["decides"]
                for effect in EFFECTS[1:]
            }
            row = {"shape": shape.name, "allowed": shape.allowed, "correlation": correlation, "null": null}
            rows.append({**row, "power": power})
            print(" ".join(_fields(rows[-1])), flush=True)
    return {**counts, "rows": rows}


def render(result: dict[str, Any]) -> str:
    """The page."""
    header = ["test part", "AR(1)", "decided on", "ours", "DM-HLN", "block bootstrap"]
    rows = [header + [f"ours, {100 * effect:.0f} % worse" for effect in EFFECTS[1:]]]
    rows += [_fields(row) for row in result["rows"]]
    return "\n".join([INTRODUCTION.format(**result, level=100 * LEVEL, usual=RESAMPLES), align_rows(rows), READING])


def _fields(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    null = [row["null"][name] for name in ("decides", "diebold_mariano", "bootstrap")]
    shares = [f"{100 * share:.1f} %" for share in (*null, *row["power"].values())]
    return [row["shape"], f"{row['correlation']:g}", "yes" if row["allowed"] else "never", *shares]


def main() -> None:
    """Simulates and writes the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.significance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--page", action="store_true", help="write the page alone")
    args = parser.parse_args()
    if not args.page:
        start = time.monotonic()
        write_json({**measure(args.repetitions), "took_s": round(time.monotonic() - start)}, RESULT)
    write_page(RESULT, PAGE)


def write_page(results: Path, page: Path) -> None:
    """Writes the page from the results."""
    save_page(render(read_results(results, "python -m benchmarks.significance")), page)


if __name__ == "__main__":
    main()
