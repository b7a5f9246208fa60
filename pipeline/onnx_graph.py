"""The network of `network.py` as an ONNX graph, built from its weights: all seeds in one graph.

The statistics of a window and its segments are computed once for all seeds; a seed adds an embedding, its
recurrent layers, one step of the same cells, and a head. Written by hand, because a converter turns a GRU into a
loop, and gives other bytes each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.cells import CELLS, Cell
from pipeline.hparams import COPIED_AT_LEAST, NetworkSpec

Array = NDArray[Any]

OPSET = 17
IR_VERSION = 8


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
    graph = _Graph()
    z, mask, location, scale = _normalise(graph, spec)
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
    uncalibrated = graph.add("ReduceMean", quantiles, axes=[0], keepdims=0)
    forecast = uncalibrated if calibration is None else _calibrate(graph, uncalibrated, calibration)
    location_3d, scale_3d = (graph.add("Unsqueeze", x, graph.constant(np.array([2]))) for x in (location, scale))
    for name, normalised in (("forecast", forecast), ("uncalibrated", uncalibrated), ("members", quantiles)):
        graph.output(name, _scale_back(graph, spec, normalised, location_3d, scale_3d))
    graph.output("location", location)
    graph.output("scale", scale)
    if spec.hparams.head == "copy":
        share = graph.add("Mean", *copies) if len(copies) > 1 else copies[0]
        graph.output("copy_weights", graph.add("Cast", share, to=TensorProto.DOUBLE))
    return _serialise(graph, spec, len(members))


class _Graph:
    """Nodes and constants in the order of their making, with names that depend on it alone."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output, and returns the output's name."""
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def add_many(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Adds a node with several outputs, and returns their names."""
        name = f"{op}_{len(self.nodes)}"
        names = [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attributes))
        return names

    def output(self, name: str, value: str) -> None:
        """Gives a value the name of one of the graph's outputs."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=name))

    def constant(self, value: Array) -> str:
        """A constant without a name of its own; equal ones are stored once."""
        array = np.ascontiguousarray(value)
        key = (array.dtype.str, np.shape(value), array.tobytes())
        if key not in self._names:
            self._names[key] = self.weight(f"constant_{len(self._names)}", np.asarray(value))
        return self._names[key]

    def weight(self, name: str, value: Array) -> str:
        """A constant with a name."""
        self.initializers[name] = numpy_helper.from_array(value, name)
        return name


def _double(graph: _Graph, value: float) -> str:
    return graph.constant(np.array(value, np.float64))


def _whole(graph: _Graph, *values: int) -> str:
    return graph.constant(np.array(values, np.int64))


def _normalise(graph: _Graph, spec: NetworkSpec) -> tuple[str, str, str, str]:
    """Normalised values and mask [N, used] in float32, location and scale [N, 1] in float64."""
    g, h = graph, spec.hparams
    zero, one = _double(g, 0.0), _double(g, 1.0)
    seen = g.add("Greater", "observed", g.constant(np.array(0, np.float32)))
    x = g.add("Where", seen, "history", zero)
    if h.transform == "log1p":
        x = _log1p(g, x)
    # Differences to an observed value are exact zeros for a constant series, whatever its size.
    last = g.add("GatherElements", x, _latest(g, spec, seen), axis=1)
    mask = g.add("Cast", _tail(g, spec, seen), to=TensorProto.DOUBLE)
    d = g.add("Mul", g.add("Sub", _tail(g, spec, x), last), mask)
    count = g.add("Max", _row_sum(g, mask), one)
    mean = g.add("Div", _row_sum(g, d), count)
    centred = g.add("Mul", g.add("Sub", d, mean), mask)
    scale = g.add("Sqrt", g.add("Div", _row_sum(g, g.add("Mul", centred, centred)), count))
    varies = g.add("Greater", scale, zero)
    inverse = g.add("Where", varies, g.add("Div", one, g.add("Where", varies, scale, one)), zero)
    location, offset = (g.add("Add", last, mean), centred) if h.location == "mean" else (last, d)
    z = g.add("Mul", offset, inverse)
    z_32, mask_32 = (g.add("Cast", value, to=TensorProto.FLOAT) for value in (z, mask))
    return z_32, mask_32, location, scale


def _latest(graph: _Graph, spec: NetworkSpec, seen: str) -> str:
    """The place of the last observed step [N, 1]; 0 where nothing is observed."""
    steps = graph.constant(np.arange(1, spec.context_length + 1, dtype=np.int32)[None, :])
    numbered = graph.add("Where", seen, steps, graph.constant(np.array(0, np.int32)))
    return graph.add("ArgMax", numbered, axis=1, keepdims=1)


def _tail(graph: _Graph, spec: NetworkSpec, value: str) -> str:
    """The last `context_used` steps of [N, C]."""
    first, end = spec.context_length - spec.hparams.context_used, spec.context_length
    return graph.add("Slice", value, _whole(graph, first), _whole(graph, end), _whole(graph, 1)) if first else value


def _row_sum(graph: _Graph, value: str) -> str:
    return graph.add("ReduceSum", value, _whole(graph, 1), keepdims=1)


def _log1p(graph: _Graph, x: str) -> str:
    """log(1 + x), exact for small x too (Kahan's correction of the rounding of 1 + x); ONNX has no log1p."""
    one = _double(graph, 1.0)
    u = graph.add("Add", x, one)
    lost = graph.add("Equal", u, one)
    rounded = graph.add("Where", lost, one, graph.add("Sub", u, one))
    corrected = graph.add("Mul", graph.add("Log", u), graph.add("Div", x, rounded))
    return graph.add("Where", lost, x, corrected)


def _expm1(graph: _Graph, x: str) -> str:
    """exp(x) - 1, exact for small x too: tanh(x / 2) * (exp(x) + 1); ONNX has no expm1."""
    tanh = graph.add("Tanh", graph.add("Mul", x, _double(graph, 0.5)))
    return graph.add("Mul", tanh, graph.add("Add", graph.add("Exp", x), _double(graph, 1.0)))


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


def _segments(graph: _Graph, spec: NetworkSpec, z: str, mask: str) -> _Window:
    """Segments of values and of what was observed."""
    length = spec.hparams.segment_length
    missing = spec.past_segments * length - spec.hparams.context_used
    parts = []
    for part in (z, mask):
        padded = graph.add("Pad", part, _whole(graph, 0, missing, 0, 0)) if missing else part
        parts.append(graph.add("Reshape", padded, _whole(graph, -1, spec.past_segments, length)))
    values, observed = parts
    width = (2 + len(spec.inputs.past)) * length
    by_segment = graph.add("Transpose", graph.add("Concat", *parts, *_past(graph, spec), axis=2), perm=[1, 0, 2])
    return _Window(z, values, observed, graph.add("Reshape", by_segment, _whole(graph, -1, width)))


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


def _beside(graph: _Graph, spec: NetworkSpec) -> _Beside:
    g, inputs = graph, spec.inputs
    future, numeric = "", ""
    if inputs.future:
        count, length = len(inputs.future), spec.hparams.segment_length
        known = _scaled(g, "future", *inputs.scaling()["future"])
        missing = spec.future_segments * length - spec.horizon
        known = g.add("Pad", known, _whole(g, 0, 0, 0, 0, missing, 0)) if missing else known
        future = g.add("Reshape", known, _whole(g, -1, length * count))
    columns = range(len(inputs.categorical))
    categories = [g.add("Gather", "static_cat", g.constant(np.array(i, np.int64)), axis=1) for i in columns]
    if inputs.numeric:
        numeric = _scaled(g, "static_num", *inputs.scaling()["static_num"])
    return _Beside(_batch_shape(g), future, categories, numeric)


def _past(graph: _Graph, spec: NetworkSpec) -> list[str]:
    """The covariates over the context in segments [N, S, P * segment_length]; none where there are none."""
    g, h, count = graph, spec.hparams, len(spec.inputs.past)
    if not count:
        return []
    used = _scaled(g, _tail(g, spec, "past"), *spec.inputs.scaling()["past"])
    missing = spec.past_segments * h.segment_length - h.context_used
    used = g.add("Pad", used, _whole(g, 0, missing, 0, 0, 0, 0)) if missing else used
    return [g.add("Reshape", used, _whole(g, -1, spec.past_segments, h.segment_length * count))]


def _scaled(graph: _Graph, value: str, location: Sequence[float], scale: Sequence[float]) -> str:
    """Covariates in units of the training part, in float32; a missing one is 0, the mean."""
    centred = graph.add("Sub", value, graph.constant(np.array(location, np.float64)))
    z = graph.add("Div", centred, graph.constant(np.array(scale, np.float64)))
    known = graph.add("Where", graph.add("IsNaN", z), _double(graph, 0.0), z)
    return graph.add("Cast", known, to=TensorProto.FLOAT)


def _batch_shape(graph: _Graph) -> str:
    """The shape [N, 1, 1]."""
    n = graph.add("Slice", graph.add("Shape", "history"), _whole(graph, 0), _whole(graph, 1))
    return graph.add("Concat", n, _whole(graph, 1, 1), axis=0)


def _dense(graph: _Graph, weights: Mapping[str, Array], x: str, *, name: str, layer: str) -> str:
    kernel, bias = (graph.weight(f"{name}/{layer}/{part}", weights[f"{layer}/{part}"]) for part in ("kernel", "bias"))
    return graph.add("Gemm", x, kernel, bias)


def _decoded(
    graph: _Graph, spec: NetworkSpec, weights: Mapping[str, Array], *, name: str, window: _Window, beside: _Beside
) -> str:
    """The state of one member at every future segment: [N * F, units]."""
    g, h = graph, spec.hparams
    layers = [_recurrent_weights(g, spec, weights, name, i) for i in range(h.layers)]
    static = _static(g, weights, name=name, beside=beside)
    embedded = _dense(g, weights, window.rows, name=name, layer="embedding")
    x = g.add("Reshape", embedded, _whole(g, spec.past_segments, -1, h.units))
    x = g.add("Relu", g.add("Add", x, static) if static else x)
    states = []
    for i, layer in enumerate(layers):
        outputs = _recurrent(g, spec, x, layer, [])
        states.append(outputs[1:])
        if i + 1 < h.layers:
            x = g.add("Squeeze", outputs[0], _whole(g, 1))
    x = g.add("Expand", g.weight(f"{name}/position", weights["position"][None]), beside.rows)
    if beside.future:
        told = g.add("Relu", _dense(g, weights, beside.future, name=name, layer="future"))
        x = g.add("Add", x, g.add("Reshape", told, _whole(g, -1, spec.future_segments, h.units)))
    if static:
        x = g.add("Add", x, g.add("Unsqueeze", static, _whole(g, 1)))
    x = g.add("Reshape", x, _whole(g, 1, -1, h.units))
    for layer, state in zip(layers, states, strict=True):
        x = _recurrent(g, spec, x, layer, [_repeat(g, spec, s) for s in state])[1]
    return g.add("Reshape", x, _whole(g, -1, h.units))


def _static(graph: _Graph, weights: Mapping[str, Array], *, name: str, beside: _Beside) -> str:
    """What one member's segments are told of the series [N, units]; "" for nothing."""
    g = graph
    parts = [
        g.add("Gather", g.weight(f"{name}/category_{i}", weights[f"category_{i}"]), codes, axis=0)
        for i, codes in enumerate(beside.categories)
    ]
    if beside.numeric:
        parts.append(g.add("MatMul", beside.numeric, g.weight(f"{name}/static/kernel", weights["static/kernel"])))
    return "" if not parts else parts[0] if len(parts) == 1 else g.add("Sum", *parts)


def _copy_weights(graph: _Graph, spec: NetworkSpec, weights: Mapping[str, Array], *, name: str, decoded: str) -> str:
    """How much of each past segment one member copies into each future one: [N, F, S]; "" for no copy."""
    if spec.hparams.head != "copy":
        return ""
    softmax = graph.add("Softmax", _dense(graph, weights, decoded, name=name, layer="copy"), axis=-1)
    return graph.add("Reshape", softmax, _whole(graph, -1, spec.future_segments, spec.past_segments))


def _shift(
    graph: _Graph, spec: NetworkSpec, weights: Mapping[str, Array], *, name: str, share: str, window: _Window
) -> str:
    """What one member adds to all quantiles, copied from the past or linear in it: [1, N, H, 1]; "" for nothing."""
    g, h = graph, spec.hparams
    parts = []
    if h.head == "copy":
        least = g.constant(np.array(COPIED_AT_LEAST, np.float32))
        observed = g.add("Max", g.add("MatMul", share, window.observed), least)
        copied = g.add("Div", g.add("MatMul", share, window.values), observed)
        steps = g.add("Reshape", copied, _whole(g, -1, spec.future_segments * h.segment_length))
        parts.append(g.add("Slice", steps, _whole(g, 0), _whole(g, spec.horizon), _whole(g, 1)))
    if h.linear == "ridge":
        parts.append(g.add("MatMul", window.z, g.weight(f"{name}/linear/kernel", weights["linear/kernel"])))
    if not parts:
        return ""
    total = parts[0] if len(parts) == 1 else g.add("Add", *parts)
    return g.add("Reshape", total, _whole(g, 1, -1, spec.horizon, 1))


def _recurrent_weights(
    graph: _Graph, spec: NetworkSpec, weights: Mapping[str, Array], name: str, layer: int
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
    graph: _Graph, spec: NetworkSpec, x: str, layer: tuple[str, str, str], states: Sequence[str]
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


def _repeat(graph: _Graph, spec: NetworkSpec, state: str) -> str:
    """A state [1, N, units] once for each future segment: [1, N * F, units]."""
    if spec.future_segments == 1:
        return state
    per_row = graph.add("Reshape", state, _whole(graph, -1, 1, spec.hparams.units))
    repeated = graph.add("Expand", per_row, _whole(graph, 1, spec.future_segments, 1))
    return graph.add("Reshape", repeated, _whole(graph, 1, -1, spec.hparams.units))


def _spread(graph: _Graph, spec: NetworkSpec, heads: Sequence[str], shifts: Sequence[str]) -> str:
    """Quantiles [K, N, H, Q] that cannot cross: the median, and steps away from it that are never negative.

    Made of what each member's head gives, [N * F, segment_length * Q].
    """
    g, n, centre = graph, len(spec.quantiles), len(spec.quantiles) // 2
    raw = g.add("Concat", *heads, axis=0) if len(heads) > 1 else heads[0]
    steps = spec.future_segments * spec.hparams.segment_length
    raw = g.add("Reshape", raw, _whole(g, len(heads), -1, steps, n))
    raw = g.add("Slice", raw, _whole(g, 0), _whole(g, spec.horizon), _whole(g, 2))
    median = g.add("Slice", raw, _whole(g, centre), _whole(g, centre + 1), _whole(g, 3))
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


def _calibrate(graph: _Graph, quantiles: str, calibration: NDArray[np.float64]) -> str:
    """Adds the offsets to [N, H, Q] and makes the quantiles ascend again, outward from the median."""
    n = calibration.shape[1]
    centre = n // 2
    moved = graph.add("Add", quantiles, graph.constant(np.asarray(calibration, np.float64)))
    columns = graph.add_many("Split", moved, _whole(graph, *[1] * n), outputs=n, axis=2)
    for i in range(centre + 1, n):
        columns[i] = graph.add("Max", columns[i - 1], columns[i])
    for i in range(centre - 1, -1, -1):
        columns[i] = graph.add("Min", columns[i + 1], columns[i])
    return graph.add("Concat", *columns, axis=2) if n > 1 else columns[0]


def _scale_back(graph: _Graph, spec: NetworkSpec, normalised: str, location: str, scale: str) -> str:
    """Quantiles in units of the history."""
    value = graph.add("Add", graph.add("Mul", normalised, scale), location)
    return _expm1(graph, value) if spec.hparams.transform == "log1p" else value


def _serialise(graph: _Graph, spec: NetworkSpec, members: int) -> bytes:
    c, h, q = spec.context_length, spec.horizon, len(spec.quantiles)
    value = helper.make_tensor_value_info
    copied = [value("copy_weights", TensorProto.DOUBLE, ["N", spec.future_segments, spec.past_segments])]
    beside = [
        value(name, TensorProto.INT64 if name == "static_cat" else TensorProto.DOUBLE, ["N", *shape])
        for name, shape in spec.inputs.shapes(c, h).items()
    ]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"gatecast_{spec.cell}",
            [value("history", TensorProto.DOUBLE, ["N", c]), value("observed", TensorProto.FLOAT, ["N", c]), *beside],
            [
                value("forecast", TensorProto.DOUBLE, ["N", h, q]),
                value("uncalibrated", TensorProto.DOUBLE, ["N", h, q]),
                value("members", TensorProto.DOUBLE, [members, "N", h, q]),
                value("location", TensorProto.DOUBLE, ["N", 1]),
                value("scale", TensorProto.DOUBLE, ["N", 1]),
                *(copied if spec.hparams.head == "copy" else []),
            ],
            list(graph.initializers.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="gatecast",
    )
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised
