"""What a process of ours is timed at: training steps, their parts, and the same network in Keras' own loop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.speed.catalogue import AGAINST_BARE, BESIDE, COPIED, EPOCH_WINDOWS, LAYER, PRODUCT, SHAPES, Setup
from benchmarks.speed.process import Measure, Pair
from benchmarks.speed.synthetic import build_fit, build_spec
from pipeline import training
from pipeline.cells import CELLS
from pipeline.cost import multiply_accumulates
from pipeline.gathering import Gather, gather_windows
from pipeline.hparams import NetworkSpec
from pipeline.network import SegmentNetwork, _flat, network_weights, pinball_loss
from pipeline.optimizer import FusedAdam
from pipeline.recurrence import AFTER, train_layer, weights_of
from pipeline.windows import FitSet
from pipeline.worker import peak_memory_mib

CALL = 32  # steps of one call of a graph
Json = dict[str, Any]
Measures = dict[str, Measure | Pair]


class KerasLoop(SegmentNetwork):
    """The same network of one layer, which is trained by the loop of Keras as it is run elsewhere."""

    def _encode(self, segments: Any, static: Any, training: bool | None) -> list[list[Any]]:
        del training  # it would put dropout between several layers
        return super()._encode(segments, static, False)


class PlainLoop(SegmentNetwork):
    """The same network of one layer, whose inputs are projected at once, before a plain loop over the steps.

    Args:
        spec: of the network.
        time_major: whether steps come before windows in memory, which takes a copy, or after.
    """

    def __init__(self, spec: NetworkSpec, *, time_major: bool) -> None:
        super().__init__(spec)
        self._axis = 0 if time_major else 1

    def _encode(self, segments: Any, static: Any, training: bool | None) -> list[list[Any]]:  # noqa: ARG002
        x = tf.nn.relu(_flat(self.embedding, segments) + static)
        return [loop_layer(self.spec.cell, self.recurrent[0], x, axis=self._axis)]


def loop_layer(cell: str, layer: Any, x: Any, *, axis: int) -> list[Any]:
    """The final states [N, units] of a Keras layer, as `PlainLoop` gets them; outputs are collected as by the layer.

    Args:
        cell: `lstm` or `gru`.
        layer: built.
        x: inputs [N, S, D].
        axis: of the steps in the projected inputs.
    """
    weights = weights_of(layer)
    projected = weights.project(x)
    projected = tf.transpose(projected, (1, 0, 2)) if axis == 0 else projected
    zeros = tf.zeros((tf.shape(x)[0], layer.units))

    def step(t: Any, outputs: Any, *states: Any) -> tuple[Any, ...]:
        inputs = projected[t] if axis == 0 else projected[:, t]
        after = AFTER[cell](inputs, weights.project_state(states[0]), states)
        return t + 1, outputs.write(t, after[0]), *after

    outputs = tf.TensorArray(tf.float32, x.shape[1], element_shape=zeros.shape)
    first = (0, outputs, *[zeros] * CELLS[cell].states)
    _, _, *states = tf.while_loop(lambda t, *_: t < x.shape[1], step, first, maximum_iterations=x.shape[1])
    return list(states)


class Recorder:
    """Stands where the network is, and keeps what it is given, so that nothing but the input is computed."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.inputs: Json = {}

    def forecast(self, history: Any, observed: Any, beside: Json, training: Any) -> Any:  # noqa: ARG002  as the network
        self.inputs = {"history": history, "observed": observed, **beside}
        return tf.zeros((1, self.spec.horizon, len(self.spec.quantiles)), tf.float64)


@dataclass(frozen=True)
class Bench:
    """What the measures of a step are built from.

    Attributes:
        spec: of the network.
        fit: its windows.
        rows: [CALL, batch] windows by number.
    """

    spec: NetworkSpec
    fit: FitSet
    rows: Any

    @cached_property
    def gather(self) -> Gather:
        """What gathers its windows."""
        return gather_windows(self.spec, self.fit.train, len(self.fit.loss_scale))

    def batch(self) -> tuple[Json, Any, Any]:
        """Inputs, targets and scales of the first batch."""
        train, rows = self.fit.train, self.rows[0]
        inputs = {name: tf.constant(value) for name, value in train.inputs(self.spec, rows).items()}
        return inputs, tf.constant(train.targets(rows)), tf.constant(self.fit.loss_scale[train.series[rows]])

    def ready(self, network: SegmentNetwork) -> tuple[Json, Any, Any]:
        """The same as training has it: covariates are in units of the training part already."""
        inputs, target, scale = self.batch()
        return network.beside(inputs), target, scale

    def loss(self, network: SegmentNetwork, training: bool) -> Any:
        """The loss of a batch as a function of what `ready` gives."""

        def loss_of(batch: tuple[Json, Any, Any]) -> Any:
            inputs, target, scale = batch
            forecast = network.forecast(inputs["history"], inputs["observed"], inputs, training)
            return pinball_loss(target, forecast, scale, self.spec.quantiles)

        return loss_of


