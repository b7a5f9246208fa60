"""Regular grids: the steps of a pandas frequency or of whole-numbered times, as integer arithmetic."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset, BusinessHour, CustomBusinessHour, Day, Tick

from pipeline.errors import DataError

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

DAY_US = 86_400_000_000
_BEYOND = 10**18  # what is read as a time is less, in microseconds or whole numbers
_TOO_LONG = "no two times are a step as long apart; use a shorter one"
_RENAMED = {
    "H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns", "BH": "bh", "M": "ME", "BM": "BME", "SM": "SME",
    "Q": "QE", "BQ": "BQE", "A": "YE", "Y": "YE", "BA": "BYE", "BY": "BYE", "AS": "YS", "BAS": "BYS",
    "d": "D", "w": "W", "b": "B", "c": "C",
}  # fmt: skip


@dataclass(frozen=True)
class Frequency:
    """The distance from one step to the next.

    Attributes:
        alias: as the user gave it: a pandas offset alias, or a whole number.
        step: length of a step where all are equal, in microseconds (a whole number for whole-numbered times);
            None where the calendar decides.
        calendar: the calendar's offset, of which `multiple` make a step; None where all steps are equal.
        multiple: calendar units per step; 1 where all steps are equal.
    """

    alias: str | int
    step: int | None
    calendar: BaseOffset | None = None
    multiple: int = 1

    @property
    def whole_numbered(self) -> bool:
        """Whether times are whole numbers instead of timestamps."""
        return isinstance(self.alias, int)

    @property
    def keeps_wall_time(self) -> bool:
        """Whether steps are whole days, so that a clock change leaves the grid of local times regular."""
        return not self.whole_numbered and (self.step is None or self.step % DAY_US == 0)

    def after(self, time: int, steps: int) -> int:
        """A time that is at least so many steps after another, in microseconds (or a whole number)."""
        if self.calendar is None:
            return time + (self.step or 0) * steps
        end = pd.Timestamp(np.datetime64(time, "us")) + self.calendar * (self.multiple * steps)
        return int(np.datetime64(end, "us").view(np.int64))

    def typical_step(self) -> float:
        """The mean length of a step, in microseconds (or a whole number); 28 years are a whole number of weeks."""
        if self.step is not None:
            return float(self.step)
        first, last = (int(np.datetime64(day, "us").view(np.int64)) for day in ("2000-01-01", "2027-12-31"))
        return (last + DAY_US - first) * self.multiple / len(Grid.spanning(self, first, last).days)


def parse_frequency(freq: str | int) -> Frequency:
    """Reads `data.freq`.

    Args:
        freq: a pandas offset alias such as `h`, `30min`, `D`, `W-SAT`, `MS`; or the step of whole-numbered times.

    Returns:
        The frequency.

    Raises:
        DataError: `freq-unknown`, where pandas does not know the alias or no grid can be made of it.
    """
    if isinstance(freq, int):
        if freq < 1:
            raise _unknown(freq, "a step is at least 1")
        return Frequency(freq, _held(freq, freq))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # pandas warns about the old names that it still takes
            offset = to_offset(freq)
    except (ValueError, Warning):
        raise _unknown(freq, _suggest_alias(freq)) from None
    except OverflowError:
        raise _unknown(freq, _TOO_LONG) from None
    if offset.n < 1:
        raise _unknown(freq, "a step goes forward in time")
    if isinstance(offset, (Tick, Day)):
        return Frequency(freq, _held(freq, _step_us(freq, offset)))
    if isinstance(offset, (BusinessHour, CustomBusinessHour)):
        raise _unknown(freq, "steps inside business hours are no regular grid; use h or min")
    return Frequency(freq, None, offset.base, offset.n)


def _step_us(freq: str, offset: Tick | Day) -> int:
    if isinstance(offset, Day):
        return offset.n * DAY_US
    step, rest = divmod(offset.nanos, 1000)
    if rest:
        raise _unknown(freq, "times are kept in microseconds; use a multiple of 1us")
    return int(step)


def _held(freq: str | int, step: int) -> int:
    if step >= _BEYOND:
        raise _unknown(freq, _TOO_LONG)
    return step


def _suggest_alias(freq: str) -> str:
    number = freq[: len(freq) - len(freq.lstrip("0123456789"))]
    name, dash, anchor = freq[len(number) :].partition("-")
    if name in _RENAMED:
        return f"use {number}{_RENAMED[name]}{dash}{anchor}"
    return "use a pandas offset alias such as min, h, D, W-SUN, MS, QS, YS, or a whole number for whole-numbered times"


def _unknown(freq: str | int, mend: str) -> DataError:
    return DataError("freq-unknown", f"params.yaml, data.freq: no usable frequency. Received: {freq!r}; {mend}")


@dataclass(frozen=True)
class Grid:
    """The places of a frequency over a span of time.

    A time is its `ordinal`, the number of steps from a fixed origin, and its `phase`, what is left over; times of
    one phase lie on one regular grid.

    Attributes:
        frequency: the distance between steps.
        days: the calendar's days within the span, in microseconds since 1970; empty where all steps are equal.
    """

    frequency: Frequency
    days: Int64s

    @classmethod
    def spanning(cls, frequency: Frequency, first: int, last: int) -> Grid:
        """Builds the grid.

        Args:
            frequency: the distance between steps.
            first: earliest time that will be located, in microseconds since 1970 (or a whole number).
            last: latest time.

        Returns:
            A grid good for times from `first` to `last`.
        """
        if frequency.calendar is None:
            return cls(frequency, np.empty(0, np.int64))
        ends = [np.datetime64(time // DAY_US * DAY_US, "us") for time in (first, last)]
        days = pd.date_range(ends[0], ends[1], freq=frequency.calendar, unit="us")
        return cls(frequency, days.to_numpy().view(np.int64))

    def locate(self, times: Int64s) -> tuple[Int64s, Int64s, Bools]:
        """Finds times on the grid.

        Args:
            times: [N] microseconds since 1970 (or whole numbers).

        Returns:
            ordinals [N], phases [N], and whether each time is one of the calendar's days at all [N].
        """
        if self.frequency.step is not None:
            ordinals, phases = np.divmod(times, np.int64(self.frequency.step))
            return ordinals, phases, np.ones(len(times), np.bool_)
        days, clock = np.divmod(times, np.int64(DAY_US))
        days *= DAY_US
        units = np.searchsorted(self.days, days).astype(np.int64)
        fits = np.zeros(len(times), np.bool_)
        inside = units < len(self.days)
        fits[inside] = self.days[units[inside]] == days[inside]
        ordinals, skipped = np.divmod(units, np.int64(self.frequency.multiple))
        return ordinals, skipped * DAY_US + clock, fits

    def times(self, ordinals: Int64s, phases: Int64s) -> Int64s:
        """Gives the times of places on the grid, the inverse of `locate`.

        Args:
            ordinals: steps from the grid's origin, any shape.
            phases: of a shape that broadcasts with `ordinals`.

        Returns:
            Microseconds since 1970 (or whole numbers).
        """
        if self.frequency.step is not None:
            return ordinals * np.int64(self.frequency.step) + phases
        skipped, clock = np.divmod(phases, np.int64(DAY_US))
        return self.days[ordinals * self.frequency.multiple + skipped] + clock


def future_times(last: Any, *, freq: str | int, horizon: int) -> NDArray[Any]:
    """Gives the grid times that follow.

    Args:
        last: the last grid time, or an array or column of N of them: timestamps without a zone, or whole numbers.
        freq: as `data.freq`.
        horizon: how many steps, H.

    Returns:
        [N, H] datetime64[us] (int64 for a whole-numbered `freq`); [H] for a single `last`.
    """
    frequency = parse_frequency(freq)
    kind = np.int64 if frequency.whole_numbered else np.dtype("datetime64[us]")
    lasts = np.asarray(last, dtype=kind)
    flat = lasts.reshape(-1).view(np.int64)
    if not flat.size:
        return np.empty((0, horizon), kind)
    grid = Grid.spanning(frequency, int(flat.min()), frequency.after(int(flat.max()), horizon))
    ordinals, phases, _ = grid.locate(flat)
    times = grid.times(ordinals[:, None] + np.arange(1, horizon + 1), phases[:, None])
    return times.view(kind).reshape(*lasts.shape, horizon)


def suggest_frequency(times: Int64s) -> str | None:
    """Guesses the frequency of one series of timestamps, for the mend of an error.

    Args:
        times: [N] microseconds since 1970, ascending, distinct.

    Returns:
        A pandas offset alias: what fits a run of the stamps, else their most common distance where it fits more than
        half of them; None for fewer than 3.
    """
    stamps = pd.DatetimeIndex(times.view("datetime64[us]"))
    if len(stamps) < 3:
        return None
    for start in (0, len(stamps) // 2, max(0, len(stamps) - 12)):
        run = stamps[start : start + 12]
        inferred = _infer(run) if len(run) >= 3 else None
        if inferred is not None:
            return inferred
    distances, counts = np.unique(np.diff(times), return_counts=True)
    step = int(distances[np.argmax(counts)])
    _, in_phase = np.unique(times % step, return_counts=True)
    if 2 * in_phase.max() <= len(times):  # days of the month, or times with jitter: the most common step fits few
        return None
    return f"{step // DAY_US}D" if step % DAY_US == 0 else str(to_offset(pd.Timedelta(step, "us")).freqstr)


def _infer(stamps: pd.DatetimeIndex) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas announces that it will return an offset instead of its name
        inferred = pd.infer_freq(stamps)
    return inferred if inferred is None else str(getattr(inferred, "freqstr", inferred))
