"""Calendar features: where in the day, the week and the year a time lies, as sines and cosines."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.frequency import DAY_US, parse_frequency
from pipeline.timestamps import to_user_time

_Cycle = tuple[str, int]


def calendar_features(
    ds: NDArray[Any], *, freq: str | int, timezone: str | None
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Tells where times lie in the cycles that their frequency can show.

    Times of day for steps shorter than a day, days of the week for steps shorter than a week, and the time of the year
    for steps shorter than a year, by the clock of the user's zone. Each cycle is given as sines and cosines of its
    first harmonics: three of the week's tell its seven days apart.

    Args:
        ds: [T] grid times without a zone, or whole numbers.
        freq: as `data.freq`; whole-numbered times have no calendar.
        timezone: as `data.timezone`.

    Returns:
        The names of the features [L], and their values [T, L] between -1 and 1.
    """
    cycles = _cycles(freq)
    names = tuple(
        f"{cycle}_{wave}{k}" for cycle, count in cycles for k in range(1, count + 1) for wave in ("sin", "cos")
    )
    if not cycles:
        return (), np.zeros((len(ds), 0), np.float32)
    local = pd.DatetimeIndex(to_user_time(pd.Series(ds), freq=freq, timezone=timezone)).tz_localize(None)
    phases = {
        "day": (local - local.normalize()) / pd.Timedelta(days=1),
        "week": local.day_of_week / 7,
        "year": (local.day_of_year - 1) / 365.25,
    }
    waves = [
        wave(2 * np.pi * k * phases[cycle].to_numpy(dtype=np.float64))
        for cycle, count in cycles
        for k in range(1, count + 1)
        for wave in (np.sin, np.cos)
    ]
    return names, np.stack(waves, axis=1).astype(np.float32)


def has_calendar(freq: str | int) -> bool:
    """Whether a frequency can show any cycle."""
    return bool(_cycles(freq))


@lru_cache
def _cycles(freq: str | int) -> tuple[_Cycle, ...]:
    """The cycles that show at a frequency, each with its number of harmonics."""
    return tuple(_find_cycles(freq))


def _find_cycles(freq: str | int) -> Iterator[_Cycle]:
    frequency = parse_frequency(freq)
    if frequency.whole_numbered:
        return
    step = frequency.typical_step() / DAY_US  # in days
    if step < 1:
        yield "day", 3
    if step < 7:  # business days, too
        yield "week", 3
    if step < 200:
        yield "year", 3
