from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from random_networks import QUANTILES, build_inputs, build_spec, random_inputs, random_weights

from pipeline.forecaster import Forecaster
from pipeline.hparams import Inputs, NetworkSpec
from pipeline.onnx_graph import build_graph

Floats = NDArray[np.float64]
KerasTwin = Callable[[NetworkSpec, Sequence[dict[str, Any]]], Callable[..., Floats]]

PARITY = 2e-6  # of the larger of the value and the window's standard deviation
SHAPES = (  # context length, context used, segment length, horizon
    (20, 13, 5, 7),  # neither context nor horizon is a whole number of segments
    (9, 9, 1, 4),  # point-wise
    (24, 12, 12, 5),
    (8, 8, 20, 30),  # a segment longer than the context
)


PATHS = (("copy", "none"), ("plain", "none"), ("copy", "ridge"), ("plain", "ridge"))  # to the median


@pytest.fixture(scope="module")
def keras_twin() -> KerasTwin:
    """Gives Keras' own members [K, N, H, Q] for weights by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pipeline.network as module

    def build(spec: NetworkSpec, members: Sequence[dict[str, Any]]) -> Callable[..., Floats]:
        networks = [module.SegmentNetwork(spec) for _ in members]
        for network, weights in zip(networks, members, strict=True):
            layers = {layer.name: layer for layer in (network.embedding, network.head)}
            layers |= {layer.name: layer.cell for layer in network.recurrent}
            layers |= {"copy": getattr(network, "attention", None), "linear": getattr(network, "linear", None)}
            layers |= {name: getattr(network, name, None) for name in ("future", "static")}
            network.position.assign(weights["position"])
            for number, table in enumerate(network.categories):
                table.assign(weights[f"category_{number}"])
            for name, value in weights.items():
                layer, _, part = name.partition("/")
                if part:
                    getattr(layers[layer], part).assign(value)
            given_back = module.network_weights(network)
            assert all(np.array_equal(given_back[name], value) for name, value in weights.items())

        def predict(history: Floats, observed: Floats, **beside: NDArray[Any]) -> Floats:
            inputs = {"history": history, "observed": observed.astype(np.float32), **beside}
            return np.stack([np.asarray(network(inputs)) for network in networks])

        return predict

    return build


def forecaster_of(spec: NetworkSpec, *, members: int = 2, calibration: Floats | None = None) -> Forecaster:
    weights = [random_weights(spec, seed) for seed in range(members)]
    return Forecaster(build_graph(spec, weights, calibration), spec, {})


def parity_error(members: Floats, twin: Floats, history: Floats, observed: Floats, spec: NetworkSpec) -> float:
    """Largest difference relative to max(value, standard deviation of the window, over what is observed)."""
    used = slice(-spec.hparams.context_used, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window without any observed step
        std = np.nan_to_num(np.nanstd(np.where(observed > 0, history, np.nan)[:, used], axis=1))
    size = np.maximum(np.abs(twin), std[None, :, None, None])
    return float(np.max(np.abs(members - twin) / np.where(size > 0, size, 1.0)))


def windows(spec: NetworkSpec, n: int = 24, seed: int = 0) -> tuple[Floats, Floats]:
    """Histories over sixty orders of magnitude, some far from zero, with a fifth missing."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-30, 30 if spec.hparams.transform == "none" else 3, (n, 1))
    history = np.abs(rng.standard_normal((n, spec.context_length))) * scale
    if spec.hparams.transform == "none":
        history[::3] += 1e6 * scale[::3]
    observed = (rng.random(history.shape) < 0.8).astype(np.float64)
    observed[0] = 0
    observed[1, -spec.hparams.context_used :] = 0
    return np.where(observed > 0, history, np.nan), observed


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "inputs",
    [
        build_inputs(),
        build_inputs(past=1, future=0, categories=(), numeric=0),
        build_inputs(past=2, future=2, categories=(), numeric=1),
        build_inputs(past=0, future=0, categories=(3,), numeric=0),
    ],
)
def test_covariates_mean_the_same_as_in_keras(
    cell: str, shape: tuple[int, ...], inputs: Inputs, keras_twin: KerasTwin
) -> None:
    context_length, context_used, segment_length, horizon = shape
    spec = build_spec(
        cell,
        context_length=context_length,
        context_used=context_used,
        segment_length=segment_length,
        horizon=horizon,
        layers=2,
        head="copy",
        inputs=inputs,
    )
    weights = [random_weights(spec, seed) for seed in (1, 2)]
    history, observed = windows(spec)
    beside = random_inputs(spec, len(history))
    twin = keras_twin(spec, weights)(history, observed, **beside)
    served = Forecaster(build_graph(spec, weights, None), spec, {})
    members = served.predict_arrays(history, observed, **beside, outputs=("members",))["members"]
    assert parity_error(members, twin, history, observed, spec) < PARITY


