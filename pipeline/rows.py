"""Raw rows -> long rows: ids, timestamps and values, read and checked one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.checks import Ledger, failure, quoted, received, such
from pipeline.columns import Columns, Layout, find_long_layout
from pipeline.frequency import DAY_US, Bools, Frequency, Int64s, parse_frequency
from pipeline.params import RepairParams
from pipeline.provenance import Provenance
from pipeline.timestamps import (
    AWARE,
    NAIVE,
    NULL,
    OK,
    REPEATED,
    SKIPPED,
    UNREADABLE,
    Times,
    factorize_text,
    grid_time_of,
    read_times,
    to_user_time,
)
from pipeline.values import LARGEST, as_text, is_null, read_numbers, read_truths

Int32s = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Long rows: one per timestamp and target column.

    Attributes:
        series: [R] number of the series.
        ds: [R] grid time.
        y: [R] value, NaN where missing.
        origin: [R] position in the raw frame; -1 for a step that was put into a gap.
    """

    series: Int32s
    ds: Int64s
    y: Floats
    origin: Int64s

    def where(self, chosen: Any) -> Rows:
        """The chosen rows, by mask or by position."""
        return Rows(self.series[chosen], self.ds[chosen], self.y[chosen], self.origin[chosen])


@dataclass(frozen=True)
class Source:
    """What the checks know of the frame: how to name its parts, and the ledger of its repairs.

    Attributes:
        frame: the raw frame, of N rows.
        columns: how the user names things.
        frequency: as `columns.freq`.
        layout: the columns that are read, K of them targets.
        provenance: where its rows come from.
        ids: [S] the series, sorted.
        series: [N, K] the number of the series of each row and target.
        ledger: settles findings and counts repairs.
    """

    frame: pd.DataFrame
    columns: Columns
    frequency: Frequency
    layout: Layout
    provenance: Provenance
    ids: list[str]
    series: Int32s
    ledger: Ledger

    def cell(self, row: Any, columns: Sequence[str]) -> str:
        """Names a cell of the raw frame: file, row, column."""
        return f"{self.provenance.locate(row)}, column {' + '.join(map(repr, columns))}"

    def value(self, row: Any, columns: Sequence[str]) -> str:
        """Echoes a cell of the raw frame."""
        values = [self.frame[name].iloc[int(row)] for name in columns]
        return received(" ".join("" if is_null(value) else str(value) for value in values))

    def place(self, rows: Rows, row: Any) -> str:
        """Names a long row: file, row, series."""
        return f"{self.provenance.locate(rows.origin[row])}, series {self.ids[rows.series[row]]!r}"

    def moment(self, rows: Rows, row: Any) -> str:
        """Names a long row and its timestamp."""
        return f"{self.place(rows, row)} at {self.user_time(rows.ds[row])}"

    def user_time(self, grid_time: Any) -> str:
        """Writes a grid time in the user's zone."""
        if self.frequency.whole_numbered:
            return str(int(grid_time))
        ds = pd.Series(np.asarray([grid_time], np.int64).view("datetime64[us]"))
        return str(to_user_time(ds, freq=self.columns.freq, timezone=self.columns.timezone).iloc[0])


def read_rows(
    frame: pd.DataFrame, *, columns: Columns, repair: RepairParams, end: str | int | None
) -> tuple[Rows, Source, Int64s]:
    """Reads a raw frame.

    Args:
        frame: as for `build_panel`.
        columns: how it names things.
        repair: what to do with input that is not clean.
        end: last timestamp used, in the user's time; None for all.

    Returns:
        The long rows, target by target; what later checks need; and the positions in the frame of the rows that are
        left out because they come after `end`.

    Raises:
        DataError: what cannot be read.
    """
    source = _open(frame, columns, repair)
    last = None if end is None else _read_end(end, source)
    times = _on_own_clocks(times_of(source), source)
    keep = times.state == OK
    late = np.zeros_like(keep) if last is None else keep & (times.grid > last)
    keep &= ~late
    kept = np.flatnonzero(keep)
    parts = [
        Rows(
            source.series[kept, number],
            times.grid[kept],
            values_of(source, column, series=source.series[:, number, None], judged=keep)[kept],
            kept,
        )
        for number, column in enumerate(source.layout.target)
    ]
    return _join(parts), source, np.flatnonzero(late)


