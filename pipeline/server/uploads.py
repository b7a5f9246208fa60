"""Requests that bring tables, as JSON or as uploaded files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile

from pipeline.errors import GatecastError
from pipeline.server.limits import Limits
from pipeline.server.request_errors import RequestError, echo

if TYPE_CHECKING:  # pandas is loaded with the first table
    import pandas as pd

    from pipeline.columns import FindLayout

_CELL = {"type": ["number", "string", "boolean", "null"]}
TABLE: dict[str, Any] = {
    "anyOf": [
        {"type": "array", "items": {"type": "object", "additionalProperties": _CELL}, "title": "Records"},
        {"type": "object", "additionalProperties": {"type": "array", "items": _CELL}, "title": "Columns"},
    ]
}
HISTORY_FILE = {"type": "string", "format": "binary", "description": "a .csv or .parquet file"}
_TEXT = {"delimiter": ",", "decimal": ".", "encoding": "utf-8"}
TEXT_FIELDS = {name: {"type": "string", "default": usual} for name, usual in _TEXT.items()}
_JSON = ("application/json", "application/x-www-form-urlencoded")  # which is what curl -d says of any body


@dataclass(frozen=True)
class Form:
    """A request of files.

    Attributes:
        files: content and name of each, by field; None for what the request lacks.
        fields: the others.
    """

    files: Mapping[str, tuple[bytes, str] | None]
    fields: Mapping[str, str]

    def check_fields(self, known: Iterable[str]) -> None:
        """Refuses a field that is not known, with `body-invalid`."""
        unknown = [name for name in self.fields if name not in set(known)]
        if unknown:
            told = f"{unknown[0]}: the fields are {', '.join(known)}. Received: {echo(unknown[0])}"
            raise RequestError(422, told, code="body-invalid", field=unknown[0])

    def read_history(self, meta: Mapping[str, Any], limits: Limits) -> pd.DataFrame:
        """Reads the file of the field `history`.

        Args:
            meta: of the bundle, whose columns it has.
            limits: of a request.

        Returns:
            As `tables.read_file`.

        Raises:
            RequestError: as `tables.read_file`, `tables.check_names` and `tables.check_size`; `body-invalid` where
                there is none.
        """
        from pipeline.columns import Columns, find_history_layout
        from pipeline.server.tables import check_size

        frame = self.read_frame("history", meta, find_history_layout, limits)
        table = {str(name): cells for name, cells in frame.items()}
        check_size(table, Columns.from_json(meta["columns"]), "history", limits)
        return frame

    def read_frame(self, field: str, meta: Mapping[str, Any], find: FindLayout, limits: Limits) -> pd.DataFrame:
        """Reads the file of a field; see `read_history`."""
        from pipeline.columns import Columns
        from pipeline.server.tables import check_names, read_file
        from pipeline.userfiles import one_character

        file = self.files[field]
        if file is None:
            raise RequestError(422, f"{field}: a file is needed. Received: nothing", code="body-invalid", field=field)
        text: dict[str, Any] = {name: self.fields.get(name, usual) for name, usual in _TEXT.items()}
        for name in ("delimiter", "decimal"):
            try:
                text[name] = one_character(text[name], name)
            except GatecastError as error:
                raise RequestError(422, str(error), code="body-invalid", field=name) from None
        frame = read_file(*file, field, meta=meta, find=find, limits=limits, **text)
        layout = find([str(name) for name in frame], Columns.from_json(meta["columns"]), field)
        check_names({str(name): cells for name, cells in frame.items()}, layout, field, limits)
        return frame


async def read_request(request: Request, files: Sequence[str]) -> Form | bytes:
    """Reads the body of a request that brings tables.

    Args:
        request: with them.
        files: the fields of a form that may be files.

    Returns:
        The form, or the bytes of what should be JSON.

    Raises:
        RequestError: `body-format`; `request-invalid`, where the form is in no charset; `body-invalid`, where it has a
            field twice, a file in another field, or none in a field that should be one.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    raw = await request.body()
    if kind == "multipart/form-data":
        charset = parse_options_header(request.headers["content-type"])[1].get(b"charset")
        if charset is not None:
            await asyncio.to_thread(_check_charset, charset.decode("latin-1"))  # the first loads pandas
        async with request.form(max_files=len(files), max_fields=20) as form:
            _check_once([name for name, _ in form.multi_items()])
            _check_files([name for name, value in form.items() if not isinstance(value, str)], files)
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            return Form({name: await _read(form, name) for name in files}, fields)
    if kind in _JSON:
        return raw
    told = f"Content-Type: application/json or multipart/form-data is needed. Received: {echo(kind)}"
    raise RequestError(415, told, code="body-format")


def _check_once(names: Sequence[str]) -> None:
    """Refuses a form of which a part would be dropped."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        told = f"{twice}: each field is given once. Received: {names.count(twice)} of it; leave out all but one"
        raise RequestError(422, told, code="body-invalid", field=twice)


def _check_files(names: Sequence[str], known: Sequence[str]) -> None:
    """Refuses a file that nothing would read."""
    stray = next((name for name in names if name not in known), None)
    if stray is not None:
        told = f"{stray}: no field for a file. Received: a file; one is brought as {' or '.join(known)}"
        raise RequestError(422, told, code="body-invalid", field=stray)


def _check_charset(charset: str) -> None:
    """Refuses a form whose fields might not be decoded: what is in no charset of files would be tried all the same."""
    from pipeline.textfile import is_charset

    if not is_charset(charset):
        told = f"Content-Type: a charset such as utf-8 is needed. Received: {echo(charset)}; leave it out for utf-8"
        raise RequestError(400, told, code="request-invalid")


async def _read(form: FormData, name: str) -> tuple[bytes, str] | None:
    file = form.get(name)
    if file is None:
        return None
    if not isinstance(file, UploadFile):
        told = f"{name}: a file is needed, with its name. Received: {echo(file)}"
        raise RequestError(422, told, code="body-invalid", field=name)
    return await file.read(), file.filename or ""
