"""Files -> one raw frame: the columns that are needed, and where each row comes from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.checks import failure, quoted, received
from pipeline.columns import Columns, FindLayout, Layout, find_layout
from pipeline.csvfile import parse_csv
from pipeline.errors import DataError
from pipeline.params import DataParams
from pipeline.provenance import FILE, ROW
from pipeline.textfile import file_size, read_bytes
from pipeline.tsf import parse_tsf

_Raw = tuple[pd.DataFrame, NDArray[np.int64]]  # a file's columns, and the place of each row in the file


def read_source(data: DataParams, *, find: FindLayout = find_layout) -> pd.DataFrame:
    """Reads the file, or the folder's files, that params.yaml names.

    Hidden files and DVC's `.dvc` files of a folder are left out unless the pattern asks for them.

    Args:
        data: where the data is and what its columns mean.
        find: finds the columns that are read; a .tsf file has its own.

    Returns:
        The rows of all files in order of their names, in the user's columns (`unique_id`, `ds`, `y` for .tsf files),
        with the columns and attributes of `pipeline.provenance`. Values and covariates are numbers
        where all of a file's are, else text.

    Raises:
        DataError: a file that cannot be read; the codes are those of the checks named `file-`, `csv-`, `row-ragged`,
            `tsf-` and `column-`.
    """
    files = _find_files(data)
    parts = [_read_file(path, name, data, find) for path, name in files]
    rows = np.concatenate([rows for _, rows in parts])
    frame = _concatenate([frame for frame, _ in parts])
    codes = np.repeat(np.arange(len(files)), [len(rows) for _, rows in parts])
    frame[FILE] = pd.Categorical.from_codes(codes, categories=pd.Index([name for _, name in files]))
    frame[ROW] = rows
    decimal = "." if data.format == "tsf" else data.decimal
    frame.attrs = {"row_unit": "row" if data.format == "parquet" else "line", "decimal": decimal}
    return frame


def read_upload(raw: bytes, data: DataParams, *, find: FindLayout) -> pd.DataFrame:
    """Reads a file that is in memory.

    Args:
        raw: its contents, not packed.
        data: as for `read_source`; `data.path` is its name in errors, and the format csv or parquet.
        find: finds the columns that are read.

    Returns:
        As `read_source`.

    Raises:
        DataError: as `read_source`.
    """
    name = data.path
    if not raw.strip():
        raise failure("file-empty", name, f"nothing in it. Received: {len(raw)} bytes")
    is_parquet = data.format == "parquet"
    frame, rows = _parse_parquet(io.BytesIO(raw), name, data, find) if is_parquet else parse_csv(raw, name, data, find)
    frame[FILE] = pd.Categorical([name]).take(np.zeros(len(rows), np.int64))
    frame[ROW] = rows
    frame.attrs = {"row_unit": "row" if is_parquet else "line", "decimal": data.decimal}
    return frame


def _find_files(data: DataParams) -> list[tuple[Path, str]]:
    """The files, each with its name as the user would write it."""
    root = Path(data.path)
    if not root.is_dir():
        return [(root, data.path)]
    try:
        found = [path for path in root.glob(data.pattern) if path.is_file()]
    except (ValueError, NotImplementedError):
        what = f"no pattern of files in a folder. {received(data.pattern)}"
        raise failure("file-no-match", "params.yaml, data.pattern", what) from None
    names = {path: path.relative_to(root) for path in found}
    chosen = [path for path in found if not _left_out(names[path], data.pattern)]
    if not chosen:
        raise failure(
            "file-no-match",
            data.path,
            f"no file of {len(list(root.iterdir()))} entries matches. {received(data.pattern)}",
        )
    return [(path, f"{data.path.rstrip('/')}/{names[path].as_posix()}") for path in sorted(chosen)]


def _left_out(name: Path, pattern: str) -> bool:
    hidden = any(part.startswith(".") for part in name.parts) and not pattern.startswith(".")
    return hidden or (name.suffix == ".dvc" and not pattern.endswith(".dvc"))


def _read_file(path: Path, name: str, data: DataParams, find: FindLayout) -> _Raw:
    if data.format == "parquet":
        file_size(path, name)
        return _parse_parquet(path, name, data, find)
    raw = read_bytes(path, name)
    return parse_tsf(raw, name, data) if data.format == "tsf" else parse_csv(raw, name, data, find)


def _concatenate(frames: list[pd.DataFrame]) -> pd.DataFrame:
    if len(frames) == 1:
        return frames[0]
    columns: dict[str, Any] = {}
    for name in frames[0].columns:
        parts = [frame[name] for frame in frames]
        if all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts):
            columns[name] = pd.api.types.union_categoricals(parts)
        elif len({part.dtype for part in parts}) == 1:
            columns[name] = pd.concat(parts, ignore_index=True)
        else:
            columns[name] = pd.concat([part.astype(object) for part in parts], ignore_index=True)
    return pd.DataFrame(columns)


def _parse_parquet(file: Path | io.BytesIO, name: str, data: DataParams, find: FindLayout) -> _Raw:
    try:
        opened = pq.ParquetFile(file)
    except (pa.ArrowException, OSError):
        size = len(file.getbuffer()) if isinstance(file, io.BytesIO) else file_size(file, name)
        raise failure("file-corrupt", name, f"no Parquet file. Received: {size:,} bytes") from None
    schema = opened.schema_arrow
    layout = find(schema.names, Columns.from_params(data), name)
    for column in layout.needed():
        if pa.types.is_nested(schema.field(column).type):
            raise _unreadable(name, column, schema.field(column).type, "a cell is one value")
    try:
        texts = [*([] if layout.id_col is None else [layout.id_col]), *layout.categorical]
        dictionaries = _without_deltas(opened.metadata, texts)
        table = pq.ParquetFile(file, read_dictionary=dictionaries).read(columns=list(dict.fromkeys(layout.needed())))
    except (pa.ArrowException, OSError) as error:
        raise failure("file-corrupt", name, f"cannot be decoded ({error})") from None
    if not len(table):
        raise failure("file-empty", name, "no rows")
    columns = {column: _read_column(table.column(column), column, layout, name) for column in table.column_names}
    return pd.DataFrame(columns), np.arange(1, len(table) + 1)


def _without_deltas(found: pq.FileMetaData, names: list[str]) -> list[str]:
    """The columns that Arrow can read as dictionaries, which it cannot where texts are told by what differs."""
    chunks = [
        found.row_group(group).column(place)
        for group in range(found.num_row_groups)
        for place in range(found.num_columns)
    ]
    deltas = {chunk.path_in_schema for chunk in chunks if any("DELTA" in encoding for encoding in chunk.encodings)}
    return [name for name in names if name not in deltas]


def _read_column(values: pa.ChunkedArray, column: str, layout: Layout, name: str) -> pd.Series:
    try:
        values.validate(full=True)
        return _of_arrow(values, column, layout)
    except (pa.ArrowException, LookupError, ValueError, OverflowError) as error:
        # Of a zone that is not known Arrow says that the module of zones is missing.
        cause = "no such time zone" if "zone" in str(error) else str(error)
        raise _unreadable(name, column, values.type, cause) from None


def _unreadable(name: str, column: str, kind: pa.DataType, cause: str) -> DataError:
    told = f"{name}, column {column!r}: values of type {quoted(kind)} cannot be read ({cause})"
    return DataError("file-corrupt", " ".join(f"{told}; write them as text, numbers or timestamps".split()))


def _of_arrow(values: pa.ChunkedArray, column: str, layout: Layout) -> pd.Series:
    """Gives what the checks read: ids and joined times as categories, timestamps in microseconds, numbers as such."""
    kind = values.type
    beside = column in (layout.id_col, *layout.truths(), *layout.categorical)
    if beside and pa.types.is_dictionary(kind) and not _is_text(kind.value_type):
        values, kind = values.cast(kind.value_type), kind.value_type
    if _is_binary(kind):
        values, kind = values.cast(pa.string()), pa.string()
    if column == layout.id_col and pa.types.is_floating(kind):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
    if column in (*layout.target, *layout.truths()) and pa.types.is_decimal(kind):
        values = values.cast(pa.float64())
    elif column in layout.categorical and (pa.types.is_dictionary(kind) or pa.types.is_integer(kind) or _is_text(kind)):
        # Whole numbers as text, as they come with nulls as floats, which hold none above 2**53 exactly.
        values = values if pa.types.is_dictionary(kind) else values.cast(pa.string()).dictionary_encode()
    elif column == layout.id_col and pa.types.is_boolean(kind):
        values = pc.utf8_capitalize(values.cast(pa.string())).dictionary_encode()  # as Python writes them
    elif column == layout.id_col or (column in layout.time and (len(layout.time) > 1 or _is_text(kind))):
        values = values if pa.types.is_dictionary(kind) else values.cast(pa.string()).dictionary_encode()
    elif pa.types.is_date(kind):
        values = values.cast(pa.timestamp("us"))
    elif pa.types.is_timestamp(kind):
        values = values.cast(pa.timestamp("us", kind.tz), safe=kind.unit != "ns")  # of these the rest is cut off
    read: pd.Series = values.to_pandas()
    return read


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
