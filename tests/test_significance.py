from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.significance import PAGE, RESULT, SHAPES, draw, rejections, render
from pipeline.significance import (
    Difference,
    Needed,
    Term,
    bootstrap_interval,
    corrected,
    cosines,
    diebold_mariano,
    holm,
    needed,
    over_series,
    over_time,
    rank_models,
    step_p_values,
    wilcoxon,
)


def losses(seed: int, *, networks: int = 5, count: int = 240, worse: float = 0.0, spread: float = 0.0) -> np.ndarray:
    """Losses [K, T] around 1 + worse that share the shocks of all calls."""
    shocks = np.random.default_rng(0).normal(0, 0.3, count)
    rng = np.random.default_rng(seed)
    own = rng.normal(0, spread, (networks, 1)) + rng.normal(0, 0.05, (networks, count))
    return np.asarray((1 + worse) * (1 + shocks + own))


def cosine_variance_by_loops(values: np.ndarray, count: int) -> float:
    """Variance of the mean, equation by equation (Lazarus, Lewis, Stock and Watson 2018)."""
    size = len(values)
    total = 0.0
    for j in range(1, count + 1):
        weight = 0.0
        for t, value in enumerate(values, start=1):
            weight += math.sqrt(2 / size) * value * math.cos(math.pi * j * (t - 0.5) / size)
        total += weight**2
    return total / count / size


def test_the_variance_of_the_windows_is_the_mean_of_squared_cosine_weights() -> None:
    a, b = losses(1, count=90), losses(2, count=90)
    found = over_time(a, b, overlap=5)
    influence = (a.mean(axis=0) - a.mean() / b.mean() * b.mean(axis=0)) / b.mean()
    assert found.windows.df == cosines(90, 5) == 8
    assert found.windows.variance == pytest.approx(cosine_variance_by_loops(influence, 8), rel=1e-10)


def test_without_overlap_the_number_of_cosines_is_the_published_rule() -> None:
    assert cosines(2000, 1) == 63  # .4 x 2000^(2/3) = 63.5


def test_overlap_leaves_two_cosines_for_three_horizons_worth_of_cutoffs() -> None:
    assert cosines(183, 26) == 4
    assert cosines(2785, 96) == 19
    assert cosines(30, 100) == 1


def test_seven_cutoffs_a_horizon_apart_leave_their_variance_two_degrees_of_freedom() -> None:
    assert [cosines(count, 1) for count in (2, 3, 7, 11, 12, 20)] == [1, 2, 2, 2, 2, 2]


@given(st.floats(-0.5, 0.5), st.floats(1e-6, 1e6))
def test_the_difference_is_relative(worse: float, scale: float) -> None:
    a, b = losses(1), losses(2)
    found = over_time((1 + worse) * scale * a, scale * b, overlap=3)
    assert found.relative == pytest.approx((1 + worse) * a.mean() / b.mean() - 1, abs=1e-9)


def test_seeds_of_each_model_add_their_own_variance() -> None:
    a, b = losses(1, spread=0.1), losses(2, spread=0.02)
    found = over_time(a, b, overlap=3)
    expected = [
        np.var(a.mean(axis=1) / b.mean(), ddof=1) / 5,
        np.var(b.mean(axis=1), ddof=1) / 5 * (a.mean() / b.mean() ** 2) ** 2,
    ]
    assert [term.variance for term in found.seeds] == pytest.approx(expected)
    assert found.variance == pytest.approx(found.windows.variance + sum(expected))


def test_seeds_are_not_pairs() -> None:
    a, b = losses(1, spread=0.1), losses(2, spread=0.1)
    assert over_time(a, b[::-1], overlap=3).ci == pytest.approx(over_time(a, b, overlap=3).ci, rel=1e-9)


def test_degrees_of_freedom_are_welchs_for_two_models_that_share_no_window_noise() -> None:
    rng = np.random.default_rng(5)
    means = rng.normal(1, 0.1, 6), rng.normal(1, 0.03, 5)
    a, b = (np.repeat(part[:, None], 40, axis=1) for part in means)
    found = over_time(a, b, overlap=1)
    ratio = means[0].mean() / means[1].mean()
    welch = stats.ttest_ind(means[0], ratio * means[1], equal_var=False)
    assert found.df == pytest.approx(welch.df, rel=1e-9)


def test_single_networks_are_taken_as_given() -> None:
    found = over_time(losses(1, networks=1), losses(2, networks=1), overlap=3)
    assert found.seeds == ()
    assert found.df == found.windows.df


def test_windows_without_a_target_are_left_out() -> None:
    a, b = losses(1), losses(2)
    kept = np.delete(np.arange(240), [3, 77])
    expected = over_time(a[:, kept], b[:, kept], overlap=3)
    a[:, 3], b[:, 77] = np.nan, np.nan
    assert over_time(a, b, overlap=3) == expected


