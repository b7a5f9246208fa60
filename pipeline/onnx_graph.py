"""The network of `network.py` as an ONNX graph, built from its weights: all seeds in one graph.

The statistics of a window and its segments are computed once for all seeds; a seed adds an embedding, its
recurrent layers, one step of the same cells, and a head. Written by hand, because a converter turns a GRU into a
loop, and gives other bytes each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from pipeline.cells import CELLS, Cell
from pipeline.graph import Array, Graph, double, normalise, serialise, tail, whole, write_outputs
from pipeline.hparams import COPIED_AT_LEAST, NetworkSpec


def build_graph(
    spec: NetworkSpec, members: Sequence[Mapping[str, Array]], calibration: NDArray[np.float64] | None
) -> bytes:
    """Builds the graph of an ensemble.

    Inputs of the graph: `history [N, C]` in float64 and `observed [N, C]` in float32, 1 or 0; what lies in
    `history` where nothing is observed has no effect, and may be NaN; and what `spec.inputs` asks for: `past
    [N, C, P]` and `future [N, H, K]` in float64, where NaN is missing, `static_cat [N, J]` in int64, 0 for unknown,
    and `static_num [N, R]` in float64.
    Outputs, all float64: `forecast [N, H, Q]`, the mean over the members of their quantiles in normalised
    space, calibrated, in units of the history; `uncalibrated [N, H, Q]`; `members [K, N, H, Q]`, each
    member's own, uncalibrated; `location [N, 1]` and `scale [N, 1]` of each window, after the transform;
    and with a copy head `copy_weights [N, F, S]`, the share of each past segment in the copy that each future segment
    starts from, the mean over the members.
    A window of scale 0 gives its location at every quantile; where nothing is observed that is 0.

    Args:
        spec: cell, lengths, quantiles and hyperparameters, the same for all members.
        members: [K] for each member its weights, named and laid out as `network.network_weights` gives them.
        calibration: [H, Q] what is added to each quantile in units of the window's scale; None adds nothing.

    Returns:
        The serialised model, with the same bytes for the same arguments.
    """
    graph = Graph()
    given = normalise(graph, spec)
    z, mask = (graph.add("Cast", value, to=TensorProto.FLOAT) for value in (given.z, given.mask))
    window = _segments(graph, spec, z, mask)
    beside = _beside(graph, spec)
    named = [(f"member_{i}", weights) for i, weights in enumerate(members)]
    decoded = [_decoded(graph, spec, weights, name=name, window=window, beside=beside) for name, weights in named]
    pairs = [(name, weights, x) for (name, weights), x in zip(named, decoded, strict=True)]
    heads = [_dense(graph, weights, x, name=name, layer="head") for name, weights, x in pairs]
    copies = [_copy_weights(graph, spec, weights, name=name, decoded=x) for name, weights, x in pairs]
    shifts = [
        _shift(graph, spec, weights, name=name, share=share, window=window)
        for (name, weights, _), share in zip(pairs, copies, strict=True)
    ]
    quantiles = _spread(graph, spec, heads, [shift for shift in shifts if shift])
    write_outputs(graph, spec, quantiles, calibration, location=given.location, scale=given.scale)
    if spec.hparams.head == "copy":
        share = graph.add("Mean", *copies) if len(copies) > 1 else copies[0]
        graph.output("copy_weights", graph.add("Cast", share, to=TensorProto.DOUBLE))
    return serialise(graph, spec, len(members))


@dataclass(frozen=True)
class _Window:
    """The window as the members take it.

    Attributes:
        z: [N, used] the normalised values.
        values: [N, S, segment_length] the same in segments.
        observed: [N, S, segment_length] what of them was observed.
        rows: [S * N, (2 + P) * segment_length] both, and the covariates, segment by segment.
    """

    z: str
    values: str
    observed: str
    rows: str


def _segments(graph: Graph, spec: NetworkSpec, z: str, mask: str) -> _Window:
    """Segments of values and of what was observed."""
    length = spec.hparams.segment_length
    missing = spec.past_segments * length - spec.hparams.context_used
    parts = []
    for part in (z, mask):
        padded = graph.add("Pad", part, whole(graph, 0, missing, 0, 0)) if missing else part
        parts.append(graph.add("Reshape", padded, whole(graph, -1, spec.past_segments, length)))
    values, observed = parts
    width = (2 + len(spec.inputs.past)) * length
    by_segment = graph.add("Transpose", graph.add("Concat", *parts, *_past(graph, spec), axis=2), perm=[1, 0, 2])
    return _Window(z, values, observed, graph.add("Reshape", by_segment, whole(graph, -1, width)))


@dataclass(frozen=True)
class _Beside:
    """What the members take beside the window.

    Attributes:
        rows: the shape [N, 1, 1].
        future: [N * F, K * segment_length] the covariates of the future segments; "" for none.
        categories: for each categorical input the category of each window [N].
        numeric: [N, R] the numeric ones; "" for none.
    """

    rows: str
    future: str
    categories: Sequence[str]
    numeric: str


def _beside(graph: Graph, spec: NetworkSpec) -> _Beside:
    g, inputs = graph, spec.inputs
    future, numeric = "", ""
    if inputs.future:
        count, length = len(inputs.future), spec.hparams.segment_length
        known = _scaled(g, "future", *inputs.scaling()["future"])
        missing = spec.future_segments * length - spec.horizon
        known = g.add("Pad", known, whole(g, 0, 0, 0, 0, missing, 0)) if missing else known
        future = g.add("Reshape", known, whole(g, -1, length * count))
    columns = range(len(inputs.categorical))
    categories = [g.add("Gather", "static_cat", g.constant(np.array(i, np.int64)), axis=1) for i in columns]
    if inputs.numeric:
        numeric = _scaled(g, "static_num", *inputs.scaling()["static_num"])
    return _Beside(_batch_shape(g), future, categories, numeric)


def _past(graph: Graph, spec: NetworkSpec) -> list[str]:
    """The covariates over the context in segments [N, S, P * segment_length]; none where there are none."""
    g, h, count = graph, spec.hparams, len(spec.inputs.past)
    if not count:
        return []
    used = _scaled(g, tail(g, spec, "past"), *spec.inputs.scaling()["past"])
    missing = spec.past_segments * h.segment_length - h.context_used
    used = g.add("Pad", used, whole(g, 0, missing, 0, 0, 0, 0)) if missing else used
    return [g.add("Reshape", used, whole(g, -1, spec.past_segments, h.segment_length * count))]


def _scaled(graph: Graph, value: str, location: Sequence[float], scale: Sequence[float]) -> str:
    """Covariates in units of the training part, in float32; a missing one is 0, the mean."""
    centred = graph.add("Sub", value, graph.constant(np.array(location, np.float64)))
    z = graph.add("Div", centred, graph.constant(np.array(scale, np.float64)))
    known = graph.add("Where", graph.add("IsNaN", z), double(graph, 0.0), z)
    return graph.add("Cast", known, to=TensorProto.FLOAT)


def _batch_shape(graph: Graph) -> str:
    """The shape [N, 1, 1]."""
    n = graph.add("Slice", graph.add("Shape", "history"), whole(graph, 0), whole(graph, 1))
    return graph.add("Concat", n, whole(graph, 1, 1), axis=0)


def _dense(graph: Graph, weights: Mapping[str, Array], x: str, *, name: str, layer: str) -> str:
    kernel, bias = (graph.weight(f"{name}/{layer}/{part}", weights[f"{layer}/{part}"]) for part in ("kernel", "bias"))
    return graph.add("Gemm", x, kernel, bias)


def _decoded(
    graph: Graph, spec: NetworkSpec, weights: Mapping[str, Array], *, name: str, window: _Window, beside: _Beside
) -> str:
    """The state of one member at every future segment: [N * F, units]."""
    g, h = graph, spec.hparams
    layers = [_recurrent_weights(g, spec, weights, name, i) for i in range(h.layers)]
    static = _static(g, weights, name=name, beside=beside)
    embedded = _dense(g, weights, window.rows, name=name, layer="embedding")
    x = g.add("Reshape", embedded, whole(g, spec.past_segments, -1, h.units))
    x = g.add("Relu", g.add("Add", x, static) if static else x)
    states = []
    for i, layer in enumerate(layers):
        outputs = _recurrent(g, spec, x, layer, [])
        states.append(outputs[1:])
        if i + 1 < h.layers:
            x = g.add("Squeeze", outputs[0], whole(g, 1))
    x = g.add("Expand", g.weight(f"{name}/position", weights["position"][None]), beside.rows)
    if beside.future:
        told = g.add("Relu", _dense(g, weights, beside.future, name=name, layer="future"))
        x = g.add("Add", x, g.add("Reshape", told, whole(g, -1, spec.future_segments, h.units)))
    if static:
        x = g.add("Add", x, g.add("Unsqueeze", static, whole(g, 1)))
    x = g.add("Reshape", x, whole(g, 1, -1, h.units))
    for layer, state in zip(layers, states, strict=True):
        x = _recurrent(g, spec, x, layer, [_repeat(g, spec, s) for s in state])[1]
    return g.add("Reshape", x, whole(g, -1, h.units))


def _static(graph: Graph, weights: Mapping[str, Array], *, name: str, beside: _Beside) -> str:
    """What one member's segments are told of the series [N, units]; "" for nothing."""
    g = graph
    parts = [
        g.add("Gather", g.weight(f"{name}/category_{i}", weights[f"category_{i}"]), codes, axis=0)
        for i, codes in enumerate(beside.categories)
    ]
    if beside.numeric:
        parts.append(g.add("MatMul", beside.numeric, g.weight(f"{name}/static/kernel", weights["static/kernel"])))
    return "" if not parts else parts[0] if len(parts) == 1 else g.add("Sum", *parts)


