"""An ONNX graph in the making: nodes and constants, and what all forecasters begin and end with.

They begin with the statistics of a window, and end with its quantiles in units of the history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.hparams import NetworkSpec

Array = NDArray[Any]

OPSET = 17
IR_VERSION = 8


class Graph:
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


def double(graph: Graph, value: float) -> str:
    """A number as a constant in float64."""
    return graph.constant(np.array(value, np.float64))


def whole(graph: Graph, *values: int) -> str:
    """Whole numbers as a constant [n]."""
    return graph.constant(np.array(values, np.int64))


@dataclass(frozen=True)
class Normalised:
    """Windows in a graph, in float64.

    Attributes:
        z: [N, used] the normalised values; 0 where nothing is observed.
        mask: [N, used] 1 where something is observed, else 0.
        location: [N, 1] what was subtracted.
        scale: [N, 1] what was then divided by.
    """

    z: str
    mask: str
    location: str
    scale: str


def normalise(graph: Graph, spec: NetworkSpec) -> Normalised:
    """Shifts and scales every window by what is observed of it."""
    g, h = graph, spec.hparams
    zero, one = double(g, 0.0), double(g, 1.0)
    seen = g.add("Greater", "observed", g.constant(np.array(0, np.float32)))
    x = g.add("Where", seen, "history", zero)
    if h.transform == "log1p":
        x = _log1p(g, x)
    # Differences to an observed value are exact zeros for a constant series, whatever its size.
    last = g.add("GatherElements", x, _latest(g, spec, seen), axis=1)
    mask = g.add("Cast", tail(g, spec, seen), to=TensorProto.DOUBLE)
    d = g.add("Mul", g.add("Sub", tail(g, spec, x), last), mask)
    count = g.add("Max", row_sum(g, mask), one)
    mean = g.add("Div", row_sum(g, d), count)
    centred = g.add("Mul", g.add("Sub", d, mean), mask)
    scale = g.add("Sqrt", g.add("Div", row_sum(g, g.add("Mul", centred, centred)), count))
    varies = g.add("Greater", scale, zero)
    inverse = g.add("Where", varies, g.add("Div", one, g.add("Where", varies, scale, one)), zero)
    location, offset = (g.add("Add", last, mean), centred) if h.location == "mean" else (last, d)
    return Normalised(g.add("Mul", offset, inverse), mask, location, scale)


def _latest(graph: Graph, spec: NetworkSpec, seen: str) -> str:
    """The place of the last observed step [N, 1]; 0 where nothing is observed."""
    steps = graph.constant(np.arange(1, spec.context_length + 1, dtype=np.int32)[None, :])
    numbered = graph.add("Where", seen, steps, graph.constant(np.array(0, np.int32)))
    return graph.add("ArgMax", numbered, axis=1, keepdims=1)


def tail(graph: Graph, spec: NetworkSpec, value: str) -> str:
    """The last `context_used` steps of [N, C]."""
    first, end = spec.context_length - spec.hparams.context_used, spec.context_length
    return graph.add("Slice", value, whole(graph, first), whole(graph, end), whole(graph, 1)) if first else value


def row_sum(graph: Graph, value: str) -> str:
    """The sum [N, 1] of each row of [N, M]."""
    return graph.add("ReduceSum", value, whole(graph, 1), keepdims=1)


def _log1p(graph: Graph, x: str) -> str:
    """log(1 + x), exact for small x too (Kahan's correction of the rounding of 1 + x); ONNX has no log1p."""
    one = double(graph, 1.0)
    u = graph.add("Add", x, one)
    lost = graph.add("Equal", u, one)
    rounded = graph.add("Where", lost, one, graph.add("Sub", u, one))
    corrected = graph.add("Mul", graph.add("Log", u), graph.add("Div", x, rounded))
    return graph.add("Where", lost, x, corrected)


def _expm1(graph: Graph, x: str) -> str:
    """exp(x) - 1, exact for small x too: tanh(x / 2) * (exp(x) + 1); ONNX has no expm1."""
    tanh = graph.add("Tanh", graph.add("Mul", x, double(graph, 0.5)))
    return graph.add("Mul", tanh, graph.add("Add", graph.add("Exp", x), double(graph, 1.0)))


def write_outputs(
    graph: Graph,
    spec: NetworkSpec,
    quantiles: str,
    calibration: NDArray[np.float64] | None,
    *,
    location: str,
    scale: str,
) -> None:
    """Gives the graph the outputs that all have: see `onnx_graph.build_graph`.

    Args:
        graph: to write to.
        spec: of the network.
        quantiles: [K, N, H, Q] of every member, normalised, in float64.
        calibration: [H, Q] what is added to each quantile in units of the window's scale; None adds nothing.
        location: [N, 1] as `normalise` gives it.
        scale: [N, 1] likewise.
    """
    uncalibrated = graph.add("ReduceMean", quantiles, axes=[0], keepdims=0)
    forecast = uncalibrated if calibration is None else _calibrate(graph, uncalibrated, calibration)
    location_3d, scale_3d = (graph.add("Unsqueeze", x, graph.constant(np.array([2]))) for x in (location, scale))
    for name, normalised in (("forecast", forecast), ("uncalibrated", uncalibrated), ("members", quantiles)):
        graph.output(name, _scale_back(graph, spec, normalised, location_3d, scale_3d))
    graph.output("location", location)
    graph.output("scale", scale)


def _calibrate(graph: Graph, quantiles: str, calibration: NDArray[np.float64]) -> str:
    """Adds the offsets to [N, H, Q] and makes the quantiles ascend again, outward from the median."""
    n = calibration.shape[1]
    centre = n // 2
    moved = graph.add("Add", quantiles, graph.constant(np.asarray(calibration, np.float64)))
    columns = graph.add_many("Split", moved, whole(graph, *[1] * n), outputs=n, axis=2)
    for i in range(centre + 1, n):
        columns[i] = graph.add("Max", columns[i - 1], columns[i])
    for i in range(centre - 1, -1, -1):
        columns[i] = graph.add("Min", columns[i + 1], columns[i])
    return graph.add("Concat", *columns, axis=2) if n > 1 else columns[0]


def _scale_back(graph: Graph, spec: NetworkSpec, normalised: str, location: str, scale: str) -> str:
    """Quantiles in units of the history."""
    value = graph.add("Add", graph.add("Mul", normalised, scale), location)
    return _expm1(graph, value) if spec.hparams.transform == "log1p" else value


def serialise(graph: Graph, spec: NetworkSpec, members: int) -> bytes:
    """Checks the graph of so many members, and gives its bytes: the same for the same nodes."""
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
