"""Ridge regression from the normalised context to all steps of the horizon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.seasonal import fill_missing, latest_positions
from pipeline.windows import Floats, Ints, Windows, draw_rows

CHUNK = 8192  # windows materialised at once
MAX_WINDOWS = 100_000  # training windows that the map is fitted on


@dataclass(frozen=True)
class LinearMap:
    """A linear map from the normalised context to all steps of the horizon.

    Attributes:
        weights: [C, H].
        intercept: [H].
        alpha: weight of the ridge penalty that it was fitted with.
        season_length: in steps; missing values are filled from the season before.
    """

    weights: Floats
    intercept: Floats
    alpha: float
    season_length: int

    def forecast(self, contexts: Floats) -> Floats:
        """Point forecasts [N, H] of contexts [N, C], in units of y; NaN is missing."""
        z, last, scale = normalise(contexts)
        return last + scale * (self.intercept + fill_missing(z, self.season_length) @ self.weights)


def fit_linear_maps(
    windows: Windows, loss_scale: Floats, *, alphas: Sequence[float], season_length: int
) -> list[LinearMap]:
    """Fits ridge regressions in closed form.

    The squared error that is minimised is in units of `loss_scale`, as in the training of the
    networks: a window weighs as much as its context varies. Missing values are filled from the season before. Of
    more than 100,000 windows that many are drawn, always the same.

    Args:
        windows: the training windows.
        loss_scale: [S] as `FitSet.loss_scale`.
        alphas: ridge penalties, on the scale of a sum over windows.
        season_length: in steps.

    Returns:
        One linear map per alpha.
    """
    rows = draw_rows(len(windows), MAX_WINDOWS)
    context_length, horizon = windows.context_length, windows.horizon
    total, mean = 0.0, np.zeros(context_length + horizon)
    products = np.zeros((context_length, context_length + horizon))
    for chunk in chunks(rows):
        z, weight = _training_rows(windows, loss_scale, chunk, season_length)
        total += float(weight.sum())
        mean += weight @ z
        products += (z[:, :context_length] * weight[:, None]).T @ z
    total = total or 1.0  # all series are constant: all sums are 0
    mean /= total
    # The intercept has no penalty: it makes the means meet.
    products -= total * np.outer(mean[:context_length], mean)
    products *= len(rows) / total
    eigenvalues, vectors = np.linalg.eigh(products[:, :context_length])
    projected = vectors.T @ products[:, context_length:]
    maps = []
    for alpha in alphas:
        weights = vectors @ (projected / (np.maximum(eigenvalues, 0.0) + alpha)[:, None])
        intercept = mean[context_length:] - mean[:context_length] @ weights
        maps.append(LinearMap(weights, intercept, alpha, season_length))
    return maps


def normalise(contexts: Floats) -> tuple[Floats, Floats, Floats]:
    """Contexts [N, C] less their last observed value and over their standard deviation, and both of these [N, 1].

    Missing stays NaN. A context that never changes has standard deviation 0 and is 0.
    """
    last = np.take_along_axis(contexts, latest_positions(contexts), axis=1)
    difference = contexts - last
    count = np.maximum(np.isfinite(difference).sum(axis=1, keepdims=True), 1)
    mean = np.nansum(difference, axis=1, keepdims=True) / count
    scale = np.sqrt(np.nansum(np.square(difference - mean), axis=1, keepdims=True) / count)
    z = np.divide(difference, scale, out=np.zeros_like(difference), where=scale > 0)
    return z, last, scale


def chunks(rows: Ints) -> Iterator[Ints]:
    """Numbers of windows in parts that are small enough to materialise the windows."""
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def _training_rows(windows: Windows, loss_scale: Floats, rows: Ints, season_length: int) -> tuple[Floats, Floats]:
    """Normalised contexts and targets side by side [n, C + H], nothing missing, and the weight of each window [n]."""
    z, last, scale = normalise(windows.contexts(rows))
    targets = windows.targets(rows)
    z_targets = np.divide(targets - last, scale, out=np.zeros_like(targets), where=scale > 0)
    unit = loss_scale[windows.series[rows]]
    weight = np.square(np.divide(scale[:, 0], unit, out=np.zeros(len(rows)), where=unit > 0))
    # The context is filled on its own first, for a forecast has no target to fill it from.
    return fill_missing(np.concatenate([fill_missing(z, season_length), z_targets], axis=1), season_length), weight