def _copy_weights(graph: Graph, spec: NetworkSpec, weights: Mapping[str, Array], *, name: str, decoded: str) -> str:
    """How much of each past segment one member copies into each future one: [N, F, S]; "" for no copy."""
    if spec.hparams.head != "copy":
        return ""
    softmax = graph.add("Softmax", _dense(graph, weights, decoded, name=name, layer="copy"), axis=-1)
    return graph.add("Reshape", softmax, whole(graph, -1, spec.future_segments, spec.past_segments))


def _shift(
    graph: Graph, spec: NetworkSpec, weights: Mapping[str, Array], *, name: str, share: str, window: _Window
) -> str:
    """What one member adds to all quantiles, copied from the past or linear in it: [1, N, H, 1]; "" for nothing."""
    g, h = graph, spec.hparams
    parts = []
    if h.head == "copy":
        least = g.constant(np.array(COPIED_AT_LEAST, np.float32))
        observed = g.add("Max", g.add("MatMul", share, window.observed), least)
        copied = g.add("Div", g.add("MatMul", share, window.values), observed)
        steps = g.add("Reshape", copied, whole(g, -1, spec.future_segments * h.segment_length))
        parts.append(g.add("Slice", steps, whole(g, 0), whole(g, spec.horizon), whole(g, 1)))
    if h.linear == "ridge":
        parts.append(g.add("MatMul", window.z, g.weight(f"{name}/linear/kernel", weights["linear/kernel"])))
    if not parts:
        return ""
    total = parts[0] if len(parts) == 1 else g.add("Add", *parts)
    return g.add("Reshape", total, whole(g, 1, -1, spec.horizon, 1))


