"""The ensemble as a LiteRT file, for devices: one window at a time, in float32 without the loss.

LiteRT has no arithmetic in float64, and float32 keeps no more than seven digits: at an offset of a million standard
deviations it would lose the window. So every number comes in two parts, what float32 keeps of it and the rest; a window
is normalised by its differences to its last observed value, which are small; and the forecast leaves in two parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.export.networks import Floats, calibrated, explain_all
from pipeline.export.saved_model import SERVED, write_saved_model
from pipeline.hparams import Constants, NetworkSpec
from pipeline.network import SegmentNetwork, signature_of

REST = "_rest"  # at the end of the name of a number's second part
LARGEST = float(np.finfo(np.float32).max)
BLOCK = 32  # steps summed at once; float32 loses less in sums of sums
NEAR = 0.5  # ratios nearer to 1 go through log1p, others through the logarithm itself

Parts = tuple[Any, Any]


def save_litert(networks: Sequence[SegmentNetwork], calibration: Floats, path: Path) -> None:
    """Writes the LiteRT file of an ensemble.

    Its one signature takes one window: `history [1, C]` and `history_rest [1, C]`, their sum the values, `observed
    [1, C]`, 1 or 0, and likewise in two parts what the network takes beside them (`static_cat [1, J]` in one). It gives
    `forecast [1, H, Q]` and `forecast_rest [1, H, Q]`. All but `static_cat` are float32.

    Args:
        networks: [K] of all seeds.
        calibration: [H, Q] what is added to each quantile in units of the window's scale.
        path: to write.
    """

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def served(**inputs: Any) -> dict[str, Any]:
        return _forecast(networks, calibration, inputs)

    signature: dict[str, Any] = {}
    for name, tensor in signature_of(networks[0].spec).items():
        shape = (1, *tensor.shape[1:])
        names = (name, name + REST) if tensor.dtype == tf.float64 else (name,)
        kind = tf.float32 if tensor.dtype == tf.float64 else tensor.dtype
        signature |= {each: tf.TensorSpec(shape, kind) for each in names}
    with TemporaryDirectory() as folder:
        write_saved_model(networks, {SERVED: served}, signature, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SERVED])
        path.write_bytes(converter.convert())


def split(value: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Numbers in two parts: what float32 keeps of them, and the rest."""
    with np.errstate(over="ignore", invalid="ignore"):  # NaN and infinities stay what they are
        high = np.asarray(value, np.float32)
        return high, (value - high).astype(np.float32)


@dataclass(frozen=True)
class _Anchor:
    """What a forecast is put back with.

    Attributes:
        last: [1, 1] the last observed value, in two parts.
        offset: [1, 1] location of the window, less the last value; after the transform, like `scale`.
        scale: [1, 1] of the window.
    """

    last: Parts
    offset: Any
    scale: Any


def _forecast(networks: Sequence[SegmentNetwork], calibration: Floats, inputs: Mapping[str, Any]) -> dict[str, Any]:
    spec = networks[0].spec
    z, mask, anchor = _normalise(spec, inputs)
    beside = dict(inputs) | {
        name: _scaled((inputs[name], inputs[name + REST]), *pair) for name, pair in spec.inputs.scaling().items()
    }
    quantiles, _ = explain_all(networks, z, mask, beside)
    high, rest = _scaled_back(spec, calibrated(tf.reduce_mean(quantiles, axis=0), calibration), anchor)
    return {"forecast": high, "forecast" + REST: rest}


