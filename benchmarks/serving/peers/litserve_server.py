# mypy: ignore-errors
"""A bundle's graph behind LitServe, with its batching.

python litserve_server.py FORECASTER.ONNX PORT
"""

from __future__ import annotations

import sys

import litserve
import numpy as np
import onnxruntime


class Forecasts(litserve.LitAPI):
    """The graph, and how requests get there and back."""

    def __init__(self, graph: str, **options) -> None:
        super().__init__(**options)
        self._graph = graph

    def setup(self, device: str) -> None:  # noqa: ARG002
        """Loads the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])

    def decode_request(self, request):
        """The history [C] of a request."""
        return np.array(request["history"])

    def predict(self, histories):
        """The quantiles [N, H, Q] of histories [N, C]."""
        inputs = {"history": histories, "observed": np.ones(histories.shape, np.float32)}
        return self._session.run(["forecast"], inputs)[0]

    def encode_response(self, quantiles):
        """What a request is told."""
        return {"forecast": quantiles.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Forecasts(sys.argv[1], max_batch_size=64, batch_timeout=0.002), accelerator="cpu")
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", generate_client_file=False, access_log=False
    )
