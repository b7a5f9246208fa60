"""Bytes of a file, unpacked, and text out of them; an error names the line."""

from __future__ import annotations

import codecs
import gzip
import os
import zlib
from pathlib import Path

import pyarrow as pa

from pipeline.checks import failure, received
from pipeline.errors import DataError

_NO_CHARSETS = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how those of today begin, and those of old
_LONGEST_NAME = 40  # characters


def read_bytes(path: Path, name: str) -> bytes:
    """Reads a file, unpacked if its name ends in .gz or .zst.

    Args:
        path: the file.
        name: the file's name in errors.

    Returns:
        Its contents, not blank.

    Raises:
        DataError: `file-missing`, `file-unreadable`, `file-empty`, `file-truncated`, `file-corrupt`.
    """
    file_size(path, name)
    unpacked = _unpack(path.read_bytes(), path.suffix.lower(), name)
    if not unpacked.strip():
        raise failure("file-empty", name, f"nothing in it. Received: {len(unpacked)} bytes")
    return unpacked


def file_size(path: Path, name: str) -> int:
    """Checks that a file can be read.

    Args:
        path: the file.
        name: the file's name in errors.

    Returns:
        Its size in bytes, at least 1.

    Raises:
        DataError: `file-missing`, `file-unreadable`, `file-empty`.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        raise failure("file-missing", name, "no such file or folder") from None
    except OSError as error:
        raise failure("file-unreadable", name, f"cannot be read ({error.strerror})") from None
    if not size:
        raise failure("file-empty", name, "nothing in it. Received: 0 bytes")
    return size


def _unpack(raw: bytes, suffix: str, name: str) -> bytes:
    try:
        if suffix == ".gz":
            return gzip.decompress(raw)
        if suffix == ".zst":
            with pa.CompressedInputStream(pa.BufferReader(raw), "zstd") as stream:
                return bytes(stream.read())
    except EOFError:
        raise _truncated(suffix, raw, name) from None
    except (OSError, zlib.error) as error:  # gzip's own errors and Arrow's are OSErrors
        if "Truncated" in str(error):
            raise _truncated(suffix, raw, name) from None
        what = f"no {suffix} file that can be unpacked ({error}). Received: {len(raw):,} bytes"
        raise failure("file-corrupt", name, what) from None
    return raw


def _truncated(suffix: str, raw: bytes, name: str) -> DataError:
    return failure("file-truncated", name, f"the {suffix} file ends too early. Received: {len(raw):,} bytes")


def decode(raw: bytes, encoding: str, name: str, *, line: int = 1) -> str:
    """Reads bytes as text.

    Args:
        raw: the bytes.
        encoding: Python's name of their encoding; a byte order mark is left out.
        name: the file's name in errors.
        line: the line of the file that the bytes start in.

    Returns:
        The text.

    Raises:
        DataError: `file-encoding`, `file-binary`.
    """
    try:
        text = raw.decode(_with_mark(encoding))
    except (LookupError, ValueError) as error:
        if not isinstance(error, UnicodeDecodeError):
            what = f"Python knows no such text encoding, or it is none of files. {received(encoding)}"
            raise failure("file-encoding", "params.yaml, data.encoding", what) from None
        seen = error.object  # places count from after a byte order mark
        wrong = line + seen.count(b"\n", 0, error.start)
        byte = f"Received: byte 0x{seen[error.start]:02x}" if error.start < len(seen) else "Received: its end"
        if b"\0" in raw:
            raise _binary(raw, name, line + raw.count(b"\n", 0, raw.index(b"\0"))) from None
        raise failure("file-encoding", f"{name}, line {wrong}", f"no {encoding} text. {byte}") from None
    if "\0" in text:
        raise _binary(raw, name, line + text.count("\n", 0, text.index("\0")))
    return text


def is_charset(encoding: str) -> bool:
    """Whether text files are read in an encoding.

    Not in codecs of Python that are charsets of no file: they make bytes of bytes, read escapes of source code, or take
    time that grows with the square of the length.

    Args:
        encoding: any text; Python keeps in mind all names that it is asked for, so long ones are no encoding's.
    """
    if len(encoding) > _LONGEST_NAME:
        return False
    try:
        b"a".decode(encoding)
    except UnicodeDecodeError:
        pass  # half a character
    except (LookupError, ValueError):
        return False
    return codecs.lookup(encoding).name.replace("_", "-") not in _NO_CHARSETS


def _with_mark(encoding: str) -> str:
    if not is_charset(encoding):
        raise LookupError(encoding)
    name = codecs.lookup(encoding).name
    return "utf-8-sig" if name == "utf-8" else name


def _binary(raw: bytes, name: str, line: int) -> DataError:
    what = "a spreadsheet or an archive (save it as CSV), no text" if raw.startswith(_SPREADSHEETS) else "no text"
    return failure("file-binary", f"{name}, line {line}", f"{what}. Received: a NUL byte")
