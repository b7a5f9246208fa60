"""Timestamps as users write them, and the zone-free grid time that the panel keeps.

Grid time is what steps are regular in: the local wall time where a step is made of whole days, so that a clock
change leaves the grid alone, and UTC where it is shorter. Without `data.timezone` it is the time as given.
"""

from __future__ import annotations

import re
import warnings
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.frequency import DAY_US, Bools, Frequency, Int64s, parse_frequency
from pipeline.values import as_text, is_null_word, is_real

OK, NULL, UNREADABLE, SKIPPED, REPEATED = range(5)  # what became of a timestamp
NO_ZONE, NAIVE, AWARE = range(3)  # whether it names a zone; unreadable ones do not tell
_ZONE = r"[0-9][Tt ].*[Zz+-]"  # after the time of day, of which, as of an offset, pandas takes a single digit too
_ZONE_AS_TEXT = r"(?<!%)(?:Z|z|UTC|GMT)$|(?:(?<=%[HIMSfp])|(?<=[:.0-9][0-9]{2})) ?[+-][0-9]{2}(?::?[0-9]{2})?$"
_EXAMPLE = "use one such as '%Y-%m-%d %H:%M'"
_EARLIEST, _LATEST = pd.Timestamp(1, 1, 2), pd.Timestamp(9999, 12, 31)  # a day inside, as zones differ
# What pandas raises of times beyond these years; the last one where a zone is to be put on them.
OUT_OF_CALENDAR = (ValueError, OverflowError, NotImplementedError)
_MOVING = ("now", "today")  # pandas reads them as the present, so that a file would mean another time each day
_DIGITS = re.compile(r"%[mdHMSjy](?:%[YmdHMSjy])*")  # a part of a format that is a number with leading zeros
_ANY_TIME = datetime(2000, 1, 1)
_WHOLE = r"^[+-]?[0-9]{1,18}(?:\.0*)?$"


@dataclass(frozen=True)
class Times:
    """A time column, read.

    Attributes:
        grid: [N] grid time in microseconds since 1970 (or whole numbers); meaningless unless state is OK.
        state: [N] OK, NULL, UNREADABLE, or a local time SKIPPED or REPEATED by a clock change.
        zone: [N] NAIVE or AWARE; NO_ZONE where that cannot be told.
    """

    grid: Int64s
    state: NDArray[np.int8]
    zone: NDArray[np.int8]

    def on_clock(self, clocks: Int64s, *, frequency: Frequency, timezone: str | None) -> Times:
        """Undoes what `to_user_time` does to local times that a clock change skips.

        Args:
            clocks: [N] the time of day that the series of each time keeps, in microseconds.
            frequency: as for `read_times`.
            timezone: as for `read_times`.

        Returns:
            The same times; instants that end a clock change are on the time of day that it skips, where steps are
            whole days.
        """
        if timezone is None or not frequency.keeps_wall_time:
            return self
        kept = self.grid - (self.grid - clocks) % DAY_US
        odd = np.flatnonzero((self.zone == AWARE) & (kept != self.grid))
        shown, read = (
            to_user_time(pd.Series(grid[odd].view("datetime64[us]")), freq=frequency.alias, timezone=timezone)
            for grid in (kept, self.grid)
        )
        grid = self.grid.copy()
        grid[odd] = np.where(shown == read, kept[odd], grid[odd])
        return Times(grid, self.state, self.zone)

    def take(self, codes: NDArray[Any]) -> Times:
        """The times at the given places; a place of -1 is NULL."""
        null = codes < 0
        state = np.where(null, np.int8(NULL), self.state[codes]) if len(self.state) else np.full(len(codes), NULL, "i1")
        zone = np.where(null, np.int8(NO_ZONE), self.zone[codes]) if len(self.zone) else np.zeros(len(codes), "i1")
        grid = self.grid[codes] if len(self.grid) else np.zeros(len(codes), np.int64)
        return Times(grid, state, zone)


