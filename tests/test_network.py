from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from random_networks import build_inputs

from pipeline.cells import CELLS
from pipeline.errors import BundleError
from pipeline.hparams import Hparams, Inputs, NetworkSpec
from pipeline.network import (
    SegmentNetwork,
    kernel_kind,
    load_network,
    network_weights,
    pinball_loss,
    save_network,
    signature_of,
)
from pipeline.params import FloatRange, IntRange, SearchSpace, load_params
from pipeline.search import fit_space

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
PARAMS = load_params(Path(__file__).parents[1] / "params.yaml")


def spec_of(cell: str, **changes: Any) -> NetworkSpec:
    plain = {"segment_length": 6, "units": 8, "layers": 1, "dropout": 0.0, "learning_rate": 0.01, "batch_size": 8}
    rest = {"context_used": 24, "location": "last", "transform": "none", "head": "plain", "linear": "none"}
    rest |= {"calendar": "none", "identity": "none"}
    return NetworkSpec(cell, 24, 10, QUANTILES, Hparams(**{**plain, **rest, **changes}))


def forecast(network: SegmentNetwork, history: Any, observed: Any = None) -> Any:
    seen = np.ones_like(history) if observed is None else observed
    return network({"history": history, "observed": seen.astype(np.float32)}).numpy()


def corners(space: SearchSpace) -> list[dict[str, Any]]:
    """The corners of a search space: each hyperparameter that shapes the graph at its ends, narrow to keep it quick."""
    window = PARAMS.window
    space = fit_space(
        space,
        season_length=PARAMS.evaluate.season_length,
        longest=max(window.context_length, window.horizon),
        lowest=0.0,
        series_count=2,
        calendar=True,
    )
    ends = {}
    for name in ("segment_length", "layers", "location", "transform", "head", "linear"):
        allowed = getattr(space, name)
        both = (allowed.min, allowed.max) if isinstance(allowed, IntRange | FloatRange) else (allowed[0], allowed[-1])
        ends[name] = sorted(set(both))
    ends["context_used"] = sorted({round(s * PARAMS.window.context_length) for s in (min(space.context_share), 1.0)})
    return [dict(zip(ends, values, strict=True)) for values in itertools.product(*ends.values())]


CORNERS = [(cell, corner) for cell, space in PARAMS.tune.space.items() for corner in corners(space)]
AFFINE = [(cell, corner) for cell, corner in CORNERS if corner["transform"] == "none"]
# What is done to values before and after the recurrent layers changes no kernel.
RECURRENT = [(cell, corner) for cell, corner in AFFINE if cell != "rnn" and corner["location"] == "last"]


def corner_network(cell: str, corner: dict[str, Any], inputs: Inputs | None = None) -> SegmentNetwork:
    window = PARAMS.window
    rest = {"calendar": "none", "identity": "none"}
    hparams = Hparams(units=16, dropout=0.1, learning_rate=0.01, batch_size=8, **rest, **corner)
    keras.utils.set_random_seed(3)
    spec = NetworkSpec(cell, window.context_length, window.horizon, PARAMS.quantiles, hparams, inputs or Inputs())
    network = SegmentNetwork(spec)
    if corner["linear"] == "ridge":
        network.linear.kernel.assign(0.1 * np.random.default_rng(3).standard_normal(network.linear.kernel.shape))
    return network


@pytest.mark.parametrize(("cell", "corner"), AFFINE, ids=str)
def test_forecasts_are_equivariant_to_affine_changes_at_the_corners_of_the_search_space(
    cell: str, corner: dict[str, Any]
) -> None:
    network = corner_network(cell, corner)
    rng = np.random.default_rng(0)
    y = rng.standard_normal((6, PARAMS.window.context_length)).cumsum(axis=1)
    observed = rng.random(y.shape) > 0.1
    plain = forecast(network, y, observed)
    std = np.std(y, axis=1)[:, None, None]
    for a, b in itertools.product((1e-3, 1.0, 1e3), (0.0, 1e6, -1e6)):
        shift = a * std[:, :, 0] * b
        changed = forecast(network, np.where(observed, a * y + shift, np.nan), observed)
        error = np.abs(changed - (a * plain + shift[:, :, None])) / (a * std)
        assert error.max() < 1e-5


