"""The recurrence that training uses on a CPU, against the Keras layers it stands in for."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.cells import CELLS
from pipeline.recurrence import UNROLLED, advance, train_layer

LOOPS = {"While", "StatelessWhile"}
SHAPES = [(3, 1, 5, 4), (1, 2, 4, 7), (6, 30, 8, 8), (2, UNROLLED, 3, 4)]  # windows, steps, inputs, units


def build_layer(cell: str, inputs: int, units: int) -> Any:
    keras.utils.set_random_seed(5)
    layer = getattr(keras.layers, CELLS[cell].layer)(units, return_sequences=True, return_state=True)
    layer.build((None, None, inputs))
    for weight in layer.trainable_variables:  # biases too: Keras starts them at 0 and 1
        weight.assign(np.random.default_rng(2).normal(0, 0.5, weight.shape))
    return layer


def gradients(run: Any, layer: Any, x: Any, *, last_only: bool) -> list[Any]:
    """Outputs and their gradients by the input and every weight, of a sum that weighs each output differently."""
    weights = [weight.value for weight in layer.trainable_variables]

    @tf.function
    def compute() -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs, *states = run(x)
            parts = [states[0]] if last_only else [outputs, *states]
            weighted = (p * tf.cos(tf.reshape(tf.range(tf.size(p), dtype=tf.float32), tf.shape(p))) for p in parts)
            total = sum(tf.reduce_sum(p) for p in weighted)
        return [outputs, *states, *tape.gradient(total, [x, *weights])]

    return [np.asarray(value) for value in compute()]


@pytest.mark.parametrize("last_only", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_outputs_states_and_gradients_equal_those_of_the_keras_layer(
    cell: str, shape: tuple[int, int, int, int], last_only: bool
) -> None:
    windows, steps, inputs, units = shape
    layer = build_layer(cell, inputs, units)
    x = tf.constant(np.random.default_rng(1).standard_normal((windows, steps, inputs)), tf.float32)
    ours = gradients(lambda value: train_layer(cell, layer, value), layer, x, last_only=last_only)
    keras_own = gradients(layer, layer, x, last_only=last_only)
    assert len(ours) == len(keras_own) == 1 + CELLS[cell].states + 1 + len(layer.trainable_variables)
    for a, b in zip(ours, keras_own, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("cell", CELLS)
def test_a_gradient_equals_differences_of_the_output(cell: str) -> None:
    layer = build_layer(cell, 3, 4)
    x = np.random.default_rng(3).standard_normal((2, 5, 3)).astype(np.float32)
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        total = tf.reduce_sum(train_layer(cell, layer, tensor)[0])
    gradient = np.asarray(tape.gradient(total, tensor))
    for place in [(0, 0, 0), (1, 4, 2), (0, 2, 1)]:
        change = np.zeros_like(x)
        change[place] = 1e-2
        high, low = (float(tf.reduce_sum(train_layer(cell, layer, tf.constant(x + s * change))[0])) for s in (1, -1))
        assert gradient[place] == pytest.approx((high - low) / 2e-2, abs=2e-3)


@pytest.mark.parametrize("known", ["same for all windows", "its own for each window"])
@pytest.mark.parametrize("cell", CELLS)
def test_one_step_for_many_inputs_equals_the_cell_on_repeated_states(cell: str, known: str) -> None:
    layer, rng = build_layer(cell, 6, 4), np.random.default_rng(4)
    windows, segments = 5, 3
    states = [tf.constant(rng.standard_normal((windows, 4)), tf.float32) for _ in range(CELLS[cell].states)]
    count = 1 if known == "same for all windows" else windows
    x = tf.constant(rng.standard_normal((count, segments, 6)), tf.float32)
    every = tf.reshape(tf.broadcast_to(x, (windows, segments, 6)), (-1, 6))
    expected, _ = layer.cell(every, [tf.repeat(state, segments, axis=0) for state in states])
    got = advance(cell, layer, x, states)
    np.testing.assert_allclose(got, tf.reshape(expected, (windows, segments, 4)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_trained_here_has_no_loop(cell: str) -> None:
    layer = build_layer(cell, 3, 4)
    x = tf.zeros((2, UNROLLED, 3))
    assert not operations(lambda: train_layer(cell, layer, x)) & LOOPS
    assert operations(lambda: layer(x)) & LOOPS


@pytest.mark.parametrize("cell", CELLS)
def test_with_a_gpu_or_for_many_steps_the_layer_itself_is_trained(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def layer(x: Any) -> tuple[Any, str]:
        return x, "state"

    many, few = tf.zeros((1, UNROLLED + 1, 3)), tf.zeros((1, 2, 3))
    assert train_layer(cell, layer, many) == (many, "state")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [f"/device:{kind}:0"])
    assert train_layer(cell, layer, few) == (few, "state")


def operations(run: Any) -> set[str]:
    """The kinds of operations in the graph of a function."""
    return {operation.type for operation in tf.function(run).get_concrete_function().graph.get_operations()}
