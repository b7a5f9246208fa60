"""Bodies of requests -> checked values: JSON read strictly, and numbers out of it."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json
from starlette.responses import Response

from pipeline.server.request_errors import RequestError, echo

Body = TypeVar("Body", bound=BaseModel)


class Json(Response):
    """A response of JSON; numbers have as many digits as bring them back exactly."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Writes the body."""
        return to_json(content, inf_nan_mode="null")


def read_json(raw: bytes) -> Any:
    """Reads JSON and nothing else: no NaN, nothing after its end, no lone surrogates, no bottomless nesting.

    Raises:
        RequestError: `json-invalid`.
    """
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        told = f"JSON Parse error: {error} of the body. Received: {len(raw):,} bytes; NaN and Infinity are no JSON"
        raise RequestError(400, told, code="json-invalid") from None


def read_body(raw: bytes, kind: type[Body]) -> Body:
    """Reads a body of JSON.

    Args:
        raw: the body.
        kind: what it has to be.

    Returns:
        The body, checked.

    Raises:
        RequestError: `json-invalid`; `body-invalid`, which names the first field that is wrong.
    """
    try:
        return kind.model_validate(read_json(raw), strict=True)
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
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        told = f"{field}: lists of one length, of numbers, are needed. Received: {echo(value)}"
        raise RequestError(422, told, code="numbers-invalid", field=field) from None
    if array.dtype.kind not in "iufb" and array.size:
        told = f"{field}: numbers are needed. Received: {echo(value)}"
        raise RequestError(422, told, code="numbers-invalid", field=field)
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        told = f"{field}: finite numbers are needed. Received: one beyond the range of float64"
        raise RequestError(422, told, code="numbers-invalid", field=field)
    return numbers
