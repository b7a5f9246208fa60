"""The networks of a bundle as exported graphs take them: any device runs them, and what they share is made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from pipeline.bundle import DESCRIPTION, load_bundle
from pipeline.errors import BundleError
from pipeline.hparams import NetworkSpec
from pipeline.network import SegmentNetwork, _spread, load_network
from pipeline.storage import read_json, sha256_of

Constants = tuple[float, ...]
Floats = NDArray[np.float64]

UNROLLED = 16  # steps of a recurrent layer at most that are laid out one by one; as a loop they take twice as long


@dataclass(frozen=True)
class Source:
    """What an export starts from.

    Attributes:
        folder: the bundle.
        spec: of every network.
        meta: all of forecaster.json.
        networks: [K] as Keras has them.
        calibration: [H, Q] what is added to each quantile in units of the window's scale.
    """

    folder: Path
    spec: NetworkSpec
    meta: Mapping[str, Any]
    networks: Sequence[SegmentNetwork]
    calibration: Floats


@dataclass(frozen=True)
class Window:
    """What all networks of an ensemble take of a window, in float32.

    Attributes:
        z: [N, used] the normalised values, 0 where nothing is observed.
        mask: [N, used] what of them is observed.
        beside: what stands beside them: `past [N, C, P]`, `future [N, H, K]` and `static_num [N, R]` in units of the
            training part, 0 where missing, and `static_cat [N, J]`.
    """

    z: Any
    mask: Any
    beside: Mapping[str, Any]


class ExportNetwork(SegmentNetwork):
    """A network that starts from a window that is normalised already.

    Args:
        network: whose weights it takes.
    """

    def __init__(self, network: SegmentNetwork) -> None:
        super().__init__(network.spec)
        for layer in self.recurrent:
            layer.use_cudnn = False  # or what is exported on a GPU has CudnnRNNV3 in it, and runs nowhere else
            layer.unroll = network.spec.past_segments <= UNROLLED
        self.set_weights(network.get_weights())

    def explained(self, window: Window) -> tuple[Any, Any]:
        """Quantiles [N, H, Q] in units of the window's scale, and the copy's weights [N, F, S] (None for no copy)."""
        spec = self.spec
        segments = self._segments(window.z, window.mask)
        static = self._static(window.beside, False)
        states = self._encode(self._with_past(segments, window.beside), static, False)
        decoded = self._decode(states, self._future(window.beside), static, False)
        quantiles = _spread(self._quantiles(decoded), len(spec.quantiles) // 2)
        weights = None
        if spec.hparams.head == "copy":
            quantiles = quantiles + self._copied(decoded, segments)[:, :, None]
            weights = tf.nn.softmax(self.attention(decoded))
            weights = ops.reshape(weights, (-1, spec.future_segments, spec.past_segments))
        if spec.hparams.linear == "ridge":
            quantiles = quantiles + self.linear(window.z)[:, :, None]
        return quantiles, weights

    def _with_past(self, segments: Any, inputs: Mapping[str, Any]) -> Any:
        spec, count = self.spec, len(self.spec.inputs.past)
        if not count:
            return segments
        length, used = spec.hparams.segment_length, spec.hparams.context_used
        padded = ops.pad(inputs["past"][:, -used:], ((0, 0), (spec.past_segments * length - used, 0), (0, 0)))
        return ops.concatenate([segments, ops.reshape(padded, (-1, spec.past_segments, length * count))], axis=2)

    def _future(self, inputs: Mapping[str, Any]) -> Any:
        spec, count = self.spec, len(self.spec.inputs.future)
        if not count:
            return 0.0
        length = spec.hparams.segment_length
        missing = spec.future_segments * length - spec.horizon
        padded = ops.pad(inputs["future"], ((0, 0), (0, missing), (0, 0)))
        return self.future(ops.reshape(padded, (-1, spec.future_segments, length * count)))

    def _static(self, inputs: Mapping[str, Any], training: bool | None) -> Any:  # noqa: ARG002  it never trains
        parts = []
        if self.spec.inputs.categorical:
            codes = ops.cast(inputs["static_cat"], "int32")
            parts = [ops.take(table, codes[:, i], axis=0) for i, table in enumerate(self.categories)]
        if self.spec.inputs.numeric:
            parts.append(self.static(inputs["static_num"]))
        return sum(parts)[:, None, :] if parts else 0.0


def scaling(spec: NetworkSpec) -> dict[str, tuple[Constants, Constants]]:
    """What is subtracted from each covariate, and what it is then divided by, for each array of numbers."""
    inputs, ahead = spec.inputs, len(spec.inputs.future)
    constants = {
        "past": (inputs.past_location, inputs.past_scale),
        "future": (inputs.past_location[-ahead:], inputs.past_scale[-ahead:]),
        "static_num": (inputs.numeric_location, inputs.numeric_scale),
    }
    wanted = inputs.shapes(spec.context_length, spec.horizon)
    return {name: pair for name, pair in constants.items() if name in wanted}


def explain_all(networks: Sequence[ExportNetwork], window: Window) -> tuple[Any, Any]:
    """Quantiles of all networks [K, N, H, Q], and the mean of their copy weights [N, F, S] (None for no copy)."""
    quantiles, weights = zip(*(network.explained(window) for network in networks), strict=True)
    shares = [share for share in weights if share is not None]
    return tf.stack(quantiles), tf.add_n(shares) / len(shares) if shares else None


def calibrated(quantiles: Any, calibration: Floats) -> Any:
    """Adds the offsets to [N, H, Q] and makes the quantiles ascend again, outward from the median."""
    centre, last = calibration.shape[1] // 2, calibration.shape[1] - 1
    columns = tf.unstack(quantiles + tf.constant(calibration, quantiles.dtype), axis=2)
    for i in range(centre + 1, last + 1):
        columns[i] = tf.maximum(columns[i - 1], columns[i])
    for i in range(centre - 1, -1, -1):
        columns[i] = tf.minimum(columns[i + 1], columns[i])
    return tf.stack(columns, axis=2)


def load_source(folder: Path) -> Source:
    """Reads the bundle of stage train, and checks every file that is read.

    Args:
        folder: `models/trained/{cell}`.

    Returns:
        The networks and what the bundle says of them.

    Raises:
        BundleError: a file is missing or altered.
    """
    bundle = load_bundle(folder)
    spec, meta = bundle.spec, bundle.meta
    networks = [load_network(_checked(folder, f"seed-{seed}.keras", meta)) for seed in meta["seeds"]]
    calibration = read_json(_checked(folder, "training.json", meta))["calibration"]
    shape = (spec.horizon, len(spec.quantiles))
    return Source(folder, spec, meta, networks, np.zeros(shape) if calibration is None else np.array(calibration))


def _checked(folder: Path, name: str, meta: Mapping[str, Any]) -> Path:
    """A file of a bundle that is the one it lists; Keras' own format is not read from anyone else."""
    path, expected = folder / name, meta["files"].get(name)
    received = sha256_of(path) if path.is_file() else "no such file"
    if expected is None or received != expected:
        raise BundleError(
            f"{path} is not what {DESCRIPTION} lists: sha256 {expected} is expected. Received: {received}; "
            f"bring it back with `dvc checkout {folder}`"
        )
    return path
