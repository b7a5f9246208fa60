"""Rows of the future -> what is known ahead of the steps that a forecast is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.checks import Ledger, such
from pipeline.columns import Columns, Layout, find_future_layout
from pipeline.errors import DataError
from pipeline.frequency import DAY_US, Bools, Int64s, future_times, parse_frequency
from pipeline.params import RepairParams
from pipeline.provenance import Provenance
from pipeline.rows import Floats, Source, read_ids, times_of, values_of
from pipeline.series import Panel
from pipeline.timestamps import OK, Times


@dataclass(frozen=True)
class _Cells:
    """Rows of the future frame at the steps that are asked for; a row that several series share occurs for each.

    Attributes:
        step: [M] which of the S * H steps.
        row: [M] position in the frame, ascending.
    """

    step: Int64s
    row: Int64s


def build_future(
    frame: pd.DataFrame, *, panel: Panel, columns: Columns, repair: RepairParams, horizon: int
) -> NDArray[np.float64]:
    """Reads the future covariates of the steps that follow each series of a panel.

    Rows of other series and of other times are ignored.

    Args:
        frame: raw rows, in any order: the column that names the series, under the user's name or as `unique_id` (it
            may be absent where there is one series, or one per target column), the user's time columns or `ds`, and
            the future covariates. Where several target columns made a series each, a row is about all of its id.
        panel: the series, S of them.
        columns: how the user names things.
        repair: what to do with input that is not clean.
        horizon: steps after each series' last one, H.

    Returns:
        [S, H, K] the K future covariates, series in the order of the panel, without missing values.

    Raises:
        DataError: `future-missing`, where a step has no row or no value; what else cannot be read or repaired.
    """
    codes, names = panel.frame["unique_id"].factorize()
    ids = [str(name) for name in names]
    if not columns.future_covariates:
        return np.empty((len(ids), horizon, 0))
    ends = np.flatnonzero(np.append(codes[1:] != codes[:-1], True))
    steps = future_times(panel.frame["ds"].iloc[ends], freq=panel.freq, horizon=horizon).view(np.int64)
    source, owners = _open(frame, ids, columns, repair)
    times = times_of(source)
    cells = _cells(steps, np.where((times.state == OK)[:, None], owners, -1), times, source)
    judged = np.zeros(len(source.frame), np.bool_)
    judged[cells.row] = True
    values = np.stack(
        [
            values_of(source, column, series=source.series, judged=judged, truths=True)
            for column in columns.future_covariates
        ],
        axis=1,
    )
    table = _one_per_step(cells, values, steps, source)
    future = np.full((steps.size, values.shape[1]), np.nan)
    future[table.index.to_numpy()] = table.to_numpy()
    absent = np.ones(steps.size, np.bool_)
    absent[cells.step] = False
    _check_complete(future, absent, steps, source)
    return future.reshape(*steps.shape, -1)


def _open(frame: pd.DataFrame, ids: list[str], columns: Columns, repair: RepairParams) -> tuple[Source, Int64s]:
    """The rows about series of the panel, and the number of the series [N, J] that each is about; -1 is none."""
    targets = columns.target_col or ("y",)
    one_series = len(ids) == 1 or (columns.id_col is None and set(ids) <= set(targets))
    provenance = Provenance.of(frame, called="future frame")
    layout = find_future_layout(list(frame.columns), columns, provenance.name(), one_series=one_series)
    owners = _owners(frame, layout, ids, targets, provenance)
    known = np.flatnonzero((owners >= 0).any(axis=1))
    source = Source(
        frame=frame.iloc[known],
        columns=columns,
        frequency=parse_frequency(columns.freq),
        layout=layout,
        provenance=provenance.take(known),
        ids=ids,
        series=owners[known].max(axis=1, keepdims=True).astype(np.int32),
        ledger=Ledger(repair, ids),
    )
    return source, owners[known]


def _owners(frame: pd.DataFrame, layout: Layout, ids: list[str], targets: Sequence[str], whole: Provenance) -> Int64s:
    if layout.id_col is None:
        return np.tile(np.arange(len(ids)), (len(frame), 1))
    codes, words = read_ids(frame[layout.id_col], whole)
    melted = [words + f"/{target}" for target in targets] if len(targets) > 1 else []
    known = pd.Index(ids, dtype="str")
    numbers = [known.get_indexer(pd.Index(named)) for named in (words, *melted)]
    owners: Int64s = np.stack(numbers, axis=1)[codes]
    return owners


def _cells(steps: Int64s, owners: Int64s, times: Times, source: Source) -> _Cells:
    """Finds the steps [S, H] that rows are about, given the series [N, J] and the time [N] of each."""
    rows, which = np.nonzero(owners >= 0)
    series = owners[rows, which]
    clocks, zone = steps[series, 0] % DAY_US, source.columns.timezone
    grid = times.take(rows).on_clock(clocks, frequency=source.frequency, timezone=zone).grid
    moments, codes = np.unique(steps, return_inverse=True)
    # Of each series the steps ascend, so these keys do.
    keys = (np.arange(len(steps))[:, None] * len(moments) + codes.reshape(steps.shape)).reshape(-1)
    places = np.minimum(np.searchsorted(moments, grid), len(moments) - 1)
    wanted = series * len(moments) + places
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    inside = (moments[places] == grid) & (keys[found] == wanted)
    return _Cells(found[inside], rows[inside])


def _one_per_step(cells: _Cells, values: Floats, steps: Int64s, source: Source) -> pd.DataFrame:
    """The covariates [., K] of every step that has a row, the index telling which; settles rows that differ."""
    names = [f"covariate {place}" for place in range(values.shape[1])]
    table = pd.DataFrame(values[cells.row], columns=names, index=pd.Index(cells.step, name="step")).reset_index()
    distinct = table.drop_duplicates()
    others = distinct.index[distinct.duplicated("step")].to_numpy()

    def first() -> tuple[str, str]:
        row, step = cells.row[others[0]], cells.step[others[0]]
        place = f"{source.provenance.locate(row)}, {_moment(step, steps, source)}"
        return place, f"other covariates than before. {source.value(row, source.layout.future)}"

    policy = source.ledger.settle(
        "row-conflicting",
        cells.step[others] // steps.shape[1],
        first=first,
        count=len(np.unique(cells.row[others])),
    )
    if policy == "mean":
        # Of each column its different values, as ingest has it; sorted, so that the order of the rows does not decide
        # the last bits of the sum.
        parts = [table[["step", name]].drop_duplicates().sort_values(["step", name]) for name in names]
        return pd.concat([part.groupby("step").mean() for part in parts], axis=1)
    return table.drop_duplicates("step", keep="last" if policy == "last" else "first").set_index("step")


def _check_complete(future: Floats, absent: Bools, steps: Int64s, source: Source) -> None:
    missing = np.isnan(future)
    if not missing.any():
        return
    step, column = np.argwhere(missing)[0]
    raise DataError(
        "future-missing",
        f"{source.provenance.name()}, {_moment(step, steps, source)}, column {source.layout.future[column]!r}: "
        f"{'no row' if absent[step] else 'no value'} ({such(int(missing.sum()))} that is missing); give every "
        f"series a row with all future covariates for each of the {steps.shape[1]} steps after its last timestamp",
    )


def _moment(step: np.int64, steps: Int64s, source: Source) -> str:
    series = step // steps.shape[1]
    return f"series {source.ids[series]!r} at {source.user_time(steps.reshape(-1)[step])}"
