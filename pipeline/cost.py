"""What a network costs: its size and its work, told from its spec, and the measured ratios of two cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from pipeline.cells import CELLS
from pipeline.hparams import NetworkSpec

CONFIDENCE = 0.95
DECODING_STEPS = 1  # all future segments are decoded side by side, each by one step from the final state
BY_SEED = ("seconds_per_epoch", "best_epoch")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Ratio:
    """A measure of one cell as a multiple of that of another.

    Attributes:
        ratio: a / b.
        lo: lower end of its range; None where there is nothing to tell it from.
        hi: upper end.
    """

    ratio: float
    lo: float | None
    hi: float | None


@dataclass(frozen=True)
class _Layer:
    """A matrix of weights, and how often one forecast of one window is multiplied by it."""

    inputs: int
    outputs: int
    biases: int
    times: int


def describe_cost(spec: NetworkSpec) -> dict[str, int]:
    """A network's size and work as a JSON object."""
    return {
        "units": spec.hparams.units,
        "layers": spec.hparams.layers,
        "segment_length": spec.hparams.segment_length,
        "parameters": parameter_count(spec),
        "recurrent_steps": recurrent_steps(spec),
        "multiply_accumulates": multiply_accumulates(spec),
    }


def recurrent_steps(spec: NetworkSpec) -> int:
    """Steps in a row that a recurrent cell takes for one forecast: one for each past segment, then one to decode.

    A forecast of the second step of the horizon takes no more than one of the first: future segments do not follow
    each other.
    """
    return spec.past_segments + DECODING_STEPS


def multiply_accumulates(spec: NetworkSpec) -> int:
    """Multiply-accumulates of one network for one forecast of one window.

    Matrix products count: of the embedding of every past segment, of each recurrent layer over past and future
    segments, of what covariates and static inputs tell, and of the heads (quantiles, copy with its weighted sum of
    segments and of what was observed in them, linear). What is done number by number does not: normalisation,
    biases, gates, activations, dropout and the spread of the quantiles.
    """
    products = sum(layer.inputs * layer.outputs * layer.times for layer in _layers(spec))
    mixed = 2 * spec.past_segments * spec.future_segments * spec.hparams.segment_length
    return products + (mixed if spec.hparams.head == "copy" else 0)


def parameter_count(spec: NetworkSpec) -> int:
    """Numbers in one network, as Keras counts them: those of the linear head too, which are fitted beforehand."""
    h, dense = spec.hparams, sum(layer.inputs * layer.outputs + layer.biases for layer in _layers(spec))
    return dense + h.units * (spec.future_segments + sum(count + 1 for count in spec.inputs.categories))


