"""The linear forecast that a network starts from: ridge regression on the values as the network sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.windows import Floats, Ints, Windows, draw_rows, split_missing

ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)  # penalties on the scale of a sum over windows
CHUNK = 4096  # windows materialised at once
MAX_WINDOWS = 40_000  # that the regression is fitted on, and judged by

Normalise = Callable[[Floats, NDArray[np.float32]], tuple[Floats, Floats, Floats]]


def fit_kernels(
    windows: Windows, loss_scale: Floats, *, normalise: Normalise, log1p: bool, alphas: Sequence[float] = ALPHAS
) -> list[Floats]:
    """Fits linear maps without an intercept, in closed form, from normalised contexts to normalised targets.

    The squared error that is minimised is in units of `loss_scale`, as in the training of the
    networks; with log1p, in units of the window's scale. Windows with a missing target are left out.

    Args:
        windows: to fit on; of many, a fixed random choice is used.
        loss_scale: [S] as `FitSet.loss_scale`.
        normalise: gives z [N, used], location and scale [N, 1] of `history` and `observed` [N, C].
        log1p: whether the network takes logarithms first.
        alphas: ridge penalties.

    Returns:
        A kernel [used, H] per alpha; of zeros where nothing can be fitted.
    """
    products, total, count, used = np.zeros((0, 0)), 0.0, 0, 0
    for rows in _chunks(windows):
        z, location, scale = normalise(*split_missing(windows.contexts(rows)))
        target = np.divide(
            _transformed(windows.targets(rows), log1p) - location,
            scale,
            out=np.zeros((len(rows), windows.horizon)),
            where=scale > 0,
        )
        unit = loss_scale[windows.series[rows]][:, None]
        weight = np.ones_like(scale) if log1p else np.divide(scale, unit, out=np.zeros_like(scale), where=unit > 0) ** 2
        whole = np.isfinite(target).all(axis=1) & (scale > 0)[:, 0]
        z, target, weight = z[whole], target[whole], weight[whole]
        if not len(products):
            used = z.shape[1]
            products = np.zeros((used, used + windows.horizon))
        products += (z * weight).T @ np.concatenate([z, target], axis=1)
        total += float(weight.sum())
        count += len(z)
    products *= count / total if total else 0.0
    eigenvalues, vectors = np.linalg.eigh(products[:, :used])
    projected = vectors.T @ products[:, used:]
    return [vectors @ (projected / (np.maximum(eigenvalues, 0.0) + alpha)[:, None]) for alpha in alphas]


def choose_kernel(
    kernels: Sequence[Floats], windows: Windows, loss_scale: Floats, *, normalise: Normalise, log1p: bool
) -> int:
    """Which kernel has the lowest mean absolute error on windows, in units of `loss_scale`."""
    errors = np.zeros(len(kernels))
    for rows in _chunks(windows):
        z, location, scale = normalise(*split_missing(windows.contexts(rows)))
        unit = loss_scale[windows.series[rows]][:, None]
        inverse = np.divide(1.0, unit, out=np.zeros_like(unit), where=unit > 0)
        targets = windows.targets(rows)
        seen = np.isfinite(targets)
        for i, kernel in enumerate(kernels):
            forecast = location + scale * (z @ kernel)
            error = np.abs(targets - (np.expm1(forecast) if log1p else forecast)) * inverse
            errors[i] += error[seen].sum()
    return int(np.argmin(np.where(np.isfinite(errors), errors, np.inf)))


def _transformed(values: Floats, log1p: bool) -> Floats:
    return np.log1p(values) if log1p else values


def _chunks(windows: Windows) -> list[Ints]:
    """Numbers of the windows used, in parts that are small enough to materialise."""
    rows = draw_rows(len(windows), MAX_WINDOWS)
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
