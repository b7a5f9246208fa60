"""Recurrent layers on a CPU: unrolled for training, and decoding from one product of the state.

A loop in the graph costs more than the steps of a small network. Without it, each step's products and what TensorFlow
derives for their gradients stand in the graph one after the other, on numbers that are still in the processor's cache
(measured by `python -m benchmarks.speed`). The weights are those of the Keras layers, and so are the results, but for
their last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from pipeline.cells import CELLS

UNROLLED = 96  # steps at most: the graph of more takes seconds to build
Tensors = tuple[Any, ...]


class Weights(NamedTuple):
    """The weights of a layer, each read once.

    Attributes:
        kernel: [D, G] of the inputs; G is the units of all gates.
        recurrent: [units, G] of the state.
        input_bias: [G] of the inputs' own, which a GRU alone has; else None.
        state_bias: [G].
    """

    kernel: Any
    recurrent: Any
    input_bias: Any
    state_bias: Any

    def project(self, x: Any) -> Any:
        """Inputs [N, D] or [N, S, D] in units of the gates, by one product."""
        if len(x.shape) == 3:
            flat = self.project(tf.reshape(x, (-1, x.shape[2])))
            return tf.reshape(flat, (-1, x.shape[1], flat.shape[1]))
        projected = x @ self.kernel
        return projected if self.input_bias is None else tf.nn.bias_add(projected, self.input_bias)

    def project_state(self, state: Any) -> Any:
        """A state [N, units] in units of the gates."""
        return tf.nn.bias_add(state @ self.recurrent, self.state_bias)


def train_layer(cell: str, layer: Any, x: Any) -> Tensors:
    """What `layer(x)` gives, faster where there is no GPU and the steps are not too many.

    Args:
        cell: key of `CELLS`.
        layer: a built Keras layer of that cell, with the defaults that cuDNN asks for, `return_sequences` and
            `return_state`.
        x: inputs [N, S, D] in float32; S is static.

    Returns:
        The outputs [N, S, units] and the final states, each [N, units].
    """
    if tf.config.list_logical_devices("GPU") or x.shape[1] > UNROLLED:
        results: Tensors = layer(x)
        return results
    weights, outputs = weights_of(layer), []
    states: Tensors = (tf.zeros((tf.shape(x)[0], layer.units)),) * CELLS[cell].states
    for inputs in tf.unstack(x, axis=1):
        states = AFTER[cell](weights.project(inputs), weights.project_state(states[0]), states)
        outputs.append(states[0])
    return tf.stack(outputs, axis=1), *states


def advance(cell: str, layer: Any, x: Any, states: Sequence[Any]) -> Any:
    """One step of a layer's cell from the same states for many inputs.

    Args:
        cell: key of `CELLS`.
        layer: as for `train_layer`.
        x: inputs [N or 1, F, D].
        states: each [N, units].

    Returns:
        Outputs [N, F, units].
    """
    weights = weights_of(layer)
    each = [state[:, None] for state in states]
    return AFTER[cell](weights.project(x), weights.project_state(states[0])[:, None], each)[0]


def weights_of(layer: Any) -> Weights:
    """The weights of a built Keras layer."""
    kernel, recurrent, bias = map(
        tf.convert_to_tensor, (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)
    )
    return Weights(kernel, recurrent, *(tf.unstack(bias) if len(bias.shape) > 1 else (None, bias)))


def _lstm(inputs: Any, recurrent: Any, states: Sequence[Any]) -> Tensors:
    i, f, g, o = tf.split(inputs + recurrent, 4, axis=-1)
    carry = tf.sigmoid(f) * states[1] + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(carry), carry


def _gru(inputs: Any, recurrent: Any, states: Sequence[Any]) -> Tensors:
    (x_z, x_r, x_n), (h_z, h_r, h_n) = tf.split(inputs, 3, axis=-1), tf.split(recurrent, 3, axis=-1)
    n = tf.tanh(x_n + tf.sigmoid(x_r + h_r) * h_n)
    return (n + tf.sigmoid(x_z + h_z) * (states[0] - n),)


# The states after a step, the output first, of the projected inputs and state, and the states before.
AFTER: dict[str, Callable[[Any, Any, Sequence[Any]], Tensors]] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn": lambda inputs, recurrent, _: (tf.tanh(inputs + recurrent),),
}
