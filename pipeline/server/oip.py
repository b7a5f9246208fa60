"""The Open Inference Protocol, version 2 (kserve/open-inference-protocol), over HTTP and JSON."""

from __future__ import annotations

import math
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from pipeline.server.bodies import DEEPEST, Json, place_in, read_body, read_numbers
from pipeline.server.core import Core, described
from pipeline.server.models import Model
from pipeline.server.request_errors import RequestError, echo
from pipeline.server.tensors import OUTPUTS, input_tensors, output_tensors, outputs_of, read_inputs

_FLOATS = {"FP32": np.float32, "FP64": np.float64}
_WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_NAMES = {"double": "FP64", "float": "FP32", "int64": "INT64"}


class RequestInput(BaseModel):
    """A tensor of a request; its data is nested or flat."""

    name: str
    shape: list[int] = Field(fail_fast=True)
    datatype: str = Field(description="FP32 or FP64; BOOL and whole numbers for observed and static_cat")
    data: Any = Field(json_schema_extra={"type": "array"})


class RequestOutput(BaseModel):
    """An output that is asked for."""

    name: str


class InferenceRequest(BaseModel):
    """The body of a request."""

    id: str | None = None
    inputs: list[RequestInput] = Field(fail_fast=True)
    outputs: list[RequestOutput] | None = Field(None, fail_fast=True)


def render(error: RequestError) -> Json:
    """A request error in the shape of this protocol."""
    status = 400 if error.status == 422 else error.status
    return Json({"error": error.message}, status, error.headers)


def routes(core: Core) -> APIRouter:
    """The paths of this protocol.

    Args:
        core: with the models.
    """
    router = APIRouter(tags=["Open Inference Protocol v2"])

    @router.get("/v2", **described("Server metadata"))
    async def server() -> Json:
        return Json({"name": "gatecast", "version": version("gatecast"), "extensions": []})

    @router.get("/v2/health/live", **described("Whether the server lives"))
    async def live() -> Json:
        return Json({"live": True})

    @router.get("/v2/health/ready", **described("Whether the server is ready", 503))
    async def ready() -> Json:
        return Json({"ready": bool(core.registry.models)}, 200 if core.registry.models else 503)

    @router.get("/v2/models/{name}", **described("Model metadata", 404))
    @router.get("/v2/models/{name}/versions/{version}", **described("Model metadata of a version", 404))
    async def metadata(request: Request) -> Json:
        return Json(_metadata(core.find(request)))

    @router.get("/v2/models/{name}/ready", **described("Whether a model is ready", 404))
    @router.get("/v2/models/{name}/versions/{version}/ready", **described("Whether a version is ready", 404))
    async def model_ready(request: Request) -> Json:
        return Json({"name": core.find(request).name, "ready": True})

    told = described("Forecast", 400, 404, body=InferenceRequest)

    @router.post("/v2/models/{name}/infer", **told)
    @router.post("/v2/models/{name}/versions/{version}/infer", **told)
    async def infer(request: Request) -> Json:
        model = core.find(request)
        _check_plain(request)
        body, inputs = await core.prepare(await request.body(), partial(_read, model=model, core=core))
        results = outputs_of(await core.forecast(model, inputs, field="inputs"))
        double = any(tensor.name == "history" and tensor.datatype == "FP64" for tensor in body.inputs)
        outputs = [_tensor(name, results[name], "FP64" if double else "FP32") for name in _wanted(body)]
        named = {"model_name": model.name, "model_version": str(model.version)}
        asked = {} if body.id is None else {"id": body.id}
        # The protocol's model metadata have no place for it.
        told = {} if model.forecaster.evaluated else {"parameters": {"evaluated": False}}
        return Json(named | asked | told | {"outputs": outputs})

    return router


def _read(raw: bytes, *, model: Model, core: Core) -> tuple[InferenceRequest, dict[str, NDArray[Any]]]:
    body = read_body(raw, InferenceRequest)
    _wanted(body)
    return body, read_inputs(_arrays(body, core), model, core.limits, field_of=_fields(body))


def _metadata(model: Model) -> dict[str, Any]:
    spec = model.forecaster.spec
    tensors = {"inputs": input_tensors(spec), "outputs": output_tensors(spec)}
    return {
        "name": model.name,
        "versions": [str(model.version)],
        "platform": "onnxruntime_onnx",
        **{
            side: [{"name": t.name, "datatype": _NAMES[t.kind], "shape": list(t.shape)} for t in found]
            for side, found in tensors.items()
        },
    }


