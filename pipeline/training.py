"""Training of one network: windows gathered in the graph, early stopping on validation, bits that repeat."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.hparams import NetworkSpec
from pipeline.network import SegmentNetwork, pinball_loss
from pipeline.windows import FitSet, Ints, Windows

VAL_BATCH_SIZE = 512  # windows


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; losses are in units of each series' standard deviation."""

    epoch: int
    loss: float
    val_loss: float
    learning_rate: float


@dataclass(frozen=True)
class Trained:
    """A trained network at its best epoch.

    Attributes:
        network: with the weights of the best epoch.
        epochs: the learning curve.
        best_epoch: number of the epoch with the lowest validation loss.
        val_loss: that loss.
        seconds: wall time of each epoch.
    """

    network: SegmentNetwork
    epochs: list[Epoch]
    best_epoch: int
    val_loss: float
    seconds: list[float]


class NonFiniteLossError(ArithmeticError):
    """Training diverged."""


def fit_network(
    spec: NetworkSpec,
    fit: FitSet,
    *,
    seed: int,
    max_epochs: int,
    patience: int,
    windows_per_epoch: int | None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Trains one network with Adam and a cosine schedule, and stops early on validation.

    Args:
        spec: the network.
        fit: training and validation windows.
        seed: of the weights, the order of the windows and dropout.
        max_epochs: after which the learning rate reaches zero.
        patience: epochs without a lower validation loss before training stops.
        windows_per_epoch: windows drawn for each epoch without replacement; None takes all.
        on_epoch: is told about every epoch.

    Returns:
        The network at its best epoch, and the learning curve.

    Raises:
        NonFiniteLossError: the loss is no longer a number.
    """
    keras.utils.set_random_seed(seed)
    network = SegmentNetwork(spec)
    optimizer = keras.optimizers.Adam(spec.hparams.learning_rate, global_clipnorm=1.0)
    optimizer.build(network.trainable_variables)
    train_epoch, val_loss_of = _compile(network, optimizer, fit)
    rng = np.random.default_rng(seed)
    epochs: list[Epoch] = []
    seconds: list[float] = []
    best, best_weights = None, network.get_weights()
    for number in range(1, max_epochs + 1):
        start = time.perf_counter()
        rate = spec.hparams.learning_rate * 0.5 * (1 + np.cos(np.pi * (number - 1) / max_epochs))
        optimizer.learning_rate.assign(rate)
        loss = float(train_epoch(_batches(fit.train, spec.hparams.batch_size, windows_per_epoch, rng)))
        epoch = Epoch(number, loss, val_loss_of(), float(rate))
        if not np.isfinite([epoch.loss, epoch.val_loss]).all():
            raise NonFiniteLossError(f"loss {epoch.loss}, validation loss {epoch.val_loss} in epoch {number}")
        epochs.append(epoch)
        seconds.append(time.perf_counter() - start)
        if on_epoch is not None:
            on_epoch(epoch)
        if best is None or epoch.val_loss < best.val_loss:
            best, best_weights = epoch, network.get_weights()
        if number - best.epoch >= patience:
            break
    assert best is not None
    network.set_weights(best_weights)
    return Trained(network, epochs, best.epoch, best.val_loss, seconds)


def _batches(windows: Windows, batch_size: int, windows_per_epoch: int | None, rng: np.random.Generator) -> Ints:
    """One epoch's windows [steps, batch] by number, in random order; the incomplete last batch is left out."""
    order = rng.permutation(len(windows))[:windows_per_epoch]
    batch_size = min(batch_size, len(order))
    steps = len(order) // batch_size
    batches: Ints = order[: steps * batch_size].reshape(steps, batch_size)
    return batches


def _compile(
    network: SegmentNetwork, optimizer: keras.optimizers.Optimizer, fit: FitSet
) -> tuple[Callable[[Ints], Any], Callable[[], float]]:
    """An epoch of training and the validation loss, each as one graph that gathers its own windows."""
    quantiles = network.spec.quantiles
    values = tf.constant(fit.train.values)
    scales = tf.constant(fit.loss_scale)

    def loss_of(windows: Any, rows: Any, training: Any) -> Any:
        positions = tf.gather(windows[0], rows)
        steps = tf.range(-network.spec.context_length, network.spec.horizon, dtype=tf.int64)
        window = tf.gather(values, positions[:, None] + steps)
        history, target = window[:, : network.spec.context_length], window[:, network.spec.context_length :]
        inputs = {"history": history, "observed": tf.cast(tf.math.is_finite(history), tf.float32)}
        scale = tf.gather(scales, tf.gather(windows[1], rows))
        return pinball_loss(target, network(inputs, training=training), scale, quantiles)

    train_windows, val_windows = _tensors(fit.train), _tensors(fit.val)

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]
    def train_epoch(batches: Any) -> Any:
        total = tf.zeros(())
        for rows in batches:
            with tf.GradientTape() as tape:
                loss = loss_of(train_windows, rows, True)
            optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
            total += loss
        return total / tf.cast(tf.shape(batches)[0], tf.float32)

    @tf.function(jit_compile=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def val_loss(rows: Any) -> Any:
        return loss_of(val_windows, rows, False) * tf.cast(tf.size(rows), tf.float32)

    rows = [
        tf.constant(np.arange(start, min(start + VAL_BATCH_SIZE, len(fit.val))))
        for start in range(0, len(fit.val), VAL_BATCH_SIZE)
    ]

    def val_loss_of() -> float:
        return sum(float(val_loss(r)) for r in rows) / len(fit.val)

    return lambda batches: train_epoch(tf.constant(batches)), val_loss_of


def _tensors(windows: Windows) -> tuple[Any, Any]:
    return tf.constant(windows.positions), tf.constant(windows.series)