@pytest.mark.parametrize("inputs", [Inputs(), build_inputs()], ids=["history", "covariates"])
@pytest.mark.parametrize(("cell", "corner"), RECURRENT, ids=str)
def test_the_corners_of_the_search_space_stay_inside_the_cudnn_envelope(
    cell: str, corner: dict[str, Any], inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = corner_network(cell, corner, inputs)
    assert kernel_kind(network) == "standard"  # here, without a GPU
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [f"/device:{kind}:0"])
    assert kernel_kind(network) == "cudnn"
    training = tf.function(lambda x: network(x, training=True)).get_concrete_function(signature_of(network.spec))
    graph = training.graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    ops = [n.op for n in nodes]
    assert ops.count("CudnnRNNV3") == corner["layers"]
    assert not any("While" in op for op in ops)


def test_a_recurrent_dropout_would_leave_the_envelope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [f"/device:{kind}:0"])
    network = SegmentNetwork(spec_of("gru"))
    network.recurrent[0] = keras.layers.GRU(8, recurrent_dropout=0.5, return_sequences=True, return_state=True)
    network.recurrent[0].build((None, 4, 8))
    assert kernel_kind(network) == "standard"


@pytest.mark.parametrize("cell", CELLS)
def test_quantiles_never_cross(cell: str) -> None:
    network = SegmentNetwork(spec_of(cell))
    for weight in network.trainable_variables:
        weight.assign(10 * np.random.default_rng(1).standard_normal(weight.shape))
    history = np.random.default_rng(2).standard_normal((50, 24))
    assert (np.diff(forecast(network, history), axis=2) >= 0).all()


@pytest.mark.parametrize("location", ["last", "mean"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 + 0.3, -1e-30])
def test_a_constant_history_is_forecast_constant_with_no_width(location: str, value: float) -> None:
    network = SegmentNetwork(spec_of("gru", location=location))
    np.testing.assert_array_equal(forecast(network, np.full((2, 24), value)), np.full((2, 10, 5), value))


def test_what_is_not_observed_does_not_matter_be_it_nan() -> None:
    network = SegmentNetwork(spec_of("lstm"))
    rng = np.random.default_rng(5)
    history, observed = rng.standard_normal((4, 24)), rng.random((4, 24)) > 0.3
    a = forecast(network, np.where(observed, history, np.nan), observed)
    np.testing.assert_array_equal(a, forecast(network, np.where(observed, history, 1e30), observed))
    assert np.isfinite(a).all()


def test_nothing_observed_in_the_part_used_gives_the_last_value_before_it() -> None:
    network = SegmentNetwork(spec_of("gru", context_used=12))
    observed = np.concatenate([np.ones((1, 12)), np.zeros((1, 12))], axis=1)
    history = np.arange(24.0)[None]
    np.testing.assert_array_equal(forecast(network, history, observed), np.full((1, 10, 5), 11.0))


def test_only_the_part_of_the_context_in_use_matters() -> None:
    network = SegmentNetwork(spec_of("gru", context_used=13))
    history = np.random.default_rng(6).standard_normal((3, 24))
    changed = history.copy()
    changed[:, :11] += 100
    np.testing.assert_array_equal(forecast(network, history), forecast(network, changed))


@pytest.mark.parametrize("cell", CELLS)
def test_a_saved_network_is_read_back_and_its_bytes_repeat(cell: str, tmp_path: Path) -> None:
    network = SegmentNetwork(spec_of(cell, layers=2), name="network")
    save_network(network, tmp_path / "a.keras")
    read = load_network(tmp_path / "a.keras")
    history = np.random.default_rng(8).standard_normal((3, 24))
    np.testing.assert_array_equal(forecast(network, history), forecast(read, history))
    save_network(read, tmp_path / "b.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.keras", "b.keras"]


def test_a_file_with_another_model_is_refused(tmp_path: Path) -> None:
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    with pytest.raises(BundleError, match="Sequential"):
        load_network(tmp_path / "other.keras")


@pytest.mark.parametrize("cell", CELLS)
def test_weights_by_name_hold_every_parameter(cell: str) -> None:
    network = SegmentNetwork(spec_of(cell, layers=2))
    assert sum(w.size for w in network_weights(network).values()) == network.count_params()


