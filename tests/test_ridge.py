from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from panels import WINDOW, random_series, window
from sklearn.linear_model import Ridge

from pipeline import ridge
from pipeline.hparams import Hparams, NetworkSpec
from pipeline.network import SegmentNetwork
from pipeline.ridge import ALPHAS, choose_kernel, fit_kernels
from pipeline.training import fit_network
from pipeline.windows import FitSet, Floats, Windows, split_missing

C, H = WINDOW.context_length, WINDOW.horizon
HPARAMS = Hparams(4, 8, 1, 0.0, 0.01, 16, 10, "last", "none", "plain", "ridge", "none", "none")


def network_of(**changes: Any) -> SegmentNetwork:
    return SegmentNetwork(NetworkSpec("gru", C, H, (0.1, 0.5, 0.9), replace(HPARAMS, **changes)))


def panel(seed: int = 0, *, positive: bool = False, count: int = 3) -> FitSet:
    series = random_series(np.random.default_rng(seed), count=count)
    return window([np.abs(values) + 1 if positive else values for values in series])[0]


def regression(network: SegmentNetwork, fit: FitSet, *, log1p: bool) -> tuple[Floats, Floats, Floats]:
    """Normalised contexts, targets and weights of the windows whose targets are all there, window by window."""
    rows = []
    for number in range(len(fit.train)):
        one = np.array([number])
        z, location, scale = network.normalised_arrays(*split_missing(fit.train.contexts(one)))
        target = fit.train.targets(one)
        target = ((np.log1p(target) if log1p else target) - location) / scale
        unit = 1.0 if log1p else scale[0, 0] / fit.loss_scale[fit.train.series[number]]
        if np.isfinite(target).all():
            rows.append((z[0], target[0], unit**2))
    z, targets, weights = (np.array(part) for part in zip(*rows, strict=True))
    return z, targets, weights


@pytest.mark.parametrize("location", ["last", "mean"])
@pytest.mark.parametrize("log1p", [False, True])
def test_kernels_are_the_weighted_ridge_regressions_of_scikit_learn(location: str, log1p: bool) -> None:
    network, fit = network_of(location=location, transform="log1p" if log1p else "none"), panel(positive=log1p)
    z, targets, weights = regression(network, fit, log1p=log1p)
    assert 0 < len(z) < len(fit.train)
    alphas = (0.1, 10.0, 1000.0)
    kernels = fit_kernels(fit.train, fit.loss_scale, normalise=network.normalised_arrays, log1p=log1p, alphas=alphas)
    for alpha, kernel in zip(alphas, kernels, strict=True):
        twin = Ridge(alpha=alpha, fit_intercept=False).fit(z, targets, sample_weight=weights / weights.mean())
        assert kernel.shape == (HPARAMS.context_used, H)
        np.testing.assert_allclose(kernel, twin.coef_.T, atol=1e-7)


def test_kernels_are_the_same_whatever_the_size_of_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    network, fit = network_of(), panel(1)
    whole = fit_kernels(fit.train, fit.loss_scale, normalise=network.normalised_arrays, log1p=False)
    monkeypatch.setattr(ridge, "CHUNK", 7)
    chunked = fit_kernels(fit.train, fit.loss_scale, normalise=network.normalised_arrays, log1p=False)
    np.testing.assert_allclose(chunked, whole, atol=1e-10)


