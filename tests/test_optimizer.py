"""The optimizer, against the one of Keras that it stands in for."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.optimizer import FusedAdam


def path_of(optimizer: Any, *, graph: bool) -> list[Any]:
    """The weights after each of twenty steps down a bowl that is steep one way and flat the other."""
    rng = np.random.default_rng(0)
    weights = [keras.Variable(rng.standard_normal(shape), dtype="float32") for shape in ((3, 2), (4,))]
    optimizer.build(weights)

    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(100 * weights[0].value ** 2) + tf.reduce_sum((weights[1].value - 1) ** 4)
        optimizer.apply(tape.gradient(loss, [w.value for w in weights]), weights)

    run, path = tf.function(step) if graph else step, []
    for number in range(20):
        optimizer.learning_rate.assign(0.1 / (1 + number))
        run()
        path.append(np.concatenate([np.ravel(w) for w in weights]))
    return path


def test_every_step_is_that_of_keras_adam() -> None:
    for arguments in ({}, {"global_clipnorm": 1.0}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 0.1}):
        expected = path_of(keras.optimizers.Adam(0.1, **arguments), graph=True)
        for graph in (True, False):
            np.testing.assert_allclose(
                path_of(FusedAdam(0.1, **arguments), graph=graph), expected, rtol=2e-5, atol=1e-5
            )