def test_pinball_loss_equals_a_loop_over_all_observed_targets() -> None:
    rng = np.random.default_rng(9)
    target, scale = rng.standard_normal((4, 10)), np.array([1.0, 2.0, 0.5, 3.0])
    target[rng.random(target.shape) < 0.3] = np.nan
    quantiles = np.sort(rng.standard_normal((4, 10, 5)), axis=2)
    total = 0.0
    for n, h, q in np.ndindex(quantiles.shape):
        if np.isfinite(target[n, h]):
            error = (target[n, h] - quantiles[n, h, q]) / scale[n]
            total += 2 * max(QUANTILES[q] * error, (QUANTILES[q] - 1) * error)
    loss = pinball_loss(tf.constant(target), tf.constant(quantiles), tf.constant(scale), QUANTILES)
    assert float(loss) == pytest.approx(total / quantiles.size, rel=1e-5)


def test_missing_targets_and_series_that_never_change_have_no_gradient() -> None:
    target = tf.constant([[1.0, np.nan], [1.0, 2.0]], tf.float64)
    value = tf.Variable(np.zeros((2, 2, 5)))
    with tf.GradientTape() as tape:
        loss = pinball_loss(target, value, tf.constant([1.0, 0.0], tf.float64), QUANTILES)
    gradient = tape.gradient(loss, value).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient[0, 1] == 0).all()
    assert (gradient[1] == 0).all()
    assert (gradient[0, 0] != 0).all()


def with_copy_weights(spec: NetworkSpec, logits: list[float]) -> SegmentNetwork:
    """A network whose residual is zero and whose copy has the same weights for every window."""
    network = SegmentNetwork(spec)
    network.head.kernel.assign(np.zeros(network.head.kernel.shape))
    network.head.bias.assign(np.zeros(network.head.bias.shape))
    network.attention.bias.assign(logits)
    return network


def test_the_copy_head_starts_as_the_mean_of_past_segments_and_can_be_the_seasonal_naive_forecast() -> None:
    spec = spec_of("gru", head="copy")
    history = np.random.default_rng(3).standard_normal((4, 24))
    segments = history.reshape(4, 4, 6)
    mean = forecast(with_copy_weights(spec, [0, 0, 0, 0]), history)[:, :, 2]
    np.testing.assert_allclose(mean[:, :6], segments.mean(axis=1), atol=1e-5)
    naive = forecast(with_copy_weights(spec, [0, 0, 0, 60]), history)[:, :, 2]
    np.testing.assert_allclose(naive[:, :6], segments[:, 3], atol=1e-5)
    np.testing.assert_allclose(naive[:, 6:], segments[:, 3, :4], atol=1e-5)


def test_the_copy_leaves_out_what_was_not_observed() -> None:
    network = with_copy_weights(spec_of("lstm", head="copy"), [0, 0, 0, 0])
    history = np.random.default_rng(4).standard_normal((2, 24))
    observed = np.ones_like(history)
    observed[:, [0, 7]] = 0
    segments = np.where(observed > 0, history, np.nan).reshape(2, 4, 6)
    copied = forecast(network, history, observed)[:, :6, 2]
    np.testing.assert_allclose(copied, np.nanmean(segments, axis=1), atol=1e-5)


def test_the_linear_path_is_added_to_every_quantile() -> None:
    network = SegmentNetwork(spec_of("gru", linear="ridge"))
    history = np.random.default_rng(5).standard_normal((3, 24))
    before = forecast(network, history)
    kernel = np.random.default_rng(6).standard_normal((24, 10)).astype(np.float32)
    network.linear.kernel.assign(kernel)
    std = history.std(axis=1)[:, None]
    moved = ((history - history[:, -1:]) / std) @ kernel * std
    np.testing.assert_allclose(forecast(network, history) - before, np.repeat(moved[:, :, None], 5, axis=2), atol=1e-4)


@pytest.mark.parametrize("head", ["plain", "copy"])
@pytest.mark.parametrize("linear", ["none", "ridge"])
def test_every_path_to_the_median_stays_equivariant_and_saves(head: str, linear: str, tmp_path: Path) -> None:
    network = SegmentNetwork(spec_of("lstm", head=head, linear=linear, location="mean"))
    for weight in network.trainable_variables:
        weight.assign(0.3 * np.random.default_rng(1).standard_normal(weight.shape))
    history = np.random.default_rng(7).standard_normal((5, 24))
    plain, moved = forecast(network, history), forecast(network, 1e3 * history - 1e7)
    np.testing.assert_allclose(moved, 1e3 * plain - 1e7, atol=1e-5 * 1e3 * history.std())
    save_network(network, tmp_path / "a.keras")
    np.testing.assert_array_equal(forecast(load_network(tmp_path / "a.keras"), history), plain)
    assert sum(w.size for w in network_weights(network).values()) == network.count_params()