@pytest.mark.parametrize(
    ("cell", "layers", "location", "transform", "shape", "head", "linear"),
    [
        (cell, layers, location, transform, SHAPES[number % len(SHAPES)], *PATHS[number % 5 % 4])
        for number, (layers, location, cell, transform) in enumerate(
            itertools.product((1, 2), ("last", "mean"), ("lstm", "gru", "rnn"), ("none", "log1p"))
        )
    ],
)
def test_every_member_equals_its_keras_network(
    cell: str,
    layers: int,
    location: str,
    transform: str,
    shape: tuple[int, ...],
    head: str,
    linear: str,
    keras_twin: KerasTwin,
) -> None:
    context_length, context_used, segment_length, horizon = shape
    spec = build_spec(
        cell,
        context_length=context_length,
        context_used=context_used,
        segment_length=segment_length,
        horizon=horizon,
        layers=layers,
        location=location,
        transform=transform,
        head=head,
        linear=linear,
    )
    history, observed = windows(spec)
    members = forecaster_of(spec).predict_arrays(history, observed, outputs=("members",))["members"]
    twin = keras_twin(spec, [random_weights(spec, seed) for seed in range(2)])(history, observed)
    assert np.isfinite(members).all()
    assert parity_error(members, twin, history, observed, spec) < PARITY


@pytest.mark.parametrize("transform", ["none", "log1p"])
def test_parity_holds_for_any_history(transform: str, keras_twin: KerasTwin) -> None:
    spec = build_spec("gru", location="mean", transform=transform)
    forecaster = forecaster_of(spec, members=1)
    twin = keras_twin(spec, [random_weights(spec, 0)])
    low, high = (0, 1e12) if transform == "log1p" else (-1e30, 1e30)
    # Squares of what is smaller are no longer exact, or zero.
    values = st.floats(low, high, allow_subnormal=False).map(lambda value: value if abs(value) > 1e-100 else 0.0)

    @settings(max_examples=40, deadline=None)
    @given(arrays(np.float64, (4, 20), elements=values), arrays(np.bool_, (4, 20)))
    def check(history: Floats, seen: NDArray[np.bool_]) -> None:
        observed = seen.astype(np.float64)
        members = forecaster.predict_arrays(history, observed, outputs=("members",))["members"]
        expected = twin(history, observed)
        if transform == "log1p":  # where an error in the logarithm is multiplied by 1 + the value
            size = (1 + np.abs(expected)) * np.maximum(1, np.log1p(history.max(initial=0)))
            assert np.max(np.abs(members - expected) / size) < PARITY
        else:
            assert parity_error(members, expected, history, observed, spec) < PARITY

    check()


@pytest.mark.parametrize("transform", ["none", "log1p"])
@pytest.mark.parametrize("location", ["last", "mean"])
def test_what_lies_in_missing_places_has_no_effect(location: str, transform: str) -> None:
    spec = build_spec("lstm", location=location, transform=transform)
    history, observed = windows(spec)
    forecaster = forecaster_of(spec)
    expected = forecaster.predict_arrays(history, observed)["forecast"]
    assert np.isfinite(expected).all()
    for filler in (0.0, -1e300, np.inf, -np.inf):
        filled = np.where(observed > 0, history, filler)
        assert np.array_equal(forecaster.predict_arrays(filled, observed)["forecast"], expected)


