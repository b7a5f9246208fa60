"""How often the tests of `pipeline.significance` find a difference, where there is none and where there is one.

    python -m benchmarks.significance            2,000 repetitions of each shape, about 10 minutes on one core

The losses of two models at overlapping cutoffs are made of shocks that both forecasts meet for a whole horizon, of
autocorrelation 0 and .5, and of what every seed adds of its own. What the methods reject at 5 % is written to
results/significance.json and, as a table, to SIGNIFICANCE.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import lfilter

from benchmarks.pages import save_page
from pipeline.significance import (
    HORIZONS_NEEDED,
    LEVEL,
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


@dataclass(frozen=True)
class Shape:
    """The test part of a data set.

    Attributes:
        windows: cutoffs, or series.
        horizon: in cutoffs; None where the windows are independent series.
        noise: standard deviation of one step's relative loss difference.
    """

    windows: int
    horizon: int | None
    noise: float

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.windows:,} series" if self.horizon is None else f"{self.windows:,} cutoffs, {self.horizon} steps"

    @property
    def allowed(self) -> bool:
        """Whether a decision may rest on it."""
        return self.horizon is None or self.windows >= HORIZONS_NEEDED * self.horizon


SHAPES = (Shape(183, 26, 0.5), Shape(2785, 96, 1.0), Shape(2161, 720, 2.0), Shape(414, None, 0.5))


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
    """[windows] means over the horizon of shocks that successive cutoffs share."""
    assert shape.horizon is not None
    burn = 100
    innovations = rng.standard_normal(shape.windows + shape.horizon - 1 + burn)
    steps = lfilter([np.sqrt(1 - correlation**2)], [1.0, -correlation], innovations)[burn:]
    sums = np.concatenate([[0.0], np.cumsum(steps)])
    means: Floats = (sums[shape.horizon :] - sums[: -shape.horizon]) / shape.horizon
    return means


def methods(shape: Shape, *, resamples: int) -> dict[str, Callable[[Floats, Floats], bool]]:
    """What rejects, by name."""
    overlap = shape.horizon or 1

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
    resamples: int = 200,
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
    rows = []
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
                    shape, correlation=correlation, repetitions=max(200, repetitions // 5), effect=effect
                )["decides"]
                for effect in EFFECTS[1:]
            }
            row = {"shape": shape.name, "allowed": shape.allowed, "correlation": correlation, "null": null}
            rows.append({**row, "power": power})
            print(render({"repetitions": repetitions, "rows": rows[-1:]}).splitlines()[-2], flush=True)
    return {"repetitions": repetitions, "seeds": SEEDS, "rows": rows}


def render(result: dict[str, Any]) -> str:
    """The page."""
    header = ["test part", "AR(1)", "decided on", "ours", "DM-HLN", "block bootstrap"]
    rows = [header + [f"ours, {100 * effect:.0f} % worse" for effect in EFFECTS[1:]]]
    for row in result["rows"]:
        null = [row["null"][name] for name in ("decides", "diebold_mariano", "bootstrap")]
        shares = [f"{100 * share:.1f} %" for share in (*null, *row["power"].values())]
        rows.append([row["shape"], f"{row['correlation']:g}", "yes" if row["allowed"] else "never", *shares])
    return "\n".join(
        [
            "# How often a difference is found",
            "",
            f"Share of {result['repetitions']:,} repetitions in which a test at 5 % finds a difference between two",
            "models of five networks each: first where there is none (a good test stays near 5 %), then where one is",
            "worse. Made by `python -m benchmarks.significance`.",
            "",
            align_rows(rows),
            "",
        ]
    )


def main() -> None:
    """Simulates and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000)
    start = time.monotonic()
    result = measure(parser.parse_args().repetitions)
    write_json({**result, "took_s": round(time.monotonic() - start)}, RESULT)
    save_page(render(result), PAGE)


if __name__ == "__main__":
    main()