def read_times(
    columns: Sequence[pd.Series],
    *,
    time_format: str | None,
    timezone: str | None,
    frequency: Frequency,
    or_iso: bool = False,
) -> Times:
    """Reads the columns that tell the time.

    Args:
        columns: [N] each; text of several columns is joined by a space.
        time_format: strptime format of text; None for ISO 8601.
        timezone: zone of the user's naive times, by IANA name; None where times have no zone.
        frequency: whole-numbered or not, and whether grid time is local.
        or_iso: whether a column may be in ISO 8601, all of it, instead of in the format.

    Returns:
        The times in grid time, with what could not be read marked.

    Raises:
        DataError: `zone-unknown`, `time-format`.
    """
    zone = _load_zone(timezone)
    columns = _with_zeros(columns, time_format)
    if len(columns) > 1:
        codes, words = _join(columns)
        return _read_text(words, time_format, zone, frequency).take(codes)
    column = columns[0]
    if isinstance(column.dtype, pd.DatetimeTZDtype) or np.issubdtype(_numpy_kind(column), np.datetime64):
        return _read_typed(column, zone, frequency)
    if frequency.whole_numbered and is_real(column):
        return _read_numbers(column)
    codes, words = factorize_text(column)
    times = _read_text(words, time_format, zone, frequency)
    if or_iso and time_format is not None and np.isin(times.state, (UNREADABLE, NULL)).all():
        iso = _read_text(words, None, zone, frequency)
        times = times if np.isin(iso.state, (UNREADABLE, NULL)).all() else iso
    return times.take(codes)


def _with_zeros(columns: Sequence[pd.Series], time_format: str | None) -> Sequence[pd.Series]:
    """Whole numbers with the leading zeros that their part of the format has, which readers of files drop from text:
    0100 by %H%M is 1:00, and 100 would be read as 10:00.
    """
    parts = (time_format or "").split(" ")
    if len(parts) != len(columns):
        return columns
    return [
        _filled(column, len(_ANY_TIME.strftime(part))) if _DIGITS.fullmatch(part) else column
        for column, part in zip(columns, parts, strict=True)
    ]


def _filled(column: pd.Series, width: int) -> pd.Series:
    if column.dtype == object:
        numbers = np.array([isinstance(value, int | float | np.number) for value in column], np.bool_)
    else:
        numbers = np.full(len(column), pd.api.types.is_numeric_dtype(column.dtype))
    if not numbers.any():
        return column
    text = as_text(column)
    return text.mask(numbers, text.str.zfill(width))


