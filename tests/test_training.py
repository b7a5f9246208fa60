from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.hparams import Hparams, NetworkSpec
from pipeline.network import network_weights
from pipeline.training import Epoch, NonFiniteLossError, Trained, fit_network
from pipeline.windows import FitSet

HPARAMS = Hparams(6, 16, 1, 0.1, 0.02, 16, 24, "last", "none", "plain", "none")
RULE: dict[str, Any] = {"seed": 1, "max_epochs": 4, "patience": 4, "windows_per_epoch": None}


def fit(small_fit: FitSet, *, cell: str = "gru", hparams: Hparams = HPARAMS, **changes: Any) -> Trained:
    spec = NetworkSpec(cell, 24, 6, (0.1, 0.5, 0.9), hparams)
    return fit_network(spec, small_fit, **{**RULE, **changes})


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_training_lowers_the_loss(cell: str, small_fit: FitSet) -> None:
    trained = fit(small_fit, cell=cell, max_epochs=12)
    assert trained.epochs[-1].loss < 0.6 * trained.epochs[0].loss
    assert trained.val_loss < 0.6 * trained.epochs[0].val_loss


def test_a_seed_gives_the_same_bits_whatever_was_trained_before(small_fit: FitSet) -> None:
    first = fit(small_fit)
    other = fit(small_fit, seed=2)
    again = fit(small_fit)
    a, b, c = (network_weights(t.network) for t in (first, again, other))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not all(np.array_equal(a[name], c[name]) for name in a)
    assert first.epochs == again.epochs


def test_the_network_kept_is_that_of_the_best_epoch(small_fit: FitSet) -> None:
    trained = fit(small_fit, hparams=replace(HPARAMS, learning_rate=0.3), max_epochs=6, patience=6)
    losses = [epoch.val_loss for epoch in trained.epochs]
    assert trained.val_loss == min(losses)
    assert trained.best_epoch == 1 + int(np.argmin(losses))
    until_best = fit(
        small_fit, hparams=replace(HPARAMS, learning_rate=0.3), max_epochs=6, patience=trained.best_epoch + 6
    )
    a, b = network_weights(trained.network), network_weights(until_best.network)
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_training_stops_when_validation_no_longer_improves(small_fit: FitSet) -> None:
    told: list[Epoch] = []
    trained = fit(
        small_fit, hparams=replace(HPARAMS, learning_rate=1.0), max_epochs=40, patience=2, on_epoch=told.append
    )
    assert len(trained.epochs) < 40
    assert len(trained.epochs) == trained.best_epoch + 2
    assert told == trained.epochs
    assert len(trained.seconds) == len(trained.epochs)


def test_the_learning_rate_falls_along_a_cosine(small_fit: FitSet) -> None:
    rates = [epoch.learning_rate for epoch in fit(small_fit).epochs]
    assert rates == pytest.approx([0.02 * 0.5 * (1 + np.cos(np.pi * k / 4)) for k in range(4)])


def test_fewer_windows_per_epoch_are_fewer_gradient_steps(small_fit: FitSet) -> None:
    all_of_them = fit(small_fit, max_epochs=1)
    few = fit(small_fit, max_epochs=1, windows_per_epoch=16)
    assert few.epochs[0].loss != all_of_them.epochs[0].loss
    assert few.epochs[0].val_loss > all_of_them.epochs[0].val_loss


def test_a_batch_larger_than_the_data_is_one_batch(small_fit: FitSet) -> None:
    trained = fit(small_fit, hparams=replace(HPARAMS, batch_size=10_000), max_epochs=2)
    assert len(trained.epochs) == 2


def test_divergence_is_told_with_the_epoch(small_fit: FitSet) -> None:
    broken = replace(small_fit, loss_scale=np.array([1e-300, 1e-300]))
    with pytest.raises(NonFiniteLossError, match="epoch 1"):
        fit(broken)
