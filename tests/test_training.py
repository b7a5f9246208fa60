from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from shops import Project

from pipeline import training, worker
from pipeline.covariates import Known
from pipeline.gathering import gather_windows
from pipeline.hparams import Hparams, Inputs, NetworkSpec
from pipeline.network import SegmentNetwork, network_weights, pinball_loss
from pipeline.params import WindowParams
from pipeline.search import Outcome, Proposal
from pipeline.splits import save_windows
from pipeline.training import NonFiniteLossError, Trained, fit_network
from pipeline.windows import FitSet, Windows, load_fit

HPARAMS = Hparams(6, 16, 1, 0.1, 0.02, 16, 24, "last", "none", "plain", "none", "none", "none")
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


@pytest.mark.parametrize(("drawn", "batches"), [(None, None), (100, 6), (10, 1)])
def test_the_windows_seen_are_whole_batches_of_every_epoch(
    drawn: int | None, batches: int | None, small_fit: FitSet
) -> None:
    trained = fit(small_fit, windows_per_epoch=drawn, max_epochs=2)
    batch = min(16, drawn or 16)
    assert trained.windows == 2 * (batches or len(small_fit.train) // 16) * batch


def test_training_stops_when_validation_no_longer_improves(small_fit: FitSet) -> None:
    trained = fit(small_fit, hparams=replace(HPARAMS, learning_rate=1.0), max_epochs=40, patience=2)
    assert len(trained.epochs) < 40
    assert len(trained.epochs) == trained.best_epoch + 2
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


def test_more_windows_per_epoch_than_there_are_draw_some_again(small_fit: FitSet) -> None:
    count, rng = len(small_fit.train), np.random.default_rng(0)
    drawn = training._batches(small_fit.train, 16, 2 * count + 32, rng).ravel()
    counts = np.bincount(drawn, minlength=count)
    assert len(drawn) == (2 * count + 32) // 16 * 16
    assert set(counts) == {2, 3}
    assert len(np.unique(training._batches(small_fit.train, 16, None, rng))) == count // 16 * 16


def test_of_a_large_split_the_same_windows_are_looked_at_each_time(
    small_fit: FitSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = SegmentNetwork(small_fit.spec("gru", (0.1, 0.5, 0.9), HPARAMS))
    gather = gather_windows(network.spec, small_fit.train, len(small_fit.loss_scale))
    parts = network, gather, small_fit.val, small_fit.loss_scale
    loss_of = training._loss(*parts)
    each = np.array([float(loss_of(tf.constant([row]), False)) for row in range(len(small_fit.val))])
    assert training._validation(*parts)() == pytest.approx(each.mean(), rel=1e-5)
    monkeypatch.setattr(training, "VAL_WINDOWS", 9)
    few = [training._validation(*parts)() for _ in range(2)]
    chosen = np.random.default_rng(0).choice(len(each), 9, replace=False)
    assert few == pytest.approx([each[chosen].mean()] * 2, rel=1e-5)


COVARIATES = replace(HPARAMS, segment_length=4, context_used=22, units=8, calendar="auto", identity="embedding")


def fit_shops(shops: Project, *, hparams: Hparams = COVARIATES, **changes: Any) -> Trained:
    spec = shops.fit.spec("gru", (0.1, 0.5, 0.9), hparams)
    return fit_network(spec, shops.fit, **{**RULE, **changes})


@pytest.mark.parametrize("split", ["train", "val", "refit"])
@pytest.mark.parametrize(
    ("calendar", "identity"), [("auto", "embedding"), ("auto", "none"), ("none", "embedding"), ("none", "none")]
)
def test_the_graph_gathers_the_inputs_that_are_gathered_outside_of_it(
    split: str, calendar: str, identity: str, shops: Project
) -> None:
    windows: Windows = getattr(shops.fit, split)
    network = SegmentNetwork(
        shops.fit.spec("gru", (0.1, 0.5, 0.9), replace(COVARIATES, calendar=calendar, identity=identity))
    )
    rng = np.random.default_rng(3)
    for weight in network.trainable_variables:
        weight.assign(0.5 * rng.standard_normal(weight.shape))
    scale = shops.fit.loss_scale

    def loss_of(inputs: dict[str, Any]) -> float:
        forecast = network({name: tf.constant(value) for name, value in inputs.items()})
        return float(pinball_loss(windows.targets(), forecast, scale[windows.series], network.spec.quantiles))

    gather = gather_windows(network.spec, shops.fit.train, len(scale))
    traced = training._validation(network, gather, windows, scale)()
    inputs = windows.inputs(network.spec)
    assert traced == pytest.approx(loss_of(inputs), rel=1e-5)
    for name in ("past", "future", "static_cat", "static_num"):  # or the test would say nothing of it
        other = np.roll(inputs[name], 7, axis=0)
        assert loss_of({**inputs, name: other}) != pytest.approx(traced, rel=1e-4), name


def test_covariates_and_identity_train_to_the_same_bits_each_time(shops: Project) -> None:
    first, second = (network_weights(fit_shops(shops).network) for _ in range(2))
    assert {"future/kernel", "static/kernel", "category_0", "category_2"} <= set(first)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_the_embedding_of_what_is_unknown_is_trained(shops: Project) -> None:
    before = training._start(shops.fit.spec("gru", (0.1, 0.5, 0.9), COVARIATES), 1)[0]
    start = [np.asarray(table) for table in before.categories]
    trained = fit_shops(shops).network
    for table, was in zip(trained.categories, start, strict=True):
        moved = np.abs(np.asarray(table) - was).max(axis=1)
        assert moved[0] > 1e-4
        assert (moved > 1e-4).all()  # no name without a training window


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> FitSet:
    """Two series of noise, which a covariate known ahead explains wholly."""
    rng = np.random.default_rng(5)
    told = [rng.standard_normal(220) for _ in range(2)]
    series = [values * (k + 1.0) + 10 * k for k, values in enumerate(told)]
    known = Known(("told",), ("told",), [values[:, None] for values in told])
    days = [np.datetime64("2020-01-01", "us") + np.timedelta64(1, "D") * np.arange(220)] * 2
    params = WindowParams(
        context_length=12, horizon=4, val_size=30, test_size=30, step_size=1, stride=1, min_context=12
    )
    folder = tmp_path_factory.mktemp("explained")
    save_windows(
        ["a", "b"],
        series,
        days,
        params,
        season_length=1,
        meta={"freq": "D", "timezone": None},
        folder=folder,
        known=known,
    )
    return load_fit(folder / "fit")


def test_a_covariate_that_explains_the_target_leaves_little_error(explained: FitSet) -> None:
    hparams = replace(HPARAMS, segment_length=1, context_used=12, units=24, dropout=0.0, learning_rate=0.01)
    spec = explained.spec("gru", (0.1, 0.5, 0.9), hparams)
    rule = {**RULE, "max_epochs": 20, "patience": 20}
    with_it = fit_network(spec, explained, **rule).val_loss
    without = fit_network(replace(spec, inputs=Inputs()), explained, **rule).val_loss
    assert with_it < 0.4 * without


def test_a_trial_is_scored_by_the_training_that_it_proposes(small_fit: FitSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_fit", small_fit, raising=False)
    values = {name: getattr(HPARAMS, name) for name in HPARAMS.to_json() if name != "context_used"}
    proposal = Proposal("0000", values | {"context_share": 0.5}, seed=3, max_epochs=4)
    found = worker.run_trial("gru", (0.1, 0.5, 0.9), proposal, 4, 64)
    again = fit(small_fit, hparams=replace(HPARAMS, context_used=12), seed=3, windows_per_epoch=64)
    losses = [epoch.val_loss for epoch in again.epochs]
    assert found == Outcome(min(losses), 4, losses.index(min(losses)) + 1, windows=again.windows)
    assert len(set(losses)) == 4
    monkeypatch.setattr(worker, "_fit", replace(small_fit, loss_scale=np.array([1e-300, 1e-300])))
    assert worker.run_trial("gru", (0.1, 0.5, 0.9), proposal, 4, 64).score is None


def test_a_trial_without_enough_memory_is_told_from_one_that_fails(
    small_fit: FitSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit_network(*_: Any, **__: Any) -> Trained:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9,9]")

    monkeypatch.setattr(training, "fit_network", fit_network)
    monkeypatch.setattr(worker, "hparams_of", lambda *_: HPARAMS)
    monkeypatch.setattr(worker, "_fit", small_fit, raising=False)
    with pytest.raises(OSError, match="OOM when allocating"):
        worker.run_trial("gru", (0.5,), Proposal("0000", {}, seed=1, max_epochs=1), 1, None)


def test_a_code_of_no_category_is_unknown_to_the_network_itself(shops: Project) -> None:
    network = SegmentNetwork(shops.spec())
    one = shops.test.windows.inputs(shops.spec(), slice(0, 1))
    inputs = {name: np.repeat(values, 4, axis=0) for name, values in one.items()}
    codes = np.tile(np.array(shops.spec().inputs.categories), (4, 1))
    codes[1], codes[2], codes[3] = 0, -1, codes[3] + 1
    found = np.asarray(network({**inputs, "static_cat": codes}))
    np.testing.assert_array_equal(found[2:], np.repeat(found[1:2], 2, axis=0))
    assert not np.array_equal(found[0], found[1])
