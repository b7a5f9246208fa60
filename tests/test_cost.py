from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import QUANTILES, build_inputs, build_spec, random_weights
from scipy import stats

from pipeline.cells import CELLS
from pipeline.cost import (
    Ratio,
    cost_ratios,
    matching_units,
    multiply_accumulates,
    parameter_count,
    peak_memory,
    ratio_of_means,
    ratio_of_medians,
    recurrent_steps,
)
from pipeline.hparams import Inputs, NetworkSpec

SPECS = st.builds(
    build_spec,
    st.sampled_from(sorted(CELLS)),
    context_used=st.integers(1, 20),
    horizon=st.integers(1, 9),
    segment_length=st.integers(1, 12),
    units=st.integers(1, 9),
    layers=st.integers(1, 3),
    head=st.sampled_from(["plain", "copy"]),
    linear=st.sampled_from(["none", "ridge"]),
    inputs=st.sampled_from([None, build_inputs(), build_inputs(past=2, future=0, categories=(), numeric=0)]),
)
EVERYTHING = {"units": 7, "layers": 2, "head": "copy", "linear": "ridge", "inputs": build_inputs()}


@given(SPECS)
def test_the_parameters_are_the_numbers_in_all_weights(spec: NetworkSpec) -> None:
    assert parameter_count(spec) == sum(weights.size for weights in random_weights(spec, 0).values())


@pytest.mark.parametrize("cell", CELLS)
def test_keras_counts_as_many_parameters(cell: str) -> None:
    from pipeline.network import SegmentNetwork

    for choices in ({"units": 64}, {"units": 128, "segment_length": 1}, EVERYTHING):
        spec = build_spec(cell, **choices)  # type: ignore[arg-type]
        assert parameter_count(spec) == SegmentNetwork(spec).count_params(), choices


@pytest.mark.parametrize(
    ("used", "segment_length", "steps"), [(104, 26, 5), (104, 1, 105), (104, 104, 2), (105, 26, 6), (3, 26, 2)]
)
def test_a_cell_steps_over_past_segments_and_once_more_to_decode(used: int, segment_length: int, steps: int) -> None:
    for horizon in (1, 720):
        spec = build_spec(context_length=200, context_used=used, horizon=horizon, segment_length=segment_length)
        assert recurrent_steps(spec) == steps


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3), ("rnn", 1)])
def test_multiply_accumulates_are_those_of_the_matrix_products(cell: str, gates: int) -> None:
    past, future, length, units, q = 3, 2, 5, 8, len(QUANTILES)  # 13 steps in segments of 5, 7 decoded
    plain = past * 2 * length * units + (past + future) * gates * units * 2 * units + future * units * length * q
    assert multiply_accumulates(build_spec(cell)) == plain
    layer = (past + future) * gates * units * 2 * units
    assert multiply_accumulates(build_spec(cell, layers=3)) == plain + 2 * layer
    copy = future * units * past + 2 * future * past * length
    assert multiply_accumulates(build_spec(cell, head="copy")) == plain + copy
    assert multiply_accumulates(build_spec(cell, linear="ridge")) == plain + 13 * 7
    beside = past * 3 * length * units + future * 2 * length * units + 2 * units
    assert multiply_accumulates(build_spec(cell, inputs=build_inputs())) == plain + beside


@given(SPECS)
def test_what_is_done_number_by_number_does_not_count_as_a_product(spec: NetworkSpec) -> None:
    other = replace(spec, hparams=replace(spec.hparams, location="mean", transform="log1p", dropout=0.5))
    assert multiply_accumulates(other) == multiply_accumulates(spec)
    few = replace(spec, inputs=replace(spec.inputs, categories=tuple(1 for _ in spec.inputs.categories)))
    assert multiply_accumulates(few) == multiply_accumulates(spec)


@given(SPECS, st.sampled_from(sorted(CELLS)), st.integers(1, 30_000))
def test_the_matching_units_are_the_best_of_all(spec: NetworkSpec, cell: str, parameters: int) -> None:
    def distance(units: int) -> int:
        other = replace(spec, cell=cell, hparams=replace(spec.hparams, units=units))
        return abs(parameter_count(other) - parameters)

    units = matching_units(spec, cell, parameters)
    assert units == min(range(1, 200), key=distance)


@given(SPECS)
def test_a_network_matches_itself(spec: NetworkSpec) -> None:
    assert matching_units(spec, spec.cell, parameter_count(spec)) == spec.hparams.units