def build(setup: Setup, folder: Path) -> tuple[Json, Measures]:
    """Builds all that a process can be asked for.

    Args:
        setup: of the process.
        folder: where `Setup.exchange` is written.

    Returns:
        Facts about what was built, and the measures by name.
    """
    keras.utils.set_random_seed(1)
    if setup.bfloat16:
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
    if setup.task == "product":
        return {}, {"product": _product()}
    if setup.task == "layer":
        return {}, _layers(setup.cell)
    return _steps(setup, folder)


def _steps(setup: Setup, folder: Path) -> tuple[Json, Measures]:
    shape = SHAPES[setup.shape]
    fit = build_fit(shape)
    spec = build_spec(setup.cell, shape, setup.batch, fit)
    network, optimizer, rng = training._start(spec, 1)
    fill_linear(network, rng)
    batch = spec.hparams.batch_size
    bench = Bench(spec, fit, training._batches(fit.train, batch, CALL * batch, rng))
    train_epoch = training._training(network, optimizer, bench.gather, fit.train, fit.loss_scale)
    whole = Measure(lambda: float(train_epoch(bench.rows)), CALL)
    first, second = _seconds(whole.run), _seconds(whole.run)
    facts = {
        "trace_seconds": first - second,
        "peak_memory_mib": peak_memory_mib(),  # before anything else is built
        "multiply_accumulates": multiply_accumulates(spec),
        "parameters": int(network.count_params()),
        "windows": len(fit.train),
        "inputs": sum(int(np.prod(value.shape[1:])) for value in bench.batch()[0].values()),
        "batch": batch,
    }
    if setup.exchange:
        save_exchange(bench, network, folder / setup.exchange)
    epoch_steps = EPOCH_WINDOWS // batch
    builders: dict[str, Callable[[], Measure | Pair]] = {
        "whole": lambda: whole,
        "bare": lambda: _stepping(bench, network, optimizer),
        AGAINST_BARE: lambda: Pair(
            Measure(lambda: float(train_epoch(bench.rows[:BESIDE])), BESIDE),
            _stepping(bench, network, optimizer, count=BESIDE),
        ),
        COPIED: lambda: Pair(
            _stepping(bench, network, optimizer, count=BESIDE, copying=True),
            _stepping(bench, network, optimizer, count=BESIDE),
        ),
        "xla": lambda: _stepping(bench, network, optimizer, jit_compile=True),
        "keras": lambda: _keras_loop(bench),
        "time-major": lambda: _stepping(bench, *_with_optimizer(PlainLoop(spec, time_major=True))),
        "batch-major": lambda: _stepping(bench, *_with_optimizer(PlainLoop(spec, time_major=False))),
        "one step a call": lambda: _one_a_call(bench, network, optimizer),
        "forward": lambda: _forward(bench, network),
        "gradient": lambda: _gradient(bench, network),
        "gather": lambda: _gathering(bench),
        "draw": lambda: Measure(
            partial(training._batches, fit.train, batch, EPOCH_WINDOWS, np.random.default_rng(1)), epoch_steps
        ),
        # An epoch of no steps: what is left is the call.
        "call": lambda: Measure(lambda: float(train_epoch(bench.rows[:0])), epoch_steps),
    }
    return facts, {name: builders[name]() for name in setup.measures}


def _stepping(
    bench: Bench,
    network: Any,
    optimizer: Any,
    *,
    count: int = CALL,
    jit_compile: bool = False,
    copying: bool = False,
) -> Measure:
    """Steps on one batch, whole but for the gathering of windows, in whose place all inputs may be copied."""
    loss_of, weights = bench.loss(network, True), network.trainable_variables

    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(batch)
        optimizer.apply(tape.gradient(loss, weights), weights)
        # A sum with what is known at the end of the step alone: it is written anew, whatever could be left out.
        return loss + _touched(x + tf.cast(loss, x.dtype) for x in batch[0].values()) if copying else loss

    return _looped(step, bench.ready(network), count, jit_compile=jit_compile)


def _keras_loop(bench: Bench) -> Measure:
    """As `bare`, as one would write it with Keras' own layers and its own Adam."""
    network = KerasLoop(bench.spec)
    optimizer = keras.optimizers.Adam(bench.spec.hparams.learning_rate, global_clipnorm=1.0)
    optimizer.build(network.trainable_variables)
    return _stepping(bench, network, optimizer)


def _with_optimizer(network: SegmentNetwork) -> tuple[SegmentNetwork, FusedAdam]:
    optimizer = FusedAdam(network.spec.hparams.learning_rate, global_clipnorm=1.0)
    optimizer.build(network.trainable_variables)
    return network, optimizer


