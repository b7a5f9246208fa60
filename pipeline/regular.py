"""Long rows -> regular grids: one row per series and timestamp, on the grid, without gaps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.checks import failure, quoted, received
from pipeline.covariate_rows import CovariateRows
from pipeline.errors import DataError
from pipeline.frequency import Bools, Grid, Int64s, suggest_frequency
from pipeline.rows import Floats, Int32s, Rows, Source
from pipeline.timestamps import to_user_time

_COARSE_FROM = 8  # distances between rows from which "never one step apart" is no accident
_SPARSE = 100  # absent steps per row beyond which a gap is taken for a wrong timestamp


@dataclass(frozen=True)
class Placed:
    """Long rows, sorted, with their places on a grid.

    Attributes:
        rows: the long rows.
        grid: the grid.
        ordinals: [R] steps from the grid's origin.
        phases: [R] equal within a series.
    """

    rows: Rows
    grid: Grid
    ordinals: Int64s
    phases: Int64s


def keep_one_per_time(rows: Rows, source: Source, covariates: CovariateRows) -> tuple[Rows, CovariateRows]:
    """Sorts rows by series and time, and settles those that share both.

    Rows are the same where the value and all covariates are; a mean is that of the different values of a column.

    Args:
        rows: the long rows, in any order.
        source: the frame they come from.
        covariates: those of the frame.

    Returns:
        One row per series and timestamp, sorted, and the covariates, averaged where the rows were.

    Raises:
        DataError: `row-duplicate` or `row-conflicting`.
    """
    rows = _sorted(rows)
    same = (rows.series[1:] == rows.series[:-1]) & (rows.ds[1:] == rows.ds[:-1])
    if not same.any():
        return rows, covariates
    shared = np.flatnonzero(np.append(same, False) | np.append(False, same))
    beside = {f"beside_{i}": v[rows.origin[shared]] for i, v in enumerate(covariates.steps.values())}
    groups = np.cumsum(np.append(True, ~same))[shared]
    table = pd.DataFrame({"group": groups, "y": rows.y[shared], **beside, "row": shared})
    table["again"] = table.duplicated(["group", "y", *beside])
    values = table[~table["again"]]
    repeats = _in_file_order(table.loc[table["again"], "row"].to_numpy(), rows)
    others = _in_file_order(values.loc[values.duplicated("group"), "row"].to_numpy(), rows)

    def first() -> tuple[str, str]:
        row = others[0]
        known = values.loc[values.duplicated(["group", "y"]), "row"]
        if (known == row).any():
            told = f"other covariates than before. {source.value(rows.origin[row], source.layout.steps())}"
        else:
            group = table.loc[table["row"] == row, "group"].iloc[0]
            before = rows.y[values.loc[values["group"] == group, "row"].iloc[0]]
            told = f"another value than before, {quoted(before)}. {received(rows.y[row])}"
        return source.moment(rows, row), told

    source.ledger.settle(
        "row-duplicate",
        rows.series[repeats],
        first=lambda: (source.moment(rows, repeats[0]), f"the same row again. {received(rows.y[repeats[0]])}"),
    )
    policy = source.ledger.settle("row-conflicting", rows.series[others], first=first)
    return _one_each(rows, covariates, table, policy)


def _one_each(rows: Rows, covariates: CovariateRows, table: pd.DataFrame, policy: str) -> tuple[Rows, CovariateRows]:
    """Keeps one row of each group in `table`; rows of a group are in file order there."""
    chosen = table.drop_duplicates("group", keep="last" if policy == "last" else "first")
    keep = np.ones(len(rows.y), np.bool_)
    keep[table["row"].to_numpy()] = False
    keep[chosen["row"].to_numpy()] = True
    if policy == "mean":
        kept = chosen["row"].to_numpy()
        rows = dataclasses.replace(rows, y=rows.y.copy())
        rows.y[kept] = _means(table, "y")
        # Series of one row, one per target, share its covariates and so their means.
        steps = {name: values.copy() for name, values in covariates.steps.items()}
        for i, values in enumerate(steps.values()):
            values[rows.origin[kept]] = _means(table, f"beside_{i}")
        covariates = dataclasses.replace(covariates, steps=steps)
    return rows.where(keep), covariates


def _means(table: pd.DataFrame, column: str) -> Floats:
    """The mean of the different values of each group, in the order of the groups."""
    # Sorted, so that the order of the rows does not decide the last bits of the sum.
    distinct = table[["group", column]].drop_duplicates().sort_values(["group", column])
    means: Floats = distinct.groupby("group")[column].mean().to_numpy()
    return means


def place_on_grid(rows: Rows, source: Source) -> Placed:
    """Finds each row's place on the grid of data.freq, and settles rows that have none.

    Steps of equal length start at each series' own phase, calendar steps at the calendar's days; the phase that most
    rows of a series have is the series'.

    Args:
        rows: one row per series and timestamp, sorted.
        source: the frame they come from.

    Returns:
        The rows on the grid.

    Raises:
        DataError: `freq-mismatch`, also where half of the rows or more do not fit; `panel-empty`.
    """
    if not len(rows.ds):
        raise failure("panel-empty", source.provenance.name(), "no rows left")
    grid = Grid.spanning(source.frequency, int(rows.ds.min()), int(rows.ds.max()))
    ordinals, phases, fits = grid.locate(rows.ds)
    on = fits & (phases == _phases_of_series(rows.series, phases, fits))
    if on.all():
        return Placed(rows, grid, ordinals, phases)
    off = _in_file_order(np.flatnonzero(~on), rows)

    def first() -> tuple[str, str]:
        why = _clock_changes(rows, source) or _suggestion(rows, source)
        return source.moment(rows, off[0]), f"does not fit data.freq {source.columns.freq!r}{why}"

    source.ledger.settle("freq-mismatch", rows.series[off], first=first, among=len(on))
    return Placed(rows.where(on), grid, ordinals[on], phases[on])


def fill_grid(placed: Placed, source: Source, *, whole: bool, most_steps: int | None = None) -> Rows:
    """Puts the missing steps of each series between its first and its last row.

    Args:
        placed: the rows on the grid.
        source: the frame they come from.
        whole: whether these are all rows of the data. Then two of them have to be one step apart; of a part it is
            enough that they fit no coarser frequency.
        most_steps: that there may be, those put in included; None for any number.

    Returns:
        Rows without gaps; those put in have a y of NaN and an origin of -1.

    Raises:
        DataError: `gap`, `gap-huge`, `limit-points`, or `freq-mismatch` where the rows tell of a coarser frequency.
    """
    rows, starts = placed.rows, _starts(placed.rows.series)
    distances = np.diff(placed.ordinals)
    distances[starts[1:] - 1] = 1
    _settle_gaps(rows, starts, distances, source, whole=whole)
    steps = int(distances.sum()) + 1
    if most_steps is not None and steps > most_steps:
        told = f"at most {most_steps:,} steps, those in gaps included. Received: {steps:,}"
        raise DataError("limit-points", f"{told}; mend the times around the gaps, or send fewer")
    if (distances == 1).all():
        return rows
    places = np.cumsum(np.append(0, distances))
    y, origin = np.full(steps, np.nan), np.full(steps, -1, np.int64)
    y[places], origin[places] = rows.y, rows.origin
    lengths = np.diff(np.append(places[starts], steps))
    ordinals = np.repeat(placed.ordinals[starts] - places[starts], lengths) + np.arange(steps)
    ds = placed.grid.times(ordinals, np.repeat(placed.phases[starts], lengths))
    return Rows(np.repeat(rows.series[starts], lengths), ds, y, origin)


def _settle_gaps(rows: Rows, starts: NDArray[np.intp], distances: Int64s, source: Source, *, whole: bool) -> None:
    inside = rows.series[1:] == rows.series[:-1]
    # Rows of a part are taken for those of a coarser frequency only where all of them fit one.
    apart = (np.min if whole else np.gcd.reduce)(distances[inside]) if np.count_nonzero(inside) >= _COARSE_FROM else 1
    if apart > 1:
        what = f"no two rows are one step of data.freq {source.columns.freq!r} apart{_suggestion(rows, source)}"
        raise failure("freq-mismatch", source.moment(rows, np.argmax(inside)), what)
    before = np.flatnonzero(distances > 1)
    absent = distances[before] - 1

    def describe(row: np.intp) -> tuple[str, str]:
        after = source.user_time(rows.ds[row + 1])
        return source.moment(rows, row), f"steps absent before {after}: {distances[row] - 1:,}"

    lengths = np.diff(np.append(starts, len(rows.ds)))
    absent_of = np.add.reduceat(np.append(distances, 1) - 1, starts)
    worst = np.argmax(absent_of / (lengths + _COARSE_FROM))
    first, count, total = starts[worst], lengths[worst], absent_of.sum(dtype=np.float64)  # which does not overflow
    # A series by itself, as the rows of others say nothing of its times; all together, as they have to fit in memory.
    if absent_of[worst] > _SPARSE * (count + _COARSE_FROM) or total > _SPARSE * (len(rows.ds) + _COARSE_FROM):
        raise failure("gap-huge", *describe(first + np.argmax(distances[first : first + count - 1])))
    source.ledger.settle("gap", rows.series[before], first=lambda: describe(before[0]), amounts=absent)


def choose_series(rows: Rows, source: Source, late: Int64s, *, min_history: int, keep_unobserved: bool = False) -> Rows:
    """Settles series that say too little, and leaves out those that the policies drop.

    Args:
        rows: rows without gaps.
        source: the frame they come from.
        late: positions in the frame of the rows after data.end; a series that has some is not missed.
        min_history: steps that a series has at least, from its first value to its last.
        keep_unobserved: whether series without a value stay, whatever the policy.

    Returns:
        The rows of the series that stay.

    Raises:
        DataError: `series-unusable`, `series-unobserved`, `series-short`, `series-constant`; `panel-empty`.
    """
    _settle_lost(rows, source, late)
    starts = _starts(rows.series)
    lengths = np.diff(np.append(starts, len(rows.series)))
    lowest, highest = np.fmin.reduceat(rows.y, starts), np.fmax.reduceat(rows.y, starts)
    unobserved = np.isnan(lowest)
    history = _observed_spans(rows, starts)
    short = ~unobserved & (history < min_history)
    observed = np.add.reduceat(~np.isnan(rows.y), starts, dtype=np.int64)
    constant = (observed > 1) & ~short & (lowest == highest)

    def drops(code: str, found: Bools, what: str) -> Bools:
        number = np.argmax(found)
        said = what.format(steps=history[number], wanted=min_history, value=lowest[number])
        place = source.place(rows, starts[number])
        policy = source.ledger.settle(code, rows.series[starts[found]], first=lambda: (place, said))
        return found & (policy == "drop")

    too_short = "the series has {steps:,} steps from its first value to its last, data.min_history is {wanted:,}"
    dropped = (
        drops("series-unobserved", unobserved & (not keep_unobserved), "the series has no values")
        | drops("series-short", short, too_short)
        | drops("series-constant", constant, "the series is always {value}")
    )
    if dropped.all():
        raise failure("panel-empty", source.provenance.name(), "no series left")
    return rows.where(np.repeat(~dropped, lengths)) if dropped.any() else rows


def _observed_spans(rows: Rows, starts: NDArray[np.intp]) -> Int64s:
    """Steps from the first value of each series to its last; of one without values no more than 0."""
    steps, seen = np.arange(len(rows.y)), ~np.isnan(rows.y)
    first = np.minimum.reduceat(np.where(seen, steps, len(steps)), starts)
    spans: Int64s = np.maximum.reduceat(np.where(seen, steps, -1), starts) - first + 1
    return spans


def _settle_lost(rows: Rows, source: Source, late: Int64s) -> None:
    """Settles series that had rows, all of which were dropped."""
    lost = np.zeros(len(source.ids), np.bool_)
    lost[source.series] = True
    lost[rows.series] = lost[source.series[late]] = False
    found = np.flatnonzero(lost)

    def first() -> tuple[str, str]:
        row = np.argmax((source.series == found[0]).any(axis=1))
        place = f"{source.provenance.locate(row)}, series {source.ids[found[0]]!r}"
        return place, "no row of the series can be used"

    source.ledger.settle("series-unusable", found, first=first)


def _starts(series: Int32s) -> NDArray[np.intp]:
    return np.flatnonzero(np.append(True, series[1:] != series[:-1]))


def _in_file_order(positions: NDArray[np.intp], rows: Rows) -> NDArray[np.intp]:
    return positions[np.argsort(rows.origin[positions], kind="stable")]


def _sorted(rows: Rows) -> Rows:
    later = (rows.series[1:] == rows.series[:-1]) & (rows.ds[1:] >= rows.ds[:-1])
    if (later | (rows.series[1:] > rows.series[:-1])).all():
        return rows
    return rows.where(np.lexsort((rows.ds, rows.series)))


def _phases_of_series(series: Int32s, phases: Int64s, fits: Bools) -> Int64s:
    """The phase of each row's series: what most of its rows have, and among equals the earliest."""
    starts = np.append(True, series[1:] != series[:-1])
    first = np.repeat(phases[starts], np.diff(np.append(np.flatnonzero(starts), len(series))))
    if (fits & (phases == first)).all():
        return first
    votes = pd.DataFrame({"series": series[fits], "phase": phases[fits]})
    counts = votes.groupby(["series", "phase"], sort=False).size().rename("count").reset_index()
    counts = counts.sort_values(["series", "count"], ascending=[True, False]).drop_duplicates("series")
    chosen = np.full(int(series.max()) + 1, -1, np.int64)
    chosen[counts["series"].to_numpy()] = counts["phase"].to_numpy()
    return chosen[series]


