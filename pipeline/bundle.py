"""The bundle, the folder that is served: a graph, what it means, and the hashes of everything beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BundleError
from pipeline.hparams import NetworkSpec
from pipeline.storage import replacing, sha256_of, write_json

SCHEMA = 1
GRAPH = "forecaster.onnx"
DESCRIPTION = "forecaster.json"


@dataclass(frozen=True)
class Bundle:
    """A bundle in memory.

    Attributes:
        graph: the ONNX model.
        spec: the network's cell, lengths, quantiles and hyperparameters.
        meta: all of forecaster.json.
    """

    graph: bytes
    spec: NetworkSpec
    meta: Mapping[str, Any]


def save_bundle(
    folder: Path,
    *,
    spec: NetworkSpec,
    members: Sequence[Mapping[str, NDArray[Any]]],
    calibration: NDArray[np.float64] | None,
    meta: Mapping[str, Any],
) -> None:
    """Writes the bundle of an ensemble; see `write_bundle`.

    Args:
        folder: where the networks' own files already are; is made where it is missing.
        spec: the network, the same for all members.
        members: [K] the weights of each seed's network, as `network.network_weights` gives them.
        calibration: [H, Q] what `calibration.conformal_offsets` gave, or None.
        meta: what else forecaster.json says: freq, columns, repair, season_length, seeds, ids, ranges, hashes.
    """
    from pipeline.onnx_graph import build_graph  # a server loads bundles, and has no need of onnx

    write_bundle(
        folder,
        build_graph(spec, members, calibration),
        spec=spec,
        parameters=sum(weights.size for weights in members[0].values()),
        calibrated=calibration is not None and bool(np.any(calibration)),  # offsets of 0 change nothing
        meta=meta,
    )


def write_bundle(
    folder: Path, graph: bytes, *, spec: NetworkSpec, parameters: int, calibrated: bool, meta: Mapping[str, Any]
) -> None:
    """Writes forecaster.onnx, then forecaster.json with the sha256 of every other file in the folder.

    Args:
        folder: as for `save_bundle`.
        graph: the ONNX model.
        spec: of what it forecasts with.
        parameters: how many that has.
        calibrated: whether its intervals are.
        meta: as for `save_bundle`.
    """
    with replacing(folder / GRAPH) as beside:
        beside.write_bytes(graph)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    described = {
        "schema": SCHEMA,
        "name": "gatecast",
        **spec.to_json(),
        "parameters": parameters,
        "calibrated": calibrated,
        **meta,
        "files": {
            file.relative_to(folder).as_posix(): sha256_of(file) for file in files if file != folder / DESCRIPTION
        },
    }
    write_json(described, folder / DESCRIPTION)


def is_evaluated(meta: Mapping[str, Any]) -> bool:
    """Whether a part of the data was left to evaluate a bundle on, as its forecaster.json says."""
    return bool(meta.get("evaluated", True))


def load_bundle(folder: Path) -> Bundle:
    """Reads what `save_bundle` wrote, and checks that the graph is the one it wrote.

    Args:
        folder: the bundle.

    Returns:
        The bundle, wholly in memory.

    Raises:
        BundleError: a file is missing or altered, or the bundle's schema is another.
    """
    path = folder / DESCRIPTION
    try:
        meta = json.loads(_read(path))
    except ValueError as error:
        raise BundleError(f"{path} is no JSON: {error}; {how_to_restore(folder)}") from None
    schema = meta.get("schema") if isinstance(meta, dict) else None
    if schema != SCHEMA:
        raise BundleError(
            f"{path} has a schema that this version cannot read, which reads {SCHEMA}. Received: {schema!r}; "
            f"run `dvc repro` with this version, or install the version that wrote it"
        )
    try:
        spec = NetworkSpec.from_json(meta)
        expected = meta["files"][GRAPH]
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is incomplete: {error}; {how_to_restore(folder)}") from None
    graph = _read(folder / GRAPH)
    received = hashlib.sha256(graph).hexdigest()
    if received != expected:
        raise BundleError(
            f"{folder / GRAPH} was altered: sha256 {expected} is expected. Received: {received}; "
            f"{how_to_restore(folder)}"
        )
    return Bundle(graph, spec, meta)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{path} not found; run `dvc repro` to train it, or name another folder") from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}; make it readable") from None


def how_to_restore(folder: Path) -> str:
    """The mend of errors about a bundle of which something is missing or altered."""
    return f"bring it back with `dvc checkout {folder}`"
