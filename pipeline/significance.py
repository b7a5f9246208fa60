"""Whether one model's expected error is lower than another's, on windows that overlap and networks that vary by seed.

The quantity is the relative difference (A - B) / B of the expected errors of one trained network each. Its variance has
two independent parts: the windows, which both share and which follow each other in time, and the seeds, which nothing
pairs, as the first network of one cell and the first of another have only a number in common.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.fft import dct

Floats = NDArray[np.float64]

HORIZONS_NEEDED = 7  # horizons' worth of cutoffs below which no test keeps its level
SEEDS_NEEDED = 5
SERIES_NEEDED = 20
LEVEL = 0.05
RESAMPLES = 2000
_SEARCHED = 1000  # times as many cutoffs or seeds as there are, at most, are told as needed


@dataclass(frozen=True)
class Term:
    """A part of a variance.

    Attributes:
        variance: of the mean.
        df: degrees of freedom it is estimated with.
    """

    variance: float
    df: float


@dataclass(frozen=True)
class Difference:
    """The relative difference (A - B) / B of two expected errors.

    Attributes:
        relative: the estimate.
        windows: its variance from the windows.
        seeds: its variance from the seeds of A, then of B; empty where the networks are taken as given.
    """

    relative: float
    windows: Term
    seeds: tuple[Term, ...] = ()

    @property
    def variance(self) -> float:
        """Of the estimate."""
        return self.windows.variance + self.seed_variance

    @property
    def seed_variance(self) -> float:
        """The seeds' part of it."""
        return sum(term.variance for term in self.seeds)

    @cached_property
    def df(self) -> float:
        """Degrees of freedom (Welch and Satterthwaite)."""
        terms = [term for term in (self.windows, *self.seeds) if term.variance > 0]
        if not terms:
            return self.windows.df
        return self.variance**2 / sum(term.variance**2 / term.df for term in terms)

    @property
    def ci(self) -> tuple[float, float]:
        """The 95 % interval."""
        half = float(stats.t.ppf(1 - LEVEL / 2, self.df)) * math.sqrt(self.variance)
        return self.relative - half, self.relative + half

    @property
    def p(self) -> float:
        """Two-sided, that there is no difference."""
        return self.p_beyond(0.0)

    def p_beyond(self, rope: float) -> float:
        """Two-sided, that the difference is no larger than ±rope; at most .05 where the interval is wholly beyond."""
        return min(1.0, 2 * self._tail(abs(self.relative) - rope))

    def p_within(self, rope: float) -> float:
        """That the difference is larger than ±rope; at most .05 where the 95 % interval is wholly inside."""
        return min(1.0, 2 * self._tail(rope - abs(self.relative)))

    def _tail(self, distance: float) -> float:
        if self.variance == 0:
            return 0.0 if distance > 0 else 1.0
        return float(stats.t.sf(distance / math.sqrt(self.variance), self.df))

    def decides(self, rope: float) -> bool:
        """Whether the 95 % interval is wholly beyond ±rope, or wholly inside."""
        return min(self.p_beyond(rope), self.p_within(rope)) <= LEVEL

    def with_more(self, *, windows: float = 1.0, seeds: float = 1.0) -> Difference:
        """The same estimate from so many times as many windows, or seeds."""
        fewer = [Term(term.variance / seeds, (term.df + 1) * seeds - 1) for term in self.seeds]
        return replace(
            self, windows=Term(self.windows.variance / windows, self.windows.df * windows), seeds=tuple(fewer)
        )


@dataclass(frozen=True)
class Needed:
    """What an undecided comparison would take, if its estimate stayed as it is.

    Attributes:
        windows: how many times as many windows with the same seeds; None where no number of them is enough.
        seeds: how many times as many seeds with the same windows; None likewise.
        together: how many times as many of both; told only where neither is enough alone, else None, as where both
            are not enough either.
    """

    windows: float | None
    seeds: float | None
    together: float | None


def comparable(a: Floats, b: Floats) -> bool:
    """Whether losses [K, T] and [L, T] are defined for both at two windows at least, and B's are not all 0."""
    a, b = _without_gaps(a, b)
    return a.shape[1] > 1 and bool(b.any())


