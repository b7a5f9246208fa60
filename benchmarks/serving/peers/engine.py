"""The other floor: ONNX Runtime called with one window, again and again, without a server.

python engine.py FORECASTER.ONNX SECONDS < bodies        writes the median of the milliseconds of a call
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from itertools import cycle

import numpy as np
import onnxruntime


def measure(graph: str, seconds: float, histories: list[list[float]]) -> float:
    """The median of a call, in milliseconds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = [{"history": np.array([h]), "observed": np.ones((1, len(h)), np.float32)} for h in histories]
    taken: list[float] = []
    end = time.perf_counter() + seconds
    for window in cycle(inputs):
        start = time.perf_counter()
        if start > end:
            return 1000 * statistics.median(taken[len(taken) // 10 :])  # the first warm it up
        session.run(["forecast"], window)
        taken.append(time.perf_counter() - start)
    raise AssertionError("there are windows")


if __name__ == "__main__":
    print(measure(sys.argv[1], float(sys.argv[2]), json.load(sys.stdin)))
