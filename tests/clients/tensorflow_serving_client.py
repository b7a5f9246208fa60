"""Asks a server what a client of TensorFlow Serving builds: its API's messages, in the JSON of its REST interface.

python tensorflow_serving_client.py ADDRESS MODEL < history
"""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.json_format import ParseDict
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse


def fetch(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data) as answer:
        return json.load(answer)


def predict(address: str, request: PredictRequest) -> PredictResponse:
    """What `PredictionService.Predict` does, over REST."""
    asked = request.model_spec
    inputs = {name: tf.make_ndarray(tensor).tolist() for name, tensor in request.inputs.items()}
    url = f"{address}/v1/models/{asked.name}/versions/{asked.version.value}:predict"
    answer = fetch(url, {"signature_name": asked.signature_name, "inputs": inputs})
    response = PredictResponse(model_spec=asked)
    for name, value in answer["outputs"].items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(value, tf.float64))
    return response


def ask(address: str, model: str, history: np.ndarray) -> dict[str, list[list[float]]]:
    status = ParseDict(fetch(f"{address}/v1/models/{model}"), GetModelStatusResponse()).model_version_status[0]
    assert status.state == ModelVersionStatus.State.AVAILABLE
    signature = read_signature(fetch(f"{address}/v1/models/{model}/metadata"))
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, "serving_default"
    request.model_spec.version.value = status.version
    for name, array in (("history", history), ("observed", np.ones(history.shape))):
        kind = tf.dtypes.as_dtype(signature.inputs[name].dtype)
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array, kind))
    response = predict(address, request)
    assert set(response.outputs) == set(signature.outputs)
    for name, tensor in response.outputs.items():
        told = [dim.size for dim in signature.outputs[name].tensor_shape.dim]
        assert tf.TensorShape(tensor.tensor_shape).is_compatible_with([None if size < 0 else size for size in told])
    return {"inputs": tf.make_ndarray(response.outputs["mean"]).tolist()}


def read_signature(metadata: Any) -> SignatureDef:
    """The signature that metadata describes, which the message wraps in an Any."""
    known = ParseDict(metadata["metadata"]["signature_def"], SignatureDefMap())
    return known.signature_def["serving_default"]


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], sys.argv[2], np.array(json.load(sys.stdin)))))