def over_time(a: Floats, b: Floats, *, overlap: int) -> Difference:
    """Compares two models on cutoffs that follow each other.

    The windows' variance is the equal-weighted cosine estimate with its fixed-b t distribution (Lazarus, Lewis, Stock
    and Watson 2018). Their rule for the number of cosines, .4 T^(2/3), is for shocks that last a few steps. Forecasts
    from cutoffs that overlap share theirs for a whole horizon: no more than two cosines are taken per three
    horizons' worth of cutoffs, which keeps the level where the rule alone rejects three times too often. Fewer than
    two, as the rule has it below twelve cutoffs, leave the windows one degree of freedom: their variance then often
    comes out near 0, the t distribution is that of the seeds, and twice too much is rejected.

    Args:
        a: [K, T] error of each of A's networks at each cutoff, in order of time; NaN where it is undefined.
        b: [L, T] of B's.
        overlap: cutoffs within one horizon, the cutoff itself included; 1 where forecasts do not overlap.

    Returns:
        The difference; the networks' variance is in it for models of several networks.
    """
    a, b = _without_gaps(a, b)
    return _difference(a, b, windows=_cosine_term(_influence(a, b), overlap))


def over_series(a: Floats, b: Floats) -> Difference:
    """Compares two models on series that are taken to be independent.

    Args:
        a: [K, S] error of each of A's networks on each series.
        b: [L, S] of B's.

    Returns:
        The difference.
    """
    a, b = _without_gaps(a, b)
    influence = _influence(a, b)
    count = len(influence)
    return _difference(a, b, windows=Term(float(influence.var(ddof=1)) / count, count - 1))


def cosines(count: int, overlap: int) -> int:
    """How many cosines the variance of `count` cutoffs is estimated from: its degrees of freedom."""
    return max(1, min(max(2, int(0.4 * count ** (2 / 3))), int(2 * count / (3 * overlap))))


def diebold_mariano(difference: Floats, *, overlap: int) -> float:
    """The p value of the Diebold-Mariano test with the correction of Harvey, Leybourne and Newbold (1997).

    Args:
        difference: [T] loss of A less that of B.
        overlap: steps of the forecast, in cutoffs.

    Returns:
        Two-sided; NaN where its variance estimate is not positive, as may be with a rectangular kernel.
    """
    difference = difference[np.isfinite(difference)]
    count = len(difference)
    steps = min(overlap, count)
    centred = difference - difference.mean()
    covariances = [float(centred[lag:] @ centred[: count - lag]) / count for lag in range(steps)]
    variance = (covariances[0] + 2 * sum(covariances[1:])) / count
    if variance <= 0:
        return math.nan
    correction = (count + 1 - 2 * steps + steps * (steps - 1) / count) / count
    statistic = float(difference.mean()) / math.sqrt(variance) * math.sqrt(max(correction, 0.0))
    return float(2 * stats.t.sf(abs(statistic), count - 1))