def _recurrent_weights(
    graph: Graph, spec: NetworkSpec, weights: Mapping[str, Array], name: str, layer: int
) -> tuple[str, str, str]:
    """W [1, gates * units, units], R likewise and B [1, 2 * gates * units], shared by encoder and decoder."""
    key, cell = f"recurrent_{layer}", CELLS[spec.cell]
    kernel, recurrent_kernel = (
        _in_onnx_order(cell, weights[f"{key}/{part}"]).T[None] for part in ("kernel", "recurrent_kernel")
    )
    bias = np.atleast_2d(weights[f"{key}/bias"])
    if len(bias) == 1:  # Keras adds it to the input's part alone
        bias = np.concatenate([bias, np.zeros_like(bias)])
    biases = _in_onnx_order(cell, bias).reshape(1, -1)
    parts = (("W", kernel), ("R", recurrent_kernel), ("B", biases))
    w, r, b = (graph.weight(f"{name}/{key}/{part}", np.ascontiguousarray(value)) for part, value in parts)
    return w, r, b


def _in_onnx_order(cell: Cell, weights: Array) -> Array:
    """Reorders the gates along the last axis."""
    gates = np.split(weights, len(cell.onnx_gates), axis=-1)
    return np.concatenate([gates[i] for i in cell.onnx_gates], axis=-1)


