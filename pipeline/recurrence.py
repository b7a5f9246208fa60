"""Recurrent layers on a CPU: a GRU's gradient with one product per weight, and decoding from one product of the state.

The gradient of Keras' own loop adds up a whole weight matrix at every step. Here what needs no step before it, the
projection of the inputs and the gradients of the weights, is one product over all steps, as the kernels of cuDNN have
it. This makes a GRU faster; an LSTM it does not (measured by `python -m benchmarks.speed`), so others are Keras' own.
The weights are those of the Keras layers, and so are the results, but for their last bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensors = tuple[Any, ...]


def train_layer(cell: str, layer: Any, x: Any) -> Tensors:
    """What `layer(x)` gives, with a faster gradient where there is no GPU and we have one.

    Args:
        cell: key of `CELLS`.
        layer: a built Keras layer of that cell, with the defaults that cuDNN asks for, `return_sequences` and
            `return_state`.
        x: inputs [N, S, D] in float32; S is static.

    Returns:
        The outputs [N, S, units] and the final states, each [N, units].
    """
    if cell != "gru" or tf.config.list_logical_devices("GPU"):
        results: Tensors = layer(x)
        return results
    kernel, bias = (tf.convert_to_tensor(part) for part in (layer.cell.recurrent_kernel, _state_bias(layer)))
    outputs, final = _train_gru(tf.transpose(_project(layer, x), (1, 0, 2)), kernel, bias)
    return tf.transpose(outputs, (1, 0, 2)), final


def advance(cell: str, layer: Any, x: Any, states: list[Any]) -> Any:
    """One step of a layer's cell from the same states for many inputs.

    Args:
        cell: key of `CELLS`.
        layer: as for `train_layer`.
        x: inputs [N or 1, F, D].
        states: each [N, units].

    Returns:
        Outputs [N, F, units].
    """
    recurrent = (states[0] @ layer.cell.recurrent_kernel + _state_bias(layer))[:, None]
    return _OUTPUTS[cell](_project(layer, x), recurrent, [state[:, None] for state in states])


def _lstm(inputs: Any, recurrent: Any, states: list[Any]) -> Any:
    i, f, g, o = tf.split(inputs + recurrent, 4, axis=-1)
    return tf.sigmoid(o) * tf.tanh(tf.sigmoid(f) * states[1] + tf.sigmoid(i) * tf.tanh(g))


def _gru(inputs: Any, recurrent: Any, state: Any) -> Tensors:
    """The state after a step, and what its gradient needs: both gates, the candidate and its part of the state."""
    (x_z, x_r, x_n), (h_z, h_r, h_n) = tf.split(inputs, 3, axis=-1), tf.split(recurrent, 3, axis=-1)
    z, r = tf.sigmoid(x_z + h_z), tf.sigmoid(x_r + h_r)
    n = tf.tanh(x_n + r * h_n)
    return n + z * (state - n), z, r, n, h_n


_OUTPUTS: dict[str, Callable[[Any, Any, list[Any]], Any]] = {
    "lstm": _lstm,
    "gru": lambda inputs, recurrent, states: _gru(inputs, recurrent, states[0])[0],
    "rnn": lambda inputs, recurrent, _: tf.tanh(inputs + recurrent),
}


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _train_gru(projected: Any, kernel: Any, bias: Any) -> tuple[Tensors, Callable[..., Tensors]]:
    """Outputs [S, N, units] and the final state [N, units] of projected inputs [S, N, 3 units]."""
    steps, units = projected.shape[0], kernel.shape[0]
    start = tf.zeros((tf.shape(projected)[1], units))

    def forward(t: Any, state: Any, history: Tensors) -> tuple[Any, Any, Tensors]:
        parts = _gru(projected[t], tf.nn.bias_add(state @ kernel, bias), state)
        return t + 1, parts[0], _write(history, t, parts)

    first = (0, start, _arrays(5, steps, units))
    _, final, history = tf.while_loop(lambda t, *_: t < steps, forward, first, maximum_iterations=steps)
    outputs, *kept = (array.stack() for array in history)
    before = tf.concat([start[None], outputs[:-1]], axis=0)

    def gradient(d_outputs: Any, d_final: Any) -> Tensors:
        def backward(t: Any, d_state: Any, written: Tensors) -> tuple[Any, Any, Tensors]:
            z, r, n, h_n = (part[t] for part in kept)
            d_state = d_state + d_outputs[t]
            d_n = d_state * (1.0 - z) * (1.0 - n * n)
            d_z = d_state * (before[t] - n) * z * (1.0 - z)
            d_r = d_n * h_n * r * (1.0 - r)
            d_recurrent = tf.concat([d_z, d_r, d_n * r], axis=-1)
            d_before = d_state * z + tf.matmul(d_recurrent, kernel, transpose_b=True)
            return t - 1, d_before, _write(written, t, (tf.concat([d_z, d_r, d_n], axis=-1), d_recurrent))

        last = (steps - 1, d_final, _arrays(2, steps, kernel.shape[1]))
        _, _, written = tf.while_loop(lambda t, *_: t >= 0, backward, last, maximum_iterations=steps)
        d_projected, d_recurrent = (array.stack() for array in written)
        flat = tf.reshape(d_recurrent, (-1, kernel.shape[1]))
        d_kernel = tf.matmul(tf.reshape(before, (-1, units)), flat, transpose_a=True)
        return d_projected, d_kernel, tf.reduce_sum(flat, axis=0)

    return (outputs, final), gradient


def _project(layer: Any, x: Any) -> Any:
    """Inputs in units of the gates; a GRU has a bias for them, other cells have theirs beside the state."""
    kernel = layer.cell.kernel
    projected = tf.reshape(tf.reshape(x, (-1, x.shape[2])) @ kernel, (-1, x.shape[1], kernel.shape[1]))
    return projected + layer.cell.bias[0] if len(layer.cell.bias.shape) > 1 else projected


def _state_bias(layer: Any) -> Any:
    return layer.cell.bias[1] if len(layer.cell.bias.shape) > 1 else layer.cell.bias


def _arrays(number: int, steps: int, size: int) -> Tensors:
    return tuple(tf.TensorArray(tf.float32, steps, element_shape=(None, size)) for _ in range(number))


def _write(arrays: Tensors, t: Any, values: Tensors) -> Tensors:
    return tuple(array.write(t, value) for array, value in zip(arrays, values, strict=True))
