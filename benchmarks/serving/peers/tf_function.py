"""What a user writes next: one `tf.function` over the Keras networks of all seeds behind FastAPI.

python tf_function.py FOLDER PORT        the folder has the networks, seed-*.keras
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tensorflow as tf
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from pipeline.network import load_network


class Body(BaseModel):
    """The body of a request."""

    instances: list[list[float]]


def create_app(folder: Path) -> FastAPI:
    """The app, with the function traced."""
    app, networks = FastAPI(), [load_network(path) for path in sorted(folder.glob("seed-*.keras"))]
    length = networks[0].spec.context_length

    @tf.function(input_signature=[tf.TensorSpec([None, length], tf.float64)])  # type: ignore[untyped-decorator]
    def forecast(history: Any) -> Any:
        inputs = {"history": history, "observed": tf.ones_like(history, tf.float32)}
        return tf.reduce_mean([network(inputs, training=False) for network in networks], axis=0)

    forecast(tf.zeros([1, length], tf.float64))

    @app.post("/predict")
    def predict(body: Body) -> dict[str, Any]:
        return {"predictions": forecast(tf.constant(body.instances, tf.float64)).numpy().tolist()}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(Path(sys.argv[1])), port=int(sys.argv[2]), access_log=False, log_level="warning")