def bootstrap_interval(a: Floats, b: Floats, *, overlap: int, resamples: int = RESAMPLES) -> tuple[float, float] | None:
    """The 95 % percentile interval of the relative difference by a circular block bootstrap.

    Blocks of cutoffs are drawn for both models together, the networks of each independently.

    Args:
        a: [K, T] as in `over_time`.
        b: [L, T].
        overlap: the length of a block is at least this; 1 resamples single cutoffs, or series.
        resamples: how many.

    Returns:
        Its ends; None where too many resamples draw only cutoffs at which B makes no error, for they have no end.
    """
    a, b = _without_gaps(a, b)
    rng, count = np.random.default_rng(0), a.shape[1]
    length = max(1, min(overlap, count))
    starts = rng.integers(count, size=(resamples, math.ceil(count / length)))
    ratios = np.empty(resamples)
    for i, blocks in enumerate(starts):
        drawn = ((blocks[:, None] + np.arange(length)) % count).ravel()[:count]
        weights = np.bincount(drawn, minlength=count) / count
        means = [float((losses @ weights)[rng.integers(len(losses), size=len(losses))].mean()) for losses in (a, b)]
        ratios[i] = means[0] / means[1] if means[1] > 0 else math.inf
    if np.isinf(ratios).sum() >= int(LEVEL / 2 * (resamples - 1)):
        return None
    low, high = np.quantile(ratios - 1, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def step_p_values(a: Floats, b: Floats, *, overlap: int) -> Floats:
    """The p values of no difference at each step of the horizon, with Holm's correction over the steps.

    Args:
        a: [T, H] loss of A at each cutoff and step, mean over its networks, which are taken as given.
        b: [T, H] of B.
        overlap: as in `over_time`.

    Returns:
        [H]; NaN where a step is undefined.
    """
    columns = [(x[None, :], y[None, :]) for x, y in zip(a.T, b.T, strict=True)]
    return holm([over_time(x, y, overlap=overlap).p if comparable(x, y) else math.nan for x, y in columns])


def holm(p_values: Sequence[float]) -> Floats:
    """The p values corrected for their number (Holm 1979); NaN stays NaN and is not counted.

    Args:
        p_values: [M].

    Returns:
        [M] in the same order.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)  # NaN last
    count = int(np.isfinite(p).sum())
    corrected = np.full(len(p), np.nan)
    found = order[:count]
    corrected[found] = np.minimum(1.0, np.maximum.accumulate(p[found] * np.arange(count, 0, -1)))
    return corrected


def wilcoxon(a: Floats, b: Floats) -> float:
    """The p value of the signed-rank test on errors by series [S]; 1 where all are equal."""
    seen = np.isfinite(a) & np.isfinite(b)
    if not (a[seen] != b[seen]).any():
        return 1.0
    return float(stats.wilcoxon(a[seen], b[seen]).pvalue)


@dataclass(frozen=True)
class Ranks:
    """Several models ranked on every series (Demšar 2006).

    Attributes:
        average: [M] mean rank of each, 1 is best.
        friedman_p: that all are equally good.
        critical_difference: mean ranks further apart than this differ at the 5 % level (Nemenyi).
    """

    average: Floats
    friedman_p: float
    critical_difference: float


def rank_models(errors: Floats) -> Ranks:
    """Ranks three or more models.

    Args:
        errors: [M, S] of each model on each series; series with a NaN are left out.

    Returns:
        The ranks.
    """
    errors = errors[:, np.isfinite(errors).all(axis=0)]
    models, series = errors.shape
    ranks = stats.rankdata(errors, axis=0)
    quantile = float(stats.studentized_range.ppf(1 - LEVEL, models, np.inf)) / math.sqrt(2)
    return Ranks(
        average=ranks.mean(axis=1),
        friedman_p=float(stats.friedmanchisquare(*errors).pvalue) if np.ptp(ranks) else 1.0,
        critical_difference=quantile * math.sqrt(models * (models + 1) / (6 * series)),
    )


def corrected(differences: Sequence[Difference | None], rope: float) -> tuple[Floats, Floats]:
    """The p values that differences are decided by, with Holm's correction for their number.

    Args:
        differences: [M] of the pairs that are decided together; None is undefined.
        rope: as in `Difference.p_beyond`.

    Returns:
        [M] that each is no larger than ±rope, and [M] that it is larger; NaN where it is undefined.
    """
    beyond = holm([math.nan if found is None else found.p_beyond(rope) for found in differences])
    within = holm([math.nan if found is None else found.p_within(rope) for found in differences])
    return beyond, within


def needed(difference: Difference, rope: float, *, beside: Sequence[Difference] = ()) -> Needed:
    """How many more windows, or seeds, would decide, if the estimate stayed as it is.

    Args:
        difference: what is undecided.
        rope: as in `Difference.p_beyond`.
        beside: the differences of the other pairs that are decided with it, which more windows or seeds sharpen too;
            Holm's correction is for the number of all.

    Returns:
        What it would take, of up to a thousand times as many.
    """

    def least(*kinds: str) -> float | None:
        times = 1.0
        while times <= _SEARCHED:
            more = [found.with_more(**dict.fromkeys(kinds, times)) for found in (difference, *beside)]
            if min(p_values[0] for p_values in corrected(more, rope)) <= LEVEL:
                return times
            times *= 1.05
        return None

    windows, seeds = least("windows"), least("seeds") if difference.seeds else None
    alone = windows is not None or seeds is not None or not difference.seeds
    return Needed(windows, seeds, together=None if alone else least("windows", "seeds"))


def _without_gaps(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    seen = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0)
    return a[:, seen], b[:, seen]


def _influence(a: Floats, b: Floats) -> Floats:
    """[T] what each window adds to the ratio of the mean errors; its mean is 0."""
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    ratio = mean_a.mean() / mean_b.mean()
    influence: Floats = (mean_a - ratio * mean_b) / mean_b.mean()
    return influence


def _difference(a: Floats, b: Floats, *, windows: Term) -> Difference:
    ratio, size = float(a.mean() / b.mean()), float(b.mean())
    # The seeds of A move the numerator, those of B the denominator.
    seeds = [_seed_term(losses / size, factor) for losses, factor in ((a, 1.0), (b, ratio)) if len(losses) > 1]
    return Difference(ratio - 1, windows, tuple(seeds))


def _seed_term(losses: Floats, factor: float) -> Term:
    means = factor * losses.mean(axis=1)
    return Term(float(means.var(ddof=1)) / len(means), len(means) - 1)


def _cosine_term(values: Floats, overlap: int) -> Term:
    """Variance of the mean of values [T] that follow each other."""
    count = cosines(len(values), overlap)
    weights = dct(values, type=2, norm="ortho")[1 : count + 1]
    return Term(float(np.square(weights).mean()) / len(values), count)
