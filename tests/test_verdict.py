"""Planted cases: what is known to be better, equal or worse has to come out so."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.evidence import Design, Measured, compare_networks, errors_by_series
from pipeline.significance import Difference, Term
from pipeline.verdict import Candidate, Case, Rules, compare_pairs, judge

SEEDS = (11, 12, 13, 14, 15)
CUTOFFS = 364  # 14 horizons' worth
FIRST = np.datetime64("2020-01-01", "us")
DAY = np.timedelta64(1, "D")


def calendar(
    *, cutoffs: int = CUTOFFS, series: int = 2, horizon: int = 26, step_size: int = 1, independent: bool = False
) -> Design:
    """The design of series that share all their cutoffs."""
    shared = tuple(pd.DatetimeIndex(FIRST + np.arange(cutoffs) * DAY))
    windows = series * cutoffs
    return Design(shared, windows, windows, series, series, cutoffs, horizon, step_size, independent)


DESIGN = calendar()


def planted(
    name: str,
    level: float,
    *,
    number: int,
    cutoffs: int = CUTOFFS,
    series: int = 2,
    noise: float = 0.005,
    seeds: tuple[int, ...] = SEEDS,
    spread: float = 0.001,
    apart: int = 0,
) -> Measured:
    """Losses around `level` that share the shocks of all models, with `noise` of their own and `spread` by seed.

    The cutoffs of each series are `apart` days later than those of the one before.
    """
    shared = 1 + 0.3 * np.random.default_rng(0).standard_normal((series, cutoffs))
    rng = np.random.default_rng(number)
    rows = []
    losses = []
    for _ in seeds:
        own = rng.normal(0, spread) + noise * rng.standard_normal((series, cutoffs))
        losses.append(level * (np.abs(shared) + own))
    names = [str(seed) for seed in seeds] if seeds else [name]
    losses = losses or [level * (np.abs(shared) + noise * rng.standard_normal((series, cutoffs)))]
    if seeds:
        names, losses = ["ensemble", *names], [0.95 * np.mean(losses, axis=0), *losses]
    for forecast, values in zip(names, losses, strict=True):
        ids = np.repeat([f"s{i}" for i in range(series)], cutoffs)
        days = np.arange(cutoffs) + apart * np.arange(series)[:, None]
        rows.append(
            pd.DataFrame(
                {
                    "forecast": forecast,
                    "unique_id": ids,
                    "steps": 3,
                    "cutoff": FIRST + days.ravel() * DAY,
                    "mase": values.ravel(),
                    "rmse": values.ravel() ** 2,
                }
            )
        )
    horizon = pd.DataFrame(
        {
            "cutoff": np.repeat(FIRST + np.arange(cutoffs) * DAY, 3),
            "step": np.tile([1, 2, 3], cutoffs),
            "mase": np.repeat(np.mean(losses, axis=(0, 1)), 3),
        }
    )
    return Measured(name, pd.concat(rows), horizon)


def case(worse: float = 0.0, *, rope: float = 0.01, baseline: float = 2.0, **changes: Any) -> Case:
    """lstm at 1, gru `worse`, and a baseline; lstm is best on validation and takes more work."""
    keep = {name: changes.pop(name) for name in ("design", "rules", "unequal") if name in changes}
    made = Case(
        candidates=[
            Candidate(planted("lstm", 1.0, number=1, **changes), work=400),
            Candidate(planted("gru", 1.0 + worse, number=2, **changes), work=300),
        ],
        baseline=planted("ridge", baseline, number=3, **{**changes, "seeds": ()}),
        others=[planted("seasonal_naive", 2 * baseline, number=4, **{**changes, "seeds": ()})],
        design=DESIGN,
        rules=Rules("mase", rope),
        seeds=len(changes.get("seeds", SEEDS)),
    )
    return replace(made, **keep)


# 364 cutoffs of horizon 26, 2 series, 5 seeds; noise of .5 % in each loss and .1 % between seeds.
@pytest.mark.parametrize(
    ("worse", "verdict", "cell", "recommended"),
    [
        (0.0, "equivalent", None, "gru"),
        (0.003, "equivalent", None, "gru"),
        (0.05, "better", "lstm", "lstm"),
        (-0.05, "better", "gru", "gru"),
    ],
)
def test_planted_differences_come_out(worse: float, verdict: str, cell: str | None, recommended: str) -> None:
    found = judge(case(worse))
    assert (found["verdict"], found["cell"], found["recommended"]) == (verdict, cell, recommended)
    assert found["relative_difference"] == pytest.approx(1 / (1 + worse) - 1, abs=0.004)
    low, high = found["ci"]
    assert low < found["relative_difference"] < high


def test_a_planted_difference_in_noise_is_undecided_and_what_it_would_take_is_told() -> None:
    found = judge(case(0.02, noise=0.1))
    assert found["verdict"] == "undecided"
    needed = found["pairs"][0]["needed"]
    assert needed["cutoffs"] > CUTOFFS
    assert needed["seeds"] > 5
    assert needed["together"] is None
    assert "Undecided between lstm and gru" in found["words"]
    assert f"{needed['cutoffs']} cutoffs or {needed['seeds']} seeds would decide." in found["words"]
    assert found["recommended"] == "lstm"


def test_noise_in_windows_and_in_seeds_takes_more_of_both() -> None:
    found = judge(case(0.03, noise=0.4))
    needed = found["pairs"][0]["needed"]
    assert (needed["cutoffs"], needed["seeds"]) == (None, None)
    together = needed["together"]
    assert together["cutoffs"] == pytest.approx(CUTOFFS * together["times"], abs=1)
    assert together["seeds"] == pytest.approx(5 * together["times"], abs=1)
    assert f"would: {together['cutoffs']:,} cutoffs and {together['seeds']} seeds." in found["words"]
    assert "near the limit" not in found["words"]


def test_what_it_would_take_is_not_told_where_nothing_may_be_decided() -> None:
    for obstacle in ({"unequal": ["completed trials"]}, {"seeds": SEEDS[:4]}):
        pair = judge(case(0.02, noise=0.1, **obstacle))["pairs"][0]
        assert pair["ci"] is not None
        assert pair["needed"] is None


def test_a_pair_that_is_undecided_for_the_number_of_pairs_is_told_how_many_more_cutoffs_that_takes() -> None:
    two = case(0.03, noise=0.16)
    alone = judge(two)
    # Two more cells that are as hard to tell apart.
    more = [Candidate(planted(name, 1.01, number=number, noise=0.16), work=200) for number, name in enumerate("xy", 6)]
    three = judge(replace(two, candidates=[*two.candidates, *more]))
    assert (alone["verdict"], three["verdict"]) == ("better", "undecided")
    assert three["ci"] == alone["ci"]
    needed = three["pairs"][0]["needed"]
    assert needed["cutoffs"] > 1.04 * CUTOFFS
    assert needed["seeds"] > 5
    assert "with Holm's correction for 6 pairs" in three["words"]


def test_seeds_that_differ_more_than_the_cells_leave_it_undecided() -> None:
    found = judge(case(0.03, spread=0.1))
    assert found["verdict"] == "undecided"
    assert found["pairs"][0]["variance_shares"]["seeds"] > 0.9


def test_too_few_cutoffs_are_always_undecided() -> None:
    few = calendar(cutoffs=181)
    assert few.horizons_worth < 7
    found = judge(case(0.5, cutoffs=181, design=few))
    assert (found["verdict"], found["kind"], found["ci"]) == ("undecided", None, None)
    assert "a test part of 182 cutoffs would do" in found["words"]


def test_cutoffs_a_horizon_apart_each_count_as_one() -> None:
    one = partial(calendar, series=1, horizon=24)
    assert one(cutoffs=7, step_size=24).kind == "over_time"
    assert one(cutoffs=7, step_size=48).horizons_worth == 7
    assert one(cutoffs=84, step_size=2).kind == "over_time"
    assert one(cutoffs=83, step_size=2).kind is None


def test_fewer_than_five_seeds_are_undecided() -> None:
    found = judge(case(0.5, seeds=SEEDS[:4]))
    assert found["verdict"] == "undecided"
    assert "4 seeds per cell" in found["words"]


def test_unequal_searches_are_refused_with_the_reason() -> None:
    found = judge(case(0.5, unequal=["completed trials: lstm 24, gru 12"]))
    assert found["verdict"] == "undecided"
    assert "completed trials: lstm 24, gru 12" in found["words"]


def test_cells_worse_than_the_baseline_are_neither() -> None:
    found = judge(case(0.05, baseline=0.8))
    assert (found["verdict"], found["cell"], found["recommended"]) == ("neither", None, "ridge")
    assert found["differences"]["lstm"]["relative_difference"] == pytest.approx(0.25, abs=0.02)
    assert "Neither cell beats ridge" in found["words"]


def test_one_cell_that_beats_the_baseline_is_enough_for_a_verdict() -> None:
    found = judge(case(0.5, baseline=1.2))
    assert (found["verdict"], found["cell"]) == ("better", "lstm")


def test_where_nothing_can_be_decided_the_best_on_validation_is_recommended_baselines_among_them() -> None:
    few = case(0.05, seeds=("11", "12", "13"))
    found = judge(few)
    assert (found["verdict"], found["recommended"]) == ("undecided", "lstm")
    assert found["because"] == "the best cell on validation, as nothing else decides"
    assert "Recommended" not in found["words"]
    assert "; 3 seeds per cell do not tell" in f"; {few.obstacles[0]}"
    assert replace(few, seeds=1).obstacles[0].startswith("1 seed per cell does not tell")
    for candidates, verdict in ((few.candidates, "undecided"), (few.candidates[:1], "single_cell")):
        found = judge(replace(few, candidates=candidates, baseline_leads=True))
        assert (found["verdict"], found["recommended"]) == (verdict, "ridge")
        assert found["because"].startswith(
            "which is better on validation than every cell, as nothing else decides; serve"
        )
        assert f" Recommended: ridge, {found['because']}." in found["words"]
    # What the test part says with an interval stands.
    assert judge(replace(case(0.05), baseline_leads=True))["recommended"] == "lstm"


def test_a_recommended_baseline_says_how_it_is_served_where_it_can_be() -> None:
    found = case(baseline=0.8)
    assert "serve.cell: ridge in params.yaml and `dvc repro` serve it." in judge(found)["words"]
    naive = replace(found, baseline=replace(found.baseline, name="seasonal_naive"))
    assert judge(naive)["recommended"] == "seasonal_naive"
    assert "serve" not in judge(naive)["words"]


def test_a_baseline_that_is_not_beaten_for_certain_is_neither() -> None:
    assert judge(case(baseline=1.0, noise=0.05))["verdict"] == "neither"


@pytest.mark.parametrize(("end", "verdict"), [(-1e-4, "better"), (1e-4, "neither")])
def test_a_baseline_is_beaten_where_the_interval_that_is_shown_lies_below_0(
    end: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = 0.05
    deviation = half / stats.t.ppf(0.975, 8)
    against = {"lstm": Difference(0.1, Term(deviation**2, 8)), "gru": Difference(end - half, Term(deviation**2, 8))}
    assert against["gru"].ci[1] == pytest.approx(end)
    monkeypatch.setattr("pipeline.verdict._against_baseline", lambda _, candidate: against[candidate.name])
    found = judge(case(0.05))
    assert found["verdict"] == verdict
    assert (found["differences"]["gru"]["ci"][1] < 0) == (verdict == "better")


def test_a_single_cell_has_no_verdict() -> None:
    both = case()
    found = judge(replace(both, candidates=both.candidates[:1]))
    assert (found["verdict"], found["pair"], found["recommended"]) == ("single_cell", None, "lstm")
    assert found["differences"]["lstm"]["ci"][1] < 0


def test_a_single_cell_that_does_not_beat_the_baseline_is_not_recommended() -> None:
    both = case(baseline=0.5)
    found = judge(replace(both, candidates=both.candidates[:1]))
    assert (found["verdict"], found["pair"], found["recommended"]) == ("neither", None, "ridge")
    assert found["words"].startswith("lstm does not beat ridge with an interval below 0 (mase against ridge's: lstm +")
    few = judge(replace(both, candidates=both.candidates[:1], seeds=4))
    assert (few["verdict"], few["recommended"]) == ("single_cell", "lstm")


def test_a_baseline_without_an_error_is_not_beaten_and_the_words_say_why() -> None:
    both = case(baseline=0.0, noise=0.0)
    assert "(its mase is 0 or undefined; 364 cutoffs, 5 seeds)" in judge(both)["words"]


def test_where_validation_and_the_verdict_disagree_both_are_shown() -> None:
    assert "On validation lstm was best." in judge(case(-0.05))["words"]
    assert "On validation" not in judge(case(0.05))["words"]


def test_a_wider_rope_makes_a_difference_too_small_to_matter() -> None:
    assert judge(case(0.05, rope=0.1))["verdict"] == "equivalent"


def test_one_cutoff_of_many_series_is_decided_by_series_and_says_so() -> None:
    design = calendar(cutoffs=1, series=400, horizon=48)
    found = judge(case(0.05, cutoffs=1, series=400, design=design))
    assert (found["verdict"], found["cell"], found["kind"]) == ("better", "lstm", "over_series")
    assert found["assumes"] in found["words"]
    assert found["pairs"][0]["beside"]["wilcoxon_p"] < 0.05
    assert found["ranks"]["average_ranks"]["lstm"] < found["ranks"]["average_ranks"]["gru"]
    assert found["ranks"]["critical_difference"] > 0


def test_few_cutoffs_of_many_series_need_the_series_to_be_declared_independent() -> None:
    few = calendar(cutoffs=4, series=400, horizon=48)
    assert few.kind is None
    assert "compare.independent_series: true" in str(few.too_little)
    assert replace(few, independent_series=True).kind == "over_series"
    assert calendar(cutoffs=4, series=19, horizon=48, independent=True).kind is None


def test_ranks_are_descriptive_unless_series_are_declared_independent() -> None:
    design = calendar(series=30)
    found = judge(case(0.05, series=30, design=design))
    assert found["ranks"]["descriptive"] is True
    declared = judge(case(0.05, series=30, design=replace(design, independent_series=True)))
    assert declared["ranks"]["descriptive"] is False
    assert judge(case(0.05))["ranks"] is None


def test_three_cells_are_ranked_and_their_pairs_corrected_for_their_number() -> None:
    two = case(0.002)
    three = replace(two, candidates=[*two.candidates, Candidate(planted("rnn", 1.2, number=5), work=200)])
    found = judge(three)
    assert [pair["pair"] for pair in found["pairs"]] == [["lstm", "gru"], ["lstm", "rnn"], ["gru", "rnn"]]
    assert found["ranking"][-1] == "rnn"
    assert [pair["verdict"] for pair in found["pairs"]] == ["equivalent", "better", "better"]
    assert all(pair["p_holm"] >= pair["p"] for pair in found["pairs"])
    assert re.search(
        r"All cells by the mase of one network on the test part: (lstm|gru) [\d.]+, (lstm|gru) [\d.]+, rnn 1\.",
        found["words"],
    )
    assert "rnn is better" not in found["words"]
    assert "All cells" not in judge(two)["words"]


def test_a_third_cell_that_beats_both_of_the_pair_is_named() -> None:
    two = case(0.002)
    third = Candidate(planted("rnn", 0.9, number=5), work=200)
    found = judge(replace(two, candidates=[*two.candidates, third]))
    assert (found["verdict"], found["ranking"][0]) == ("equivalent", "rnn")
    assert "rnn is better than both lstm and gru, though not on validation." in found["words"]


def test_the_ensembles_are_compared_apart() -> None:
    pair = judge(case(0.05))["pairs"][0]
    assert pair["ensembles"]["variance_shares"]["seeds"] == 0
    assert pair["ensembles"]["conditional_on"] == "these networks"


def test_other_tests_stand_beside() -> None:
    beside = judge(case(0.05))["pairs"][0]["beside"]
    assert beside["bootstrap_ci"][1] < 0
    assert beside["dm_hln_p"] < 0.05
    assert beside["steps"] == {"lstm": [1, 2, 3], "gru": []}


def test_of_squared_losses_the_difference_is_that_of_roots() -> None:
    made = case(0.05, rules=Rules("rmse", 0.01))
    plain = replace(made, candidates=[replace(c, measured=replace(c.measured, horizon=None)) for c in made.candidates])
    assert compare_pairs(plain)[0]["relative_difference"] == pytest.approx(1 / 1.05 - 1, abs=0.004)


def test_errors_of_zero_cannot_be_compared() -> None:
    made = case()
    nothing = replace(
        made,
        candidates=[
            replace(c, measured=replace(c.measured, windows=c.measured.windows.assign(mase=0.0)))
            for c in made.candidates
        ],
    )
    found = judge(nothing)
    assert (found["verdict"], found["relative_difference"]) == ("undecided", None)


def test_series_that_share_a_calendar_are_averaged_at_each_cutoff() -> None:
    one = planted("lstm", 1.0, number=1)
    expected = one.windows.groupby(["forecast", "cutoff"])["mase"].mean().unstack().drop("ensemble").to_numpy()
    np.testing.assert_allclose(one.networks("mase", by="cutoff"), expected)
    assert errors_by_series([one, one], "mase").shape == (2, 2)


def test_swapping_the_cells_turns_the_difference_around() -> None:
    a, b = planted("lstm", 1.0, number=1), planted("gru", 1.05, number=2)
    there, back = (compare_networks(*pair, metric="mase", design=DESIGN) for pair in ((a, b), (b, a)))
    assert there is not None
    assert back is not None
    assert (1 + there.relative) * (1 + back.relative) == pytest.approx(1)