def _recurrent(
    graph: Graph, spec: NetworkSpec, x: str, layer: tuple[str, str, str], states: Sequence[str]
) -> list[str]:
    """All outputs [S, 1, N, units], then each final state [1, N, units]; starts with zeros without `states`."""
    cell = CELLS[spec.cell]
    initial = ["", *states] if states else []
    return graph.add_many(
        cell.onnx_op,
        x,
        *layer,
        *initial,
        outputs=1 + cell.states,
        hidden_size=spec.hparams.units,
        **dict(cell.onnx_attributes),
    )


def _repeat(graph: Graph, spec: NetworkSpec, state: str) -> str:
    """A state [1, N, units] once for each future segment: [1, N * F, units]."""
    if spec.future_segments == 1:
        return state
    per_row = graph.add("Reshape", state, whole(graph, -1, 1, spec.hparams.units))
    repeated = graph.add("Expand", per_row, whole(graph, 1, spec.future_segments, 1))
    return graph.add("Reshape", repeated, whole(graph, 1, -1, spec.hparams.units))


def _spread(graph: Graph, spec: NetworkSpec, heads: Sequence[str], shifts: Sequence[str]) -> str:
    """Quantiles [K, N, H, Q] that cannot cross: the median, and steps away from it that are never negative.

    Made of what each member's head gives, [N * F, segment_length * Q].
    """
    g, n, centre = graph, len(spec.quantiles), len(spec.quantiles) // 2
    raw = g.add("Concat", *heads, axis=0) if len(heads) > 1 else heads[0]
    steps = spec.future_segments * spec.hparams.segment_length
    raw = g.add("Reshape", raw, whole(g, len(heads), -1, steps, n))
    raw = g.add("Slice", raw, whole(g, 0), whole(g, spec.horizon), whole(g, 2))
    median = g.add("Slice", raw, whole(g, centre), whole(g, centre + 1), whole(g, 3))
    quantile, step = np.arange(n)[None, :], np.arange(n)[:, None]
    # The distance of a quantile is the sum of the steps that lie between it and the median.
    between = np.where(quantile > centre, (step > centre) & (step <= quantile), (step < centre) & (step >= quantile))
    distance = g.add("MatMul", g.add("Softplus", raw), g.constant(between.astype(np.float32)))
    signed = g.add("Mul", distance, g.constant(np.sign(np.arange(n) - centre).astype(np.float32)))
    quantiles = g.add("Add", median, signed)
    if shifts:
        shift = g.add("Concat", *shifts, axis=0) if len(shifts) > 1 else shifts[0]
        quantiles = g.add("Add", quantiles, shift)
    return g.add("Cast", quantiles, to=TensorProto.DOUBLE)