def test_series_are_resampled_as_scipy_would() -> None:
    a, b = losses(1, networks=1), losses(2, networks=1)
    influence = (a[0] - a.mean() / b.mean() * b[0]) / b.mean()
    found = over_series(a, b)
    assert found.windows.variance == pytest.approx(stats.sem(influence) ** 2)
    assert found.windows.df == 239


def test_the_interval_and_the_p_values_agree() -> None:
    for worse in np.linspace(-0.2, 0.2, 41):
        found = over_time(losses(1, worse=worse), losses(2), overlap=12)
        low, high = found.ci
        assert (found.p <= 0.05) == (not low <= 0 <= high)
        assert (found.p_beyond(0.01) <= 0.05) == (low >= 0.01 or high <= -0.01)
        assert (found.p_within(0.1) <= 0.05) == (low >= -0.1 and high <= 0.1)


def test_equal_models_do_not_differ() -> None:
    a = losses(1, networks=1)
    found = over_time(a, a, overlap=3)
    assert (found.relative, found.variance, found.p) == (0.0, 0.0, 1.0)
    assert found.p_within(0.01) == 0.0


# Figures of scores 2.7.0, scores.stats.statistical_tests.diebold_mariano(method="HLN", statistic_distribution="t").
@pytest.mark.parametrize(("count", "overlap", "p"), [(40, 1, 0.34879000094), (60, 4, 0.04578370227)])
def test_diebold_mariano_gives_the_figures_of_another_implementation(count: int, overlap: int, p: float) -> None:
    k = np.arange(count)
    difference = np.round(np.sin(k * k) + 0.4 * np.cos(k / 7) + 0.25, 6)
    assert diebold_mariano(difference, overlap=overlap) == pytest.approx(p, rel=1e-9)


def test_diebold_mariano_of_one_step_is_a_t_test_of_the_mean() -> None:
    difference = np.random.default_rng(2).normal(0.1, 1, 80)
    # Its variance is divided by T, that of the t test by T - 1; its correction is (T - 1) / T.
    assert diebold_mariano(difference, overlap=1) == pytest.approx(stats.ttest_1samp(difference, 0).pvalue, rel=1e-9)


def test_diebold_mariano_is_undefined_where_its_variance_is_negative() -> None:
    assert math.isnan(diebold_mariano(np.tile([1.0, -1.0], 20) + 0.01, overlap=2))


def test_the_bootstrap_without_overlap_agrees_with_the_t_interval() -> None:
    a, b = losses(1, networks=1), losses(2, networks=1)
    found = over_series(a, b)
    half = (found.ci[1] - found.ci[0]) / 2
    assert bootstrap_interval(a, b, overlap=1) == pytest.approx(found.ci, abs=0.15 * half)


def test_the_bootstrap_gives_the_same_bits_again() -> None:
    a, b = losses(1), losses(2)
    assert bootstrap_interval(a, b, overlap=12) == bootstrap_interval(a, b, overlap=12)


@pytest.mark.parametrize(("wrong", "ends"), [(1, False), (4, True)])
def test_the_bootstrap_has_no_end_where_resamples_without_an_error_are_many(wrong: int, ends: bool) -> None:
    b = np.zeros((2, 20))
    b[:, :wrong] = 1.0  # of 2,000 resamples about 36 % have none of 1 cutoff in 20, about 1 % none of 4
    found = bootstrap_interval(1.1 * b, b, overlap=1)
    assert (found is not None) == ends
    assert found is None or found == pytest.approx((0.1, 0.1))


def test_the_bootstrap_resamples_seeds() -> None:
    calm = bootstrap_interval(losses(1), losses(2), overlap=1)
    spread = bootstrap_interval(losses(1, spread=0.3), losses(2, spread=0.3), overlap=1)
    assert calm is not None
    assert spread is not None
    assert spread[1] - spread[0] > 5 * (calm[1] - calm[0])


# Figures by hand: sorted .01, .02, .03, .04 times 4, 3, 2, 1, each at least the one before.
def test_holm_multiplies_by_what_is_left() -> None:
    assert holm([0.04, 0.01, math.nan, 0.03, 0.02]) == pytest.approx([0.06, 0.04, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.9, 0.8]).max() == 1.0


def test_steps_are_corrected_for_their_number() -> None:
    rng = np.random.default_rng(3)
    b = 1 + rng.normal(0, 0.1, (300, 12))
    a = b + rng.normal(0, 0.05, (300, 12))
    a[:, 4] += 0.1
    found = step_p_values(a, b, overlap=1)
    assert np.flatnonzero(found <= 0.05).tolist() == [4]
    assert np.isnan(step_p_values(np.full((10, 2), np.nan), b[:10, :2], overlap=1)).all()


def test_ranks_are_demsars() -> None:
    rng = np.random.default_rng(4)
    errors = rng.random((5, 30)) + np.arange(5)[:, None] / 5
    errors[2, 7] = np.nan
    found = rank_models(errors)
    assert found.average.sum() == pytest.approx(15)
    assert found.average.argmin() == 0
    # Demsar 2006, table 5: q of five models at .05 is 2.728.
    assert found.critical_difference == pytest.approx(2.728 * math.sqrt(5 * 6 / (6 * 29)), rel=1e-3)
    assert found.friedman_p < 0.05