def test_an_lstm_takes_fewer_units_for_the_parameters_of_a_gru() -> None:
    gru = build_spec("gru", units=128, inputs=Inputs())
    units = matching_units(gru, "lstm", parameter_count(gru))
    assert 128 * math.sqrt(3 / 4) == pytest.approx(units, rel=0.03)


def test_a_ratio_of_equal_costs_is_one_and_that_of_swapped_cells_its_inverse() -> None:
    a, b = [2.0, 2.2, 2.1], [1.0, 1.3, 0.9, 1.1]
    assert ratio_of_means(a, a).ratio == 1
    one, other = ratio_of_means(a, b), ratio_of_means(b, a)
    assert one.lo is not None
    assert one.hi is not None
    assert (other.ratio, other.lo, other.hi) == pytest.approx((1 / one.ratio, 1 / one.hi, 1 / one.lo))
    assert one.ratio == pytest.approx(2.1 / 1.075)
    assert one.lo < one.ratio < one.hi


def test_the_interval_is_welchs_of_the_logarithms_where_seeds_differ_little() -> None:
    rng = np.random.default_rng(3)
    a, b = 3 * np.exp(0.01 * rng.standard_normal(5)), 2 * np.exp(0.02 * rng.standard_normal(7))
    told = ratio_of_means(a.tolist(), b.tolist())
    expected = stats.ttest_ind(np.log(a), np.log(b), equal_var=False).confidence_interval(0.95)
    assert (told.lo, told.hi) == pytest.approx((math.exp(expected.low), math.exp(expected.high)), rel=1e-3)


def test_the_interval_covers_the_ratio_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(1000):
        told = ratio_of_means((6 + rng.standard_normal(5)).tolist(), (3 + rng.standard_normal(5)).tolist())
        assert told.lo is not None
        assert told.hi is not None
        hits += told.lo <= 2 <= told.hi
    assert 0.93 <= hits / 1000 <= 0.98


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([3.0], [1.0, 2.0], Ratio(2.0, None, None)),
        ([3.0, 3.0], [2.0], Ratio(1.5, None, None)),
        ([3.0, 3.0], [2.0, 2.0], Ratio(1.5, 1.5, 1.5)),
    ],
)
def test_without_a_spread_there_is_no_margin_and_with_one_seed_no_interval(
    a: Sequence[float], b: Sequence[float], expected: Ratio
) -> None:
    assert ratio_of_means(a, b) == expected


def test_latencies_are_compared_by_their_medians_and_extremes() -> None:
    assert ratio_of_medians([2.0, 3.0, 9.0], [1.0, 1.5, 2.0]) == Ratio(2.0, 1.0, 9.0)


def timings_of(factor: float, *, memory: float | None = 500.0) -> dict[str, Any]:
    seeds = {
        str(seed): {"seconds_per_epoch": factor * seed, "best_epoch": seed, "peak_memory_mib": memory}
        for seed in (11, 12, 13)
    }
    return {"seconds": 1.0, "seeds": seeds, "inference_ms": {"1": [factor, factor], "64": [5.0, 5.0]}}


def test_every_cost_of_one_cell_is_told_as_a_multiple_of_the_others() -> None:
    ratios = cost_ratios(timings_of(3.0, memory=600.0), timings_of(2.0))
    assert {name: ratio.ratio for name, ratio in ratios.items()} == pytest.approx(
        {
            "seconds_per_epoch": 1.5,
            "best_epoch": 1.0,
            "peak_memory_mib": 1.2,
            "inference_ms_1": 1.5,
            "inference_ms_64": 1.0,
        }
    )


def test_peak_memory_is_the_highest_mark_of_a_process_that_trains_several_seeds_and_has_no_interval() -> None:
    climbing = timings_of(1.0)
    for seed, memory in zip(climbing["seeds"].values(), (500.0, 620.0, 610.0), strict=True):
        seed["peak_memory_mib"] = memory
    assert peak_memory(climbing) == 620.0
    assert peak_memory(timings_of(1.0, memory=None)) is None
    assert cost_ratios(climbing, timings_of(1.0))["peak_memory_mib"] == Ratio(1.24, None, None)


def test_what_one_cells_timings_lack_is_left_out() -> None:
    older = timings_of(1.0, memory=None)
    del older["inference_ms"]
    for seed in older["seeds"].values():
        del seed["best_epoch"]
    assert list(cost_ratios(older, timings_of(2.0))) == ["seconds_per_epoch"]
    assert list(cost_ratios(timings_of(2.0), older)) == ["seconds_per_epoch"]