def _one_a_call(bench: Bench, network: SegmentNetwork, optimizer: Any) -> Measure:
    """Whole steps, each of which Python calls for."""
    fit, weights = bench.fit, network.trainable_variables
    loss_of = training._loss(network, bench.gather, fit.train, fit.loss_scale)

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]
    def step(rows: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(rows, True)
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    def run() -> None:
        for rows in bench.rows:
            loss = step(tf.constant(rows))
        float(loss)

    return Measure(run, CALL)


def _forward(bench: Bench, network: Any) -> Measure:
    return _looped(bench.loss(network, True), bench.ready(network), CALL)


def _gradient(bench: Bench, network: Any) -> Measure:
    return _looped(_with_gradient(bench.loss(network, True), network.trainable_variables), bench.ready(network), CALL)


def _gathering(bench: Bench) -> Measure:
    """What the epoch's graph does to get its batches, of which one number of each array is used."""
    recorder, fit = Recorder(bench.spec), bench.fit
    loss_of = training._loss(recorder, bench.gather, fit.train, fit.loss_scale)  # type: ignore[arg-type]

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]
    def run(batches: Any) -> Any:
        total = tf.zeros(())
        for rows in batches:
            loss_of(rows, True)
            total += _touched(recorder.inputs.values())
        return total

    batches = tf.constant(bench.rows)
    return Measure(lambda: float(run(batches)), CALL)


def _layers(cell: str) -> Measures:
    """Forward and backward of a recurrent layer, by Keras and by us."""
    layer = getattr(keras.layers, CELLS[cell].layer)(LAYER.units, return_sequences=True, return_state=True)
    layer.build((None, LAYER.steps, LAYER.inputs))
    x = tf.constant(np.random.default_rng(1).normal(size=(LAYER.batch, LAYER.steps, LAYER.inputs)), tf.float32)

    def measure(run: Callable[[Any], Any]) -> Measure:
        weights = [weight.value for weight in layer.trainable_variables]
        return _looped(_with_gradient(lambda value: tf.reduce_sum(run(value)[1]), weights), x, CALL // 4)

    return {"keras": measure(layer), "ours": measure(lambda value: train_layer(cell, layer, value))}


def _product() -> Measure:
    """One large product of matrices, which is what the machine can do at best."""
    a, b = (tf.random.normal((PRODUCT, PRODUCT)) for _ in range(2))
    multiply = tf.function(tf.matmul, jit_compile=False)
    return Measure(lambda: float(multiply(a, b)[0, 0]), 1)


def _with_gradient(loss_of: Callable[[Any], Any], weights: Sequence[Any]) -> Callable[[Any], Any]:
    """The loss, once the gradient by every weight is there too."""

    def compute(value: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(value)
        return loss + _touched(map(tf.convert_to_tensor, tape.gradient(loss, weights)))

    return compute


def _looped(step: Callable[[Any], Any], value: Any, count: int, *, jit_compile: bool = False) -> Measure:
    """A loop over the same value in one graph; the value is no constant of it, so nothing is computed beforehand."""

    @tf.function(jit_compile=jit_compile)  # type: ignore[untyped-decorator]
    def run(value: Any, steps: Any) -> Any:
        total = tf.zeros(())
        for _ in tf.range(steps):
            total += step(value)
        return total

    steps = tf.constant(count)
    return Measure(lambda: float(run(value, steps)), count)


def _touched(tensors: Any) -> Any:
    """One number of each tensor, added up, for which the whole of it has to be computed."""
    return tf.add_n([tf.cast(tf.reshape(tensor, [-1])[-1], tf.float32) for tensor in tensors])


def fill_linear(network: SegmentNetwork, rng: np.random.Generator) -> None:
    """Gives the linear forecast, where there is one, weights that are not zero, as a fit would."""
    if network.spec.hparams.linear == "ridge":
        network.linear.kernel.assign(0.01 * rng.standard_normal(network.linear.kernel.shape))


def save_exchange(bench: Bench, network: SegmentNetwork, path: Path) -> None:
    """Writes weights, a batch, and what the network forecasts of it and loses by it, without dropout."""
    inputs, target, scale = bench.batch()
    np.savez(
        path,
        allow_pickle=False,
        spec=json.dumps(bench.spec.to_json()),
        target=np.asarray(target),
        loss_scale=np.asarray(scale),
        forecast=np.asarray(network(inputs, training=False)),
        loss=np.asarray(bench.loss(network, False)(bench.ready(network))),
        **{f"inputs/{name}": np.asarray(value) for name, value in inputs.items()},
        **{f"weights/{name}": value for name, value in network_weights(network).items()},
    )


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