def test_wilcoxon_of_equal_errors_is_one() -> None:
    errors = np.random.default_rng(1).random(30)
    assert wilcoxon(errors, errors) == 1.0
    assert wilcoxon(errors, errors + 0.1) < 1e-6


def test_more_windows_or_seeds_are_told_only_where_they_help() -> None:
    by_windows = Difference(0.03, Term(4e-4, 10), (Term(1e-6, 4), Term(1e-6, 4)))
    assert needed(by_windows, 0.01).seeds is None
    times = needed(by_windows, 0.01).windows
    assert times is not None
    assert by_windows.with_more(windows=times).decides(0.01)
    assert not by_windows.with_more(windows=times / 1.06).decides(0.01)
    assert needed(by_windows, 0.01).together is None
    by_seeds = Difference(0.03, Term(1e-6, 10), (Term(4e-4, 4), Term(4e-4, 4)))
    assert needed(by_seeds, 0.01).windows is None
    assert needed(by_seeds, 0.01).seeds is not None


def test_where_windows_and_seeds_each_leave_too_much_to_chance_more_of_both_are_told() -> None:
    both = Difference(0.03, Term(2e-4, 10), (Term(1e-4, 4), Term(1e-4, 4)))
    found = needed(both, 0.01)
    assert (found.windows, found.seeds) == (None, None)
    assert found.together is not None
    assert both.with_more(windows=found.together, seeds=found.together).decides(0.01)
    assert not both.with_more(windows=found.together / 1.06, seeds=found.together / 1.06).decides(0.01)


def test_a_difference_at_the_limit_is_decided_by_no_number() -> None:
    at_the_limit = Difference(0.01, Term(2e-4, 10), (Term(1e-4, 4), Term(1e-4, 4)))
    assert needed(at_the_limit, 0.01) == Needed(None, None, None)


def test_what_would_decide_one_of_several_pairs_counts_all_of_them() -> None:
    alone = Difference(0.03, Term(8e-5, 10))
    assert alone.decides(0.01)
    assert needed(alone, 0.01).windows == 1.0
    beside = [Difference(0.012, Term(8e-5, 10))] * 2
    assert (corrected([alone, *beside], 0.01)[0] > 0.05).all()
    times = needed(alone, 0.01, beside=beside).windows
    assert times is not None
    assert times > 1.0
    more = [found.with_more(windows=times) for found in (alone, *beside)]
    assert corrected(more, 0.01)[0][0] <= 0.05


def allowed_shapes() -> list[tuple[str, float]]:
    return [(shape.name, correlation) for shape in SHAPES if shape.allowed for correlation in (0.0, 0.5)]


@pytest.mark.parametrize(("name", "correlation"), allowed_shapes())
def test_where_a_decision_is_allowed_at_most_8_percent_are_rejected_at_5(name: str, correlation: float) -> None:
    shape = next(shape for shape in SHAPES if shape.name == name)
    rate = rejections(shape, correlation=correlation, repetitions=600)["decides"]
    assert 0.02 <= rate <= 0.08


def test_three_horizons_worth_of_cutoffs_allow_no_decision() -> None:
    assert [shape.name for shape in SHAPES if not shape.allowed] == ["2,161 cutoffs, 720 steps"]


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.allowed], ids=lambda shape: shape.name)
def test_larger_effects_are_found_more_often(shape: object) -> None:
    assert isinstance(shape, type(SHAPES[0]))
    rates = [
        rejections(shape, correlation=0.0, repetitions=100, effect=effect)["decides"] for effect in (0.0, 0.1, 0.3)
    ]
    assert rates[0] + 0.1 < rates[1] <= rates[2]
    assert rates[2] > 0.95


def test_simulated_models_differ_by_the_effect_that_is_planted() -> None:
    a, b = draw(SHAPES[-1], np.random.default_rng(0), correlation=0.0, effect=0.2, seeds=400)
    assert a.mean() / b.mean() == pytest.approx(1.2, abs=0.05)


def test_the_page_shows_each_shape() -> None:
    null = {"decides": 0.05, "diebold_mariano": 0.1, "bootstrap": 0.2}
    row = {
        "shape": "s",
        "allowed": False,
        "correlation": 0.5,
        "null": null,
        "power": {"0.02": 0.3, "0.05": 0.6, "0.1": 1.0},
    }
    counts = {"repetitions": 2000, "power_repetitions": 400, "resamples": 250, "seeds": 5}
    page = " ".join(render({**counts, "rows": [row]}).split())
    assert "never" in page
    assert "20.0 %" in page
    assert "of 2,000 comparisons, where there is none" in page
    assert "of 400, where one is worse" in page
    assert "has 250 resamples here, and 2,000 in the pipeline" in page


def test_the_committed_page_is_made_of_the_committed_simulation() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(json.loads(RESULT.read_text(encoding="utf-8")))
