"""Recurrent layers on a CPU: one projection of all inputs, and a gradient with one product per weight.

Keras' own loop multiplies inputs and states step by step, and so does its gradient, which adds up a whole weight matrix
at every step. Here only what depends on the step before is computed step by step; the rest is one product over all
steps, as the kernels of cuDNN have it. The weights are those of the Keras layers, and so are the results, but for their
last bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from pipeline.cells import CELLS

Tensors = tuple[Any, ...]


@dataclass(frozen=True)
class _Steps:
    """One step of a cell, and its gradient.

    The gradient's factors are computed for all steps at once, so little is left to do step by step.

    Attributes:
        kept: how many tensors the gradient needs beside the states.
        forward: (projected input, projected state, states before) -> (states after, what is kept).
        factors: (states before, states after, what was kept) -> what gradients are multiplied by.
        arrived: (gradients of the states, factors) -> the same, with what flows between the states of one step.
        recurrent: (gradients that arrived, factors) -> gradient of the projected state.
        inputs: likewise, of the projected input.
        before: likewise, of the states before, without what came through their projection.
    """

    kept: int
    forward: Callable[[Any, Any, Tensors], tuple[Tensors, Tensors]]
    factors: Callable[[Tensors, Tensors, Tensors], Tensors]
    arrived: Callable[[Tensors, Tensors], Tensors]
    recurrent: Callable[[Tensors, Tensors], Any]
    inputs: Callable[[Tensors, Tensors], Any]
    before: Callable[[Tensors, Tensors], Tensors]


def _lstm_forward(inputs: Any, recurrent: Any, states: Tensors) -> tuple[Tensors, Tensors]:
    i, f, g, o = tf.split(inputs + recurrent, 4, axis=-1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    c = f * states[1] + i * g
    return (o * tf.tanh(c), c), (i, f, g, o)


def _lstm_factors(before: Tensors, after: Tensors, kept: Tensors) -> Tensors:
    i, f, g, o = kept
    t = tf.tanh(after[1])
    of_c = (g * i * (1.0 - i), before[1] * f * (1.0 - f), i * (1.0 - g * g))
    return (*of_c, t * o * (1.0 - o), o * (1.0 - t * t), f)


def _lstm_projected(arrived: Tensors, factors: Tensors) -> Any:
    dh, dc = arrived
    return tf.concat([*(dc * factor for factor in factors[:3]), dh * factors[3]], axis=-1)


def _gru_forward(inputs: Any, recurrent: Any, states: Tensors) -> tuple[Tensors, Tensors]:
    (x_z, x_r, x_n), (h_z, h_r, h_n) = tf.split(inputs, 3, axis=-1), tf.split(recurrent, 3, axis=-1)
    z, r = tf.sigmoid(x_z + h_z), tf.sigmoid(x_r + h_r)
    n = tf.tanh(x_n + r * h_n)
    return (n + z * (states[0] - n),), (z, r, n, h_n)


def _gru_factors(before: Tensors, after: Tensors, kept: Tensors) -> Tensors:
    del after
    z, r, n, h_n = kept
    of_n = (1.0 - z) * (1.0 - n * n)
    return ((before[0] - n) * z * (1.0 - z), of_n * h_n * r * (1.0 - r), of_n * r, of_n, z)


def _each(gradient: Any, *factors: Any) -> Any:
    return tf.concat([gradient * factor for factor in factors], axis=-1)


_STEPS = {
    "lstm": _Steps(
        4,
        _lstm_forward,
        _lstm_factors,
        arrived=lambda d, factors: (d[0], d[1] + d[0] * factors[4]),
        recurrent=_lstm_projected,
        inputs=_lstm_projected,
        before=lambda d, factors: (tf.zeros_like(d[0]), d[1] * factors[5]),
    ),
    "gru": _Steps(
        4,
        _gru_forward,
        _gru_factors,
        arrived=lambda d, _: d,
        recurrent=lambda d, factors: _each(d[0], *factors[:3]),
        inputs=lambda d, factors: _each(d[0], *factors[:2], factors[3]),
        before=lambda d, factors: (d[0] * factors[4],),
    ),
    "rnn": _Steps(
        0,
        lambda inputs, recurrent, _: ((tf.tanh(inputs + recurrent),), ()),
        lambda _, after, __: (1.0 - after[0] * after[0],),
        arrived=lambda d, _: d,
        recurrent=lambda d, factors: d[0] * factors[0],
        inputs=lambda d, factors: d[0] * factors[0],
        before=lambda d, _: (tf.zeros_like(d[0]),),
    ),
}


def train_layer(cell: str, layer: Any, x: Any) -> Tensors:
    """What `layer(x)` gives, with a faster gradient where there is no GPU.

    Args:
        cell: key of `CELLS`.
        layer: a built Keras layer of that cell, with the defaults that cuDNN asks for, `return_sequences` and
            `return_state`.
        x: inputs [N, S, D] in float32; S is static.

    Returns:
        The outputs [N, S, units] and the final states, each [N, units].
    """
    if tf.config.list_logical_devices("GPU"):
        outputs: Tensors = layer(x)
        return outputs
    projected = tf.transpose(_project(layer, x), (1, 0, 2))
    kernel, bias = (tf.convert_to_tensor(part) for part in (layer.cell.recurrent_kernel, _state_bias(layer)))
    outputs, *states = _recurrence(cell, projected, kernel, bias)
    return tf.transpose(outputs, (1, 0, 2)), *states


def advance(cell: str, layer: Any, x: Any, states: list[Any]) -> Any:
    """One step of a layer's cell from the same states for many inputs.

    Args:
        cell: key of `CELLS`.
        layer: as for `run_layer`.
        x: inputs [N or 1, F, D].
        states: each [N, units].

    Returns:
        Outputs [N, F, units].
    """
    recurrent = (states[0] @ layer.cell.recurrent_kernel + _state_bias(layer))[:, None]
    before = tuple(state[:, None] for state in states)
    (output, *_), _ = _STEPS[cell].forward(_project(layer, x), recurrent, before)
    return output


def _project(layer: Any, x: Any) -> Any:
    """Inputs in units of the gates; a GRU has a bias for them, other cells have theirs beside the state."""
    kernel = layer.cell.kernel
    projected = tf.reshape(tf.reshape(x, (-1, x.shape[2])) @ kernel, (-1, x.shape[1], kernel.shape[1]))
    return projected + layer.cell.bias[0] if len(layer.cell.bias.shape) > 1 else projected


def _state_bias(layer: Any) -> Any:
    return layer.cell.bias[1] if len(layer.cell.bias.shape) > 1 else layer.cell.bias


def _recurrence(cell: str, projected: Any, kernel: Any, bias: Any) -> Tensors:
    """Outputs [S, N, units] and final states, each [N, units], of projected inputs [S, N, gates]."""
    step, count, units = _STEPS[cell], CELLS[cell].states, kernel.shape[0]

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(projected: Any, kernel: Any, bias: Any) -> tuple[Tensors, Callable[..., Tensors]]:
        steps, size = projected.shape[0], tf.shape(projected)[1]
        start = tuple(tf.zeros((size, units)) for _ in range(count))

        def forward(t: Any, states: Tensors, history: Tensors) -> tuple[Any, Tensors, Tensors]:
            after, kept = step.forward(projected[t], tf.nn.bias_add(states[0] @ kernel, bias), states)
            written = (*after, *kept)
            return t + 1, after, tuple(array.write(t, part) for array, part in zip(history, written, strict=True))

        arrays = tuple(tf.TensorArray(tf.float32, steps, element_shape=(None, units)) for _ in range(count + step.kept))
        _, final, history = tf.while_loop(
            lambda t, *_: t < steps, forward, (0, start, arrays), maximum_iterations=steps
        )
        stacked = tuple(array.stack() for array in history)
        after, kept = stacked[:count], stacked[count:]
        before = tuple(tf.concat([zero[None], part[:-1]], axis=0) for zero, part in zip(start, after, strict=True))

        def gradient(d_outputs: Any, *d_final: Any) -> Tensors:
            factors = step.factors(before, after, kept)

            def backward(t: Any, carried: Tensors, written: Tensors) -> tuple[Any, Tensors, Tensors]:
                at_t = tuple(factor[t] for factor in factors)
                arrived = step.arrived((carried[0] + d_outputs[t], *carried[1:]), at_t)
                through, *others = step.before(arrived, at_t)
                d_state = through + tf.matmul(step.recurrent(arrived, at_t), kernel, transpose_b=True)
                written = tuple(array.write(t, part) for array, part in zip(written, arrived, strict=True))
                return t - 1, (d_state, *others), written

            arrays = tuple(tf.TensorArray(tf.float32, steps, element_shape=(None, units)) for _ in range(count))
            _, _, written = tf.while_loop(
                lambda t, *_: t >= 0, backward, (steps - 1, d_final, arrays), maximum_iterations=steps
            )
            arrived = tuple(array.stack() for array in written)
            d_recurrent = tf.reshape(step.recurrent(arrived, factors), (-1, kernel.shape[1]))
            d_kernel = tf.matmul(tf.reshape(before[0], (-1, units)), d_recurrent, transpose_a=True)
            return step.inputs(arrived, factors), d_kernel, tf.reduce_sum(d_recurrent, axis=0)

        return (after[0], *final), gradient

    outputs: Tensors = run(projected, kernel, bias)
    return outputs