def _clock_changes(rows: Rows, source: Source) -> str:
    """That rows fit in local time, where it is so: steps of several hours are moved off the grid by a clock change; or
    that those of whole days fit in UTC, as instants of one time of day do.
    """
    step, zone = source.frequency.step, source.columns.timezone
    if zone is None or source.frequency.whole_numbered:
        return ""
    shown = pd.DatetimeIndex(
        to_user_time(pd.Series(rows.ds.view("datetime64[us]")), freq=source.columns.freq, timezone=zone)
    )
    if source.frequency.keeps_wall_time:
        instants = shown.tz_convert("UTC")
        told = f", whose days are those of data.timezone {zone!r}, though all instants fit in UTC; set it to UTC"
        return told if len(np.unique(instants - instants.normalize())) == 1 else ""
    if step is None:
        return ""
    times = shown.tz_localize(None).as_unit("us").to_numpy().view(np.int64)
    if len(np.unique(times % step)) > 1:
        return ""
    return (
        f", whose steps are moved by the clock changes of data.timezone {zone!r}, though all local times fit; set "
        "data.timezone to null and give local times without an offset"
    )


def _suggestion(rows: Rows, source: Source) -> str:
    """What the longest series looks like."""
    if source.frequency.whole_numbered:
        return ""
    longest = np.argmax(np.bincount(rows.series))
    suggestion = suggest_frequency(rows.ds[rows.series == longest])
    return "" if suggestion in (None, source.columns.freq) else f"; the data looks like {suggestion!r}"
