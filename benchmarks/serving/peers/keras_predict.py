"""What a user writes first: `model.predict` of the Keras networks of all seeds behind FastAPI, and their mean.

python keras_predict.py FOLDER PORT        the folder has the networks, seed-*.keras
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from pipeline.network import load_network


class Body(BaseModel):
    """The body of a request."""

    instances: list[list[float]]


def create_app(folder: Path) -> FastAPI:
    """The app, with all networks loaded."""
    app, networks = FastAPI(), [load_network(path) for path in sorted(folder.glob("seed-*.keras"))]

    @app.post("/predict")
    def predict(body: Body) -> dict[str, Any]:
        history = np.array(body.instances)
        inputs = {"history": history, "observed": np.ones(history.shape, np.float32)}
        forecasts = [network.predict(inputs, verbose=0) for network in networks]
        return {"predictions": np.mean(forecasts, axis=0).tolist()}

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(Path(sys.argv[1])), port=int(sys.argv[2]), access_log=False, log_level="warning")
