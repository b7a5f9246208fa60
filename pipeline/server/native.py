"""The protocol of our own: tables of history in, forecasts with timestamps, median and intervals out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pipeline.errors import GatecastError
from pipeline.intervals import interval_levels
from pipeline.server.bodies import Csv, Json, read_body
from pipeline.server.core import SMALL, Core, described
from pipeline.server.limits import Limits, horizon_of
from pipeline.server.models import Model
from pipeline.server.ready import Ready
from pipeline.server.request_errors import RequestError, echo, request_error_of
from pipeline.server.tensors import input_tensors, output_tensors
from pipeline.server.uploads import HISTORY_FILE, TABLE, TEXT_FIELDS, Form, read_request

if TYPE_CHECKING:  # pandas is loaded with the first table
    import pandas as pd

_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "history": HISTORY_FILE,
        "future": {"type": "string", "format": "binary", "description": "covariates known ahead, likewise"},
        "model": {"type": "string"},
        "version": {"type": "string"},
        "h": {"type": "integer"},
        "level": {"type": "string", "description": "such as 80,95"},
        **TEXT_FIELDS,
    },
    "required": ["history"],
}
_SMALL = 2_000  # numbers of a forecast that are shown in under a millisecond


class ForecastRequest(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="name of the model; the default one if left out")
    version: str | int | None = Field(None, description="that has to answer; the one that is served if left out")
    history: Any = Field(json_schema_extra=TABLE, description="with the columns of the training data, or Nixtla's")
    future: Any = Field(
        None,
        json_schema_extra={"anyOf": [*TABLE["anyOf"], {"type": "null"}]},
        description="covariates known ahead; not read where the model takes none",
    )
    h: int | None = Field(None, description="steps, at most the horizon; all if left out")
    level: list[float] | None = Field(
        None, fail_fast=True, description="intervals in percent, of those there are; all if left out"
    )


@dataclass(frozen=True)
class _Options:
    """What a request asks for beside its tables."""

    model: Model
    steps: int
    levels: list[str]


def render(error: RequestError) -> Json:
    """A request error in the shape of this protocol."""
    told = {"code": error.code, "message": error.message, "field": error.field}
    return Json({"error": told}, error.status, error.headers)


def routes(core: Core) -> APIRouter:
    """The paths of this protocol.

    Args:
        core: with the models.
    """
    router = APIRouter(prefix="/v1", tags=["Gatecast"])

    @router.get("/models", **described("The models that are served"))
    async def models() -> Json:
        rows = [
            {
                "name": model.name,
                "version": str(model.version),
                "cell": model.forecaster.cell,
                "evaluated": model.forecaster.evaluated,
                "default": model.name == core.registry.default,
            }
            for model in core.registry.models.values()
        ]
        return Json({"models": rows})

    @router.get("/models/{name}/schema", **described("What a model takes and gives", 404))
    async def schema(request: Request) -> Json:
        return Json(_schema(core.find(request)))

    told = described("Forecast the steps after each series' last", 400, 404, 422, body=ForecastRequest)
    told["openapi_extra"]["requestBody"]["content"]["multipart/form-data"] = {"schema": _FORM}
    told["responses"][200] = {"content": {"text/csv": {"schema": {"type": "string"}}}}

    @router.post("/forecast", **told)
    async def forecast(request: Request) -> Response:
        options, ready = await _prepare(request, core)
        quantiles = await core.forecast(options.model, ready.inputs, field="history")
        if "text/csv" in request.headers.get("accept", ""):
            text = await core.in_thread(_csv, ready, quantiles, options)
            return Csv(text)
        if quantiles.size <= _SMALL:
            return Json(_answer(ready, quantiles, options))
        return Json(await core.in_thread(_answer, ready, quantiles, options))

    return router


async def _prepare(request: Request, core: Core) -> tuple[_Options, Ready]:
    body = await read_request(request, ("history", "future"))
    if isinstance(body, Form):
        return await core.in_thread(_prepare_files, body, core)
    return await _prepare_json(body, core)


async def _prepare_json(raw: bytes, core: Core) -> tuple[_Options, Ready]:
    """Reads a small table that needs no repair at once, and all others in a thread, with the first to load pandas."""
    at_once = len(raw) <= SMALL and "pipeline.server.clean" in sys.modules
    options, read = _read_json(raw, core) if at_once else await core.in_thread(_read_json, raw, core)
    if isinstance(read, dict):
        return options, await core.in_thread(_prepare_tables, options, read, core.limits)
    return options, read


def _read_json(raw: bytes, core: Core) -> tuple[_Options, Ready | dict[str, Any]]:
    """What a request asks for; of its tables what the graph takes, or where that takes longer, the tables."""
    from pipeline.columns import Columns, find_future_layout, find_history_layout
    from pipeline.server.clean import clean_rows, clean_series
    from pipeline.server.tables import check_size, read_table

    body = read_body(raw, ForecastRequest)
    options = _options(core, model=body.model, version=body.version, h=body.h, level=body.level)
    forecaster = options.model.forecaster
    columns = Columns.from_json(forecaster.meta["columns"])
    read = partial(read_table, columns=columns, limits=core.limits)
    history = read(body.history, "history", find=find_history_layout)
    check_size(history, columns, "history", core.limits)
    if body.future is not None and columns.future_covariates:
        future = read(body.future, "future", find=partial(find_future_layout, one_series=True))
        return options, {"history": history, "future": future}
    rows = clean_rows(history, columns)
    if rows is None:
        return options, {"history": history}
    try:
        return options, clean_series(rows, forecaster) or Ready.of(forecaster.prepare_panel(rows.panel()))
    except GatecastError as error:
        raise request_error_of(error, field="history") from None


def _prepare_tables(options: _Options, tables: dict[str, Any], limits: Limits) -> Ready:
    from pipeline.server.tables import frame_of

    frames = {name: frame_of(table, name) for name, table in tables.items()}
    return _prepared(options, frames["history"], frames.get("future"), limits)


def _prepare_files(form: Form, core: Core) -> tuple[_Options, Ready]:
    from pipeline.columns import find_future_layout

    fields = form.fields
    form.check_fields(_FORM["properties"])
    level = None if "level" not in fields else [_number(part, "level") for part in fields["level"].split(",")]
    steps = None if "h" not in fields else _number(fields["h"], "h")
    if steps is not None and not float(steps).is_integer():
        told = f"h: a whole number is needed. Received: {echo(fields['h'])}"
        raise RequestError(422, told, code="body-invalid", field="h")
    options = _options(
        core,
        model=fields.get("model") or None,
        version=fields.get("version") or None,
        h=None if steps is None else int(steps),
        level=level,
    )
    meta = options.model.forecaster.meta
    history = form.read_history(meta, core.limits)
    find_future = partial(find_future_layout, one_series=True)
    taken = meta["columns"]["future_covariates"] and form.files["future"]
    future = form.read_frame("future", meta, find_future, core.limits) if taken else None
    return options, _prepared(options, history, future, core.limits)


def _number(text: str, field: str) -> float:
    try:
        return float(text)
    except ValueError:
        told = f"{field}: a number is needed. Received: {echo(text)}"
        raise RequestError(422, told, code="body-invalid", field=field) from None


def _options(
    core: Core, *, model: str | None, version: str | int | None, h: int | None, level: list[float] | None
) -> _Options:
    found = core.registry.find(model, None if version is None else str(version))
    spec = found.forecaster.spec
    known = interval_levels(spec.quantiles)
    levels = known if level is None else [f"{one:g}" for one in level]
    for one in levels:
        if one not in known:
            told = f"level: the model has {', '.join(known)}. Received: {one}"
            raise RequestError(422, told, code="level-unknown", field="level")
    return _Options(found, horizon_of(h, spec.horizon, "h"), list(dict.fromkeys(levels)))


def _prepared(options: _Options, history: pd.DataFrame, future: pd.DataFrame | None, limits: Limits) -> Ready:
    try:
        return Ready.of(options.model.forecaster.prepare(history, future=future, most_steps=limits.points))
    except GatecastError as error:
        about_future = str(error).startswith("future") or str(error).partition("] ")[2].startswith("future")
        raise request_error_of(error, field="future" if about_future else "history") from None


def _answer(ready: Ready, quantiles: Any, options: _Options) -> dict[str, Any]:
    from pipeline.server.tables import show_series

    model = options.model
    return {
        "model": model.name,
        "version": str(model.version),
        "evaluated": model.forecaster.evaluated,
        "freq": model.forecaster.meta["columns"]["freq"],
        "series": show_series(ready, quantiles, steps=options.steps, levels=options.levels),
    }


def _csv(ready: Ready, quantiles: Any, options: _Options) -> str:
    from pipeline.server.tables import cut, write_csv

    frame = cut(ready.frame(quantiles), horizon=ready.spec.horizon, steps=options.steps)
    return write_csv(frame, ready.spec.cell, options.levels)


def _schema(model: Model) -> dict[str, Any]:
    forecaster = model.forecaster
    spec, meta = forecaster.spec, forecaster.meta
    tensors = {"inputs": input_tensors(spec), "outputs": output_tensors(spec)}
    return {
        "model": model.name,
        "version": str(model.version),
        "cell": spec.cell,
        "context_length": spec.context_length,
        "horizon": spec.horizon,
        "quantiles": list(spec.quantiles),
        "levels": interval_levels(spec.quantiles),
        "columns": meta["columns"],
        "evaluated": forecaster.evaluated,
        "calibrated": bool(meta.get("calibrated", False)),
        "season_length": meta.get("season_length"),
        "training_range": meta.get("training_range"),
        "value_range": meta.get("value_range"),
        "tensors": {
            side: [{"name": t.name, "kind": t.kind, "shape": list(t.shape)} for t in found]
            for side, found in tensors.items()
        },
    }
