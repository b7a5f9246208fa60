"""Training of one network: windows gathered in the graph, early stopping on validation, bits that repeat."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.gathering import Gather, gather_windows
from pipeline.hparams import NetworkSpec
from pipeline.network import SegmentNetwork, pinball_loss
from pipeline.optimizer import FusedAdam
from pipeline.ridge import ALPHAS, choose_kernel, fit_kernels
from pipeline.windows import FitSet, Floats, Ints, Windows, draw_rows

VAL_BATCH_SIZE = 512  # windows
VAL_WINDOWS = 8192  # of a larger split that many are looked at, always the same ones


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave; losses are in units of each series' seasonal naive error."""

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
        alpha: penalty of the ridge regression that the network starts from; None for none.
        windows: training windows seen in all epochs, most of them more than once.
    """

    network: SegmentNetwork
    epochs: list[Epoch]
    best_epoch: int
    val_loss: float
    seconds: list[float]
    alpha: float | None
    windows: int


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
) -> Trained:
    """Trains one network with Adam and a cosine schedule, and stops early on validation.

    Args:
        spec: the network.
        fit: training and validation windows.
        seed: of the weights, the order of the windows and dropout.
        max_epochs: after which the learning rate reaches zero.
        patience: epochs without a lower validation loss before training stops.
        windows_per_epoch: windows drawn for each epoch, none again before all were drawn; None takes all once.

    Returns:
        The network at its best epoch, and the learning curve.

    Raises:
        NonFiniteLossError: the loss is no longer a number.
    """
    network, optimizer, rng = _start(spec, seed)
    alpha = None
    if spec.hparams.linear == "ridge":
        log1p = spec.hparams.transform == "log1p"
        kernels = fit_kernels(fit.train, fit.loss_scale, normalise=network.normalised_arrays, log1p=log1p)
        best_kernel = choose_kernel(kernels, fit.val, fit.loss_scale, normalise=network.normalised_arrays, log1p=log1p)
        alpha = ALPHAS[best_kernel]
        network.linear.kernel.assign(kernels[best_kernel])
    gather = gather_windows(spec, fit.train, len(fit.loss_scale))  # those of the validation part too
    train_epoch = _training(network, optimizer, gather, fit.train, fit.loss_scale)
    val_loss_of = _validation(network, gather, fit.val, fit.loss_scale)
    epochs: list[Epoch] = []
    seconds: list[float] = []
    seen = 0
    best, best_weights = None, network.get_weights()
    for number in range(1, max_epochs + 1):
        start = time.perf_counter()
        rate = _rate(spec, number, max_epochs)
        optimizer.learning_rate.assign(rate)
        batches = _batches(fit.train, spec.hparams.batch_size, windows_per_epoch, rng)
        loss = float(train_epoch(batches))
        seen += batches.size
        epoch = Epoch(number, loss, val_loss_of(), float(rate))
        if not np.isfinite([epoch.loss, epoch.val_loss]).all():
            raise NonFiniteLossError(f"loss {epoch.loss}, validation loss {epoch.val_loss} in epoch {number}")
        epochs.append(epoch)
        seconds.append(time.perf_counter() - start)
        if best is None or epoch.val_loss < best.val_loss:
            best, best_weights = epoch, network.get_weights()
        if number - best.epoch >= patience:
            break
    assert best is not None
    network.set_weights(best_weights)
    return Trained(network, epochs, best.epoch, best.val_loss, seconds, alpha, seen)


def refit_network(
    spec: NetworkSpec,
    windows: Windows,
    loss_scale: Floats,
    *,
    seed: int,
    epochs: int,
    alpha: float | None,
    max_epochs: int,
    windows_per_epoch: int | None,
) -> SegmentNetwork:
    """Trains one network as `fit_network` did, on more windows and for a known number of epochs.

    Args:
        spec: the network.
        windows: all of them are trained on.
        loss_scale: [S] as `FitSet.refit_scale`.
        seed: as for `fit_network`.
        epochs: after which `fit_network` found its best.
        alpha: `Trained.alpha`.
        max_epochs: as for `fit_network`: the learning rate falls as it did there.
        windows_per_epoch: as for `fit_network`.

    Returns:
        The network after the last epoch.

    Raises:
        NonFiniteLossError: the loss is no longer a number.
    """
    network, optimizer, rng = _start(spec, seed)
    if alpha is not None:
        log1p = spec.hparams.transform == "log1p"
        kernels = fit_kernels(windows, loss_scale, normalise=network.normalised_arrays, log1p=log1p, alphas=[alpha])
        network.linear.kernel.assign(kernels[0])
    gather = gather_windows(spec, windows, len(loss_scale))
    train_epoch = _training(network, optimizer, gather, windows, loss_scale)
    for number in range(1, epochs + 1):
        optimizer.learning_rate.assign(_rate(spec, number, max_epochs))
        loss = float(train_epoch(_batches(windows, spec.hparams.batch_size, windows_per_epoch, rng)))
        if not np.isfinite(loss):
            raise NonFiniteLossError(f"loss {loss} in epoch {number} of the refit")
    return network


def _start(spec: NetworkSpec, seed: int) -> tuple[SegmentNetwork, keras.optimizers.Optimizer, np.random.Generator]:
    """A new network, its optimizer, and what draws its windows."""
    keras.utils.set_random_seed(seed)
    network = SegmentNetwork(spec)
    optimizer = FusedAdam(spec.hparams.learning_rate, global_clipnorm=1.0)
    optimizer.build(network.trainable_variables)
    return network, optimizer, np.random.default_rng(seed)


def _rate(spec: NetworkSpec, number: int, max_epochs: int) -> float:
    """The learning rate of an epoch: half a cosine, from the one searched down to nearly zero."""
    return float(spec.hparams.learning_rate * 0.5 * (1 + np.cos(np.pi * (number - 1) / max_epochs)))


def _batches(windows: Windows, batch_size: int, windows_per_epoch: int | None, rng: np.random.Generator) -> Ints:
    """One epoch's windows [steps, batch] by number, in random order; the incomplete last batch is left out."""
    count = windows_per_epoch or len(windows)
    rounds = -(-count // len(windows))
    order = np.concatenate([rng.permutation(len(windows)) for _ in range(rounds)])[:count]
    batch_size = min(batch_size, len(order))
    steps = len(order) // batch_size
    batches: Ints = order[: steps * batch_size].reshape(steps, batch_size)
    return batches


def _loss(network: SegmentNetwork, gather: Gather, windows: Windows, loss_scale: Floats) -> Callable[[Any, Any], Any]:
    """The loss of windows by number, in training or not, as a function to be traced: it gathers its own windows."""
    positions, numbers, scales = (tf.constant(part) for part in (windows.positions, windows.series, loss_scale))

    def loss_of(rows: Any, training: Any) -> Any:
        batch = gather(tf.gather(positions, rows), tf.gather(numbers, rows))
        observed = tf.cast(tf.math.is_finite(batch.history), tf.float32)
        forecast = network.forecast(batch.history, observed, batch.beside, training)
        return pinball_loss(batch.target, forecast, tf.gather(scales, batch.series), network.spec.quantiles)

    return loss_of


def _training(
    network: SegmentNetwork,
    optimizer: keras.optimizers.Optimizer,
    gather: Gather,
    windows: Windows,
    loss_scale: Floats,
) -> Callable[[Ints], Any]:
    """An epoch of training over batches of windows [steps, batch], as one graph; gives the mean loss."""
    loss_of = _loss(network, gather, windows, loss_scale)

    # Without AutoGraph, which would read and rewrite all that a step calls: over a second of each process.
    @tf.function(autograph=False, jit_compile=False)  # type: ignore[untyped-decorator]
    def train_epoch(batches: Any) -> Any:
        steps = tf.shape(batches)[0]

        def step(number: Any, total: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                loss = loss_of(batches[number], True)
            optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
            return number + 1, total + loss

        _, total = tf.while_loop(lambda number, _: number < steps, step, (0, tf.zeros(())))
        return total / tf.cast(steps, tf.float32)

    return lambda batches: train_epoch(tf.constant(batches))


def _validation(network: SegmentNetwork, gather: Gather, windows: Windows, loss_scale: Floats) -> Callable[[], float]:
    """The mean loss over the windows of a split, or over `VAL_WINDOWS` of them."""
    loss_of = _loss(network, gather, windows, loss_scale)

    @tf.function(autograph=False, jit_compile=False, reduce_retracing=True)  # type: ignore[untyped-decorator]
    def loss_sum(rows: Any) -> Any:
        return loss_of(rows, False) * tf.cast(tf.size(rows), tf.float32)

    chosen = draw_rows(len(windows), VAL_WINDOWS)
    rows = [tf.constant(chosen[start : start + VAL_BATCH_SIZE]) for start in range(0, len(chosen), VAL_BATCH_SIZE)]
    return lambda: sum(float(loss_sum(r)) for r in rows) / len(chosen)
