"""Tensors -> inputs of a graph, for the protocols that know nothing of time series."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import GatecastError
from pipeline.hparams import NetworkSpec
from pipeline.server.limits import Limits
from pipeline.server.models import Model
from pipeline.server.request_errors import RequestError, echo

ALONG_CONTEXT = ("history", "observed", "past")  # their second axis is the context, of any length
OUTPUTS = ("forecast", "mean")
_LARGEST_CATEGORY = 2**53  # up to where floats hold every whole number


@dataclass(frozen=True)
class Tensor:
    """An input or an output.

    Attributes:
        name: of the tensor.
        kind: double, float or int64.
        shape: -1 is any length.
    """

    name: str
    kind: str
    shape: tuple[int, ...]


def input_tensors(spec: NetworkSpec) -> list[Tensor]:
    """What a model takes: `history` and `observed` [N, any], and what its network takes beside them.

    `observed` may be left out where all of the history is, and covariates where they are not known, but for `future`.
    """
    beside = [
        Tensor(
            name, "int64" if name == "static_cat" else "double", (-1, -1 if name == "past" else shape[0], *shape[1:])
        )
        for name, shape in spec.inputs.shapes(spec.context_length, spec.horizon).items()
    ]
    return [Tensor("history", "double", (-1, -1)), Tensor("observed", "float", (-1, -1)), *beside]


def output_tensors(spec: NetworkSpec) -> list[Tensor]:
    """What a model gives: `forecast` [N, H, Q], all quantiles, and `mean` [N, H], which is the median of them."""
    shapes = ((-1, spec.horizon, len(spec.quantiles)), (-1, spec.horizon))
    return [Tensor(name, "double", shape) for name, shape in zip(OUTPUTS, shapes, strict=True)]


def outputs_of(quantiles: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """The outputs by name, of the graph's [N, H, Q]."""
    return dict(zip(OUTPUTS, (quantiles, quantiles[:, :, quantiles.shape[2] // 2]), strict=True))


def check_names(names: Iterable[str], model: Model, field_of: Callable[[str], str]) -> None:
    """Refuses a tensor that a model does not take, with `input-unknown`; see `read_inputs`."""
    known = [tensor.name for tensor in input_tensors(model.forecaster.spec)]
    for name in names:
        if name not in known:
            told = f"{field_of(name)}: the model takes {', '.join(known)}. Received: {echo(name)}"
            raise RequestError(422, told, code="input-unknown", field=field_of(name))


def read_inputs(
    arrays: Mapping[str, NDArray[Any]], model: Model, limits: Limits, *, field_of: Callable[[str], str]
) -> dict[str, NDArray[Any]]:
    """Checks tensors, and brings the history to the length of the context: its last steps, padded where it is shorter.

    Args:
        arrays: by name.
        model: that they are for.
        limits: of a request.
        field_of: names the field of a request that holds a tensor.

    Returns:
        The inputs of the graph.

    Raises:
        RequestError: a tensor is missing, unknown, or of a shape that does not fit; or the request is too large.
    """
    spec = model.forecaster.spec
    check_names(arrays, model, field_of)
    if "history" not in arrays:
        told = f"{field_of('history')}: the values of the history are needed, [N, steps]. Received: nothing"
        raise RequestError(422, told, code="input-missing", field=field_of("history"))
    history = arrays["history"]
    _check_shape(history, field_of("history"), limits)
    observed = arrays.get("observed", np.ones(history.shape))
    if observed.shape != history.shape:
        _refuse_shape(observed, list(history.shape), field_of("observed"))
    with np.errstate(over="ignore"):
        whole = dict(arrays) | {"observed": observed.astype(np.float32)}  # as the graph takes it, to whom 1e-60 is 0
    for name in ALONG_CONTEXT:
        if name in whole:
            if whole[name].shape[:2] != history.shape:
                _refuse_shape(whole[name], [*history.shape, -1], field_of(name))
            whole[name] = _fit(whole[name], spec.context_length, np.nan if name == "past" else 0.0)
    _check_context(whole["observed"], field_of("observed"), spec.context_length)
    if "static_cat" in whole:
        _check_categories(whole["static_cat"], field_of("static_cat"))
    return _checked(whole, model, field_of, before=history.shape[1] - spec.context_length)


def _checked(
    arrays: dict[str, NDArray[Any]], model: Model, field_of: Callable[[str], str], *, before: int
) -> dict[str, NDArray[Any]]:
    """The inputs of the graph; an error counts the steps as the request does, `before` of them before the context."""
    history, observed = arrays.pop("history"), arrays.pop("observed")
    try:
        return model.forecaster.check_arrays(history, observed, **arrays)
    except GatecastError as error:
        name, _, what = str(error).partition(":")
        of = name.partition(",")[0].partition(" ")[0]
        place = re.sub(r"(?<=step )\d+", lambda step: str(int(step[0]) + before), name.removeprefix(of))
        raise RequestError(422, f"{field_of(of)}{place}:{what}", code="input-invalid", field=field_of(of)) from None


def _check_shape(history: NDArray[Any], field: str, limits: Limits) -> None:
    if history.ndim != 2 or not history.size:
        _refuse_shape(history, ["N", "steps"], field)
    limits.check_series(len(history), field)
    limits.check_points(history.size, field)


def _check_context(observed: NDArray[Any], field: str, context_length: int) -> None:
    empty = ~(observed > 0).any(axis=1)
    if empty.any():
        told = f"{field}, row {int(np.argmax(empty))}: a value in the last {context_length} steps is needed"
        raise RequestError(422, f"{told}. Received: nothing observed there", code="context-empty", field=field)


def _check_categories(categories: NDArray[Any], field: str) -> None:
    bad = (categories != np.rint(categories)) | (np.abs(categories) > _LARGEST_CATEGORY)
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        where = "".join(f", {axis} {at}" for axis, at in zip(("row", "column"), place, strict=False))
        told = f"{field}{where}: the number of a category, a whole one, is needed. Received: {categories[place]:g}"
        raise RequestError(422, f"{told}; 0 is unknown", code="input-invalid", field=field)


def _refuse_shape(array: NDArray[Any], needed: list[Any], field: str) -> None:
    told = f"{field}: shape {needed} is needed. Received: {list(array.shape)}".replace("'", "")
    raise RequestError(422, told, code="input-shape", field=field)


def _fit(array: NDArray[Any], length: int, filler: float) -> NDArray[Any]:
    if array.shape[1] == length:
        return array
    last = array[:, -length:]
    whole = np.full((len(array), length, *array.shape[2:]), filler)
    whole[:, length - last.shape[1] :] = last
    return whole
