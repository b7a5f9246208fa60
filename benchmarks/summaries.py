"""What several benchmarks say together: ETTh1 over its horizons, and what covariates are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.benchmark import Json, Metric
from pipeline.decision import relative_difference

Figures = Mapping[str, Mapping[str, Json]]  # by cell: the ensemble's, and each seed's


@dataclass(frozen=True)
class Mean:
    """The mean over several benchmarks.

    Attributes:
        name: of its file in `results/`.
        title: for tables.
        parts: the benchmarks.
        metrics: as for each part.
        published: by model its means, measured as here.
        tuned_context: the same of models whose context was chosen for each part, which is not as here.
    """

    name: str
    title: str
    parts: tuple[str, ...]
    metrics: tuple[Metric, Metric]
    published: dict[str, tuple[float, float | None]]
    tuned_context: dict[str, tuple[float, float | None]]


ETTH1 = Mean(
    name="etth1",
    title="ETTh1, mean of the four horizons",
    parts=("etth1-96", "etth1-192", "etth1-336", "etth1-720"),
    metrics=("z_mse", "z_mae"),
    published={
        "SegRNN": (0.408, 0.428),
        "PatchTST": (0.438, 0.448),
        "DLinear": (0.438, 0.451),
        "point-wise GRU": (1.107, 0.822),
    },
    tuned_context={"xLSTM-Mixer": (0.397, 0.420)},
)
COVARIATES = ("vic-elec-plain", "vic-elec")  # without and with


def mean_figures(parts: Mapping[str, Figures], metrics: tuple[str, str]) -> dict[str, dict[str, Json]]:
    """Means over benchmarks.

    Args:
        parts: the figures of each.
        metrics: to be averaged.

    Returns:
        By cell the figures of the ensemble, and of those seeds that all benchmarks have.
    """
    cells = _shared(parts)
    return {
        cell: {
            forecast: {
                metric: float(np.mean([figures[cell][forecast][metric] for figures in parts.values()]))
                for metric in metrics
            }
            for forecast in _shared({name: figures[cell] for name, figures in parts.items()})
        }
        for cell in cells
    }


def relative_differences(plain: Figures, covariates: Figures, metric: str) -> dict[str, dict[str, float | None]]:
    """How much larger an error is with covariates than without, as a share of the latter; below 0 it is smaller.

    Args:
        plain: the figures without covariates.
        covariates: those with them.
        metric: of the error.

    Returns:
        By cell that of the `ensemble`, and `mean` and `sd` over the seeds that both have.
    """
    found = {}
    for cell in _shared({"plain": plain, "covariates": covariates}):
        pair = {"plain": plain[cell], "covariates": covariates[cell]}
        shares = {
            name: relative_difference(covariates[cell][name][metric], plain[cell][name][metric])
            for name in _shared(pair)
        }
        ensemble = shares.pop("ensemble")
        seeds = np.array([share for share in shares.values() if share is not None])
        found[cell] = {
            "ensemble": ensemble,
            "mean": float(seeds.mean()) if len(seeds) else None,
            "sd": float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
        }
    return found


def _shared(mappings: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The keys that all mappings have, in the order of the first."""
    first, *others = mappings.values()
    return [key for key in first if all(key in other for other in others)]
