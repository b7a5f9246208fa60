# mypy: ignore-errors
"""Saves a bundle's graph as an MLflow model, with the forecast as its only output.

python mlflow_model.py FORECASTER.ONNX FOLDER
"""

from __future__ import annotations

import shutil
import sys

import mlflow.onnx
import numpy as np
import onnx
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

THREADS = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}


def save(graph: str, folder: str) -> None:
    """Writes the model, in the place of what lies there."""
    model = onnx.load(graph)
    del model.graph.output[1:]  # the forecast is the first; the others would be computed and sent for nothing
    columns = [
        TensorSpec(np.dtype(kind), (-1, tensor.type.tensor_type.shape.dim[1].dim_value), tensor.name)
        for tensor, kind in zip(model.graph.input, ("float64", "float32"), strict=True)
    ]
    signature = ModelSignature(inputs=Schema(columns))
    shutil.rmtree(folder, ignore_errors=True)
    mlflow.onnx.save_model(model, folder, signature=signature, onnx_session_options=THREADS)


if __name__ == "__main__":
    save(*sys.argv[1:])
