"""Requests that get no forecast: each protocol shows the same error in its own shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.errors import DataError, GatecastError
from pipeline.mending import for_forecast

_SHOWN = 80  # characters of a value that an error echoes


class RequestError(Exception):
    """Why a request gets no forecast.

    Args:
        status: of HTTP.
        message: one line: what, where, the value received, the mend.
        code: stable, for programs.
        field: of the request, such as `history` or `inputs[0].shape`; None where it has none.
        headers: of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.field = status, " ".join(message.split()), code, field
        self.headers = dict(headers or {})


class UnknownModelError(RequestError):
    """No such model or version.

    Args:
        name: of the model.
        version: that was asked for; None for the one that is served.
        served: name and version of those there are.
    """

    def __init__(self, name: str, version: str | None, served: Mapping[str, int]) -> None:
        self.name, self.version = name, version
        asked = echo(name) if version is None else f"{echo(name)}, version {echo(version)}"
        there = ", ".join(f"{known} (version {number})" for known, number in served.items()) or "none"
        super().__init__(404, f"no model {asked}. Served: {there}", code="model-unknown", field="model")


def echo(value: Any) -> str:
    """A value as errors show it: its beginning, on one line."""
    shown = repr(value[: _SHOWN + 1] if isinstance(value, (str, list)) else value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def request_error_of(error: GatecastError, *, field: str) -> RequestError:
    """The request error that a forecaster's error is.

    Args:
        error: what the forecaster raised.
        field: of the request that the error is about.
    """
    code = "input-invalid"
    if isinstance(error, DataError):
        code, error = error.code, for_forecast(error, str)  # fields of a form are called as the keys
    message = str(error).removeprefix(f"[{code}] ")
    return RequestError(422, message if message.startswith(field) else f"{field}: {message}", code=code, field=field)
