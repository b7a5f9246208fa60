"""The ensemble as a TensorFlow SavedModel, in float64 as in the ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.fingerprint_pb2 import FingerprintDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from pipeline.errors import BundleError
from pipeline.export.networks import Floats, calibrated, explain_all
from pipeline.hparams import NetworkSpec
from pipeline.network import SegmentNetwork, signature_of

GRAPH = "saved_model.pb"
_FINGERPRINT = "fingerprint.pb"
DETAILS = "details"  # the signature with all outputs of the ONNX graph
SERVED = "serving_default"
ALONG_CONTEXT = ("history", "observed", "past")

Tensors = Mapping[str, Any]


def save_saved_model(networks: Sequence[SegmentNetwork], calibration: Floats, folder: Path) -> None:
    """Writes the SavedModel of an ensemble.

    Its signatures take `history [N, steps]` of any length, `observed [N, steps]`, and what the network takes beside
    them, as `Forecaster.predict_arrays` does; what lies in `history` where nothing is observed has no effect.
    `serving_default` gives `forecast [N, H, Q]` and its median as `mean [N, H]`: TensorFlow Serving's rows need the
    batch to come first. `details` gives all outputs of the ONNX graph.

    Args:
        networks: [K] of all seeds.
        calibration: [H, Q] what is added to each quantile in units of the window's scale.
        folder: to write.

    Raises:
        BundleError: there is an op in it that needs a GPU.
    """
    spec = networks[0].spec

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def details(**inputs: Any) -> dict[str, Any]:
        return forecast(networks, calibration, _to_context(spec, inputs))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def served(**inputs: Any) -> dict[str, Any]:
        quantiles = details(**inputs)["forecast"]
        return {"forecast": quantiles, "mean": quantiles[:, :, len(spec.quantiles) // 2]}

    signature = {name: _any_length(name, tensor) for name, tensor in signature_of(spec).items()}
    write_saved_model(networks, {SERVED: served, DETAILS: details}, signature, folder)
    refuse_gpu_ops(folder)


def write_saved_model(
    networks: Sequence[SegmentNetwork], functions: Mapping[str, Any], signature: Tensors, folder: Path
) -> None:
    """Writes functions of networks as the signatures of a SavedModel.

    Args:
        networks: whose weights the functions use.
        functions: of TensorFlow, by the name of their signature.
        signature: the types of their arguments, by name.
        folder: to write.
    """
    module = tf.Module()
    module.weights = [weight.value for network in networks for weight in network.weights]  # no state of dropout
    typed = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in signature.items()}
    signatures = {name: function.get_concrete_function(**typed) for name, function in functions.items()}
    tf.saved_model.save(module, folder, signatures)
    path = folder / _FINGERPRINT
    fingerprint = FingerprintDef.FromString(path.read_bytes())
    fingerprint.ClearField("uuid")  # another one each time, in a file whose bytes are to repeat
    path.write_bytes(fingerprint.SerializeToString(deterministic=True))


def refuse_gpu_ops(folder: Path) -> None:
    """Looks through all graphs of a SavedModel for the ops of cuDNN.

    Raises:
        BundleError: there is one.
    """
    graphs = [graph.graph_def for graph in SavedModel.FromString((folder / GRAPH).read_bytes()).meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    if foreign := sorted({node.op for node in nodes if node.op.startswith("CudnnRNN")}):
        raise BundleError(f"{folder / GRAPH} runs on GPUs alone. Received: {', '.join(foreign)}; export it on a CPU")


def forecast(networks: Sequence[SegmentNetwork], calibration: Floats, inputs: Tensors) -> dict[str, Any]:
    """All outputs of the ONNX graph, by the same names: see `onnx_graph.build_graph`."""
    spec = networks[0].spec
    z, mask, location, scale = networks[0].normalise(inputs["history"], inputs["observed"])
    quantiles, weights = explain_all(networks, z, mask, networks[0].beside(inputs))
    members = tf.cast(quantiles, tf.float64)
    mean = tf.reduce_mean(members, axis=0)
    normalised = {"forecast": calibrated(mean, calibration), "uncalibrated": mean, "members": members}
    outputs = {name: _scaled_back(spec, value, location, scale) for name, value in normalised.items()}
    outputs |= {"location": location, "scale": scale}
    return outputs if weights is None else outputs | {"copy_weights": tf.cast(weights, tf.float64)}


def _scaled_back(spec: NetworkSpec, normalised: Any, location: Any, scale: Any) -> Any:
    """Quantiles in units of the history."""
    value = normalised * scale[:, :, None] + location[:, :, None]
    return tf.math.expm1(value) if spec.hparams.transform == "log1p" else value


def _any_length(name: str, tensor: Any) -> Any:
    shape = (None, None, *tensor.shape[2:]) if name in ALONG_CONTEXT else tensor.shape
    return tf.TensorSpec(shape, tensor.dtype)


def _to_context(spec: NetworkSpec, inputs: Tensors) -> dict[str, Any]:
    """The last C steps of a history; a shorter one is padded on the left, with what is not observed."""
    return dict(inputs) | {
        name: _last(value, spec.context_length, float("nan") if name == "past" else 0.0)
        for name, value in inputs.items()
        if name in ALONG_CONTEXT
    }


def _last(value: Any, length: int, filler: float) -> Any:
    last = value[:, -length:]
    width = [[0, 0], [length - tf.shape(last)[1], 0], *[[0, 0]] * (len(value.shape) - 2)]
    padded = tf.pad(last, width, constant_values=tf.constant(filler, value.dtype))
    return tf.ensure_shape(padded, (None, length, *value.shape[2:]))
