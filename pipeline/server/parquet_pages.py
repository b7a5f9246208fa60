"""How large columns of a Parquet file are when unpacked: by its pages, whose own words they are decoded by.

The sums in a file's footer may say anything. What stands before each page is in Thrift's compact protocol, which is
read here as far as that takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MOST_PAGES = 20_000  # of a file: in one of them is a megabyte, or thousands of rows
_UNPACKED, _PACKED = 2, 3  # fields of a page's header: its sizes
_MOST_BITS = 63


def unpacked_size(raw: bytes, chunks: Iterable[Any]) -> int:
    """Bytes of the pages of some columns when unpacked.

    Args:
        raw: the file.
        chunks: `pyarrow.parquet.ColumnChunkMetaData` of each column in each row group.

    Raises:
        ValueError: its pages cannot be read, or they are more than `MOST_PAGES`.
    """
    size = pages = 0
    try:
        for chunk in chunks:
            at = chunk.data_page_offset
            if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < at:
                at = chunk.dictionary_page_offset
            end = min(at + chunk.total_compressed_size, len(raw))
            while at < end:
                header, at = _read_struct(raw, at)
                pages += 1
                if min(at, header[_UNPACKED], header[_PACKED]) < 0 or pages > MOST_PAGES:
                    raise ValueError("no pages of a file that was written to be read")
                size, at = size + header[_UNPACKED], at + header[_PACKED]
    except (IndexError, KeyError, TypeError, RecursionError):
        raise ValueError("a page has no header") from None
    return size


def _read_struct(raw: bytes, at: int) -> tuple[dict[int, Any], int]:
    """The whole numbers among the fields of a struct, by number, and where it ends."""
    found: dict[int, Any] = {}
    field = 0
    while raw[at]:
        kind, step = raw[at] & 15, raw[at] >> 4
        at += 1
        if step:
            field += step
        else:
            field, at = _read_number(raw, at)
        found[field], at = _read_value(raw, at, kind)
    return found, at + 1


def _read_value(raw: bytes, at: int, kind: int) -> tuple[int | None, int]:
    """A value where it is a whole number, and where it ends."""
    if kind in (1, 2):  # a truth, which the kind itself tells
        return None, at
    if kind in (4, 5, 6):
        return _read_number(raw, at)
    if kind == 8:
        length, at = _read_varint(raw, at)
        return None, at + length
    if kind in (9, 10):
        return None, _skip_list(raw, at)
    if kind == 12:
        return None, _read_struct(raw, at)[1]
    return None, at + {3: 1, 7: 8}[kind]


def _skip_list(raw: bytes, at: int) -> int:
    count, kind = raw[at] >> 4, raw[at] & 15
    at += 1
    if count == 15:
        count, at = _read_varint(raw, at)
    if count > len(raw) - at:
        raise ValueError("a list has more elements than there are bytes")
    for _ in range(count):
        at = at + 1 if kind in (1, 2) else _read_value(raw, at, kind)[1]
    return at


def _read_number(raw: bytes, at: int) -> tuple[int, int]:
    zigzag, at = _read_varint(raw, at)
    return (zigzag >> 1) ^ -(zigzag & 1), at


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (raw[at] & 127) << shift
        at += 1
        if raw[at - 1] < 128:
            return value, at
        if (shift := shift + 7) > _MOST_BITS:
            raise ValueError("a number has too many bytes")
