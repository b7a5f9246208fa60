from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.budget import audit_budgets, expected_best, search_table

EPOCH_RULE = {"max_epochs": 10, "patience": 4, "windows_per_epoch": 8192}
score_lists = st.lists(st.integers(-20, 20).map(lambda number: number / 8), min_size=1, max_size=5)


def row(status: str, score: float | None, *, epochs: int = 0, windows: int = 0) -> dict[str, Any]:
    return {"status": status, "score": score, "epochs": epochs, "windows": windows}


def tuned(completed: int = 3, **changes: Any) -> dict[str, Any]:
    """The result of a search with one failed and one duplicate trial."""
    trials = [row("completed", 0.5 + number / 10, epochs=number + 1, windows=100) for number in range(completed)]
    return {
        "algorithm": "local",
        "epoch_rule": EPOCH_RULE,
        "budget": {"requested": 3},
        "trials": [*trials, row("failed", None), row("duplicate", 0.5)],
        **changes,
    }


def test_trials_epochs_and_windows_are_counted_from_the_ledger() -> None:
    found = audit_budgets({"lstm": tuned()}).cells["lstm"]
    assert found == {"requested": 3, "completed": 3, "failed": 1, "duplicate": 1, "epochs": 6, "windows": 300}


def test_the_same_search_for_every_cell_is_an_equal_budget() -> None:
    found = audit_budgets({"lstm": tuned(), "gru": tuned(), "rnn": tuned()})
    assert found.equal
    assert found.why == ()
    assert list(found.cells) == ["lstm", "gru", "rnn"]


def test_epochs_saved_by_early_stopping_leave_budgets_equal() -> None:
    quick = [row("completed", 0.5, epochs=1, windows=10) for _ in range(3)]
    found = audit_budgets({"lstm": tuned(), "gru": tuned(trials=quick)})
    assert found.equal
    assert found.cells["gru"]["epochs"] < found.cells["lstm"]["epochs"]


def test_failed_and_duplicate_trials_leave_budgets_equal() -> None:
    more = [*tuned()["trials"], row("failed", None), row("duplicate", 0.5)]
    assert audit_budgets({"lstm": tuned(), "gru": tuned(trials=more)}).equal


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (tuned(2), "completed trials: lstm 3, gru 2"),
        (tuned(algorithm="random"), "tune.algorithm: lstm local, gru random"),
        (tuned(epoch_rule={**EPOCH_RULE, "max_epochs": 20}), "tune.max_epochs: lstm 10, gru 20"),
        (tuned(epoch_rule={**EPOCH_RULE, "patience": 2}), "tune.patience: lstm 4, gru 2"),
        (tuned(epoch_rule={**EPOCH_RULE, "windows_per_epoch": None}), "tune.windows_per_epoch: lstm 8192, gru null"),
    ],
)
def test_what_differs_makes_budgets_unequal_and_is_named_with_its_values(other: dict[str, Any], why: str) -> None:
    found = audit_budgets({"lstm": tuned(), "gru": other})
    assert not found.equal
    assert found.why == (why,)


def test_every_difference_is_a_reason_of_its_own() -> None:
    rnn = tuned(2, algorithm="random", epoch_rule={**EPOCH_RULE, "max_epochs": 5})
    found = audit_budgets({"lstm": tuned(), "gru": tuned(), "rnn": rnn})
    assert found.why == (
        "tune.algorithm: lstm local, gru local, rnn random",
        "completed trials: lstm 3, gru 3, rnn 2",
        "tune.max_epochs: lstm 10, gru 10, rnn 5",
    )


def test_a_single_cell_has_nothing_to_differ_from() -> None:
    assert audit_budgets({"gru": tuned(1)}).equal


def test_a_budget_is_plain_json() -> None:
    found = audit_budgets({"lstm": tuned(), "gru": tuned(2)}).to_json()
    assert list(found) == ["equal", "why", "cells"]
    assert json.loads(json.dumps(found)) == found


@settings(max_examples=30, deadline=None)
@given(score_lists)
def test_the_expected_best_is_that_of_all_possible_draws(scores: list[float]) -> None:
    found = expected_best(scores)
    assert list(found["trials"]) == list(range(1, len(scores) + 1))
    for count, best, low, high in found.itertuples(index=False):
        draws = [min(draw) for draw in itertools.product(scores, repeat=count)]
        assert best == pytest.approx(np.mean(draws))
        assert low == pytest.approx(max(min(scores), np.mean(draws) - np.std(draws)), abs=1e-7)
        assert high == pytest.approx(min(max(scores), np.mean(draws) + np.std(draws)), abs=1e-7)


def test_the_expected_best_is_that_of_many_random_draws() -> None:
    rng = np.random.default_rng(0)
    scores = rng.gamma(2.0, size=24)
    found = expected_best(scores.tolist())
    for count in (1, 5, 24):
        draws = rng.choice(scores, size=(40_000, count)).min(axis=1)
        expected = found.loc[count - 1]
        assert expected["expected_best"] == pytest.approx(draws.mean(), abs=5 * draws.std() / 200)
        spread = min(expected["hi"], scores.max()) - expected["expected_best"]
        assert spread == pytest.approx(draws.std(), rel=0.05)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_more_trials_never_make_the_expected_best_worse_nor_better_than_the_best(scores: list[float], rng: Any) -> None:
    found = expected_best(scores)
    size = max(map(abs, scores))
    slack = 1e-9 * size
    assert found["expected_best"].iloc[0] == pytest.approx(np.mean(scores), abs=slack)
    assert (found["expected_best"].diff().dropna() <= slack).all()
    assert (found[["lo", "expected_best", "hi"]] >= min(scores) - slack).all(axis=None)
    assert (found[["lo", "expected_best", "hi"]] <= max(scores) + slack).all(axis=None)
    shuffled = list(scores)
    rng.shuffle(shuffled)
    assert expected_best(shuffled).equals(found)


def test_one_trial_is_its_own_expected_best_without_a_band() -> None:
    assert expected_best([0.4]).to_dict("records") == [{"trials": 1, "expected_best": 0.4, "lo": 0.4, "hi": 0.4}]


def test_the_search_table_has_a_line_for_each_cell_of_completed_trials_alone() -> None:
    found = search_table({"lstm": tuned(3), "gru": tuned(2)})
    assert list(found.columns) == ["model", "trials", "expected_best", "lo", "hi"]
    assert list(zip(found["model"], found["trials"], strict=True)) == [
        *(("lstm", 1), ("lstm", 2), ("lstm", 3)),
        *(("gru", 1), ("gru", 2)),
    ]
    np.testing.assert_allclose(found["expected_best"], [*expected_best([0.5, 0.6, 0.7])["expected_best"], 0.55, 0.525])
