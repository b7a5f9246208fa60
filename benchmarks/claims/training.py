"""Training of one run, and the cost of a few updates; TensorFlow is loaded here, in the processes of the laboratory."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims.runs import COST_BATCH, COST_FEATURES, COST_LENGTH, Cost, CostRun, Outcome, Run
from benchmarks.claims.tasks import Array, Pair, load_examples
from pipeline.quiet import load_tensorflow

CHUNK = 256  # examples looked at in one go
WARM_UP = 3  # updates before the timed ones

_ettm1: Path | None = None


def prepare(ettm1: Path | None) -> None:
    """Sets TensorFlow up with one thread, once per process."""
    global _ettm1  # noqa: PLW0603
    _ettm1 = ettm1
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # two processes share a GPU
    load_tensorflow(1)


def train_one(run: Run) -> Outcome:
    """Trains the network of a run and measures it at its best."""
    import keras

    from benchmarks.claims.networks import build_model

    start = time.perf_counter()
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    examples = load_examples(run.task, run.seed, _ettm1)
    x, y = examples.train
    model, layer = build_model(run.cell, run.units, x.shape[1:], y.shape[-1], return_sequences=y.ndim == 3)
    update, loss_of = _update(model, run), _loss_of(model)
    order = _Order(len(x), run.batch, np.random.default_rng(run.seed))
    held_out = examples.val or examples.train
    naive = float(np.mean(np.square(held_out[1] - (y.mean(axis=0) if y.ndim == 2 else 0))))
    train: list[float] = []
    val: list[float] = []
    best, best_update, weights, updates = np.inf, 0, model.get_weights(), 0
    while updates < run.updates:
        losses = []
        for _ in range(min(run.every, run.updates - updates)):
            rows = order.next()
            losses.append(update(x[rows], y[rows]))
            updates += 1
        train.append(float(np.mean([float(loss) for loss in losses])))
        # Where nothing is held out, the loss of the updates themselves is what is looked at.
        val.append(train[-1] if examples.val is None else loss_of(examples.val))
        if not np.isfinite(val[-1]):
            break
        if val[-1] < best:
            best, best_update, weights = val[-1], updates, model.get_weights()
        if best <= run.enough * naive or len(val) - best_update / run.every >= run.patience:
            break
    model.set_weights(weights)
    error = best if examples.val is None else loss_of(examples.test)
    return Outcome(
        error=error / examples.naive,
        best=min(best, _LARGEST),
        best_update=best_update,
        updates=updates,
        train=[loss for loss in train if np.isfinite(loss)],
        val=[loss for loss in val if np.isfinite(loss)],
        naive=naive,
        solved=best <= run.enough * naive,
        parameters=int(layer.count_params()),
        seconds=time.perf_counter() - start,
    )


def cost_one(run: CostRun) -> Cost:
    """Times a few updates as the pipeline makes them; to be called in a process that has done nothing before."""
    import keras
    import tensorflow as tf

    from benchmarks.claims.networks import build_model

    start, before = time.perf_counter(), peak_mib()
    keras.utils.set_random_seed(run.seed)
    model, _ = build_model(run.cell, run.units, (COST_LENGTH, COST_FEATURES), 1, return_sequences=False)
    update = _update_of(model, keras.optimizers.Adam(1e-3, global_clipnorm=1.0), compiled=False)
    x = tf.random.normal((COST_BATCH, COST_LENGTH, COST_FEATURES))
    y = tf.random.normal((COST_BATCH, 1))
    seconds = []
    for _ in range(WARM_UP + run.updates):
        began = time.perf_counter()
        float(update(x, y))
        seconds.append(time.perf_counter() - began)
    peak = peak_mib()
    return Cost(float(np.median(seconds[WARM_UP:])), peak, peak - before, time.perf_counter() - start)


def peak_mib() -> float:
    """The most memory that this process had resident at any time."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def device() -> str:
    """What networks are trained on here: `GPU` or `CPU`."""
    import tensorflow as tf

    return "GPU" if tf.config.list_physical_devices("GPU") else "CPU"


_LARGEST = 1e30  # of a loss that is never finite, which JSON cannot hold


class _Order:
    """Batches of a random order, and of another when it is through; the last, smaller one is left out."""

    def __init__(self, count: int, batch: int, rng: np.random.Generator) -> None:
        self._count, self._batch, self._rng = count, min(batch, count), rng
        self._order, self._place = rng.permutation(count), 0

    def next(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The next batch of row numbers."""
        if self._place + self._batch > self._count:
            self._order, self._place = self._rng.permutation(self._count), 0
        self._place += self._batch
        return self._order[self._place - self._batch : self._place]


def _update(model: Any, run: Run) -> Callable[[Array, Array], Any]:
    """One update with Adam."""
    import keras

    clip = {"global": "global_clipnorm", "each": "clipnorm"}[run.clip]
    # Compiled, a long loop over steps is twice as fast on a CPU; on a GPU it would leave cuDNN's kernels.
    return _update_of(model, keras.optimizers.Adam(run.rate, **{clip: 1.0}), compiled=device() == "CPU")


def _update_of(model: Any, optimizer: Any, *, compiled: bool) -> Callable[[Any, Any], Any]:
    import tensorflow as tf

    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=compiled)  # type: ignore[untyped-decorator, unused-ignore]
    def update(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return update  # type: ignore[no-any-return, unused-ignore]


def _loss_of(model: Any) -> Callable[[Pair], float]:
    """The mean squared error over held-out examples, whose number is a multiple of `CHUNK`."""
    import tensorflow as tf

    @tf.function(jit_compile=device() == "CPU")  # type: ignore[untyped-decorator, unused-ignore]
    def mean(x: Any, y: Any) -> Any:
        return tf.reduce_mean(tf.square(model(x, training=False) - y))

    def loss_of(pair: Pair) -> float:
        x, y = pair
        starts = range(0, len(x), CHUNK)
        return float(np.mean([float(mean(x[i : i + CHUNK], y[i : i + CHUNK])) for i in starts]))

    return loss_of
