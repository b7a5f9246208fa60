"""Specs and weights of untrained networks, made without TensorFlow, and the repair policy of their bundles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cells import CELLS
from pipeline.hparams import Hparams, NetworkSpec
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
) -> NetworkSpec:
    hparams = Hparams(
        segment_length, units, layers, 0.1, 1e-3, 32, context_used, location, transform, head=head, linear=linear
    )
    return NetworkSpec(cell, context_length, horizon, quantiles, hparams)


def random_weights(spec: NetworkSpec, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights named and shaped as `network.network_weights` gives them."""
    h = spec.hparams
    gates = len(CELLS[spec.cell].onnx_gates)
    shapes: dict[str, Any] = {
        "position": (spec.future_segments, h.units),
        "embedding/kernel": (2 * h.segment_length, h.units),
        "embedding/bias": (h.units,),
        "head/kernel": (h.units, h.segment_length * len(spec.quantiles)),
        "head/bias": (h.segment_length * len(spec.quantiles),),
    }
    if h.head == "copy":
        shapes |= {"copy/kernel": (h.units, spec.past_segments), "copy/bias": (spec.past_segments,)}
    if h.linear == "residual":
        shapes["linear/kernel"] = (h.context_used, spec.horizon)
    for i in range(h.layers):
        shapes[f"recurrent_{i}/kernel"] = shapes[f"recurrent_{i}/recurrent_kernel"] = (h.units, gates * h.units)
        shapes[f"recurrent_{i}/bias"] = (2, gates * h.units) if spec.cell == "gru" else (gates * h.units,)
    rng = np.random.default_rng(seed)
    return {name: (0.4 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
