"""Conformal calibration of prediction intervals: constants that give them the coverage they promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def conformal_offsets(
    target_z: Floats, forecast_z: Floats, quantiles: Sequence[float], *, independent: float
) -> Floats:
    """Finds what to add to each quantile, after "Conformalized Quantile Regression" (arXiv 1905.03222, section 4).

    For each step and each symmetric pair of quantiles the score of a window is how far its target lies outside
    the interval, negative inside. The interval is widened, or narrowed, at both ends by the score of rank
    ceil(n * (k + 1) / k * (1 - alpha)) of n, where k is what the windows are worth. With k = n exchangeable windows
    that is the rank of the paper, and the calibrated interval covers at least 1 - alpha. Windows that overlap repeat
    each other: n of them know the distribution of the scores only as well as k do. Where the rank is beyond n, the
    largest score is taken, and k / (k + 1) is all that is promised.

    Each step stands alone. Pooling neighbouring steps was tried on simulated series and gives the same coverage:
    the scores of neighbouring steps repeat each other.

    Args:
        target_z: [N, H] targets in units of each window's scale, as `normalised` gives them; NaN is skipped.
        forecast_z: [N, H, Q] uncalibrated quantiles in the same units.
        quantiles: [Q] levels, ascending, symmetric around 0.5.
        independent: k, how many windows without overlap they are worth.

    Returns:
        [H, Q], in units of the window's scale; 0 for the median, and for a step without any score.
    """
    offsets = np.zeros(forecast_z.shape[1:])
    for low in range(len(quantiles) // 2):
        high = len(quantiles) - 1 - low
        scores = np.maximum(forecast_z[:, :, low] - target_z, target_z - forecast_z[:, :, high])
        width = _ranked(scores, quantiles[high] - quantiles[low], independent)
        offsets[:, low], offsets[:, high] = -width, width
    return offsets


def choose_share(
    target_z: Floats,
    forecast_z: Floats,
    quantiles: Sequence[float],
    *,
    weights: Floats,
    independent: float,
    folds: Sequence[tuple[Bools, Bools]],
) -> float:
    """Finds how much of the offsets to apply: the share with the lowest pinball loss on blocks that were left out.

    Offsets of few windows, or of a time unlike the next, do harm: calibrated on one half of a year and measured on
    the other, whole offsets made the loss of ETTh1 at horizon 720 higher by up to 72 %. Each block is forecast with
    the offsets of others, times the share; where nothing is gained the share is 0, and the network's own
    quantiles stand. A loss in units of the window's scale says little of a window that hardly moves: on prices that
    stay for weeks such windows alone would choose offsets a hundred times as wide as the rest needs.

    Args:
        target_z: [N, H] as for `conformal_offsets`.
        forecast_z: [N, H, Q] likewise.
        quantiles: [Q] likewise.
        weights: [N] what each window's loss counts for, as its scale in a unit that windows share.
        independent: as for `conformal_offsets`, of all windows.
        folds: for each block which windows [N] are in it, and which others [N] its offsets come from.

    Returns:
        One of `SHARES`; of equal ones the smallest, and 0 where no block has others.
    """
    level = np.array(quantiles)
    losses = np.zeros(len(SHARES))
    for inside, others in folds:
        worth = independent * float(np.mean(others))
        offsets = conformal_offsets(target_z[others], forecast_z[others], quantiles, independent=worth)
        error = target_z[inside][:, :, None] - forecast_z[inside]
        for i, share in enumerate(SHARES):
            moved = error - share * offsets
            losses[i] += np.nansum(weights[inside, None, None] * np.maximum(level * moved, (level - 1) * moved))
    return SHARES[int(np.argmin(losses))]


def scale_in_units(unit: Floats, *, location: Floats, scale: Floats, transform: str) -> Floats:
    """What a window's scale is in a unit of its series, to first order where it is one of logarithms.

    Args:
        unit: [N] in units of the history; 0 where the series has none.
        location: [N, 1] as for `normalised`.
        scale: [N, 1] likewise.
        transform: `none` or `log1p`.

    Returns:
        [N]; 0 without a unit.
    """
    slope = np.exp(location[:, 0]) if transform == "log1p" else 1.0
    return np.divide(scale[:, 0] * slope, unit, out=np.zeros(len(unit)), where=unit > 0)


def normalised(values: Floats, *, location: Floats, scale: Floats, transform: str) -> Floats:
    """Puts values into units of their window's scale, as the network does inside.

    Args:
        values: [N, H] or [N, H, Q] in units of the history.
        location: [N, 1] as the graph gives it, after the transform.
        scale: [N, 1] likewise.
        transform: `none` or `log1p`.

    Returns:
        Of the shape of `values`; NaN where the value is missing, the scale is 0, or the transform is not defined.
    """
    shape: tuple[Any, ...] = (-1, *[1] * (values.ndim - 1))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x = np.log1p(values) if transform == "log1p" else values
        z: Floats = (x - location.reshape(shape)) / scale.reshape(shape)
    return np.where((scale.reshape(shape) > 0) & np.isfinite(z), z, np.nan)


def _ranked(scores: Floats, coverage: float, independent: float) -> Floats:
    """The ceil(n * (k + 1) / k * coverage)-th smallest of the n scores of each step [H]; 0 without any."""
    counts = np.isfinite(scores).sum(axis=0)
    # 0.975 - 0.025 is a little more than 0.95, which must not cost a rank.
    worth = np.maximum(np.minimum(independent, counts), 1)
    ranks = np.ceil(np.round(counts * (worth + 1) / worth * coverage, 9)).astype(np.int64)
    places = np.clip(np.minimum(ranks, counts) - 1, 0, None)
    if not len(scores):
        return np.zeros(scores.shape[1])
    ascending = np.sort(scores, axis=0)  # NaN comes last
    widths = np.take_along_axis(ascending, places[None, :], axis=0)[0]
    return np.where(counts > 0, widths, 0.0)