def _normalise(spec: NetworkSpec, inputs: Mapping[str, Any]) -> tuple[Any, Any, _Anchor]:
    """As `SegmentNetwork.normalise`, by differences in float32 to the last observed value."""
    h = spec.hparams
    seen = inputs["observed"] > 0
    high, rest = (tf.where(seen, inputs[name], 0.0) for name in ("history", "history" + REST))
    steps = tf.range(1, spec.context_length + 1)[None, :]
    is_last = tf.equal(steps, tf.reduce_max(tf.where(seen, steps, 0), axis=1, keepdims=True))
    last = tuple(tf.reduce_sum(tf.where(is_last, part, 0.0), axis=1, keepdims=True) for part in (high, rest))
    mask = tf.cast(seen, tf.float32)[:, -h.context_used :]
    d = _difference((high, rest), last)[:, -h.context_used :] * mask
    if h.transform == "log1p":
        d = _log_ratio(d, high[:, -h.context_used :], last[0]) * mask
    size = tf.reduce_max(tf.abs(d), axis=1, keepdims=True)
    d = d * _inverse(size)  # squares of what is very large or small are no numbers of float32
    mean = _mean(d, mask)
    mean += _mean((d - mean) * mask, mask)  # what the first one lost by rounding
    centred = (d - mean) * mask
    scale = tf.sqrt(_mean(centred * centred, mask))
    offset = mean if h.location == "mean" else tf.zeros_like(mean)
    return (d - offset) * mask * _inverse(scale), mask, _Anchor(last, offset * size, scale * size)


def _scaled_back(spec: NetworkSpec, normalised: Any, anchor: _Anchor) -> Parts:
    """Quantiles in units of the history, in two parts."""
    high, rest = (part[:, :, None] for part in anchor.last)
    change = normalised * anchor.scale[:, :, None] + anchor.offset[:, :, None]
    if spec.hparams.transform == "none":
        return _sum(high, rest, change)
    # expm1(log1p(last) + change), without the logarithm of what may be large.
    growth = 1.0 + high
    exponential = tf.exp(change)
    expm1 = tf.tanh(0.5 * change) * (exponential + 1.0)
    near, far = _sum(high, rest, growth * expm1), growth * exponential - 1.0
    is_near = tf.abs(change) < NEAR
    return tf.where(is_near, near[0], far), tf.where(is_near, near[1], 0.0)


def _difference(one: Parts, other: Parts) -> Any:
    """In float32; exact to its last digit however near the two are."""
    return (one[0] - other[0]) + (one[1] - other[1])


def _sum(high: Any, rest: Any, change: Any) -> Parts:
    """(high + rest) + change in two parts, after Knuth's sum without error."""
    total = high + change
    part = total - high
    lost = (high - (total - part)) + (change - part)
    rest = rest + lost
    whole = total + rest
    return whole, rest - (whole - total)


def _log_ratio(difference: Any, value: Any, last: Any) -> Any:
    """log1p(value) - log1p(last), exact for small differences too (Kahan's correction of the rounding of 1 + r)."""
    r = difference / (1.0 + last)
    u = 1.0 + r
    is_one = tf.equal(u, 1.0)
    near = tf.where(is_one, r, tf.math.log(u) * (r / tf.where(is_one, 1.0, u - 1.0)))
    return tf.where(tf.abs(r) < NEAR, near, tf.math.log((1.0 + value) / (1.0 + last)))


def _inverse(value: Any) -> Any:
    """1 / value; 0 for 0."""
    positive = value > 0
    return tf.where(positive, 1.0 / tf.where(positive, value, 1.0), 0.0)


def _mean(value: Any, mask: Any) -> Any:
    """Mean [1, 1] over what is observed, of [1, used] that is 0 elsewhere."""
    padded = tf.pad(value, [[0, 0], [0, -value.shape[1] % BLOCK]])
    blocks = tf.reduce_sum(tf.reshape(padded, (1, -1, BLOCK)), axis=2)
    count = tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0)
    return tf.reduce_sum(blocks, axis=1, keepdims=True) / count


def _scaled(value: Parts, location: Constants, scale: Constants) -> Any:
    """Covariates in units of the training part; a missing one is 0, the mean."""
    high, rest = split(np.array(location))
    z = _difference(value, (tf.constant(high), tf.constant(rest))) / tf.constant(scale, tf.float32)
    return tf.where(tf.abs(value[0]) <= LARGEST, z, 0.0)
