"""One recurrent layer and a linear head in Keras, and the LSTM cell with peepholes, which only the claims have."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.claims.runs import PEEPHOLE
from pipeline.cells import CELLS


@keras.saving.register_keras_serializable("gatecast_claims")
class PeepholeCell(keras.Layer):  # type: ignore[misc]
    """An LSTM cell whose gates see the cell state, after Gers, Schraudolph and Schmidhuber (2002).

    Peepholes start at zero, so that it starts as the LSTM of Keras does: gates i, f, c, o, forget bias 1. Input and
    forget gate see the state before the step, the output gate that after it. It has no cuDNN kernel.

    Args:
        units: size of the state.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.state_size = [units, units]
        self.output_size = units

    def build(self, input_shape: Any) -> None:
        """Makes the weights: kernel [F, 4U], recurrent kernel [U, 4U], bias [4U], peepholes [3, U] of i, f, o."""
        units = self.units
        self.kernel = self.add_weight(shape=(input_shape[-1], 4 * units), initializer="glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(units, 4 * units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(4 * units,), initializer="zeros", name="bias")
        self.bias.assign(np.repeat([0.0, 1.0, 0.0, 0.0], units))
        self.peepholes = self.add_weight(shape=(3, units), initializer="zeros", name="peepholes")

    def call(self, inputs: Any, states: Any, training: bool | None = None) -> tuple[Any, list[Any]]:  # noqa: ARG002
        """One step: output [N, U] and the new states."""
        hidden, cell = states
        total = ops.matmul(inputs, self.kernel) + ops.matmul(hidden, self.recurrent_kernel) + self.bias
        i, f, c, o = ops.split(total, 4, axis=-1)
        keep = ops.sigmoid(f + self.peepholes[1] * cell)
        new = keep * cell + ops.sigmoid(i + self.peepholes[0] * cell) * ops.tanh(c)
        out = ops.sigmoid(o + self.peepholes[2] * new) * ops.tanh(new)
        return out, [out, new]


def recurrent_layer(cell: str, units: int, *, return_sequences: bool) -> Any:
    """A recurrent layer by the name of its cell, with Keras' defaults, which are what cuDNN can do."""
    if cell == PEEPHOLE:
        return layers.RNN(PeepholeCell(units), return_sequences=return_sequences)
    return getattr(layers, CELLS[cell].layer)(units, return_sequences=return_sequences)


def build_model(
    cell: str, units: int, shape: tuple[int, int], outputs: int, *, return_sequences: bool
) -> tuple[Any, Any]:
    """The model for examples [T, F], and its recurrent layer.

    Args:
        cell: key of `CELLS`, or `peephole`.
        units: of the recurrent layer.
        shape: of an example.
        outputs: K, of the head.
        return_sequences: whether every step has a target, or the last alone.
    """
    inputs = keras.Input(shape)
    layer = recurrent_layer(cell, units, return_sequences=return_sequences)
    return keras.Model(inputs, layers.Dense(outputs)(layer(inputs))), layer
