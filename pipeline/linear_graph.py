"""The ridge baseline of `linear_map.py` as an ONNX graph, all of it in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.graph import Graph, Normalised, double, normalise, row_sum, serialise, whole, write_outputs
from pipeline.hparams import NetworkSpec
from pipeline.linear_map import LinearMap


def build_linear_graph(spec: NetworkSpec, linear: LinearMap, offsets: NDArray[np.float64]) -> bytes:
    """Builds the graph.

    Inputs and outputs are those of `onnx_graph.build_graph` for one member and no covariates. What is not calibrated
    is the point forecast at every quantile.

    Args:
        spec: lengths and quantiles; its location is `last`, its transform `none`, and it uses the whole context.
        linear: the fitted map.
        offsets: [H, Q] what makes quantiles of a point forecast, in units of the window's scale.

    Returns:
        The serialised model, with the same bytes for the same arguments.
    """
    graph = Graph()
    given = normalise(graph, spec)
    weights, intercept = graph.weight("weights", linear.weights), graph.weight("intercept", linear.intercept)
    filled = _fill_missing(graph, given, spec.context_length, linear.season_length)
    points = graph.add("Add", graph.add("MatMul", filled, weights), intercept)
    points = graph.add("Unsqueeze", points, whole(graph, 0, 3))
    quantiles = graph.add("Expand", points, whole(graph, 1, 1, 1, len(spec.quantiles)))
    write_outputs(graph, spec, quantiles, offsets, location=given.location, scale=given.scale)
    return serialise(graph, spec, 1)


def _fill_missing(graph: Graph, given: Normalised, length: int, season_length: int) -> str:
    """What `seasonal.fill_missing` gives of normalised windows [N, C]."""
    g, none = graph, whole(graph, -1)
    steps = g.constant(np.arange(length, dtype=np.int64)[None, :])
    positions = g.add("Where", g.add("Greater", given.mask, double(g, 0.0)), steps, none)
    season = season_length if season_length <= length else 1
    seasons, latest = (_latest_up_to(g, positions, length, every=every) for every in (season, 1))
    source = g.add("Where", g.add("Greater", seasons, none), seasons, latest)
    earlier = g.add("GatherElements", given.z, g.add("Max", source, whole(g, 0)), axis=1)
    count = g.add("Max", row_sum(g, given.mask), double(g, 1.0))
    return g.add("Where", g.add("Greater", source, none), earlier, g.add("Div", row_sum(g, given.z), count))


def _latest_up_to(graph: Graph, positions: str, length: int, *, every: int) -> str:
    """Of every step the highest of the positions [N, C] at it and so many steps before it, twice as many, and so on.

    ONNX has no running maximum: each pass looks twice as far back as the one before.
    """
    back = every
    while back < length:
        moved = graph.add("Pad", positions, whole(graph, 0, back, 0, -back), graph.constant(np.array(-1, np.int64)))
        positions = graph.add("Max", positions, moved)
        back *= 2
    return positions
