"""What every protocol works with: the models, the limits, and threads for what would hold up the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.requests import Request

from pipeline.errors import GatecastError
from pipeline.server.limits import Limits
from pipeline.server.metrics import Metrics
from pipeline.server.models import Model
from pipeline.server.registry import Registry
from pipeline.server.request_errors import request_error_of

SMALL = 32_768  # bytes of a body; what is read in under a millisecond

Given = ParamSpec("Given")
Result = TypeVar("Result")

_REASONS = {
    400: "The request is malformed",
    401: "The API key is missing or unknown",
    404: "No such model",
    413: "The body is too large",
    415: "The body is in no format that is taken",
    422: "The request's content cannot be used",
    429: "Too many requests at a time",
    503: "Not ready",
    504: "The deadline has passed",
}


@dataclass(frozen=True)
class Core:
    """What the protocols are adapters of.

    Attributes:
        registry: the models.
        limits: of a request.
        metrics: of the app.
        tables: threads that read tables.
    """

    registry: Registry
    limits: Limits
    metrics: Metrics
    tables: Executor

    async def forecast(self, model: Model, inputs: Mapping[str, NDArray[Any]], *, field: str) -> NDArray[np.float64]:
        """Forecasts.

        Args:
            model: that does.
            inputs: of its graph, N windows.
            field: of the request that they come from, for errors.

        Returns:
            The quantiles [N, H, Q].

        Raises:
            RequestError: values are so large that a forecast of them overflows.
        """
        try:
            return await model.forecast(inputs)
        except GatecastError as error:
            raise request_error_of(error, field=field) from None

    def find(self, request: Request) -> Model:
        """Finds the model that a path names; see `Registry.find`."""
        return self.registry.find(request.path_params["name"], request.path_params.get("version"))

    async def prepare(self, raw: bytes, work: Callable[[bytes], Result]) -> Result:
        """Does work on a body: at once where it is small, in a thread where it would hold up other requests."""
        return work(raw) if len(raw) <= SMALL else await self.in_thread(work, raw)

    async def in_thread(self, work: Callable[Given, Result], *args: Given.args, **named: Given.kwargs) -> Result:
        """Does work on tables without holding up other requests."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.tables, lambda: work(*args, **named))


def described(summary: str, *statuses: int, body: type[BaseModel] | None = None) -> dict[str, Any]:
    """How a path is described in openapi.json.

    Args:
        summary: what it is for.
        statuses: of errors, beside those that all have.
        body: what it takes, as JSON.
    """
    with_body = () if body is None else (413, 415, 429, 504)
    told: dict[str, Any] = {
        "summary": summary,
        "response_model": None,
        "responses": {status: {"description": _REASONS[status]} for status in sorted({401, *statuses, *with_body})},
    }
    if body is not None:
        schema = body.model_json_schema(ref_template=f"#/components/schemas/{body.__name__}.{{model}}")
        content = {"application/json": {"schema": _inlined(schema)}}
        told["openapi_extra"] = {"requestBody": {"content": content, "required": True}}
    return told


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without references: what they point to is put in their place."""
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rpartition(".")[2]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    whole: dict[str, Any] = resolve(schema)
    return whole
