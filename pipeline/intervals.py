"""What the intervals of a forecast are called, in Nixtla's convention, and when a value lies on their ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def interval_levels(quantiles: Sequence[float]) -> list[str]:
    """Levels in percent of the intervals between symmetric quantiles.

    Args:
        quantiles: [Q] ascending, symmetric around 0.5.

    Returns:
        [Q // 2] widest first, for example `95, 80, 50`.
    """
    return [f"{round(100 * (1 - 2 * q), 8):g}" for q in quantiles[: len(quantiles) // 2]]


def forecast_columns(model: str, quantiles: Sequence[float]) -> list[tuple[str, int]]:
    """The columns of a forecast frame in Nixtla's order, each with the place of its quantile.

    Args:
        model: name of the median's column.
        quantiles: [Q] ascending, symmetric around 0.5.

    Returns:
        [Q] `model`, then `model-lo-95`, `model-lo-80`, ..., `model-hi-80`, `model-hi-95`.
    """
    levels, last = interval_levels(quantiles), len(quantiles) - 1
    low = [(f"{model}-lo-{level}", place) for place, level in enumerate(levels)]
    high = [(f"{model}-hi-{level}", last - place) for place, level in enumerate(levels)]
    return [(model, last // 2), *low, *reversed(high)]


def snapped(forecast: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """A forecast [N] with the actual value [N] in the place of what differs from it by rounding alone.

    `log1p` and `expm1` give a constant back but for its last bits, which lie outside of an interval without width.
    """
    return np.where(np.isclose(forecast, y, rtol=1e-12, atol=0), y, forecast)