def factorize_text(column: pd.Series) -> tuple[NDArray[Any], pd.Series]:
    """Numbers the distinct texts of a column, so that each is looked at once.

    Args:
        column: [N] of any type; whole numbers are written without a fraction.

    Returns:
        codes [N], -1 for null; and the distinct texts, of which several may be equal.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), as_text(pd.Series(column.cat.categories))
    codes, distinct = pd.factorize(as_text(column) if column.dtype == object else column)
    return codes, as_text(pd.Series(distinct))


def _join(columns: Sequence[pd.Series]) -> tuple[NDArray[Any], pd.Series]:
    """Joins text by spaces, over the distinct combinations only; null where any part is."""
    return reduce(_pair, (_without_blanks(*factorize_text(column)) for column in columns))


def _without_blanks(codes: NDArray[Any], words: pd.Series) -> tuple[NDArray[Any], pd.Series]:
    blank = np.append(is_null_word(words), True)  # the last stands for a code of -1
    return np.where(blank[codes], -1, codes), words


def _pair(left: tuple[NDArray[Any], pd.Series], right: tuple[NDArray[Any], pd.Series]) -> tuple[Int64s, pd.Series]:
    width = max(len(right[1]), 1)
    both = left[0].astype(np.int64) * width + right[0]
    both[(left[0] < 0) | (right[0] < 0)] = -1
    distinct, codes = np.unique(both, return_inverse=True)
    known = distinct >= 0
    lefts, rights = np.divmod(distinct[known], width)
    words = left[1].take(lefts).reset_index(drop=True) + " " + right[1].take(rights).reset_index(drop=True)
    return codes - np.count_nonzero(~known), words


def _numpy_kind(column: pd.Series) -> Any:
    return column.dtype if isinstance(column.dtype, np.dtype) else np.dtype(object)


def _read_numbers(column: pd.Series) -> Times:
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    null = np.isnan(numbers)
    whole = ~null & (np.abs(np.where(null, 0, numbers)) < 1e18) & (np.mod(np.where(null, 0, numbers), 1) == 0)
    grid = np.zeros(len(column), np.int64)
    # Not by way of floats, which hold no whole number above 2**53 exactly.
    grid[whole] = column[whole].to_numpy(dtype=np.int64)
    state = np.select([null, ~whole], [NULL, UNREADABLE], OK).astype(np.int8)
    return Times(grid, state, np.zeros(len(column), np.int8))


def _read_typed(column: pd.Series, zone: str | None, frequency: Frequency) -> Times:
    stamps = pd.DatetimeIndex(column).as_unit("us")
    null, aware = np.asarray(stamps.isna()), stamps.tz is not None
    stamps = _within_years(stamps.tz_convert("UTC").tz_localize(None) if aware else stamps)
    state = _state(null, np.asarray(stamps.isna()) | frequency.whole_numbered)
    kind = np.where(state == OK, AWARE if aware else NAIVE, NO_ZONE).astype(np.int8)
    grid, moved = (_grid_of_instant if aware else _grid_of_local)(stamps, zone, frequency)
    return Times(grid, np.where(state == OK, moved, state), kind)


def _read_text(words: pd.Series, time_format: str | None, zone: str | None, frequency: Frequency) -> Times:
    words = words.str.strip()
    null = is_null_word(words)
    if frequency.whole_numbered:
        whole = np.asarray(words.str.match(_WHOLE), dtype=np.bool_) & ~null
        grid = np.zeros(len(words), np.int64)
        grid[whole] = words[whole].str.split(".").str[0].astype(np.int64).to_numpy()
        return Times(grid, _state(null, ~whole), np.zeros(len(words), np.int8))
    if time_format is None:
        aware = np.asarray(words.str.contains(_ZONE), dtype=np.bool_)
    else:
        _check_format(time_format)
        aware = np.full(len(words), "%z" in time_format or "%Z" in time_format)
    grid = np.zeros(len(words), np.int64)
    state = np.full(len(words), UNREADABLE, np.int8)
    for some, to_grid in ((~aware & ~null, _grid_of_local), (aware & ~null, _grid_of_instant)):
        stamps = _parse(words[some], time_format)
        read = stamps.notna()
        grid[some], moved = to_grid(stamps, zone, frequency)
        state[some] = np.where(read, moved, UNREADABLE)
    state[null] = NULL
    known = np.where(aware, AWARE, NAIVE)
    return Times(grid, state, np.where((state == NULL) | (state == UNREADABLE), NO_ZONE, known).astype(np.int8))


def _state(null: Bools, unreadable: Bools) -> NDArray[np.int8]:
    return np.select([null, unreadable], [NULL, UNREADABLE], OK).astype(np.int8)


def _check_format(time_format: str) -> None:
    """Refuses words that pandas takes for no format but a way to guess, and a zone that it would read past."""
    if "%" not in time_format.replace("%%", ""):
        what = "no strptime format (it has no directive such as %Y)"
        raise _no_format(time_format, what, f"{_EXAMPLE}, or null, which reads ISO 8601")
    if zone := re.search(_ZONE_AS_TEXT, time_format):
        what = f"a zone written as {zone[0].strip()!r} moves no time"
        raise _no_format(time_format, what, "write %z for an offset or a Z, %Z for a name, or null for ISO 8601")


def _no_format(time_format: str | None, what: str, mend: str) -> DataError:
    return DataError("time-format", f"params.yaml, data.time_format: {what}. Received: {time_format!r}; {mend}")


def _parse(words: pd.Series, time_format: str | None) -> pd.DatetimeIndex:
    """Reads text; instants come out in UTC. What cannot be read is NaT."""
    words = words.mask(words.str.lower().isin(_MOVING))
    try:
        with warnings.catch_warnings():
            # Python 3.13 warns of formats without a year, which are told below as out of range
            warnings.simplefilter("ignore", DeprecationWarning)
            read = pd.to_datetime(words, format=time_format or "ISO8601", errors="coerce", utc=True)
    except (ValueError, re.error) as error:
        cause = "a directive occurs twice" if isinstance(error, re.error) else " ".join(str(error).split())
        raise _no_format(time_format, f"no strptime format ({cause})", _EXAMPLE) from None
    return _within_years(pd.DatetimeIndex(read).tz_localize(None).as_unit("us"))


def _within_years(stamps: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Makes NaT of what is outside the years 1 to 9999 in some zone, as no calendar reckons with it."""
    return pd.DatetimeIndex(stamps.where((stamps >= _EARLIEST) & (stamps <= _LATEST)))


