"""Specs and weights of untrained networks, made without TensorFlow, and the repair policy of their bundles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cells import CELLS
from pipeline.hparams import Hparams, Inputs, NetworkSpec
from pipeline.params import RepairParams

REPAIR = RepairParams(
    duplicate_rows="drop",
    conflicting_rows="error",
    null_time="error",
    bad_time="error",
    off_grid="error",
    bad_value="error",
    infinite="error",
    gaps="missing",
    constant="keep",
    short="error",
)
QUANTILES = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)


def build_spec(  # lengths that leave no segment whole
    cell: str = "gru",
    *,
    context_length: int = 20,
    context_used: int = 13,
    horizon: int = 7,
    segment_length: int = 5,
    units: int = 8,
    layers: int = 1,
    location: str = "last",
    transform: str = "none",
    head: str = "plain",
    linear: str = "none",
    quantiles: tuple[float, ...] = QUANTILES,
    inputs: Inputs | None = None,
) -> NetworkSpec:
    paths = {"head": head, "linear": linear, "calendar": "none", "identity": "none"}
    hparams = Hparams(segment_length, units, layers, 0.1, 1e-3, 32, context_used, location, transform, **paths)
    return NetworkSpec(cell, context_length, horizon, quantiles, hparams, inputs or Inputs())


def build_inputs(past: int = 3, future: int = 2, categories: tuple[int, ...] = (4, 2), numeric: int = 2) -> Inputs:
    """Inputs of every kind, scaled by constants that matter."""
    names = [f"p{i}" for i in range(past)]
    constants = [tuple(1.5 * i - 1 for i in range(count)) for count in (past, numeric)]
    scales = [tuple(0.5 + i for i in range(count)) for count in (past, numeric)]
    return Inputs(
        past=tuple(names),
        future=tuple(names[past - future :]),
        past_location=constants[0],
        past_scale=scales[0],
        categorical=tuple(f"c{i}" for i in range(len(categories))),
        categories=categories,
        numeric=tuple(f"n{i}" for i in range(numeric)),
        numeric_location=constants[1],
        numeric_scale=scales[1],
    )


def random_inputs(spec: NetworkSpec, n: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """What a network takes beside the history, for `n` windows, with missing values and unknown categories."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, NDArray[Any]] = {}
    for name, shape in spec.inputs.shapes(spec.context_length, spec.horizon).items():
        if name == "static_cat":
            arrays[name] = rng.integers(0, np.array(spec.inputs.categories) + 1, (n, *shape))
        else:
            arrays[name] = np.where(rng.random((n, *shape)) < 0.1, np.nan, 3 * rng.standard_normal((n, *shape)))
    return arrays


def random_weights(spec: NetworkSpec, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights named and shaped as `network.network_weights` gives them."""
    h = spec.hparams
    gates = len(CELLS[spec.cell].onnx_gates)
    shapes: dict[str, Any] = {
        "position": (spec.future_segments, h.units),
        "embedding/kernel": ((2 + len(spec.inputs.past)) * h.segment_length, h.units),
        "embedding/bias": (h.units,),
        "head/kernel": (h.units, h.segment_length * len(spec.quantiles)),
        "head/bias": (h.segment_length * len(spec.quantiles),),
    }
    if h.head == "copy":
        shapes |= {"copy/kernel": (h.units, spec.past_segments), "copy/bias": (spec.past_segments,)}
    if h.linear == "ridge":
        shapes["linear/kernel"] = (h.context_used, spec.horizon)
    if spec.inputs.future:
        shapes["future/kernel"] = (len(spec.inputs.future) * h.segment_length, h.units)
        shapes["future/bias"] = (h.units,)
    if spec.inputs.numeric:
        shapes["static/kernel"] = (len(spec.inputs.numeric), h.units)
    shapes |= {f"category_{i}": (count + 1, h.units) for i, count in enumerate(spec.inputs.categories)}
    for i in range(h.layers):
        shapes[f"recurrent_{i}/kernel"] = shapes[f"recurrent_{i}/recurrent_kernel"] = (h.units, gates * h.units)
        shapes[f"recurrent_{i}/bias"] = (2, gates * h.units) if spec.cell == "gru" else (gates * h.units,)
    rng = np.random.default_rng(seed)
    return {name: (0.4 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
