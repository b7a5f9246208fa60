"""Asks a server through Triton's HTTP client, with tensors as JSON; writes the medians as JSON.

python triton_client.py ADDRESS MODEL < history
"""

from __future__ import annotations

import json
import sys

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput


def ask(address: str, model: str, history: np.ndarray) -> dict[str, list[list[float]]]:
    client = InferenceServerClient(address.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert client.get_server_metadata()["name"] == "gatecast"
    known = client.get_model_metadata(model)
    assert [tensor["name"] for tensor in known["inputs"]] == ["history", "observed"]
    found = {}
    for kind, array in (("FP64", history), ("FP32", history.astype(np.float32))):
        tensor = InferInput("history", list(array.shape), kind)
        tensor.set_data_from_numpy(array, binary_data=False)
        wanted = [InferRequestedOutput("mean", binary_data=False)]
        answer = client.infer(model, [tensor], model_version=known["versions"][0], outputs=wanted, request_id="7")
        assert answer.get_response()["id"] == "7"
        found[kind] = answer.as_numpy("mean").tolist()
    assert client.infer(model, [tensor]).as_numpy("mean").tolist() == found["FP32"]  # JSON where it would take bytes
    return found


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], sys.argv[2], np.array(json.load(sys.stdin)))))
