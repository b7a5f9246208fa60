"""What of a test part can be compared, and over what."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.evidence import Design, Measured, compare_networks, measure_design, other_tests
from pipeline.significance import over_time

START = np.datetime64("2020-01-01", "us")
SEEDS = ("11", "12", "13", "14", "15")
STEPS = (1, 2)


def measured(days: list[list[int]], *, level: float = 1.0, number: int = 1, unscaled: int = 0) -> Measured:
    """The losses of a cell whose series have their cutoffs on given days; the last `unscaled` series have no MASE."""
    rng = np.random.default_rng(number)
    when = np.concatenate([START + np.array(own) * np.timedelta64(1, "D") for own in days])
    ids = np.repeat([f"s{place:03d}" for place in range(len(days))], [len(own) for own in days])
    shocks = 1 + 0.3 * np.abs(np.random.default_rng(0).standard_normal(len(ids)))
    kept = np.where(np.isin(ids, np.unique(ids)[len(days) - unscaled :]), np.nan, 1.0)
    frames = [
        pd.DataFrame({"forecast": name, "unique_id": ids, "cutoff": when, "steps": 1 + np.arange(len(ids)) % 5})
        .assign(mase=kept * level * (shocks + 0.02 * rng.standard_normal(len(ids))))
        .sample(frac=1, random_state=1)
        for name in ("ensemble", *SEEDS)
    ]
    windows = pd.concat(frames)
    means = windows.groupby("cutoff")["mase"].mean()
    horizon = pd.concat([pd.DataFrame({"cutoff": means.index, "step": step, "mase": means.array}) for step in STEPS])
    return Measured(f"cell{number}", windows, horizon)


def design_of(days: list[list[int]], *, unscaled: int = 0, horizon: int = 7, **changes: Any) -> Design:
    settings: dict[str, Any] = {"metric": "mase", "step_size": 1, "independent_series": False, **changes}
    return measure_design(measured(days, unscaled=unscaled), horizon=horizon, **settings)


def spans(*spans: tuple[int, int]) -> list[list[int]]:
    """The cutoffs of each series, from its first to before its last."""
    return [list(range(*span)) for span in spans]


def test_one_window_of_each_series_is_one_cutoff_whenever_each_ends() -> None:
    design = design_of([[place] for place in range(142)], horizon=48)
    assert (design.kind, design.n_cutoffs, design.n_series) == ("over_series", 1, 142)
    assert design.compared_series == 142
    assert design.compared == (142, "series")
    assert design_of([[0]] * 142, horizon=48).kind == "over_series"


def test_cutoffs_that_each_hold_a_few_series_of_their_own_do_not_follow_each_other() -> None:
    days = spans(*((3 * place, 3 * place + 3) for place in range(40)))
    design = design_of(days)
    assert len(set(chain(*days))) > 7 * 7  # so many different moments would be enough
    assert (design.kind, design.n_cutoffs, design.horizons_worth) == (None, 3, 0)
    assert "or lack values, so that no cutoff is shared by more than half of them" in str(design.too_little)
    assert "compare.independent_series: true" in str(design.too_little)
    assert replace(design, independent_series=True).kind == "over_series"


def test_few_series_that_end_at_different_times_are_told_what_would_do() -> None:
    few = design_of([[place] for place in range(15)])
    assert few.kind is None
    assert "20 series that are independent of each other would do" in str(few.too_little)


def test_two_interleaved_calendars_are_none() -> None:
    even, odd = list(range(0, 200, 2)), list(range(1, 200, 2))
    assert design_of([even] * 10 + [odd] * 10, step_size=2).kind is None
    assert design_of([even] * 20, step_size=2).kind == "over_time"


def test_the_calendar_of_most_series_is_compared_and_what_lies_beside_it_left_out() -> None:
    days = spans(*[(0, 70)] * 9, (500, 570))
    design = design_of(days)
    assert (design.kind, design.n_cutoffs, design.n_series, design.compared_series) == ("over_time", 70, 10, 9)
    assert design.left_out == pytest.approx(0.1)
    a, b = measured(days), measured(days, level=1.1, number=2)
    found = compare_networks(a, b, metric="mase", design=design)
    late = b.windows["cutoff"] > START + np.timedelta64(400, "D")
    edited = replace(b, windows=b.windows.assign(mase=b.windows["mase"].where(~late, 50.0)))
    assert compare_networks(a, edited, metric="mase", design=design) == found
    assert found is not None
    assert found.relative == pytest.approx(1 / 1.1 - 1, abs=0.01)
    beside = other_tests(a, b, metric="mase", design=design)
    assert beside["steps"] == {"cell1": [1, 2], "cell2": []}


def squared(sizes: list[float], number: int, networks: int = 1) -> Measured:
    """Squared errors of a model on series of several sizes, 60 windows each."""
    rng = np.random.default_rng(number)
    names, days = [f"s{place}" for place in range(len(sizes))], np.arange(60).astype("timedelta64[D]")
    frames = [
        pd.DataFrame({"forecast": str(seed), "unique_id": name, "cutoff": START + days, "steps": 4}).assign(
            rmse=(size * rng.standard_normal(60)) ** 2
        )
        for seed in range(networks)
        for name, size in zip(names, sizes, strict=True)
    ]
    return Measured(f"m{number}", pd.concat(frames))


def roots(model: Measured) -> pd.Series:
    """The RMSE of each network on each series, as the evaluation has it."""
    return np.sqrt(model.windows.groupby(["forecast", "unique_id"])["rmse"].mean())


def test_of_squares_the_root_of_each_series_is_compared_not_that_of_all() -> None:
    a, b = squared([40.0, 0.5, 0.5, 0.5], 1, 2), squared([20.0, 10.0, 10.0, 10.0], 2, 2)
    for model in (a, b):
        assert model.error("rmse") == pytest.approx(roots(model).mean())
    design = measure_design(a, metric="rmse", horizon=4, step_size=1, independent_series=False)
    found = compare_networks(a, b, metric="rmse", design=design)
    assert found is not None
    assert found.relative == pytest.approx(roots(a).mean() / roots(b).mean() - 1)
    # By the squares of all the large series would turn the order round.
    assert a.windows["rmse"].mean() > b.windows["rmse"].mean()
    assert found.relative < 0


@pytest.mark.parametrize("metric", ["mase", "rmse"])
@given(st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=15, unique=True), min_size=1, max_size=8))
def test_over_time_every_series_counts_as_much_as_over_series(metric: str, days: list[list[int]]) -> None:
    model = measured(days)
    model = replace(model, windows=model.windows.assign(rmse=model.windows["mase"] ** 2))
    over = {by: model.networks(metric, by=by).T for by in ("cutoff", "unique_id")}
    assert over["cutoff"].mean(axis=0) == pytest.approx(over["unique_id"].mean(axis=0))


def test_the_verdict_is_on_the_metric_where_series_are_often_undefined() -> None:
    days = [*spans(*[(0, 60)] * 11), *spans(*[(52, 60)] * 9)]
    models = [measured(days, number=number) for number in (1, 2)]
    for model, worse in zip(models, (1.0, 1.5), strict=True):  # on what is seldom defined; else better
        seldom = model.windows["unique_id"] >= "s011"
        model.windows["mase"] *= np.where(seldom, worse, 1.05 if worse == 1 else 1.0)
    design = measure_design(models[0], metric="mase", horizon=7, step_size=1, independent_series=False)
    found = compare_networks(models[0], models[1], metric="mase", design=design)
    assert found is not None
    assert (design.kind, design.left_out) == ("over_time", 0)
    assert found.relative == pytest.approx(models[0].error("mase") / models[1].error("mase") - 1)
    assert found.relative < 0


def test_of_one_series_the_difference_of_roots_has_the_variance_of_the_delta_method() -> None:
    a, b = squared([2.0], 1), squared([1.5], 2)
    design = measure_design(a, metric="rmse", horizon=4, step_size=1, independent_series=False)
    root = compare_networks(a, b, metric="rmse", design=design)
    squares = over_time(*(m.windows["rmse"].to_numpy()[None, :] for m in (a, b)), overlap=4)
    assert root is not None
    assert root.relative == pytest.approx(np.sqrt(1 + squares.relative) - 1)
    assert root.variance == pytest.approx(squares.variance / (4 * (1 + squares.relative)))


def test_a_series_without_squared_errors_has_none_of_their_roots() -> None:
    one = squared([0.0, 1.0], 1)
    assert one.networks("rmse", by="unique_id")[0, 0] == 0
    gone = replace(one, windows=one.windows.assign(rmse=np.nan))
    assert np.isnan(gone.networks("rmse", by="unique_id")).all()


@given(
    st.integers(1, 3).flatmap(
        lambda step: st.tuples(
            st.just(step),
            st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), min_size=1, max_size=12),
        )
    )
)
def test_shared_cutoffs_lie_on_one_grid_and_are_held_by_more_than_half(
    drawn: tuple[int, list[tuple[int, int]]],
) -> None:
    step, series = drawn
    days = [[first + step * place for place in range(count)] for first, count in series]
    design = design_of(days, step_size=step)
    shared = [(pd.Timestamp(when) - pd.Timestamp(START)).days for when in design.shared]
    assert shared == sorted(day for day in set(chain(*days)) if 2 * sum(day in own for own in days) > len(days))
    assert all((day - shared[0]) % step == 0 for day in shared)
    assert design.in_shared == sum(day in own for day in shared for own in days)


def test_series_without_a_scale_are_not_counted() -> None:
    design = design_of([[0]] * 25, unscaled=10)
    assert (design.n_series, design.n_windows, design.kind) == (15, 15, None)
    assert design_of([[0]] * 25, unscaled=5).kind == "over_series"


def test_cutoffs_without_a_defined_loss_are_not_counted() -> None:
    days = spans((0, 49))
    whole = measured(days)
    gone = whole.windows["cutoff"] == START
    gap = replace(whole, windows=whole.windows.assign(mase=whole.windows["mase"].mask(gone)))
    settings: dict[str, Any] = {"metric": "mase", "horizon": 7, "step_size": 1, "independent_series": False}
    assert measure_design(whole, **settings).kind == "over_time"
    design = measure_design(gap, **settings)
    assert (design.n_cutoffs, design.kind) == (48, None)
    assert "48 cutoffs are 6.8 horizons' worth" in str(design.too_little)


@pytest.mark.parametrize(("cutoffs", "horizon", "step"), [(343, 49, 1), (686, 98, 1), (343, 196, 4), (721, 103, 1)])
def test_seven_horizons_are_enough_whatever_their_quotients_round_to(cutoffs: int, horizon: int, step: int) -> None:
    series = [[step * place for place in range(cutoffs)]]
    assert design_of(series, horizon=horizon, step_size=step).kind == "over_time"
    fewer = design_of([series[0][:-1]], horizon=horizon, step_size=step)
    assert fewer.kind is None
    assert f"a test part of {cutoffs} cutoffs would do" in str(fewer.too_little)


def test_a_metric_that_is_nowhere_defined_decides_nothing() -> None:
    design = design_of([[0]] * 25, unscaled=25)
    assert (design.n_series, design.n_cutoffs, design.kind) == (0, 0, None)
    assert design.too_little == "the metric is defined for no window of the test part"
