"""Asks a server through the client that is generated from the protocol's own OpenAPI document; writes medians as JSON.

python open_inference_client.py ADDRESS MODEL < history
"""

from __future__ import annotations

import json
import sys

import numpy as np
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.types import InferenceRequest, RequestInput, TensorData


def ask(address: str, model: str, history: np.ndarray) -> dict[str, list[list[float]]]:
    client = OpenInferenceClient(base_url=address)
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness(model_name=model)
    assert client.read_server_metadata().name == "gatecast"
    known = client.read_model_metadata(model_name=model)
    assert known.name == model
    data = TensorData.parse_obj(history.ravel().tolist())
    tensor = RequestInput(name="history", shape=list(history.shape), datatype="FP64", data=data)
    answer = client.model_infer(model_name=model, request=InferenceRequest(id="7", inputs=[tensor]))
    assert answer.id == "7"
    outputs = {output.name: output for output in answer.outputs}
    return {"flat": np.reshape(outputs["mean"].dict()["data"], outputs["mean"].shape).tolist()}


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], sys.argv[2], np.array(json.load(sys.stdin)))))
