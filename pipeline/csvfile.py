"""CSV files: text columns with the line of each row."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from pipeline.checks import failure, received
from pipeline.columns import Columns, FindLayout, Layout
from pipeline.params import DataParams
from pipeline.textfile import decode
from pipeline.values import read_numbers, read_truths

_BLOCK_BYTES = 1 << 24  # the longest line that can be read


def parse_csv(raw: bytes, name: str, data: DataParams, find: FindLayout) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Reads a CSV file.

    Args:
        raw: the file, unpacked.
        name: its name in errors.
        data: delimiter, decimal point, encoding and columns.
        find: finds the columns that are read.

    Returns:
        The needed columns: text, or numbers where all values of a target or covariate are; and the line of each row
        in the file.

    Raises:
        DataError: `csv-delimiter`, `file-encoding`, `file-binary`, `file-empty`, `row-ragged`, `column-missing`,
            `column-duplicate`.
    """
    if not data.delimiter.isascii() or data.delimiter in '"\r\n\0':
        what = f"cannot separate fields. {received(data.delimiter)}"
        raise failure("csv-delimiter", "params.yaml, data.delimiter", what)
    text = decode(raw, data.encoding, name)
    raw = text.encode()
    del text
    header = _read_header(raw, name, data.delimiter)
    layout = find(header, Columns.from_params(data), name)
    if raw.count(b'"') % 2:  # an open quote would swallow the rest of the file
        deque(_starts(raw, name, data.delimiter), maxlen=0)
    table = _read_table(raw, name, header, layout, data.delimiter)
    if not len(table):
        raise failure("file-empty", name, "a header without rows")
    frame = pd.DataFrame({column: table.column(column).to_pandas() for column in layout.needed()})
    readers = dict.fromkeys(layout.target, read_numbers) | dict.fromkeys(layout.truths(), read_truths)
    for column, read in readers.items():
        numbers, bad = read(frame[column], decimal=data.decimal)
        if not bad.any():
            frame[column] = numbers
    return frame, _lines(raw, len(frame), name, data.delimiter)


def _read_header(raw: bytes, name: str, delimiter: str) -> list[str]:
    records = _records(raw[:_BLOCK_BYTES], delimiter, strict=False)
    try:
        header: list[str] | None = next((record for record in records if record), None)
    except csv.Error as error:
        raise failure("row-ragged", f"{name}, line 1", f"no header ({error})") from None
    if header is None:
        raise failure("file-empty", name, "nothing in it but blank lines")
    return header


def _records(raw: bytes, delimiter: str, *, strict: bool) -> Any:
    """Python's reader of the records of a text that may end within a character."""
    # The limit holds for the whole process, so it is only ever raised: to what Arrow reads.
    csv.field_size_limit(max(csv.field_size_limit(), _BLOCK_BYTES))
    text = io.TextIOWrapper(io.BytesIO(raw), "utf-8", errors="ignore", newline="")
    return csv.reader(text, delimiter=delimiter, strict=strict)


def _read_table(raw: bytes, name: str, header: list[str], layout: Layout, delimiter: str) -> pa.Table:
    """Reads text; Arrow refuses a line with more or fewer fields than the header, where others shift values."""
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    words = {column: pa.dictionary(pa.int32(), pa.string()) for column in layout.needed()}
    words |= dict.fromkeys((*layout.target, *layout.truths()), pa.string())
    try:
        return pacsv.read_csv(
            pa.BufferReader(raw),
            read_options=pacsv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note),
            convert_options=pacsv.ConvertOptions(
                column_types=words,
                include_columns=layout.needed(),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        if ragged:
            line = _lines(raw, ragged[0].number - 1, name, delimiter)[-1]
            what = f"{ragged[0].actual_columns} fields, the header has {len(header)}. {received(ragged[0].text)}"
            raise failure("row-ragged", f"{name}, line {line}", what) from None
        if len(raw.splitlines()) == 1:
            raise failure("file-empty", name, "a header without rows") from None
        raise failure("row-ragged", name, f"cannot be read ({error})") from None


def _lines(raw: bytes, count: int, name: str, delimiter: str) -> NDArray[np.int64]:
    """The lines of the first `count` records after the header, as an editor counts lines."""
    breaks = raw.count(b"\n") - raw.endswith(b"\n")
    if breaks == count and raw.count(b"\r") == raw.count(b"\r\n"):
        return np.arange(2, count + 2)
    return np.asarray(list(islice(_starts(raw, name, delimiter), 1, count + 1)), np.int64)


def _starts(raw: bytes, name: str, delimiter: str) -> Iterator[int]:
    """The line that each record starts in, the header's first; blank lines are no records."""
    reader = _records(raw, delimiter, strict=True)
    line = 1
    try:
        for record in reader:
            if record:
                yield line
            line = reader.line_num + 1
    except csv.Error as error:
        raise failure("row-ragged", f"{name}, line {line}", f"a quoted field does not end ({error})") from None