@pytest.mark.parametrize("transform", ["none", "log1p"])
@pytest.mark.parametrize("location", ["last", "mean"])
def test_a_window_without_any_observed_step_gives_zero(location: str, transform: str) -> None:
    spec = build_spec(location=location, transform=transform)
    empty = np.full((2, spec.context_length), np.nan)
    out = forecaster_of(spec).predict_arrays(empty, np.zeros_like(empty), outputs=("forecast", "location", "scale"))
    assert all((value == 0).all() for value in out.values())


@pytest.mark.parametrize("location", ["last", "mean"])
def test_the_last_value_is_forecast_where_the_steps_used_have_none(location: str) -> None:
    spec = build_spec(location=location)
    history = np.full((1, spec.context_length), np.nan)
    history[0, [2, 4]] = 100.0, 123.456
    assert spec.context_length - spec.hparams.context_used > 4
    out = forecaster_of(spec).predict_arrays(history, np.isfinite(history))["forecast"]
    assert (out == 123.456).all()


@given(st.floats(-1e15, 1e15), st.sampled_from(["last", "mean"]))
def test_a_constant_history_is_forecast_as_it_is_without_any_width(value: float, location: str) -> None:
    history = np.full((1, 20), value)
    out = CONSTANT_FORECASTERS[location].predict_arrays(history, np.ones_like(history))["forecast"]
    assert (out == value).all()


@given(st.floats(0, 1e15, allow_subnormal=False))
def test_the_logarithm_and_its_inverse_lose_nothing_at_any_size(value: float) -> None:
    history = np.full((1, 20), value)
    out = LOG1P_FORECASTER.predict_arrays(history, np.ones_like(history), outputs=("forecast", "location"))
    np.testing.assert_allclose(out["location"], np.log1p(value), rtol=1e-15)
    np.testing.assert_allclose(out["forecast"], np.expm1(np.log1p(value)), rtol=1e-14)


@given(
    arrays(np.float64, 20, elements=st.floats(-1, 1, width=16)),
    st.floats(1e-3, 1e3),
    st.floats(-1e6, 1e6),
    st.sampled_from(["last", "mean"]),
)
def test_a_forecast_follows_every_affine_change_of_its_history(
    history: Floats, a: float, b: float, location: str
) -> None:
    std = history[-13:].std()
    assume(std > 1e-3)
    changed = a * history + b * std
    both = np.stack([history, changed])
    plain, moved = CONSTANT_FORECASTERS[location].predict_arrays(both, np.ones_like(both))["forecast"]
    # a * history + b * std is itself rounded, to about 1e-16 of its offset.
    tolerance = 2e-6 + 4e-15 * abs(b) / a
    assert np.max(np.abs(moved - (a * plain + b * std))) / (a * std) < tolerance


@given(arrays(np.float64, (7, 9), elements=st.floats(-20, 20)))
@settings(max_examples=25, deadline=None)
def test_quantiles_ascend_whatever_the_calibration(calibration: Floats) -> None:
    calibration[:, 4] = 0
    spec = build_spec("rnn")
    history, observed = windows(spec)
    outputs = ("forecast", "uncalibrated", "members")
    out = forecaster_of(spec, calibration=calibration).predict_arrays(history, observed, outputs=outputs)
    assert all((np.diff(value, axis=-1) >= 0).all() for value in out.values())
    assert np.array_equal(out["forecast"][..., 4], out["uncalibrated"][..., 4])


@pytest.mark.parametrize("transform", ["none", "log1p"])
def test_calibration_adds_constants_in_units_of_the_scale_of_the_window(transform: str) -> None:
    spec = build_spec(transform=transform)
    sign = np.sign(np.arange(9) - 4.0)
    calibration = sign * np.arange(1, 8)[:, None] * np.abs(np.arange(9) - 4)
    history, observed = np.random.default_rng(1).uniform(1, 3, (5, 20)), np.ones((5, 20))
    out = forecaster_of(spec, calibration=calibration).predict_arrays(
        history, observed, outputs=("forecast", "uncalibrated", "scale")
    )
    forecast, uncalibrated = out["forecast"], out["uncalibrated"]
    if transform == "log1p":
        forecast, uncalibrated = np.log1p(forecast), np.log1p(uncalibrated)
    added = (forecast - uncalibrated) / out["scale"][:, :, None]
    np.testing.assert_allclose(added, np.broadcast_to(calibration, added.shape), atol=1e-9)