def matching_units(spec: NetworkSpec, cell: str, parameters: int) -> int:
    """The units with which a network of another cell, equal in all else, has the nearest number of parameters.

    Args:
        spec: of the network; its own cell and units do not matter.
        cell: key of `CELLS`.
        parameters: the number to come near to.

    Returns:
        Units, at least one; of two that are as near, the fewer.
    """

    def count(units: int) -> int:
        return parameter_count(replace(spec, cell=cell, hparams=replace(spec.hparams, units=units)))

    high = 1
    while count(high) < parameters:
        high *= 2
    low = max(1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return min(low, high, key=lambda units: abs(count(units) - parameters))


def cost_ratios(timings_a: Json, timings_b: Json) -> dict[str, Ratio]:
    """How many times as much one cell costs as another.

    Args:
        timings_a: as `models/timings/train-{cell}.json` has them.
        timings_b: likewise, of the other cell.

    Returns:
        a / b by measure. `seconds_per_epoch` and `best_epoch` (epochs to the best): means over the seeds, with a 95 %
        interval over them. `peak_memory_mib`: of `peak_memory`, without an interval. `inference_ms_1` and
        `inference_ms_64`, by batch size: medians over the repeats, with the least and the most that single repeats
        give. A measure that one of the two lacks is left out.
    """
    found = {name: (_by_seed(timings_a, name), _by_seed(timings_b, name)) for name in BY_SEED}
    ratios = _ratios(found, ratio_of_means)
    peaks = peak_memory(timings_a), peak_memory(timings_b)
    if peaks[0] is not None and peaks[1] is not None:
        ratios["peak_memory_mib"] = Ratio(peaks[0] / peaks[1], None, None)
    latency_a, latency_b = timings_a.get("inference_ms", {}), timings_b.get("inference_ms", {})
    repeats = {f"inference_ms_{size}": (latency_a[size], latency_b[size]) for size in latency_a if size in latency_b}
    return ratios | _ratios(repeats, ratio_of_medians)


def peak_memory(timings: Json) -> float | None:
    """The most memory, in MiB, that a process which trained a cell has held; None where it was not measured.

    A process trains several seeds, one after the other, and the system tells only the most that it has ever held, with
    Python, TensorFlow and the data: what it says after a seed is no measure of that seed, and gives no interval.
    """
    return max(_by_seed(timings, "peak_memory_mib"), default=None)


def ratio_of_means(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """The ratio of two means, with a 95 % interval: Welch's, of the difference of their logarithms.

    The variance of the logarithm of a mean is that of the mean divided by its square (the delta method).

    Args:
        a: [N] values above 0, independent of each other and of b.
        b: [M] likewise.

    Returns:
        mean(a) / mean(b); without an interval where either has a single value.
    """
    ratio = float(np.mean(a) / np.mean(b))
    if min(len(a), len(b)) < 2:
        return Ratio(ratio, None, None)
    parts = np.array([np.var(values, ddof=1) / len(values) / np.mean(values) ** 2 for values in (a, b)])
    if not parts.sum() > 0:
        return Ratio(ratio, ratio, ratio)
    freedom = parts.sum() ** 2 / (parts**2 / (np.array([len(a), len(b)]) - 1)).sum()
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * math.sqrt(parts.sum()))
    return Ratio(ratio, ratio * math.exp(-margin), ratio * math.exp(margin))


def ratio_of_medians(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """The ratio of two medians, with the least and the most that a value of one over one of the other gives."""
    return Ratio(float(np.median(a) / np.median(b)), min(a) / max(b), max(a) / min(b))


def _by_seed(timings: Json, name: str) -> list[float]:
    """A measure of every seed that has it."""
    return [seed[name] for seed in timings["seeds"].values() if seed.get(name) is not None]


def _ratios(
    measured: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    ratio_of: Callable[[Sequence[float], Sequence[float]], Ratio],
) -> dict[str, Ratio]:
    """Of the measures that both have."""
    return {name: ratio_of(a, b) for name, (a, b) in measured.items() if len(a) and len(b)}


def _layers(spec: NetworkSpec) -> list[_Layer]:
    """The matrices of a network, as `network.SegmentNetwork` builds them."""
    h, inputs = spec.hparams, spec.inputs
    units, past, future = h.units, spec.past_segments, spec.future_segments
    cell, out = CELLS[spec.cell], h.segment_length * len(spec.quantiles)
    gates = len(cell.onnx_gates) * units
    # A cell that applies its reset gate after the product has a second bias, inside that gate.
    biases = gates * (2 if dict(cell.onnx_attributes).get("linear_before_reset") else 1)
    layers = [
        _Layer((2 + len(inputs.past)) * h.segment_length, units, units, past),
        *[_Layer(2 * units, gates, biases, past + future)] * h.layers,  # on the input and on the state
        _Layer(units, out, out, future),
    ]
    if h.head == "copy":
        layers.append(_Layer(units, past, past, future))
    if h.linear == "ridge":
        layers.append(_Layer(h.context_used, spec.horizon, 0, 1))
    if inputs.future:
        layers.append(_Layer(len(inputs.future) * h.segment_length, units, units, future))
    if inputs.numeric:
        layers.append(_Layer(len(inputs.numeric), units, 0, 1))
    return layers
