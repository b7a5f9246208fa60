"""Asks a server through KServe's own client, by both protocols that it speaks; writes the medians as JSON.

python kserve_client.py ADDRESS MODEL < history
"""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def ask(address: str, model: str, history: np.ndarray) -> dict[str, list[list[float]]]:
    tensor = InferInput("history", list(history.shape), "FP64")
    tensor.set_data_from_numpy(history, binary_data=False)
    second = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await second.is_server_live(address)
    assert await second.is_server_ready(address)
    assert await second.is_model_ready(address, model)
    answer = await second.infer(address, InferRequest(model, [tensor]), model_name=model)
    assert answer.model_name == model
    first = InferenceRESTClient(RESTConfig(protocol="v1"))
    rows = await first.infer(address, {"instances": history.tolist()}, model_name=model)
    await asyncio.gather(first.close(), second.close())
    outputs = {output.name: output for output in answer.outputs}
    return {"v2": outputs["mean"].as_numpy().tolist(), "v1": [row["mean"] for row in rows["predictions"]]}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(sys.argv[1], sys.argv[2], np.array(json.load(sys.stdin))))))