def _check_plain(request: Request) -> None:
    if "inference-header-content-length" in request.headers:
        told = "Inference-Header-Content-Length: tensors are taken as JSON, not as binary data; send them in data"
        raise RequestError(400, told, code="binary-unsupported", field="inputs")


def _fields(body: InferenceRequest) -> Any:
    places = {tensor.name: place for place, tensor in enumerate(body.inputs)}
    return lambda name: f"inputs[{places[name]}]" if name in places else "inputs"


def _wanted(body: InferenceRequest) -> list[str]:
    wanted: list[str] = []
    for place, output in enumerate(body.outputs or []):
        field = f"outputs[{place}].name"
        if output.name not in OUTPUTS:
            told = f"{field}: the model gives {', '.join(OUTPUTS)}. Received: {echo(output.name)}"
            raise RequestError(422, told, code="output-unknown", field=field)
        if output.name in wanted:
            told = f"{field}: each output is given once. Received: {echo(output.name)} again; leave it out"
            raise RequestError(422, told, code="output-twice", field=field)
        wanted.append(output.name)
    return wanted or list(OUTPUTS)


def _arrays(body: InferenceRequest, core: Core) -> dict[str, NDArray[Any]]:
    core.limits.check_series(len(body.inputs), "inputs")
    arrays: dict[str, NDArray[Any]] = {}
    for place, tensor in enumerate(body.inputs):
        if tensor.name in arrays:
            field = f"inputs[{place}].name"
            told = f"{field}: each tensor occurs once. Received: {echo(tensor.name)} again"
            raise RequestError(422, told, code="input-twice", field=field)
        arrays[tensor.name] = _array(tensor, f"inputs[{place}]")
    return arrays


def _array(tensor: RequestInput, field: str) -> NDArray[Any]:
    kinds = ("FP64", "FP32", *((*_WHOLE, "BOOL") if tensor.name in {"observed", "static_cat"} else ()))
    if tensor.datatype not in kinds:
        told = f"{field}.datatype: {', '.join(kinds)} are taken. Received: {echo(tensor.datatype)}"
        raise RequestError(422, told, code="datatype-unknown", field=f"{field}.datatype")
    if len(tensor.shape) > DEEPEST:
        told = f"{field}.shape: at most {DEEPEST} dimensions are taken. Received: {len(tensor.shape):,}"
        raise RequestError(422, told, code="input-shape", field=f"{field}.shape")
    numbers = read_numbers(tensor.data, f"{field}.data")
    # Sizes beside a 0 count too: there is no array of so many columns and no rows.
    sized = all(size >= 0 for size in tensor.shape) and math.prod(max(size, 1) for size in tensor.shape) < 2**31
    fits = sized and math.prod(tensor.shape) == numbers.size
    if not fits or (numbers.ndim > 1 and list(numbers.shape) != tensor.shape):
        told = f"{field}.shape: the data's shape is needed. Received: {echo(tensor.shape)} for {list(numbers.shape)}"
        raise RequestError(422, told, code="input-shape", field=f"{field}.shape")
    if tensor.datatype == "FP32":
        _check_fp32(numbers, f"{field}.data", field)
    return numbers.reshape(tensor.shape)


def _check_fp32(numbers: NDArray[np.float64], name: str, field: str) -> None:
    """Refuses what FP32 does not hold; `name` is what the numbers are called, and `field` where they come from."""
    with np.errstate(over="ignore"):
        beyond = np.isinf(numbers.astype(np.float32))
    if beyond.any():
        place = int(np.argmax(beyond))
        told = f"{name}{place_in(numbers.shape, place)}: larger than FP32 holds. Received: {numbers.flat[place]:g}"
        raise RequestError(422, f"{told}; use FP64, or another unit", code="fp32-overflow", field=field)


def _tensor(name: str, value: NDArray[np.float64], datatype: str) -> dict[str, Any]:
    if datatype == "FP32":
        _check_fp32(value, name, "inputs")
    flat = value.reshape(-1).astype(_FLOATS[datatype])
    return {"name": name, "shape": list(value.shape), "datatype": datatype, "data": flat.tolist()}