def _load_zone(timezone: str | None) -> str | None:
    try:
        return None if timezone is None else zoneinfo.ZoneInfo(timezone).key
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(
            "zone-unknown",
            f"params.yaml, data.timezone: no such zone. Received: {timezone!r}; "
            "use an IANA name such as UTC or Australia/Melbourne",
        ) from None


def _microseconds(stamps: pd.DatetimeIndex) -> Int64s:
    return stamps.to_numpy(dtype="datetime64[us]").view(np.int64)


def _grid_of_local(stamps: pd.DatetimeIndex, zone: str | None, frequency: Frequency) -> tuple[Int64s, NDArray[np.int8]]:
    """Grid time of naive local times, and which of them a clock change skips or repeats."""
    state = np.full(len(stamps), OK, np.int8)
    if zone is None or frequency.keeps_wall_time:
        return _microseconds(stamps), state
    placed = stamps.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    shifted = stamps.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward")
    known = np.asarray(stamps.notna())
    state[np.asarray(placed.isna()) & known] = SKIPPED
    state[np.asarray(shifted.isna()) & known] = REPEATED
    return _microseconds(placed.tz_convert("UTC").tz_localize(None)), state


def _grid_of_instant(
    stamps: pd.DatetimeIndex, zone: str | None, frequency: Frequency
) -> tuple[Int64s, NDArray[np.int8]]:
    """Grid time of instants, given in UTC. Without a zone there is none, which the caller refuses."""
    if zone is not None and frequency.keeps_wall_time:
        stamps = stamps.tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return _microseconds(stamps), np.full(len(stamps), OK, np.int8)


def grid_time_of(value: str | int, *, timezone: str | None, frequency: Frequency) -> int | None:
    """Reads one time of the user's, such as `data.end`, in ISO 8601.

    Args:
        value: a timestamp, or a whole number.
        timezone: as `data.timezone`.
        frequency: as `data.freq`.

    Returns:
        Its grid time, in microseconds since 1970 (or the whole number); None if it cannot be read.
    """
    if isinstance(value, int) != frequency.whole_numbered:
        return None
    times = read_times([pd.Series([value])], time_format=None, timezone=timezone, frequency=frequency)
    if times.state[0] != OK or (times.zone[0] == AWARE and timezone is None):
        return None
    return int(times.grid[0])


def leaves_calendar(last: np.datetime64, *, freq: str | int, steps: int) -> bool:
    """Whether steps after a grid time reach beyond the years that timestamps know.

    Args:
        last: the time; of a whole-numbered `freq` anything, as numbers have no calendar.
        freq: as `data.freq`.
        steps: how many.
    """
    frequency = parse_frequency(freq)
    if frequency.whole_numbered:
        return False
    try:
        end = frequency.after(int(last.astype("datetime64[us]").view(np.int64)), steps)
    except OUT_OF_CALENDAR:
        return True
    return end >= int(_LATEST.as_unit("us").asm8.view(np.int64))


def to_user_time(ds: pd.Series, *, freq: str | int, timezone: str | None) -> pd.Series:
    """Turns grid time into the user's time.

    Args:
        ds: [N] grid times.
        freq: as `data.freq`.
        timezone: as `data.timezone`.

    Returns:
        [N] timestamps in the user's zone; `ds` unchanged where there is none. Steps of whole days may fall on a local
        time that a clock change repeats, where the first is taken, or skips, which becomes the end of the change.
    """
    frequency = parse_frequency(freq)
    if timezone is None or frequency.whole_numbered:
        return ds
    stamps = pd.DatetimeIndex(ds)
    if frequency.keeps_wall_time:
        first = np.ones(len(ds), np.bool_)
        stamps = stamps.tz_localize(timezone, ambiguous=first, nonexistent="shift_forward")
    else:
        stamps = stamps.tz_localize("UTC").tz_convert(timezone)
    return pd.Series(stamps, index=ds.index, name=ds.name)
