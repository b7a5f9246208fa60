"""Bodies of requests -> checked values: JSON read strictly, and numbers out of it."""

from __future__ import annotations

import math
from array import array
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json
from starlette.responses import PlainTextResponse, Response

from pipeline.server.request_errors import RequestError, echo

Body = TypeVar("Body", bound=BaseModel)

_NUMBERS = {int, float, bool}
DEEPEST = 8  # dimensions of a tensor
_PARTS = 500_000  # lists and objects of a body; nothing else runs while they are made


class Json(Response):
    """A response of JSON; numbers have as many digits as bring them back exactly."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Writes the body."""
        return to_json(content, inf_nan_mode="null")


class Csv(PlainTextResponse):
    """A response of a table."""

    media_type = "text/csv"


def read_json(raw: bytes) -> Any:
    """Reads JSON and nothing else: no NaN, nothing after its end, no lone surrogates, no bottomless nesting.

    Raises:
        RequestError: `json-invalid`; `limit-body`, where it has too many lists and objects.
    """
    parts = raw.count(b"[") + raw.count(b"{")  # and such marks in texts, of which no request has as many
    if parts > _PARTS:
        told = f"body: at most {_PARTS:,} lists and objects are taken. Received: {parts:,}; send several requests"
        raise RequestError(413, told, code="limit-body")
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        told = f"JSON Parse error: {error} of the body. Received: {len(raw):,} bytes; NaN and Infinity are no JSON"
        raise RequestError(400, told, code="json-invalid") from None


def read_body(raw: bytes, kind: type[Body]) -> Body:
    """Reads a body of JSON.

    Args:
        raw: the body.
        kind: what it has to be; its lists fail fast, as elements would be as many errors.

    Returns:
        The body, checked.

    Raises:
        RequestError: as `read_json`; `body-invalid`, which names the first field that is wrong.
    """
    content = read_json(raw)
    if isinstance(content, dict):
        for name in [name for name in content if name not in kind.model_fields][1:]:
            del content[name]  # each would be an error, of which the first is told
    try:
        return kind.model_validate(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = _path(first["loc"])
        what = first["msg"][0].lower() + first["msg"][1:]
        told = f"{field or 'body'}: {what}. Received: {echo(first['input'])}"
        raise RequestError(422, told, code="body-invalid", field=field or None) from None


def _path(places: tuple[int | str, ...]) -> str:
    """A place in JSON, such as `inputs[0].shape`."""
    return "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places).lstrip(".")


def read_numbers(value: Any, field: str) -> NDArray[np.float64]:
    """Reads numbers, or lists of them nested evenly.

    Args:
        value: of JSON.
        field: where it stands.

    Returns:
        The numbers in float64, in the shape of the lists.

    Raises:
        RequestError: `numbers-invalid`: anything else, a number beyond float64, or lists of several lengths.
    """
    rows, shape = _rows(value, field)
    packed = array("d")
    try:
        for row in rows:
            packed.fromlist(row)  # takes numbers alone; beside a text NumPy would make texts of them, all as long as it
    except (TypeError, OverflowError):
        raise _unusable(rows, shape, field) from None
    numbers = np.asarray(packed)
    if not np.isfinite(numbers).all():
        raise _unusable(rows, shape, field)
    return numbers.reshape(shape)


def place_in(shape: tuple[int, ...], place: int) -> str:
    """The place of an element in lists of a shape, such as `[0][2]`, given its number."""
    return "".join(f"[{at}]" for at in np.unravel_index(place, shape))


def _rows(value: Any, field: str) -> tuple[list[list[Any]], tuple[int, ...]]:
    """The innermost of lists that are nested evenly, in order, and the shape of what they hold."""
    rows, shape = [[value]], tuple[int, ...]()
    while rows and rows[0] and type(rows[0][0]) is list:
        level, size = list(chain.from_iterable(rows)), len(rows[0][0])
        if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
            place = next(place for place, part in enumerate(level) if type(part) is not list or len(part) != size)
            told = f"lists of one length are needed, {size:,} as in the first. Received: {echo(level[place])}"
            raise _refusal(f"{field}{place_in(shape, place)}: {told}", field)
        if len(shape) == DEEPEST:
            told = f"lists nested at most {DEEPEST} deep are needed. Received: {echo(value)}"
            raise _refusal(f"{field}: {told}", field)
        rows, shape = level, (*shape, size)
    return rows, shape


def _unusable(rows: list[list[Any]], shape: tuple[int, ...], field: str) -> RequestError:
    """The refusal of the first that is no finite number."""
    place, leaf = next(found for found in enumerate(chain.from_iterable(rows)) if not _is_usable(found[1]))
    beyond = type(leaf) in _NUMBERS
    told = "a finite number is needed. Received: one beyond the range of float64"
    told = told if beyond else f"a number is needed. Received: {echo(leaf)}"
    return _refusal(f"{field}{place_in(shape, place)}: {told}", field)


def _is_usable(leaf: Any) -> bool:
    try:
        return type(leaf) in _NUMBERS and math.isfinite(leaf)
    except OverflowError:  # a whole number
        return False


def _refusal(told: str, field: str) -> RequestError:
    return RequestError(422, told, code="numbers-invalid", field=field)
