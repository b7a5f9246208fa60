"""A forecaster in each of its formats, as a function of arrays: what an export is compared by and timed with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.export.litert import REST, split
from pipeline.export.networks import Floats, Source
from pipeline.export.saved_model import DETAILS
from pipeline.forecaster import Forecaster
from pipeline.network import signature_of

Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[Arrays], dict[str, Floats]]  # the inputs of `Forecaster.predict_arrays` by name -> outputs by name


def run_keras(source: Source) -> Run:
    """The networks as Keras has them, compiled one by one: `members [K, N, H, Q]`."""
    signature = [signature_of(source.spec)]
    compiled = [tf.function(network, input_signature=signature, autograph=False) for network in source.networks]
    return lambda inputs: {"members": np.stack([call(dict(inputs)).numpy() for call in compiled])}


def run_onnx(forecaster: Forecaster) -> Run:
    """The bundle as it is served."""
    return lambda inputs: forecaster.predict_arrays(**inputs, outputs=("forecast", "members"))


def run_saved_model(folder: Path) -> Run:
    """A SavedModel, all outputs of it."""
    signature = tf.saved_model.load(folder).signatures[DETAILS]

    def run(inputs: Arrays) -> dict[str, Floats]:
        outputs = signature(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return run


def run_litert(path: Path) -> Run:
    """A LiteRT file, one window after another: `forecast [N, H, Q]`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that another package has the same interpreter
        signature = tf.lite.Interpreter(str(path), num_threads=1).get_signature_runner()

    def run(inputs: Arrays) -> dict[str, Floats]:
        parts = in_parts(inputs)
        rows = [signature(**{name: value[i : i + 1] for name, value in parts.items()}) for i in range(_count(inputs))]
        return {
            "forecast": np.concatenate([row["forecast"] + row["forecast" + REST].astype(np.float64) for row in rows])
        }

    return run


def in_parts(inputs: Arrays) -> dict[str, NDArray[Any]]:
    """The inputs of a LiteRT file: what is float64 comes in two parts."""
    parts: dict[str, NDArray[Any]] = {}
    for name, value in inputs.items():
        if value.dtype == np.float64:
            parts[name], parts[name + REST] = split(value)
        else:
            parts[name] = value
    return parts


def _count(inputs: Arrays) -> int:
    return len(inputs["history"])
