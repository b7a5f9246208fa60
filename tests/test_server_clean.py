from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import REPAIR, build_inputs, build_spec, random_weights
from server_models import hours

from pipeline.columns import Columns
from pipeline.errors import DataError
from pipeline.forecaster import Forecaster
from pipeline.onnx_graph import build_graph
from pipeline.series import Panel, build_panel, future_times
from pipeline.server.clean import CleanRows, clean_rows, clean_series, next_times
from pipeline.server.ready import Ready
from pipeline.server.tables import frame_of

PLAIN = Columns("meter", ("when",), None, None, ("load",), "D")
FREQUENCIES = ("D", "h", "30min", "2D", "W-SAT", "2W", "B", "MS", "ME", "QS", "YS", "3h")


def slowly(table: dict[str, list[Any]], columns: Columns) -> Panel | None:
    try:
        frame = frame_of(table, "history").drop(columns=["__file__", "__row__"])
        return build_panel(frame, columns=columns.of_history(list(table)), repair=REPAIR, min_history=1, end=None)
    except DataError:
        return None


def assert_same(table: dict[str, list[Any]], columns: Columns) -> bool:
    """What is read quickly is what is read slowly; gives whether it was read quickly."""
    rows = clean_rows(table, columns)
    if rows is None:
        return False
    quick = rows.panel()
    slow = slowly(table, columns)
    assert slow is not None, table
    pd.testing.assert_frame_equal(quick.frame, slow.frame)
    pd.testing.assert_frame_equal(quick.statics, slow.statics)
    assert (quick.freq, quick.timezone) == (slow.freq, slow.timezone)
    return True


def table_of(freq: str, lengths: dict[str, int], start: str = "2019-12-28") -> dict[str, list[Any]]:
    rows = [
        {"meter": name, "when": str(time), "load": float(step) - 0.5}
        for name, length in lengths.items()
        for step, time in enumerate(pd.date_range(start, periods=length, freq=freq))
    ]
    frame = pd.DataFrame(rows).sample(frac=1, random_state=1)
    return {name: frame[name].tolist() for name in frame}


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_a_clean_table_is_read_quickly_at_every_frequency(freq: str) -> None:
    table = table_of(freq, {"b": 30, "a": 1, "c c": 7})
    assert assert_same(table, replace(PLAIN, freq=freq))
    table["load"][3] = None
    table["load"][4] = 3
    assert assert_same(table, replace(PLAIN, freq=freq))


def test_one_series_and_nixtlas_names_are_read_quickly() -> None:
    table = table_of("D", {"a": 9})
    single = Columns(None, ("when",), None, None, ("load",), "D")
    assert assert_same({name: table[name] for name in ("when", "load")}, single)
    names = {"meter": "unique_id", "when": "ds", "load": "y"}
    long = {names[name]: cells for name, cells in table.items()}
    for columns in (PLAIN, single, Columns(None, ("ds",), None, None, ("y",), "D")):
        assert assert_same(long, columns)
    dates = long | {"ds": [cell[:10] for cell in long["ds"]]}
    assert assert_same(dates, PLAIN)


WORDS = st.sampled_from(
    [
        "2020-01-01",
        "2020-01-02",
        "2020-01-03",
        "2020-01-02T00:00:00",
        "2020-01-03 06:00:00",
        "2020-01-01T00:00+00",
        "2020-01-01\n2020-01-02",
        "2020-02-30",
        "-2020-1-01",
        "1850-01-01",
        "2150-01-01",
        "now",
        "",
        None,
        3,
    ]
)
IDS = st.sampled_from(["a", "b", "", " ", "a ", None, 1])
VALUES = st.one_of(st.floats(-5, 5), st.sampled_from([None, True, "1", 10**400, 7, -0.0]))


@given(st.lists(st.tuples(IDS, WORDS, VALUES), min_size=1, max_size=4), st.sampled_from(["D", "h", "W-WED", "MS"]))
def test_what_is_read_quickly_is_what_is_read_slowly(rows: list[tuple[Any, ...]], freq: str) -> None:
    ids, times, values = map(list, zip(*rows, strict=True))
    assert_same({"meter": ids, "when": times, "load": values}, replace(PLAIN, freq=freq))


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.floats(-5, 5)), min_size=1, max_size=8),
    st.sampled_from(FREQUENCIES),
)
def test_gaps_and_repeated_steps_are_left_to_the_checks(rows: list[tuple[Any, ...]], freq: str) -> None:
    times = [str(time) for time in pd.date_range("2019-12-28", periods=6, freq=freq)]
    table = {
        "meter": [row[0] for row in rows],
        "when": [times[row[1]] for row in rows],
        "load": [row[2] for row in rows],
    }
    steps = {name: sorted(row[1] for row in rows if row[0] == name) for name in table["meter"]}
    regular = all(found == list(range(found[0], found[0] + len(found))) for found in steps.values())
    assert assert_same(table, replace(PLAIN, freq=freq)) == regular