def _join(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    fields = ("series", "ds", "y", "origin")
    return Rows(*(np.concatenate([getattr(part, field) for part in parts]) for field in fields))


def _open(frame: pd.DataFrame, columns: Columns, repair: RepairParams) -> Source:
    frequency = parse_frequency(columns.freq)
    provenance = Provenance.of(frame)
    layout = find_long_layout(list(frame.columns), columns, provenance.name())
    if not len(frame):
        raise failure("panel-empty", provenance.name(), "no rows")
    ids, series = _read_ids(frame, layout, provenance)
    return Source(frame, columns, frequency, layout, provenance, ids, series, Ledger(repair, ids))


def _read_ids(frame: pd.DataFrame, layout: Layout, provenance: Provenance) -> tuple[list[str], Int32s]:
    """The sorted ids [S], and the number of the series of each row and target [N, K]."""
    names = list(layout.names)
    if layout.id_col is None:
        ids, codes = names, np.zeros(len(frame), np.int64)
    else:
        codes, words = read_ids(frame[layout.id_col], provenance)
        ids = [word if len(names) == 1 else f"{word}/{name}" for word in words for name in names]
    ordered, places = np.unique(np.asarray(ids, dtype=object), return_inverse=True)
    if len(ordered) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        told = f"an id and the name of a target column make {quoted(twice)} twice"
        raise failure("column-duplicate", f"{provenance.name()}, columns {', '.join(map(repr, names))}", told)
    return [str(name) for name in ordered], places.reshape(-1, len(names)).astype(np.int32)[codes]


def read_ids(column: pd.Series, provenance: Provenance) -> tuple[NDArray[Any], pd.Series]:
    """Reads the column that names the series.

    Args:
        column: [N] the ids.
        provenance: where the rows come from.

    Returns:
        codes [N], and the distinct ids that they number.

    Raises:
        DataError: `id-null`.
    """
    codes, words = factorize_text(column)
    null = np.append(words.str.strip() == "", True)[codes]  # a code of -1 is the last
    if null.any():
        where = f"{provenance.locate(np.argmax(null))}, column {column.name!r}"
        raise failure("id-null", where, f"no id (the first of {np.count_nonzero(null):,})")
    return codes, words


def _read_end(end: str | int, source: Source) -> int:
    time = grid_time_of(end, timezone=source.columns.timezone, frequency=source.frequency)
    if time is None:
        raise failure("end-unparseable", "params.yaml, data.end", f"no time of the data's kind. {received(end)}")
    return time


def times_of(source: Source) -> Times:
    """Reads the timestamps of all rows.

    Args:
        source: the frame.

    Returns:
        The times in grid time; those that are not OK are settled and to be left out.

    Raises:
        DataError: `time-null`, `time-unparseable`, `zone-dst`, and what no policy repairs: `time-format`,
            `zone-unknown`, `zone-missing`, `zone-mixed`.
    """
    times = read_times(
        [source.frame[name] for name in source.layout.time],
        time_format=source.layout.time_format,
        or_iso=source.layout.or_iso,
        timezone=source.columns.timezone,
        frequency=source.frequency,
    )
    unreadable = times.state == UNREADABLE
    _settle_times(source, "time-null", times.state == NULL, "no timestamp")
    _settle_times(source, "time-unparseable", unreadable, "no readable timestamp", among=len(unreadable))
    _check_zones(source, times)
    for state, happens in ((SKIPPED, "skips"), (REPEATED, "repeats")):
        what = f"a local time that a clock change in {source.columns.timezone} {happens}"
        _settle_times(source, "zone-dst", times.state == state, what)
    return times


def _on_own_clocks(times: Times, source: Source) -> Times:
    """The times, with instants on the time of day that most of their series have, where a clock change skips it."""
    aware, clocks = np.flatnonzero(times.zone == AWARE), times.grid % DAY_US
    if not source.frequency.keeps_wall_time or (clocks[aware] == clocks[aware[:1]]).all():
        return times
    votes = pd.DataFrame({"series": source.series[aware, 0], "clock": clocks[aware]}).value_counts().reset_index()
    # Among equals the earliest: what is skipped comes before the end of the change.
    votes = votes.sort_values(["count", "clock"], ascending=[False, True]).drop_duplicates("series")
    usual = np.zeros(len(source.ids), np.int64)
    usual[votes["series"]] = votes["clock"]
    return times.on_clock(usual[source.series[:, 0]], frequency=source.frequency, timezone=source.columns.timezone)


def _settle_times(source: Source, code: str, wrong: Bools, what: str, *, among: int | None = None) -> None:
    found, column = np.flatnonzero(wrong), source.layout.time
    source.ledger.settle(
        code,
        source.series[found].reshape(-1),
        first=lambda: (source.cell(found[0], column), f"{what}. {source.value(found[0], column)}"),
        count=len(found),
        among=among,
    )


def _check_zones(source: Source, times: Times) -> None:
    aware, naive = times.zone == AWARE, times.zone == NAIVE
    if not aware.any():
        return
    row = int(np.argmax(aware))
    code, what = "zone-missing", "the timestamp has a zone, data.timezone is null"
    if naive.any():
        row = max(row, int(np.argmax(naive)))  # the first that differs from those before it
        code, what = "zone-mixed", f"the timestamp has {'a' if aware[row] else 'no'} zone, unlike those before it"
    elif source.columns.timezone is not None:
        return
    raise failure(code, source.cell(row, source.layout.time), f"{what}. {source.value(row, source.layout.time)}")


def values_of(source: Source, column: str, *, series: Int32s, judged: Bools, truths: bool = False) -> Floats:
    """Reads a column of numbers.

    Args:
        source: the frame, of N rows.
        column: its name.
        series: [N, J] the series that a value belongs to.
        judged: [N] the rows whose values are checked.
        truths: whether true and false are numbers too.

    Returns:
        [N] numbers, NaN where missing or unusable.

    Raises:
        DataError: `value-text`, `value-infinite`, `value-huge`.
    """
    read = read_truths if truths else read_numbers
    numbers, bad = read(source.frame[column], decimal=source.provenance.decimal)
    infinite, unusable = np.isinf(numbers), np.abs(numbers) > LARGEST
    found = np.flatnonzero(bad & judged)
    guess = _guess_marks(str(source.frame[column].iloc[found[0]]), source.provenance.decimal) if len(found) else ""
    what = f"no number ({guess})" if guess else "no number"
    _check_no_words(source, column, found, numbers, what=what if guess else "")
    _settle_values(source, column, series, code="value-text", found=found, what=what)
    found = np.flatnonzero(infinite & judged)
    _settle_values(source, column, series, code="value-infinite", found=found, what="infinite")
    found = np.flatnonzero(unusable & ~infinite & judged)
    what = f"larger than {LARGEST:g}, which no forecast can be made of"
    _settle_values(source, column, series, code="value-huge", found=found, what=what)
    # -0.0 becomes 0.0, so that equal rows are equal.
    return np.where(unusable, np.nan, numbers) + 0.0 if unusable.any() else numbers + 0.0


def _check_no_words(source: Source, column: str, found: Int64s, numbers: Floats, *, what: str) -> None:
    """Refuses a column of words, of which none would be left; one word alone may be what stands for no value."""
    if not len(found) or np.isfinite(numbers).any():
        return
    words = as_text(source.frame[column].iloc[found]).str.strip().unique()
    if len(words) > 1:
        told = what or "no number, nor is any other value of the column; write yes and no as 1 and 0"
        told = f"{told}. {source.value(found[0], [column])} ({such(len(found))})"
        raise failure("value-text", source.cell(found[0], [column]), told)


def _guess_marks(text: str, decimal: str) -> str:
    """What the marks of a number in text may be, which are not those that are read."""
    digits, other = text.strip().lstrip("+-"), "." if decimal == "," else ","
    guesses = []
    if re.fullmatch(rf"\d[\d{re.escape(decimal)}]*{re.escape(other)}\d+", digits):
        guesses.append(f"a decimal {'point' if other == '.' else 'comma'}? then set data.decimal to {other!r}")
    if re.fullmatch(r"\d{1,3}([.,]\d{3})+([.,]\d+)?", digits):
        guesses.append("a mark of thousands? then take it out")
    return ", ".join(guesses)


def _settle_values(source: Source, column: str, series: Int32s, *, code: str, found: Int64s, what: str) -> None:
    source.ledger.settle(
        code,
        series[found].reshape(-1),
        first=lambda: (source.cell(found[0], [column]), f"{what}. {source.value(found[0], [column])}"),
        count=len(found),
    )