def test_a_narrowed_interval_ends_at_the_median() -> None:
    calibration = np.zeros((7, 9))
    calibration[:, 0], calibration[:, -1] = 100, -100
    out = forecaster_of(build_spec(), calibration=calibration).predict_arrays(
        np.arange(20.0)[None], np.ones((1, 20)), outputs=("forecast", "uncalibrated")
    )
    # The widest interval cannot be narrower than the next one.
    assert np.array_equal(out["forecast"][..., 1:-1], out["uncalibrated"][..., 1:-1])
    assert np.array_equal(out["forecast"][..., 0], out["forecast"][..., 1])
    assert np.array_equal(out["forecast"][..., -1], out["forecast"][..., -2])


@pytest.mark.parametrize("transform", ["none", "log1p"])
@pytest.mark.parametrize("members", [1, 3])
def test_the_forecast_is_the_mean_of_the_members_in_normalised_space(members: int, transform: str) -> None:
    spec = build_spec("lstm", transform=transform)
    history = np.random.default_rng(2).uniform(1, 3, (5, 20))
    out = forecaster_of(spec, members=members).predict_arrays(
        history, np.ones_like(history), outputs=("forecast", "uncalibrated", "members")
    )
    forward, back = (np.log1p, np.expm1) if transform == "log1p" else (np.positive, np.positive)
    np.testing.assert_allclose(out["forecast"], back(forward(out["members"]).mean(axis=0)), rtol=1e-12)
    assert np.array_equal(out["forecast"], out["uncalibrated"])
    assert out["members"].shape == (members, 5, 7, 9)


def test_one_quantile_makes_a_point_forecaster() -> None:
    spec = build_spec(quantiles=(0.5,))
    out = forecaster_of(spec, calibration=np.zeros((7, 1))).predict_arrays(np.arange(20.0)[None], np.ones((1, 20)))
    assert out["forecast"].shape == (1, 7, 1)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_encoder_and_decoder_share_their_weights(cell: str) -> None:
    spec = build_spec(cell, units=32, layers=2)
    members = [random_weights(spec, seed) for seed in range(2)]
    graph = onnx.load_from_string(build_graph(spec, members, None)).graph
    recurrent = [node for node in graph.node if node.op_type == cell.upper()]
    assert len(recurrent) == 2 * 2 * 2  # members, layers, encoder and decoder
    assert len({tuple(node.input[1:4]) for node in recurrent}) == 2 * 2


def test_the_graph_keeps_to_the_opset_and_format_that_runtimes_read() -> None:
    spec = build_spec()
    model = onnx.load_from_string(build_graph(spec, [random_weights(spec, 0)], None))
    assert (model.opset_import[0].version, model.ir_version, len(model.opset_import)) == (17, 8, 1)


def test_fresh_processes_build_the_same_bytes() -> None:
    code = (
        "import hashlib; import numpy as np; from random_networks import *; from pipeline.onnx_graph import *;"
        "spec = build_spec('lstm', layers=2, transform='log1p');"
        "graph = build_graph(spec, [random_weights(spec, s) for s in (1, 2)], np.ones((7, 9)));"
        "print(hashlib.sha256(graph).hexdigest())"
    )
    paths = os.pathsep.join([os.path.dirname(__file__), *sys.path])  # noqa: PTH120
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    spec = build_spec("lstm", layers=2, transform="log1p")
    here = build_graph(spec, [random_weights(spec, s) for s in (1, 2)], np.ones((7, 9)))
    assert hashes == {hashlib.sha256(here).hexdigest()}


def test_quantiles_of_the_specs_are_symmetric() -> None:
    np.testing.assert_allclose(np.add(QUANTILES, QUANTILES[::-1]), 1)


CONSTANT_FORECASTERS = {location: forecaster_of(build_spec(location=location)) for location in ("last", "mean")}
LOG1P_FORECASTER = forecaster_of(build_spec(transform="log1p"))