@pytest.mark.parametrize(
    "change",
    [
        {"timezone": "Europe/Berlin"},
        {"time_format": "%Y-%m-%d"},
        {"past_covariates": ("price",)},
        {"target_col": ("load", "price")},
        {"time_col": ("when", "meter")},
        {"freq": 1},
    ],
)
def test_what_else_there_is_to_read_is_left_to_the_checks(change: dict[str, Any]) -> None:
    table = table_of("D", {"a": 9}) | {"price": [1.0] * 9}
    assert clean_rows(table, replace(PLAIN, **change)) is None


def test_a_series_without_a_value_is_left_to_the_checks() -> None:
    table = table_of("D", {"a": 9, "b": 3})
    table["load"] = [None if name == "b" else value for name, value in zip(table["meter"], table["load"], strict=True)]
    assert clean_rows(table, PLAIN) is None
    assert clean_rows(table_of("D", {"a": 9}), PLAIN) is not None


@pytest.mark.parametrize("value", [-1e200, float("inf"), 10**400])
def test_a_value_that_no_forecast_can_be_made_of_is_left_to_the_checks(value: Any) -> None:
    table = table_of("D", {"a": 9})
    table["load"][3] = value
    assert clean_rows(table, PLAIN) is None


def forecaster_of(freq: str, **changes: Any) -> Forecaster:
    columns = replace(PLAIN, freq=freq)
    spec = build_spec(**{"context_length": 20, "context_used": 20} | changes)
    meta = {"columns": columns.to_json(), "repair": REPAIR.model_dump()}
    return Forecaster(build_graph(spec, [random_weights(spec, 1)], None), spec, meta)


def rows_of(table: dict[str, list[Any]], freq: str) -> CleanRows:
    rows = clean_rows(table, replace(PLAIN, freq=freq))
    assert rows is not None
    return rows


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_windows_made_without_a_frame_are_those_of_the_forecaster(freq: str) -> None:
    table = table_of(freq, {"b": 30, "a": 1, "c c": 7})
    table["load"] = [None if value == 3.5 else value for value in table["load"]]
    rows, forecaster = rows_of(table, freq), forecaster_of(freq)
    quick, slow = clean_series(rows, forecaster), Ready.of(forecaster.prepare_panel(rows.panel()))
    assert quick is not None
    assert (quick.ids, quick.times(), quick.spec) == (slow.ids, slow.times(), slow.spec)
    assert quick.inputs.keys() == slow.inputs.keys()
    for name, array in slow.inputs.items():
        np.testing.assert_array_equal(quick.inputs[name], array)
    quantiles = forecaster.run(slow.inputs)["forecast"]
    pd.testing.assert_frame_equal(quick.frame(quantiles), slow.frame(quantiles))


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({"transform": "log1p"}, [-1.0] * 30),
        ({}, [1.0] + [None] * 29),
        ({"inputs": build_inputs(categories=(), numeric=0)}, [1.0] * 30),
    ],
)
def test_what_has_no_forecast_or_takes_more_is_left_to_the_forecaster(
    changes: dict[str, Any], values: list[Any]
) -> None:
    table = {"meter": ["a"] * 30, "when": hours(30), "load": values}
    assert clean_series(rows_of(table, "h"), forecaster_of("h", **changes)) is None
    assert clean_series(rows_of(table | {"load": [1.0] * 30}, "h"), forecaster_of("h")) is not None


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_the_times_that_follow_are_those_of_the_whole_calendar(freq: str) -> None:
    starts = pd.date_range("2019-12-28", periods=40, freq=freq).as_unit("us").to_numpy()[[0, 7, 39]]
    np.testing.assert_array_equal(next_times(starts, freq, 30), future_times(starts, freq=freq, horizon=30))


@pytest.mark.parametrize("freq", FREQUENCIES)
@pytest.mark.parametrize("year", [2099, 9000])
def test_times_beyond_the_kept_calendar_are_left_to_others(freq: str, year: int) -> None:
    start = pd.date_range(f"{year}-11-20", periods=1, freq=freq, unit="us").to_numpy()
    assert next_times(start, freq, 20_000) is None
