"""The networks of a bundle as exported graphs take them: any device runs them, and what they share is made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.bundle import DESCRIPTION, load_bundle
from pipeline.errors import BundleError
from pipeline.hparams import NetworkSpec
from pipeline.network import SegmentNetwork, load_network
from pipeline.storage import read_json, sha256_of

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


def portable(network: SegmentNetwork) -> SegmentNetwork:
    """The same network, which any device runs once it is exported."""
    same = SegmentNetwork(network.spec)
    for layer in same.recurrent:
        layer.use_cudnn = False  # or what is exported on a GPU has CudnnRNNV3 in it, and runs nowhere else
        layer.unroll = network.spec.past_segments <= UNROLLED
    same.set_weights(network.get_weights())
    return same


def explain_all(networks: Sequence[SegmentNetwork], z: Any, mask: Any, beside: Mapping[str, Any]) -> tuple[Any, Any]:
    """Quantiles of all networks [K, N, H, Q], and the mean of their copy weights [N, F, S] (None for no copy)."""
    quantiles, weights = zip(*(network.explain(z, mask, beside) for network in networks), strict=True)
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
