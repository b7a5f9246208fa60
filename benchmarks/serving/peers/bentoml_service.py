# mypy: ignore-errors
"""A bundle's graph behind BentoML, with its adaptive batching.

FORECASTER=forecaster.onnx bentoml serve bentoml_service:Forecasts
"""

from __future__ import annotations

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Forecasts:
    """The service."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["FORECASTER"], options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, history: np.ndarray) -> np.ndarray:
        """The quantiles [N, H, Q] of histories [N, C]."""
        inputs = {"history": history.astype(np.float64), "observed": np.ones(history.shape, np.float32)}
        return self._session.run(["forecast"], inputs)[0]
