"""TensorFlow Serving's REST interface (tensorflow/serving, api_rest), strict where it is lax."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from pipeline.server.bodies import Json, read_body, read_numbers
from pipeline.server.core import Core, described
from pipeline.server.models import Model
from pipeline.server.request_errors import RequestError, UnknownModelError, echo
from pipeline.server.tensors import Tensor, check_names, input_tensors, output_tensors, outputs_of, read_inputs

Check = Callable[[Iterable[str]], None]  # of the names of tensors, before their numbers are read

SIGNATURE = "serving_default"
_TYPES = {"double": "DT_DOUBLE", "float": "DT_FLOAT", "int64": "DT_INT64"}
_LISTS: dict[str, Any] = {"type": "array", "items": {}}


class PredictRequest(BaseModel):
    """The body of a request: either `instances`, row by row, or `inputs`, tensor by tensor."""

    signature_name: str = SIGNATURE
    instances: Any = Field(None, json_schema_extra=_LISTS)
    inputs: Any = Field(None, json_schema_extra={"anyOf": [{"type": "object"}, _LISTS]})


def render(error: RequestError) -> Json:
    """A request error in the shape of this protocol."""
    message = error.message
    if isinstance(error, UnknownModelError):
        asked = f"Latest({error.name})" if error.version is None else f"Specific({error.name}, {error.version})"
        message = f"Servable not found for request: {asked}"
    status = 400 if error.status == 422 else error.status
    return Json({"error": message}, status, error.headers)


def routes(core: Core) -> APIRouter:
    """The paths of this protocol.

    Args:
        core: with the models.
    """
    router = APIRouter(prefix="/v1/models", tags=["TensorFlow Serving REST"])
    named, versioned = "/{name}", "/{name}/versions/{version}"

    @router.get(named, **described("Model status", 404))
    @router.get(versioned, **described("Status of a version", 404))
    async def status(request: Request) -> Json:
        model = core.find(request)
        fine = {"error_code": "OK", "error_message": ""}
        return Json({"model_version_status": [{"version": str(model.version), "state": "AVAILABLE", "status": fine}]})

    @router.get(f"{named}/metadata", **described("Model metadata", 404))
    @router.get(f"{versioned}/metadata", **described("Metadata of a version", 404))
    async def metadata(request: Request) -> Json:
        return Json(_metadata(core.find(request)))

    told = described("Forecast", 400, 404, body=PredictRequest)

    @router.post(f"{named}:predict", **told)
    @router.post(f"{versioned}:predict", **told)
    async def predict(request: Request) -> Json:
        model = core.find(request)
        form, inputs = await core.prepare(await request.body(), partial(_read, model=model, core=core))
        results = outputs_of(await core.forecast(model, inputs, field=f"{form}.history"))
        lists = {name: value.tolist() for name, value in results.items()}
        if form == "inputs":
            return Json({"outputs": lists})
        rows = zip(*lists.values(), strict=True)
        return Json({"predictions": [dict(zip(lists, row, strict=True)) for row in rows]})

    return router


def _read(raw: bytes, *, model: Model, core: Core) -> tuple[str, dict[str, NDArray[Any]]]:
    body = read_body(raw, PredictRequest)
    form = _form(body)
    field_of = f"{form}.{{}}".format
    check = partial(check_names, model=model, field_of=field_of)
    arrays = _of_rows(body.instances, core, check) if form == "instances" else _of_columns(body.inputs, check)
    return form, read_inputs(arrays, model, core.limits, field_of=field_of)


def _form(body: PredictRequest) -> str:
    """Which of `instances` and `inputs` a request has."""
    if body.signature_name != SIGNATURE:
        told = f"signature_name: the model has {SIGNATURE}. Received: {echo(body.signature_name)}"
        raise RequestError(422, told, code="signature-unknown", field="signature_name")
    given = body.model_fields_set & {"instances", "inputs"}
    if not given:
        raise RequestError(422, "Missing 'inputs' or 'instances' key", code="body-invalid", field="instances")
    if len(given) == 2:
        told = "one of 'inputs' and 'instances' is needed. Received: both; leave out one of them"
        raise RequestError(422, told, code="body-invalid", field="instances")
    return str(*given)


def _of_columns(value: Any, check: Check) -> dict[str, NDArray[Any]]:
    if not isinstance(value, dict):
        return {"history": read_numbers(value, "inputs")}
    check(value)
    return {name: read_numbers(column, f"inputs.{name}") for name, column in value.items()}


def _of_rows(rows: Any, core: Core, check: Check) -> dict[str, NDArray[Any]]:
    if not isinstance(rows, list) or not rows:
        told = f"instances: a list with a window in each row is needed. Received: {echo(rows)}"
        raise RequestError(422, told, code="body-invalid", field="instances")
    core.limits.check_series(len(rows), "instances")
    if not isinstance(rows[0], dict):
        return {"history": read_numbers(rows, "instances")}
    check(rows[0])
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != rows[0].keys():
            field = f"instances[{place}]"
            told = f"{field}: the tensors of the first row are needed, {', '.join(rows[0])}. Received: "
            received = ", ".join(row) if isinstance(row, dict) else echo(row)
            raise RequestError(422, told + received, code="body-invalid", field=field)
    return {name: read_numbers([row[name] for row in rows], f"instances.{name}") for name in rows[0]}


def _metadata(model: Model) -> dict[str, Any]:
    spec = model.forecaster.spec
    signature = {
        "inputs": {tensor.name: _tensor_info(tensor) for tensor in input_tensors(spec)},
        "outputs": {tensor.name: _tensor_info(tensor) for tensor in output_tensors(spec)},
        "method_name": "tensorflow/serving/predict",
    }
    # The protocol's metadata are a map, of which it defines one entry itself.
    own = {} if model.forecaster.evaluated else {"gatecast": {"evaluated": False}}
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}, **own},
    }


def _tensor_info(tensor: Tensor) -> dict[str, Any]:
    sizes = [{"size": str(size), "name": ""} for size in tensor.shape]
    shape = {"dim": sizes, "unknown_rank": False}
    return {"dtype": _TYPES[tensor.kind], "tensor_shape": shape, "name": f"{tensor.name}:0"}
