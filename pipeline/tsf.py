"""The .tsf layout of the Monash archive: a line per series, its attributes and values separated by colons.

Reference: Godahewa et al., Monash Time Series Forecasting Archive, NeurIPS 2021 (arXiv 2105.06643).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.checks import failure, received
from pipeline.errors import DataError
from pipeline.frequency import DAY_US, Frequency, Grid, Int64s, parse_frequency
from pipeline.params import DataParams
from pipeline.textfile import decode
from pipeline.timestamps import OK, read_times
from pipeline.values import read_numbers

_START = "%Y-%m-%d %H-%M-%S"
_SECOND_US = 1_000_000
_UNITS_US = {
    "seconds": _SECOND_US,
    "minutes": 60 * _SECOND_US,
    "hours": 3600 * _SECOND_US,
    "days": DAY_US,
    "weeks": 7 * DAY_US,
    "months": 1461 * DAY_US / 48,  # of the mean length
    "quarters": 1461 * DAY_US / 16,
    "years": 1461 * DAY_US / 4,
}
_NAMED = {
    "secondly": "1_seconds",
    "minutely": "1_minutes",
    "half_hourly": "30_minutes",
    "hourly": "1_hours",
    "daily": "1_days",
    "weekly": "1_weeks",
    "monthly": "1_months",
    "quarterly": "1_quarters",
    "yearly": "1_years",
}
_ALIASES = ("s", "min", "10min", "15min", "30min", "h", "D", "B", "7D", "MS", "ME", "QS", "QE", "YS", "YE")


@dataclass(frozen=True)
class _Header:
    attributes: list[str]
    frequency: str | None


def parse_tsf(raw: bytes, name: str, data: DataParams) -> tuple[pd.DataFrame, Int64s]:
    """Reads a .tsf file.

    The times of a series are its `start_timestamp` and the steps of data.freq after it; with a whole-numbered
    data.freq they count from 0. `?` is a missing value. Attributes other than `series_name` are left out.

    Args:
        raw: the file, unpacked.
        name: its name in errors.
        data: encoding, frequency and zone.

    Returns:
        A long frame `unique_id`, `ds`, `y`, and the line of each row in the file.

    Raises:
        DataError: `tsf-header`, `tsf-row`, `file-encoding`, `file-binary`; `freq-mismatch`, where data.freq is not the
            file's frequency or a series does not start on it.
    """
    # Comments are left out before decoding: the archive's are not all in one encoding.
    lines = [(number, line) for number, line in enumerate(raw.splitlines(), 1) if not line.lstrip().startswith(b"#")]
    text = [(number, decode(line, data.encoding, name, line=number).strip()) for number, line in lines]
    ends = [place for place, (_, line) in enumerate(text) if line.lower() == "@data"]
    if not ends:
        raise failure("tsf-header", name, "no line '@data'")
    header = _read_header(text[: ends[0]], name)
    frequency = parse_frequency(data.freq)
    _check_frequency(header, frequency, name)
    rows = [(number, _split(line, header, f"{name}, line {number}")) for number, line in text[ends[0] + 1 :] if line]
    if not rows:
        raise failure("file-empty", name, "no series after '@data'")
    return _long_frame(rows, header, frequency, name, data)


def _read_header(text: list[tuple[int, str]], name: str) -> _Header:
    words = [(number, line.split()) for number, line in text if line]
    attributes = [parts[1] for _, parts in words if parts[0].lower() == "@attribute" and len(parts) > 1]
    frequencies = [parts[1] for _, parts in words if parts[0].lower() == "@frequency" and len(parts) > 1]
    if "series_name" not in attributes:
        raise failure("tsf-header", name, f"no attribute 'series_name'. {received(', '.join(attributes))}")
    return _Header(attributes, frequencies[0].lower() if frequencies else None)


def _check_frequency(header: _Header, frequency: Frequency, name: str) -> None:
    if frequency.whole_numbered:
        return
    if "start_timestamp" not in header.attributes:
        what = "no attribute 'start_timestamp', as times need (data.freq: 1 counts steps instead)"
        raise failure("tsf-header", name, what)
    if header.frequency is None:
        return
    step = _step_us(header.frequency, name)
    if _differs(frequency, step):
        fitting = " or ".join(alias for alias in _ALIASES if not _differs(parse_frequency(alias), step))
        what = f"@frequency is {header.frequency}, data.freq is {frequency.alias!r}"
        raise failure("freq-mismatch", name, f"{what} ({fitting} would fit)" if fitting else what)


def _step_us(named: str, name: str) -> float:
    match = re.fullmatch(r"0*([1-9]\d{0,8})_([a-z]+)", _NAMED.get(named, named))
    unit = "" if match is None else match[2].rstrip("s") + "s"
    if match is None or unit not in _UNITS_US:
        raise failure("tsf-header", name, f"@frequency is none that is known. {received(named)}")
    return int(match[1]) * _UNITS_US[unit]


def _differs(frequency: Frequency, step_us: float) -> bool:
    return abs(frequency.typical_step() / step_us - 1) > 0.005


def _split(line: str, header: _Header, where: str) -> list[str]:
    parts = line.split(":")
    if len(parts) != len(header.attributes) + 1:
        what = f"{len(parts) - 1} attributes, the header has {len(header.attributes)}. {received(line)}"
        raise failure("tsf-row", where, what)
    return parts


def _long_frame(
    rows: list[tuple[int, list[str]]], header: _Header, frequency: Frequency, name: str, data: DataParams
) -> tuple[pd.DataFrame, Int64s]:
    lines = np.asarray([number for number, _ in rows], np.int64)
    values = pc.split_pattern(pa.array([parts[-1] for _, parts in rows], pa.large_string()), ",")
    lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
    starts = _read_starts(rows, header, frequency, name, data)
    ids = header.attributes.index("series_name")
    codes = np.repeat(np.arange(len(rows)), lengths)
    names = pd.Categorical([parts[ids] for _, parts in rows])
    frame = pd.DataFrame(
        {
            "unique_id": names.take(codes),
            "ds": _times(starts, lengths, frequency, data.timezone),
            "y": _read_values(pc.list_flatten(values)),
        }
    )
    return frame, lines[codes]


def _read_values(text: pa.Array) -> pd.Series:
    """Numbers, or text where some are none, for the checks to settle."""
    column = text.to_pandas().astype("str")
    column = column.mask(column.str.strip() == "?")
    numbers, bad = read_numbers(column, decimal=".")
    return column if bad.any() else pd.Series(numbers)


def _read_starts(
    rows: list[tuple[int, list[str]]], header: _Header, frequency: Frequency, name: str, data: DataParams
) -> Int64s:
    """The first grid time of each series."""
    if frequency.whole_numbered:
        return np.zeros(len(rows), np.int64)
    place = header.attributes.index("start_timestamp")
    words = [parts[place] for _, parts in rows]
    times = read_times([pd.Series(words, dtype="str")], time_format=_START, timezone=data.timezone, frequency=frequency)

    def refuse(number: np.intp, code: str, what: str) -> DataError:
        return failure(code, f"{name}, line {rows[number][0]}", f"{what}. {received(words[number])}")

    if (times.state != OK).any():
        number = np.argmax(times.state != OK)
        raise refuse(number, "tsf-row", f"the start_timestamp is no time like '{_START}' (in data.timezone)")
    grid = Grid.spanning(frequency, int(times.grid.min()), int(times.grid.max()))
    _, _, fits = grid.locate(times.grid)
    if not fits.all():
        number = np.argmin(fits)
        what = f"the series does not start on data.freq {frequency.alias!r}{_hint(times.grid[number], header)}"
        raise refuse(number, "freq-mismatch", what)
    return times.grid


def _hint(start: np.int64, header: _Header) -> str:
    day = pd.Timestamp(np.datetime64(int(start), "us"))
    week, month = f"{day:%a}".upper(), f"{day:%b}".upper()
    candidates = {
        "weekly": (f"W-{week}",),
        "monthly": ("MS", "ME"),
        "quarterly": (f"QS-{month}", f"QE-{month}"),
        "yearly": (f"YS-{month}", f"YE-{month}"),
    }.get(header.frequency or "", ())
    for alias in candidates:
        _, _, fits = Grid.spanning(parse_frequency(alias), int(start), int(start)).locate(np.asarray([start]))
        if fits.all():
            return f" but on {alias}" + (" (7D fits any weekday)" if header.frequency == "weekly" else "")
    return ""


def _times(starts: Int64s, lengths: NDArray[np.int64], frequency: Frequency, timezone: str | None) -> pd.Series:
    grid = Grid.spanning(frequency, int(starts.min()), frequency.after(int(starts.max()), int(lengths.max())))
    ordinals, phases, _ = grid.locate(starts)
    begins = np.cumsum(lengths) - lengths
    steps = np.arange(int(lengths.sum())) - np.repeat(begins, lengths)
    times = grid.times(np.repeat(ordinals, lengths) + steps, np.repeat(phases, lengths))
    if frequency.whole_numbered:
        return pd.Series(times)
    stamps = pd.DatetimeIndex(times.view("datetime64[us]"))
    # Steps shorter than a day are counted in UTC; said so, they are read back without doubt.
    return pd.Series(stamps if timezone is None or frequency.keeps_wall_time else stamps.tz_localize("UTC"))