def test_of_too_many_windows_the_same_are_drawn_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    network, fit = network_of(), panel(2)
    monkeypatch.setattr(ridge, "MAX_WINDOWS", 40)
    rows = np.concatenate(ridge._chunks(fit.train))
    assert len(set(rows)) == 40
    assert (np.diff(rows) > 0).all()
    assert set(fit.train.series[rows]) == {0, 1, 2}
    first, second = (
        fit_kernels(fit.train, fit.loss_scale, normalise=network.normalised_arrays, log1p=False) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("log1p", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_chosen_is_the_best_of_a_loop_over_windows_and_steps(log1p: bool, seed: int) -> None:
    network, fit = network_of(transform="log1p" if log1p else "none"), panel(seed, positive=log1p)
    rng = np.random.default_rng(seed)
    kernels = [0.3 * rng.standard_normal((HPARAMS.context_used, H)) / (1 + i) for i in range(5)]
    errors = []
    for kernel in kernels:
        total = 0.0
        for number in range(len(fit.val)):
            z, location, scale = network.normalised_arrays(*split_missing(fit.val.contexts(np.array([number]))))
            forecast = location[0, 0] + scale[0, 0] * (z[0] @ kernel)
            for step, target in enumerate(fit.val.targets(np.array([number]))[0]):
                if np.isfinite(target):
                    value = np.expm1(forecast[step]) if log1p else forecast[step]
                    total += abs(target - value) / fit.loss_scale[fit.val.series[number]]
        errors.append(total)
    for order in (range(5), range(4, -1, -1)):
        ordered = [kernels[i] for i in order]
        chosen = choose_kernel(ordered, fit.val, fit.loss_scale, normalise=network.normalised_arrays, log1p=log1p)
        assert list(order)[chosen] == int(np.argmin(errors))


@pytest.mark.parametrize("location", ["last", "mean"])
def test_without_a_head_of_its_own_the_network_forecasts_the_linear_map(location: str) -> None:
    network, fit = network_of(location=location), panel(3)
    kernel = fit_kernels(fit.train, fit.loss_scale, normalise=network.normalised_arrays, log1p=False, alphas=[10.0])[0]
    network.linear.kernel.assign(kernel)
    for part in (network.head.kernel, network.head.bias):
        values = np.asarray(part).reshape(-1, HPARAMS.segment_length, 3).copy()
        values[:, :, 1] = 0
        part.assign(values.reshape(part.shape))
    history, observed = split_missing(fit.val.contexts())
    z, place, scale = network.normalised_arrays(history, observed)
    median = network({"history": history, "observed": observed}).numpy()[:, :, 1]
    np.testing.assert_allclose(median, place + scale * (z @ kernel), rtol=1e-5, atol=1e-5)
    assert np.abs(z @ kernel).max() > 0.1


def with_series(values: list[NDArray[np.float64]]) -> FitSet:
    return window(values)[0]


@pytest.mark.parametrize("log1p", [False, True])
@pytest.mark.parametrize("others", [0, 1])
def test_what_never_changes_or_is_missing_leaves_no_nan(log1p: bool, others: int) -> None:
    rng = np.random.default_rng(4)
    gaps = np.abs(rng.standard_normal(90)).cumsum()
    gaps[::4] = np.nan  # no window has all its targets
    fit = with_series([np.full(90, 3.0), gaps, *(np.abs(v) + 1 for v in random_series(rng, count=others))])
    network = network_of(transform="log1p" if log1p else "none")
    kernels = fit_kernels(fit.train, fit.loss_scale, normalise=network.normalised_arrays, log1p=log1p)
    assert len(kernels) == len(ALPHAS)
    assert np.isfinite(kernels).all()
    assert all(bool(kernel.any()) == bool(others) for kernel in kernels)
    assert choose_kernel(kernels, fit.val, fit.loss_scale, normalise=network.normalised_arrays, log1p=log1p) in range(6)


def test_a_kernel_that_overflows_is_never_chosen() -> None:
    network, fit = network_of(transform="log1p"), panel(5, positive=True)
    kernels = [np.full((HPARAMS.context_used, H), 1e6), np.zeros((HPARAMS.context_used, H))]
    with np.errstate(over="ignore", invalid="ignore"):
        assert choose_kernel(kernels, fit.val, fit.loss_scale, normalise=network.normalised_arrays, log1p=True) == 1


def linear_loss(windows: Windows, network: SegmentNetwork, kernel: Floats, scale: Floats) -> float:
    z, place, spread = network.normalised_arrays(*split_missing(windows.contexts()))
    error = np.abs(windows.targets() - place - spread * (z @ kernel)) / scale[windows.series][:, None]
    return float(np.nanmean(error))


def test_training_starts_from_the_best_kernel_and_leaves_it_alone() -> None:
    fit = panel(6)
    spec = fit.spec("gru", (0.1, 0.5, 0.9), replace(HPARAMS, learning_rate=1e-9))
    trained = fit_network(spec, fit, seed=1, max_epochs=1, patience=1, windows_per_epoch=None)
    network = trained.network
    kernels = fit_kernels(fit.train, fit.loss_scale, normalise=network.normalised_arrays, log1p=False)
    losses = [linear_loss(fit.val, network, kernel, fit.loss_scale) for kernel in kernels]
    assert trained.alpha == ALPHAS[int(np.argmin(losses))]
    np.testing.assert_allclose(network.linear.kernel, kernels[int(np.argmin(losses))], rtol=1e-6)
    longer = fit_network(
        fit.spec("gru", (0.1, 0.5, 0.9), replace(HPARAMS, learning_rate=0.05)),
        fit,
        seed=1,
        max_epochs=2,
        patience=2,
        windows_per_epoch=None,
    )
    np.testing.assert_array_equal(longer.network.linear.kernel, network.linear.kernel)
