"""Intervals over seeds, and what they say of a claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, log, sqrt
from typing import Any, Literal

import numpy as np
from scipy import stats

LEVEL = 0.95
ALIKE = 1.02  # ratios within this factor of 1 are no difference

Stance = Literal["for", "against", "open", "beside"]
Verdict = Literal["holds", "does not hold", "depends", "not shown here"]
Interval = tuple[float, float, float]  # value, and the two ends


@dataclass(frozen=True)
class Figure:
    """A measured figure.

    Attributes:
        setting: where it was measured.
        quantity: what it is.
        value: with its 95 % interval, `lo` to `hi`.
        lo: of the interval.
        hi: of the interval.
        n: repetitions of each side, or the data sets that the interval is over.
        stance: `for` or `against` the claim, `open`, or `beside`: it decides nothing.
    """

    setting: str
    quantity: str
    value: float
    lo: float
    hi: float
    n: int
    stance: Stance

    @classmethod
    def of(cls, setting: str, quantity: str, interval: Interval, n: int, stance: Stance) -> Figure:
        """A figure of an interval."""
        return cls(setting, quantity, *interval, n, stance)


@dataclass(frozen=True)
class Result:
    """What was found on a claim.

    Attributes:
        figures: measured.
        setup: how, in a sentence or two.
        verdict: by the figures that decide.
        spent: seconds of one core that each of its runs took, those shared with other claims too.
    """

    figures: tuple[Figure, ...]
    setup: str
    verdict: Verdict
    spent: dict[str, float]

    @property
    def seconds(self) -> float:
        """Of one core that all its runs took."""
        return sum(self.spent.values())

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self) | {"figures": [asdict(figure) for figure in self.figures]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Result:
        """Reads what `to_json` gave."""
        names = ("setup", "verdict", "spent")
        return cls(tuple(Figure(**figure) for figure in value["figures"]), **{name: value[name] for name in names})


def log_ratio(above: Sequence[float], below: Sequence[float]) -> Interval:
    """The ratio of two geometric means with Welch's t-interval of the logarithms.

    Args:
        above: positive figures of the one side, at least two.
        below: those of the other; seeds are no pairs.
    """
    a, b = np.log(above), np.log(below)
    value, parts = float(a.mean() - b.mean()), [float(x.var(ddof=1)) / len(x) for x in (a, b)]
    half = 0.0
    if sum(parts) > 0:
        df = sum(parts) ** 2 / sum(part**2 / (len(x) - 1) for part, x in zip(parts, (a, b), strict=True))
        half = float(stats.t.ppf((1 + LEVEL) / 2, df)) * sqrt(sum(parts))
    return exp(value), exp(value - half), exp(value + half)


def mean_interval(values: Sequence[float]) -> Interval:
    """A mean with its t-interval, of at least two values."""
    mean = float(np.mean(values))
    spread = float(np.std(values, ddof=1)) / sqrt(len(values))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * spread
    return mean, mean - half, mean + half


def share_interval(hits: int, count: int) -> Interval:
    """A share with its Clopper-Pearson interval."""
    found = stats.binomtest(hits, count).proportion_ci(LEVEL)
    return hits / count, float(found.low), float(found.high)


def ratio_below(interval: Interval) -> Stance:
    """What an interval says to "this ratio is below 1"; one wholly within 2 % of 1 says that nothing differs."""
    _, lo, hi = interval
    if lo >= 1 / ALIKE and hi <= ALIKE:
        return "against"
    return "for" if hi < 1 else "against" if lo > 1 else "open"


def ratio_above(interval: Interval) -> Stance:
    """What an interval says to "this ratio is above 1"."""
    value, lo, hi = interval
    return ratio_below((1 / value, 1 / hi, 1 / lo))


def near(interval: Interval, value: float) -> Stance:
    """What an interval says to "this is `value`", give or take 2 %."""
    return in_band(interval, (value / ALIKE, value * ALIKE))


def in_band(interval: Interval, band: tuple[float, float]) -> Stance:
    """What an interval says to "this lies in the band"."""
    _, lo, hi = interval
    if band[0] <= lo and hi <= band[1]:
        return "for"
    return "against" if hi < band[0] or lo > band[1] else "open"


def judge(figures: Sequence[Figure]) -> Verdict:
    """A verdict on a claim that is made without conditions.

    It holds if every deciding figure is for it, and does not hold if none is and one is against it. If some are for it
    and others are not, it depends. If all are open, nothing was shown.
    """
    stances = [figure.stance for figure in figures if figure.stance != "beside"]
    if stances and set(stances) == {"for"}:
        return "holds"
    if "for" in stances:
        return "depends"
    return "does not hold" if "against" in stances else "not shown here"


def roughness(losses: Sequence[float]) -> float:
    """How unsteadily a loss falls: the standard deviation of the steps of its logarithm, after the first tenth."""
    kept = [log(loss) for loss in losses[len(losses) // 10 :] if loss > 0]
    return float(np.std(np.diff(kept), ddof=1)) if len(kept) > 2 else float("nan")
