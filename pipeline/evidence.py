"""What the windows of a test part say of the difference of two models, and whether they are enough to say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.significance import (
    HORIZONS_NEEDED,
    SERIES_NEEDED,
    Difference,
    Floats,
    bootstrap_interval,
    comparable,
    diebold_mariano,
    over_series,
    over_time,
    step_p_values,
    wilcoxon,
)

ENSEMBLE = "ensemble"
SQUARED = ("rmse", "rmsse")  # their losses are squares: a metric is the root of their mean over a series
OVER_TIME, OVER_SERIES = "over_time", "over_series"
INDEPENDENT = "the series are independent of each other"


@dataclass(frozen=True)
class Measured:
    """The losses of one model on the test part.

    Attributes:
        name: of the cell or the baseline.
        windows: `forecast, unique_id, cutoff, steps` and a column per metric, as `losses.Losses.windows`; the forecasts
            are `ensemble` and every seed, or the baseline's name.
        horizon: `cutoff, step` and a column per metric: mean over series and networks; None for a baseline.
    """

    name: str
    windows: pd.DataFrame
    horizon: pd.DataFrame | None = None

    def networks(self, metric: str, *, by: str) -> Floats:
        """[K, T] loss of each network by `cutoff`, in order of time, or by `unique_id`; of a baseline K is 1.

        Their mean over time, and over series, is the metric of these windows, in which every series counts as much as
        any other; squares come as the terms of their root.
        """
        return self._pivot(self.windows[self.windows["forecast"] != ENSEMBLE], metric, by)

    def ensemble(self, metric: str, *, by: str) -> Floats:
        """[1, T] that of the ensemble."""
        return self._pivot(self.windows[self.windows["forecast"] == ENSEMBLE], metric, by)

    def steps(self, metric: str) -> Floats:
        """[T, H] loss by cutoff, in order of time, and step."""
        assert self.horizon is not None
        return self.horizon.pivot(index="cutoff", columns="step", values=metric).to_numpy(np.float64)

    def error(self, metric: str) -> float:
        """The metric of one network, expected over networks: mean over series, as the evaluation has it; or NaN."""
        errors = self.networks(metric, by="unique_id")
        return float(np.nanmean(errors)) if np.isfinite(errors).any() else math.nan

    def at(self, cutoffs: Sequence[Any]) -> Measured:
        """The losses at some cutoffs."""
        windows, horizon = self.windows, self.horizon
        return Measured(
            self.name,
            windows[windows["cutoff"].isin(cutoffs)],
            None if horizon is None else horizon[horizon["cutoff"].isin(cutoffs)],
        )

    @staticmethod
    def _pivot(windows: pd.DataFrame, metric: str, by: str) -> Floats:
        """Shares of the metric, whose sum is that of each series, or whose mean over time is that of all of them."""
        series, defined = [windows["forecast"], windows["unique_id"]], windows[metric].notna()
        # A series counts each of its steps once, so that a window in which few are observed counts for little.
        steps = windows["steps"].where(defined, 0)
        share = steps / steps.groupby(series, observed=True).transform("sum")
        terms = windows[metric] * share
        if metric in SQUARED:
            # A large series must not decide by its squares. What a square x adds to the root of its series' mean m is
            # x / (2 sqrt(m)) to first order, so that (m + x) / (2 sqrt(m)) has the root as its mean and the variance
            # of the delta method.
            m = terms.groupby(series, observed=True).transform("sum")
            terms = ((m * share + terms) / (2 * np.sqrt(m))).where(m > 0, terms)
        if by == "cutoff":  # every series counts as much as any other, however often it is defined
            known = windows[defined]
            terms = terms * (known["cutoff"].nunique() / max(known["unique_id"].nunique(), 1))
        rows = terms.groupby([windows["forecast"], windows[by]], sort=True, observed=True).sum(min_count=1)
        return rows.unstack(by).to_numpy(np.float64)


@dataclass(frozen=True)
class Design:
    """How models are compared on a test part.

    Only windows at which the metric is defined count; of the others the target is missing, or a scale of the series.

    Attributes:
        shared: the cutoffs at which more than half of the series have a window, in order of time. Any two of them are
            cutoffs of one series at least, and those are steps of `step_size` apart: so all lie on one grid.
        in_shared: windows at these cutoffs.
        n_windows: all windows.
        n_series: series with a window.
        series_in_shared: series with a window at these cutoffs.
        most_windows: the most that one series has.
        horizon: steps forecast.
        step_size: steps between the cutoffs of a series.
        independent_series: whether a person has declared that the series are independent.
    """

    shared: tuple[Any, ...]
    in_shared: int
    n_windows: int
    n_series: int
    series_in_shared: int
    most_windows: int
    horizon: int
    step_size: int
    independent_series: bool = False

    @property
    def overlap(self) -> int:
        """Cutoffs within one horizon."""
        return math.ceil(self.horizon / self.step_size)

    @property
    def horizons_worth(self) -> float:
        """Horizons that follow each other in the test part, as far as the shared cutoffs tell them apart."""
        return len(self.shared) * min(self.horizon, self.step_size) / self.horizon

    @property
    def kind(self) -> str | None:
        """What is resampled: cutoffs (`over_time`) or series (`over_series`); None where neither are enough.

        Series that share a calendar share its shocks, so their number counts only where each has one window and there
        is nothing else to count, or where they are declared independent.
        """
        if self.horizons_worth >= HORIZONS_NEEDED:
            return OVER_TIME
        if self.n_series >= SERIES_NEEDED and (self._one_each or self.independent_series):
            return OVER_SERIES
        return None

    @property
    def n_cutoffs(self) -> int:
        """Cutoffs that follow each other: the shared ones where they are compared, else the most of one series."""
        return len(self.shared) if self.kind == OVER_TIME else self.most_windows

    @property
    def compared_series(self) -> int:
        """Series of which windows are compared."""
        return self.series_in_shared if self.kind == OVER_TIME else self.n_series

    @property
    def compared(self) -> tuple[int, str]:
        """How many of what are resampled."""
        return (self.n_series, "series") if self.kind == OVER_SERIES else (self.n_cutoffs, "cutoffs")

    @property
    def left_out(self) -> float:
        """The share of windows that are not compared, as their cutoffs are not shared."""
        return 1 - self.in_shared / self.n_windows if self.kind == OVER_TIME else 0.0

    @property
    def assumes(self) -> str | None:
        """What a decision takes for granted, in words."""
        return INDEPENDENT if self.kind == OVER_SERIES else None

    @property
    def too_little(self) -> str | None:
        """In words why nothing can be decided, and what would do; None where something can."""
        if self.kind is not None:
            return None
        if not self.n_windows:
            return "the metric is defined for no window of the test part"
        count, ways = len(self.shared), []
        why = "the series end at different times or lack values, so that no cutoff is shared by more than half of them"
        if self.shared:
            cutoffs = math.ceil(HORIZONS_NEEDED * self.horizon / min(self.horizon, self.step_size))
            ways.append(f"a test part of {cutoffs} cutoffs")
            told = "1 cutoff is" if count == 1 else f"{count} cutoffs are"
            if self.in_shared < self.n_windows:
                told = f"of the cutoffs that more than half of the series share, {told}"
            worth = f"{math.floor(10 * self.horizons_worth) / 10:g} horizons' worth"
            why = f"{told} {worth}, and below {HORIZONS_NEEDED} no test keeps its level"
        if self.n_series >= SERIES_NEEDED:
            ways.append("compare.independent_series: true if the series are independent of each other")
        elif self._one_each or not self.shared:
            ways.append(f"{SERIES_NEEDED} series that are independent of each other")
        first, *others = ways
        return f"{why}; {', or '.join([f'{first} would do', *others])}"

    def of(self, measured: Measured) -> Measured:
        """The losses that are compared."""
        return measured.at(self.shared) if self.kind == OVER_TIME else measured

    @property
    def _one_each(self) -> bool:
        return self.n_windows == self.n_series


def measure_design(
    measured: Measured, *, metric: str, horizon: int, step_size: int, independent_series: bool
) -> Design:
    """Counts what can be compared.

    Args:
        measured: the losses of one of the models; where they are undefined, those of the others are too.
        metric: of `losses.METRICS`.
        horizon: steps forecast.
        step_size: steps between the cutoffs of a series.
        independent_series: whether the series are declared to be independent.

    Returns:
        The design of the test part.
    """
    windows = measured.windows
    one = windows[(windows["forecast"] == windows["forecast"].iloc[0]) & windows[metric].notna()]
    holding, by_series = (one.groupby(by, sort=True, observed=True).size() for by in ("cutoff", "unique_id"))
    shared = holding[2 * holding > len(by_series)]
    return Design(
        shared=tuple(shared.index),
        in_shared=int(shared.sum()),
        n_windows=len(one),
        n_series=len(by_series),
        series_in_shared=one.loc[one["cutoff"].isin(shared.index), "unique_id"].nunique(),
        most_windows=max(by_series, default=0),
        horizon=horizon,
        step_size=step_size,
        independent_series=independent_series,
    )


def compare_networks(a: Measured, b: Measured, *, metric: str, design: Design) -> Difference | None:
    """The relative difference of the expected errors of one network of each; None where it is undefined.

    Args:
        a: a cell.
        b: a cell or a baseline.
        metric: of `losses.METRICS`.
        design: of the test part; of a kind.
    """
    by, both = _rows(design), (design.of(a), design.of(b))
    return _compare(*(measured.networks(metric, by=by) for measured in both), design=design)


def compare_ensembles(a: Measured, b: Measured, *, metric: str, design: Design) -> Difference | None:
    """As `compare_networks`, of the ensembles, conditional on the networks that are in them."""
    by, both = _rows(design), (design.of(a), design.of(b))
    return _compare(*(measured.ensemble(metric, by=by) for measured in both), design=design)


def other_tests(a: Measured, b: Measured, *, metric: str, design: Design) -> dict[str, Any]:
    """What other tests say, to be shown beside the decision.

    Returns:
        `bootstrap_ci`, None where it has no end; over time `dm_hln_p` and `steps`: where along the horizon one is
        better at 5 % with Holm's correction, of the networks as they are; over series, from twenty on, `wilcoxon_p`.
    """
    by, both = _rows(design), (design.of(a), design.of(b))
    losses = both[0].networks(metric, by=by), both[1].networks(metric, by=by)
    overlap = design.overlap if design.kind == OVER_TIME else 1
    resampled = bootstrap_interval(*losses, overlap=overlap)
    found: dict[str, Any] = {"bootstrap_ci": resampled and list(resampled)}
    if design.kind == OVER_TIME:
        found["dm_hln_p"] = diebold_mariano(losses[0].mean(axis=0) - losses[1].mean(axis=0), overlap=overlap)
        steps = both[0].steps(metric), both[1].steps(metric)
        p = step_p_values(*steps, overlap=overlap)
        lower = np.nanmean(steps[0], axis=0) < np.nanmean(steps[1], axis=0)
        found["steps"] = {
            name: (1 + np.flatnonzero((p <= 0.05) & better)).tolist()
            for name, better in ((a.name, lower), (b.name, ~lower))
        }
    if design.n_series >= SERIES_NEEDED:
        series = [measured.networks(metric, by="unique_id").mean(axis=0) for measured in (a, b)]
        found["wilcoxon_p"] = wilcoxon(series[0], series[1])
    return found


def errors_by_series(models: Sequence[Measured], metric: str) -> Floats:
    """[M, S] loss of each model on each series, mean over its networks."""
    return np.stack([model.networks(metric, by="unique_id").mean(axis=0) for model in models])


def _rows(design: Design) -> str:
    return "unique_id" if design.kind == OVER_SERIES else "cutoff"


def _compare(a: Floats, b: Floats, *, design: Design) -> Difference | None:
    if not comparable(a, b):
        return None
    return over_series(a, b) if design.kind == OVER_SERIES else over_time(a, b, overlap=design.overlap)
