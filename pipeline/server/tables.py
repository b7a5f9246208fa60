"""Tables of requests -> frames: records, columns and uploaded files; and forecasts -> what native responses show."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.columns import Columns, FindLayout, Layout, find_history_layout
from pipeline.errors import GatecastError
from pipeline.intervals import forecast_columns
from pipeline.provenance import FILE, ROW
from pipeline.series import Panel, to_user_time
from pipeline.server.limits import Limits
from pipeline.server.parquet_pages import unpacked_size
from pipeline.server.ready import Ready, show_stamps
from pipeline.server.request_errors import RequestError, echo, request_error_of
from pipeline.sources import read_upload
from pipeline.userfiles import data_of, mend_ending

_UNPACKED = 16  # times a Parquet file may grow
_TEXTS = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
_COLUMNS = 1_000  # that records may have, those included that no model reads


def read_table(value: Any, field: str, *, columns: Columns, find: FindLayout, limits: Limits) -> dict[str, list[Any]]:
    """Reads a table: a list of objects, or an object of lists.

    Args:
        value: of JSON.
        field: where it stands.
        columns: of the bundle.
        find: finds the columns that are read.
        limits: of a request.

    Returns:
        The columns that are read, by name, all of one length of at least 1; a cell that a record lacks is None.

    Raises:
        RequestError: `table-invalid`: anything else; `limit-points`; `column-missing`; `limit-name`.
    """
    if isinstance(value, list):
        names, rows = _names(value, field), len(value)
    elif isinstance(value, dict):
        names, rows = list(value), _length(value, field)
    else:
        told = f"{field}: records (a list of objects) or columns (an object of lists) are needed"
        raise RequestError(422, f"{told}. Received: {echo(value)}", code="table-invalid", field=field)
    if not rows:
        raise RequestError(422, f"{field}: rows are needed. Received: none", code="table-invalid", field=field)
    limits.check_points(rows, field)
    try:
        layout = find(names, columns, field)
    except GatecastError as error:
        raise request_error_of(error, field=field) from None
    if isinstance(value, dict):
        table = {name: value[name] for name in layout.needed()}
    else:
        table = {name: [record.get(name) for record in value] for name in layout.needed()}
    check_names(table, layout, field, limits)
    return table


def _length(columns: dict[str, Any], field: str) -> int:
    """The number of rows of columns, which have to be lists of one length."""
    length: int | None = None
    for name, cells in columns.items():
        if not isinstance(cells, list) or len(cells) != (len(cells) if length is None else length):
            told = f"{field}.{name}: a list as long as the other columns is needed"
            received = f"{len(cells):,} cells" if isinstance(cells, list) else echo(cells)
            raise RequestError(422, f"{told}. Received: {received}", code="table-invalid", field=f"{field}.{name}")
        length = len(cells)
    return length or 0


def _names(records: list[Any], field: str) -> list[str]:
    """The columns of records, which have to be objects."""
    names: dict[str, None] = {}
    for place, record in enumerate(records):
        if not isinstance(record, dict):
            told = f"{field}[{place}]: an object is needed. Received: {echo(record)}"
            raise RequestError(422, told, code="table-invalid", field=f"{field}[{place}]")
        names.update(dict.fromkeys(record))
        if len(names) > _COLUMNS:
            told = f"{field}: at most {_COLUMNS:,} columns. Received: {len(names):,} up to {field}[{place}]"
            raise RequestError(422, f"{told}; send those that the model takes", code="table-invalid", field=field)
    return list(names)


def frame_of(columns: Mapping[str, Sequence[Any]], field: str) -> pd.DataFrame:
    """The frame of a table, which calls itself by the field of the request.

    Args:
        columns: what `read_table` gave.
        field: where they stand.

    Raises:
        RequestError: `table-invalid`: a cell is a list or an object.
    """
    arrays = {name: _cells(cells, f"{field}.{name}") for name, cells in columns.items() if name not in (FILE, ROW)}
    frame = pd.DataFrame(arrays)
    frame[FILE] = pd.Categorical([field]).take(np.zeros(len(frame), np.int64))
    frame[ROW] = np.arange(1, len(frame) + 1)
    frame.attrs = {"row_unit": "row", "decimal": "."}
    return frame


def _cells(cells: Sequence[Any], field: str) -> Any:
    """Whole numbers as such, as floats hold none above 2**53 exactly; numbers as floats; else what they are."""
    kinds = set(map(type, cells))
    if kinds & {list, dict}:
        place = next(i for i, cell in enumerate(cells) if isinstance(cell, (list, dict)))
        told = f"{field}[{place}]: a number, a text or null is needed. Received: {echo(cells[place])}"
        raise RequestError(422, told, code="table-invalid", field=f"{field}[{place}]")
    if not kinds <= {int, float, type(None)}:
        return pd.Series(cells, dtype="str" if kinds == {str} else object)
    try:
        return np.array(cells, np.int64 if kinds == {int} else np.float64)
    except OverflowError:
        return pd.Series([None if cell is None else str(cell) for cell in cells], dtype=object)


def read_file(
    raw: bytes, name: str, field: str, *, meta: Mapping[str, Any], find: FindLayout, limits: Limits, **options: str
) -> pd.DataFrame:
    """Reads an uploaded file.

    Args:
        raw: its contents.
        name: as the client calls it.
        field: of the request that holds it; errors call it so.
        meta: of the bundle, whose columns it has.
        find: finds the columns that are read.
        limits: of a request.
        options: delimiter, decimal and encoding of CSV.

    Returns:
        A raw frame that knows the row of everything in it.

    Raises:
        RequestError: `upload-format`, or that the file cannot be read, with the code of the check that finds it.
    """
    form = {".csv": "csv", ".parquet": "parquet"}.get("." + name.lower().rpartition(".")[2])
    if form is None:
        mend = mend_ending(name, "unpack or rename it")
        told = f"{field}: a file that ends with .csv or .parquet is needed. Received: {echo(name)}; {mend}"
        raise RequestError(415, told, code="upload-format", field=field)
    try:
        if form == "parquet":
            _check_parquet(raw, field, columns=Columns.from_json(meta["columns"]), find=find, limits=limits)
        return read_upload(raw, data_of(Path(field), form, meta, **options), find=find)
    except GatecastError as error:
        raise request_error_of(error, field=field) from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        told = f"{field}: it cannot be decoded ({error}). Received: {len(raw):,} bytes; write the file anew"
        raise RequestError(422, f"{told}, in plain or dictionary encoding", code="file-corrupt", field=field) from None


def _check_parquet(raw: bytes, field: str, *, columns: Columns, find: FindLayout, limits: Limits) -> None:
    """Looks at what the columns that are read unpack to before they are unpacked."""
    corrupt = f"{field}: no Parquet file. Received: {len(raw):,} bytes; write the file anew"
    try:
        file = pq.ParquetFile(io.BytesIO(raw))
        found, schema = file.metadata, file.schema_arrow
        groups = [found.row_group(group) for group in range(found.num_row_groups)]
    except (pa.ArrowException, OSError, ValueError, OverflowError):
        raise RequestError(422, corrupt, code="file-corrupt", field=field) from None
    limits.check_points(found.num_rows, field)
    needed = find(schema.names, columns, field).needed()
    if any(pa.types.is_nested(schema.field(name).type) for name in needed):
        return  # nothing of it is read
    places = [place for place in range(found.num_columns) if found.schema.column(place).path in needed]
    try:
        size = unpacked_size(raw, (group.column(place) for group in groups for place in places))
    except ValueError:
        raise RequestError(422, corrupt, code="file-corrupt", field=field) from None
    _check_unpacked(size, field, limits)
    # So many are read, whatever the file says of its rows.
    rows = max((sum(group.column(place).num_values for group in groups) for place in places), default=0)
    limits.check_points(rows, field)
    # In these a column has each of its texts whole, which the file's own sizes tell.
    plain = {
        found.schema.column(place).path for place in places if all(_is_whole(group.column(place)) for group in groups)
    }
    _check_unpacked(_text_size(raw, [name for name in needed if name not in plain], rows), field, limits)


def _is_whole(chunk: pq.ColumnChunkMetaData) -> bool:
    return "DELTA_LENGTH_BYTE_ARRAY" in chunk.encodings and not chunk.has_dictionary_page


def _text_size(raw: bytes, needed: Sequence[str], rows: int) -> int:
    """The bytes of all texts in columns of a Parquet file, which may hold one but once for all rows that have it."""
    file = pq.ParquetFile(io.BytesIO(raw), read_dictionary=list(needed))
    size = 0
    for name in needed:
        kind = file.schema_arrow.field(name).type
        if pa.types.is_fixed_size_binary(kind):
            size += kind.byte_width * rows
        elif pa.types.is_dictionary(kind) and kind.value_type in _TEXTS:
            for part in file.read(columns=[name]).column(name).chunks:
                lengths = pc.binary_length(part.dictionary)
                size += pc.sum(lengths.take(part.indices)).as_py() or 0
    return size


def _check_unpacked(size: int, field: str, limits: Limits) -> None:
    if not 0 <= size <= _UNPACKED * limits.body_bytes:
        told = f"{field}: at most {_UNPACKED * limits.body_bytes:,} bytes when unpacked. Received: {size:,}"
        raise RequestError(413, f"{told}; send fewer rows, or shorter texts", code="limit-body", field=field)


def check_size(table: Mapping[str, Any], columns: Columns, field: str, limits: Limits) -> None:
    """Refuses a history of too many series or values.

    Args:
        table: the history's columns, those that are read among them.
        columns: of the bundle.
        field: of the request that it comes from.
        limits: of a request.

    Raises:
        RequestError: `limit-series`, `limit-points`.
    """
    layout = find_history_layout(list(table), columns, field)
    targets = len(layout.target)
    limits.check_points(len(table[layout.time[0]]) * targets, field)
    if layout.id_col is not None:
        limits.check_series(len(set(map(str, table[layout.id_col]))) * targets, field)


def check_names(table: Mapping[str, Any], layout: Layout, field: str, limits: Limits) -> None:
    """Refuses a table of a series whose name is too long.

    Args:
        table: its columns, all of one length of at least 1.
        layout: which of them are read.
        field: of the request that it comes from.
        limits: of a request.

    Raises:
        RequestError: `limit-name`.
    """
    if layout.id_col is not None:
        limits.check_name(max(map(len, map(str, table[layout.id_col]))), field)


def cut(frame: pd.DataFrame, *, horizon: int, steps: int) -> pd.DataFrame:
    """The first steps of every series of a forecast frame.

    Args:
        frame: with `horizon` rows per series.
        horizon: of the model.
        steps: to keep.
    """
    return frame if steps == horizon else frame[np.arange(len(frame)) % horizon < steps]


def show_series(ready: Ready, quantiles: Any, *, steps: int, levels: Sequence[str]) -> list[dict[str, Any]]:
    """What a native response says of each series.

    Args:
        ready: the series of the request.
        quantiles: [N, H, Q] its forecast.
        steps: to show.
        levels: intervals to show, in percent.

    Returns:
        For each series its name, its cutoff, the timestamps, the median, and the ends of each interval.
    """
    spec = ready.spec
    times, cutoffs = ready.times()
    places = {column.removeprefix(spec.cell): place for column, place in forecast_columns(spec.cell, spec.quantiles)}
    return [
        {
            "unique_id": name,
            "cutoff": cutoffs[row],
            "ds": times[row * spec.horizon : row * spec.horizon + steps],
            "median": quantiles[row, :steps, places[""]].tolist(),
            "intervals": {
                level: {end: quantiles[row, :steps, places[f"-{end}-{level}"]].tolist() for end in ("lo", "hi")}
                for level in levels
            },
        }
        for row, name in enumerate(ready.ids)
    ]


def show_panel(panel: Panel) -> list[dict[str, Any]]:
    """What a native response says of the series of a panel.

    Args:
        panel: on regular grids.

    Returns:
        For each series its name, its timestamps, its values and its covariates at them, and those of its own; what is
        missing is None or NaN.
    """
    stamps = show_stamps(to_user_time(panel.frame["ds"], freq=panel.freq, timezone=panel.timezone))
    columns = {str(name): panel.frame[name].tolist() for name in panel.frame.columns[2:]}
    names = panel.frame["unique_id"].to_numpy()
    starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]])).tolist()
    shown = []
    for row, (start, end) in enumerate(pairwise([*starts, len(names)])):
        own = {name: cells[start:end] for name, cells in columns.items()}
        statics = {str(name): value for name, value in panel.statics.iloc[row, 1:].items()}
        values = own.pop("y")
        shown.append(
            {
                "unique_id": str(names[start]),
                "ds": stamps[start:end],
                "y": values,
                "covariates": own,
                "static_covariates": statics,
            }
        )
    return shown


def write_csv(frame: pd.DataFrame, cell: str, levels: Sequence[str]) -> str:
    """A forecast frame as CSV, with the columns of these intervals alone."""
    kept = {"unique_id", "ds", "cutoff", cell, *(f"{cell}-{end}-{level}" for end in ("lo", "hi") for level in levels)}
    return frame[[name for name in frame.columns if name in kept]].to_csv(index=False, lineterminator="\n")
