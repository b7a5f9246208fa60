"""What the intervals of a forecast are called, in Nixtla's convention."""

from __future__ import annotations

from collections.abc import Sequence


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
