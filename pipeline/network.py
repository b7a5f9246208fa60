"""The forecasting network: recurrence over segments, normalised per window, quantiles out.

Segments and the parallel decoder follow SegRNN (arXiv 2308.11200). Normalisation is inside, so a
network is a pure function of raw history and equivariant to affine changes of it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import expm1, log
from pathlib import Path
from statistics import NormalDist
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from pipeline.cells import CELLS
from pipeline.errors import BundleError
from pipeline.hparams import COPIED_AT_LEAST, UNKNOWN, NetworkSpec
from pipeline.recurrence import advance, train_layer
from pipeline.storage import replacing

UNKNOWN_SHARE = 0.1  # of the categories that training is shown as unknown


@keras.saving.register_keras_serializable("gatecast")
class SegmentNetwork(keras.Model):  # type: ignore[misc]
    """Forecasts quantiles of the next steps from raw history.

    Inputs: `history [N, C]` in float64 (anything where not observed) and `observed [N, C]`, 1 or 0; where the spec
    has them `past [N, C, P]` and `future [N, H, K]` in float64 (NaN is missing), `static_cat [N, J]` in int64 (0 is
    unknown) and `static_num [N, R]` in float64.
    Output: `[N, H, Q]` in float64, ascending along the last axis.

    Args:
        spec: cell, lengths, quantiles and hyperparameters.
    """

    def __init__(self, spec: NetworkSpec, **kwargs: Any) -> None:
        super().__init__(autocast=False, **{"name": "network", **kwargs})
        self.spec = spec
        h, inputs = spec.hparams, spec.inputs
        recurrent = getattr(layers, CELLS[spec.cell].layer)
        self.embedding = layers.Dense(h.units, name="embedding")
        # Only arguments inside the envelope of the cuDNN kernels: their defaults.
        self.recurrent = [
            recurrent(h.units, return_sequences=True, return_state=True, name=f"recurrent_{i}") for i in range(h.layers)
        ]
        self.drop = layers.Dropout(h.dropout, name="dropout")
        self.head = layers.Dense(
            h.segment_length * len(spec.quantiles), bias_initializer=_InitialQuantiles(spec.quantiles), name="head"
        )
        self.embedding.build((None, spec.past_segments, (2 + len(inputs.past)) * h.segment_length))
        for layer in self.recurrent:
            layer.build((None, spec.past_segments, h.units))
        self.head.build((None, spec.future_segments, h.units))
        if h.head == "copy":  # starts as the mean of all past segments
            self.attention = layers.Dense(spec.past_segments, kernel_initializer="zeros", name="copy")
            self.attention.build((None, h.units))
        if h.linear == "ridge":
            # Fitted in closed form before training, and left alone by it.
            self.linear = layers.Dense(
                spec.horizon, use_bias=False, kernel_initializer="zeros", trainable=False, name="linear"
            )
            self.linear.build((None, h.context_used))
        if inputs.future:
            self.future = layers.Dense(h.units, activation="relu", name="future")
            self.future.build((None, spec.future_segments, len(inputs.future) * h.segment_length))
        if inputs.numeric:
            self.static = layers.Dense(h.units, use_bias=False, name="static")
            self.static.build((None, len(inputs.numeric)))
        self.unknown = layers.Dropout(UNKNOWN_SHARE, name="unknown")
        self.categories = [
            self.add_weight(
                shape=(count + 1, h.units),
                initializer=keras.initializers.RandomNormal(stddev=0.1),
                name=f"category_{i}",
            )
            for i, count in enumerate(inputs.categories)
        ]
        self.position = self.add_weight(
            shape=(spec.future_segments, h.units),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="position",
        )
        self.built = True

    def build(self, input_shape: Any = None) -> None:
        """Everything is built with the object: its shapes are in the spec."""

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """Forecasts.

        Args:
            inputs: as above, by name.
            training: whether dropout is on.

        Returns:
            Quantiles `[N, H, Q]` in the units of the history.
        """
        return self.forecast(inputs["history"], inputs["observed"], self.beside(inputs), training)

    def forecast(self, history: Any, observed: Any, beside: Mapping[str, Any], training: bool | None = None) -> Any:
        """Forecasts, with what stands beside the history in units of the training part already.

        Args:
            history: as the input.
            observed: as the input.
            beside: the other inputs, as `beside` gives them.
            training: whether dropout is on.

        Returns:
            As the output.
        """
        z, mask, location, scale = self.normalise(history, observed)
        quantiles, _ = self.explain(z, mask, beside, training)
        forecast = ops.cast(quantiles, "float64") * scale[:, :, None] + location[:, :, None]
        return ops.expm1(forecast) if self.spec.hparams.transform == "log1p" else forecast

    def beside(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs with numbers in units of the training part, in float32 and 0 where missing."""
        return dict(inputs) | {name: scaled(inputs[name], *pair) for name, pair in self.spec.inputs.scaling().items()}

    def explain(self, z: Any, mask: Any, beside: Mapping[str, Any], training: bool | None = None) -> tuple[Any, Any]:
        """Forecasts a window that is normalised already.

        Args:
            z: [N, used] normalised values in float32, 0 where nothing is observed.
            mask: [N, used] what of them is observed.
            beside: the other inputs, as `beside` gives them.
            training: whether dropout is on.

        Returns:
            Quantiles [N, H, Q] in units of the window's scale, and how much of each past segment the copy takes for
            each future one, [N, F, S] (None for no copy).
        """
        segments = self._segments(z, mask)
        static = self._static(beside, training)
        states = self._encode(self._with_past(segments, beside), static, training)
        decoded = self._decode(states, self._future(beside), static, training)
        quantiles, weights = _spread(self._quantiles(decoded), len(self.spec.quantiles) // 2), None
        if self.spec.hparams.head == "copy":
            weights = tf.nn.softmax(_flat(self.attention, decoded))  # the one of Keras warns of a single segment
            quantiles = quantiles + self._copied(weights, segments)[:, :, None]
        if self.spec.hparams.linear == "ridge":
            quantiles = quantiles + self.linear(z)[:, :, None]
        return quantiles, weights

    def normalised_arrays(self, history: Any, observed: Any) -> tuple[Any, Any, Any]:
        """Normalised values [N, used] of windows, their location and their scale [N, 1], as arrays."""
        z, _, location, scale = self.normalise(history, observed)
        return np.asarray(z, np.float64), np.asarray(location), np.asarray(scale)

    def get_config(self) -> dict[str, Any]:
        """The spec; the weights are stored apart."""
        return {"spec": self.spec.to_json(), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SegmentNetwork:  # noqa: ARG003  Keras' own
        """Builds the network that `get_config` describes."""
        return cls(NetworkSpec.from_json(config["spec"]), name=config["name"])

    def normalise(self, history: Any, observed: Any) -> tuple[Any, Any, Any, Any]:
        """Normalised values and mask of the context used, location and scale [N, 1] of each window."""
        h = self.spec.hparams
        seen = ops.cast(observed, "float64") > 0
        x = ops.where(seen, ops.cast(history, "float64"), ops.zeros((), "float64"))
        if h.transform == "log1p":
            x = ops.log1p(x)
        steps = ops.arange(1, self.spec.context_length + 1, dtype="int32")
        latest = ops.argmax(ops.where(seen, steps, 0), axis=1)[:, None]
        last = ops.take_along_axis(x, latest, axis=1)
        # Differences to an observed value are exact zeros for a constant series, whatever its size.
        mask = ops.cast(seen, "float64")[:, -h.context_used :]
        d = (x[:, -h.context_used :] - last) * mask
        count = ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)
        mean = ops.sum(d, axis=1, keepdims=True) / count
        centred = (d - mean) * mask
        scale = ops.sqrt(ops.sum(centred * centred, axis=1, keepdims=True) / count)
        offset = mean if h.location == "mean" else ops.zeros_like(mean)
        inverse = ops.where(scale > 0, 1.0 / ops.where(scale > 0, scale, 1.0), 0.0)
        z = (d - offset) * mask * inverse
        return ops.cast(z, "float32"), ops.cast(mask, "float32"), last + offset, scale

    def _segments(self, z: Any, mask: Any) -> Any:
        """Segments [N, S, 2 * segment_length] of values and of what was observed."""
        spec, length = self.spec, self.spec.hparams.segment_length
        missing = spec.past_segments * length - spec.hparams.context_used
        shape = (-1, spec.past_segments, length)
        parts = [ops.reshape(ops.pad(part, ((0, 0), (missing, 0))), shape) for part in (z, mask)]
        return ops.concatenate(parts, axis=2)

    def _with_past(self, segments: Any, beside: Mapping[str, Any]) -> Any:
        """The segments, with those of the covariates beside them."""
        spec, past = self.spec, self.spec.inputs.past
        if not past:
            return segments
        length = spec.hparams.segment_length
        missing = spec.past_segments * length - spec.hparams.context_used
        used = ops.pad(beside["past"][:, -spec.hparams.context_used :], ((0, 0), (missing, 0), (0, 0)))
        return ops.concatenate([segments, ops.reshape(used, (-1, spec.past_segments, length * len(past)))], axis=2)

    def _future(self, beside: Mapping[str, Any]) -> Any:
        """What each future segment is told of its own covariates: [N, F, units], or 0."""
        spec, count = self.spec, len(self.spec.inputs.future)
        if not count:
            return 0.0
        length = spec.hparams.segment_length
        missing = spec.future_segments * length - spec.horizon
        known = ops.pad(beside["future"], ((0, 0), (0, missing), (0, 0)))
        return self.future(ops.reshape(known, (-1, spec.future_segments, length * count)))

    def _static(self, beside: Mapping[str, Any], training: bool | None) -> Any:
        """What every segment is told of the series: [N, 1, units], or 0."""
        spec = self.spec.inputs
        total: Any = 0.0
        if spec.categorical:
            codes = ops.cast(beside["static_cat"], "int32")
            # Unknown categories are met in training, or they would mean nothing afterwards.
            known = self.unknown(ops.ones_like(codes, dtype="float32"), training=training) > 0
            held = (codes >= 0) & (codes <= np.array(spec.categories, np.int32))
            codes = ops.where(known & held, codes, UNKNOWN)
            total += sum(ops.take(table, codes[:, i], axis=0) for i, table in enumerate(self.categories))
        if spec.numeric:
            total += self.static(beside["static_num"])
        return total[:, None, :] if spec.categorical or spec.numeric else total

    def _encode(self, segments: Any, static: Any, training: bool | None) -> list[list[Any]]:
        """The final states of each recurrent layer."""
        x = ops.relu(_flat(self.embedding, segments) + static)
        states = []
        for i, layer in enumerate(self.recurrent):
            x = self.drop(x, training=training) if i else x
            x, *state = train_layer(self.spec.cell, layer, x) if training else layer(x)
            states.append(state)
        return states

    def _decode(self, states: list[list[Any]], known: Any, static: Any, training: bool | None) -> Any:
        """Every future segment at once, by one step of the same cells: [N, F, units]."""
        x = self.position + known + static
        x = x[None] if len(x.shape) == 2 else x
        for i, (layer, state) in enumerate(zip(self.recurrent, states, strict=True)):
            x = advance(self.spec.cell, layer, self.drop(x, training=training) if i else x, state)
        return self.drop(x, training=training)

    def _quantiles(self, decoded: Any) -> Any:
        """The head: [N, H, Q] before they are spread."""
        spec = self.spec
        steps = spec.future_segments * spec.hparams.segment_length
        every = ops.reshape(_flat(self.head, decoded), (-1, steps, len(spec.quantiles)))
        return tf.slice(every, (0, 0, 0), (-1, spec.horizon, -1))  # which is faster on the way back than an index

    def _copied(self, weights: Any, segments: Any) -> Any:
        """A weighted copy of past segments for each future one, of what was observed in them: [N, H]."""
        spec, length = self.spec, self.spec.hparams.segment_length
        observed = ops.matmul(weights, segments[:, :, length:])
        copied = ops.matmul(weights, segments[:, :, :length]) / ops.maximum(observed, COPIED_AT_LEAST)
        return tf.slice(ops.reshape(copied, (-1, spec.future_segments * length)), (0, 0), (-1, spec.horizon))


def _flat(layer: Any, x: Any) -> Any:
    """A dense layer on [N, F, D] as one product; Keras takes one for each of N, and as many gradients."""
    return ops.reshape(layer(ops.reshape(x, (-1, x.shape[2]))), (-1, x.shape[1], layer.units))


def scaled(values: Any, location: Sequence[float], scale: Sequence[float]) -> Any:
    """Covariates [..., P] in units of the training part, in float32; a missing one is 0, the mean."""
    z = (ops.cast(values, "float64") - np.array(location)) / np.array(scale)
    return ops.cast(tf.where(tf.math.is_finite(z), z, tf.zeros((), tf.float64)), "float32")


def _spread(raw: Any, centre: int) -> Any:
    """Quantiles that cannot cross: the median, and steps away from it that are never negative."""
    count = raw.shape[-1]
    # A product with constants adds the steps up many times faster than a cumulative sum along so short an axis.
    outward = np.triu(np.ones((count, count), np.float32))
    outward[: centre + 1] = 0.0
    inward = -np.tril(np.ones((count, count), np.float32))
    inward[centre:] = 0.0
    steps = tf.reshape(tf.nn.softplus(raw), (-1, count)) @ (outward + inward)
    return raw[..., centre : centre + 1] + tf.reshape(steps, tf.shape(raw))


@keras.saving.register_keras_serializable("gatecast")
class _InitialQuantiles(keras.initializers.Initializer):  # type: ignore[misc]
    """Starts the head with the quantiles of a normal distribution of half the window's scale."""

    def __init__(self, quantiles: tuple[float, ...]) -> None:
        self.quantiles = tuple(quantiles)

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        normal = [NormalDist(0, 0.5).inv_cdf(q) for q in self.quantiles]
        centre = len(normal) // 2
        gaps = [abs(a - b) for a, b in pairwise(normal)]
        biases = [log(expm1(gap)) for gap in gaps]
        row = [*biases[:centre], 0.0, *biases[centre:]]
        return ops.convert_to_tensor(np.tile(row, shape[0] // len(row)), dtype)

    def get_config(self) -> dict[str, Any]:
        return {"quantiles": list(self.quantiles)}


def pinball_loss(target: Any, forecast: Any, loss_scale: Any, quantiles: tuple[float, ...]) -> Any:
    """Twice the mean pinball loss over all steps and quantiles, in units of each series' `loss_scale`.

    Of the median that is the absolute error.

    Args:
        target: [N, H], NaN where missing, which counts as an error of 0.
        forecast: [N, H, Q].
        loss_scale: [N] of each window's series, as `FitSet.loss_scale`; a window of a
            series that never changes (0) counts as errors of 0.
        quantiles: [Q].

    Returns:
        A scalar.
    """
    scale = loss_scale[:, None]
    known = tf.math.is_finite(target) & (scale > 0)
    inverse = tf.where(scale > 0, 1.0 / tf.where(scale > 0, scale, 1.0), 0.0)
    # The difference is taken in float64, where an offset costs nothing; the rest fits in float32.
    weight = tf.where(known, inverse, 0.0)[:, :, None]
    error = tf.cast((tf.where(known, target, 0.0)[:, :, None] - forecast) * weight, tf.float32)
    return 2.0 * tf.reduce_mean(tf.constant(quantiles, tf.float32) * error + tf.nn.relu(-error))


def network_weights(network: SegmentNetwork) -> dict[str, np.ndarray[Any, Any]]:
    """The weights by name: `embedding/kernel`, `embedding/bias`, `recurrent_0/kernel`, `recurrent_0/recurrent_kernel`,
    `recurrent_0/bias`, …, `position`, `head/kernel`, `head/bias`, in Keras' own layouts; with the paths and inputs
    that the spec asks for also `copy/kernel`, `copy/bias`, `linear/kernel`, `future/kernel`, `future/bias`,
    `static/kernel` and `category_0`, ….
    """
    weights = {"position": np.asarray(network.position)}
    for layer in (network.embedding, network.head):
        weights |= {f"{layer.name}/kernel": np.asarray(layer.kernel), f"{layer.name}/bias": np.asarray(layer.bias)}
    if network.spec.hparams.head == "copy":
        attention = network.attention
        weights |= {"copy/kernel": np.asarray(attention.kernel), "copy/bias": np.asarray(attention.bias)}
    if network.spec.hparams.linear == "ridge":
        weights |= {"linear/kernel": np.asarray(network.linear.kernel)}
    if network.spec.inputs.future:
        weights |= {"future/kernel": np.asarray(network.future.kernel), "future/bias": np.asarray(network.future.bias)}
    if network.spec.inputs.numeric:
        weights |= {"static/kernel": np.asarray(network.static.kernel)}
    weights |= {f"category_{i}": np.asarray(table) for i, table in enumerate(network.categories)}
    for layer in network.recurrent:
        cell = layer.cell
        weights |= {
            f"{layer.name}/kernel": np.asarray(cell.kernel),
            f"{layer.name}/recurrent_kernel": np.asarray(cell.recurrent_kernel),
            f"{layer.name}/bias": np.asarray(cell.bias),
        }
    return weights


def save_network(network: SegmentNetwork, path: Path) -> None:
    """Writes a `.keras` file whose bytes depend on the network alone.

    Keras writes the date, the archive's clock times and memory addresses into it; they are taken out.
    """
    with replacing(path) as beside:
        raw = beside.with_suffix(".keras")
        network.save(raw)
        with zipfile.ZipFile(raw) as source, zipfile.ZipFile(beside, "w", zipfile.ZIP_STORED) as target:
            for name in sorted(source.namelist()):
                content = source.read(name)
                if name.endswith(".json"):
                    content = json.dumps(_timeless(json.loads(content)), sort_keys=True).encode()
                target.writestr(zipfile.ZipInfo(name), content)
        raw.unlink()


def load_network(path: Path) -> SegmentNetwork:
    """Reads what `save_network` wrote."""
    network = keras.models.load_model(path, compile=False)
    if not isinstance(network, SegmentNetwork):
        raise BundleError(f"{path} holds no SegmentNetwork. Received: {type(network).__name__}; train it again")
    return network


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in ("date_saved", "shared_object_id")}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def signature_of(spec: NetworkSpec) -> dict[str, Any]:
    """The types of a network's inputs, by name."""
    kinds = {"observed": tf.float32, "static_cat": tf.int64}
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("history", "observed"), (spec.context_length,))
    shapes |= spec.inputs.shapes(spec.context_length, spec.horizon)
    return {name: tf.TensorSpec((None, *shape), kinds.get(name, tf.float64)) for name, shape in shapes.items()}


def kernel_kind(network: SegmentNetwork) -> str:
    """Which kernels the recurrent layers run on here: `cudnn` or `standard`, read off the traced graph."""
    graph = tf.function(network).get_concrete_function(signature_of(network.spec))
    definition = graph.graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return "cudnn" if any(node.op.startswith("CudnnRNN") for node in nodes) else "standard"
