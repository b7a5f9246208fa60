"""What a network takes beside the history: as cut by hand, scaled by the training part, without a look ahead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shops import COLUMNS, HPARAMS, SHOPS, WINDOW, ZONE, Project, build_project

from pipeline.covariates import UNSEEN, Known, describe, encode, encode_history, say_nothing
from pipeline.hparams import Inputs
from pipeline.storage import sha256_of
from pipeline.windows import FitSet, Windows

C, H = WINDOW.context_length, WINDOW.horizon
SPLITS = ("train", "val", "refit", "test")


def split_of(project: Project, name: str) -> Windows:
    return project.test.windows if name == "test" else getattr(project.fit, name)  # type: ignore[no-any-return]


def by_hand(project: Project, windows: Windows, inputs: Inputs) -> Iterator[dict[str, NDArray[Any]]]:
    """The arrays of each window, from the raw rows alone, step by step."""
    places = np.concatenate([[0], np.cumsum([C + n for n in lengths_of(project, windows)])])
    shops = project.frame.sort_values("hour").groupby("shop")
    rows_of = [shops.get_group(name).to_dict("records") for name in project.fit.ids]
    for series, position in zip(windows.series, windows.positions, strict=True):
        rows, first = rows_of[series], position - places[series] - C
        steps = [rows[step] if step >= 0 else None for step in range(first - C, first + H)]
        yield {
            "history": np.array([0.0 if row is None or np.isnan(row["sold"]) else row["sold"] for row in steps[:C]]),
            "observed": np.array([float(row is not None and not np.isnan(row["sold"])) for row in steps[:C]]),
            "past": np.array([[told(row, name) for name in inputs.past] for row in steps[:C]]),
            "future": np.array([[told(row, name) for name in inputs.future] for row in steps[C:]]),
            "static_cat": np.array([code_of(rows[0], name) for name in inputs.categorical]),
            "static_num": np.array([rows[0]["area"]], np.float64),
        }


def lengths_of(project: Project, windows: Windows) -> list[int]:
    cut = 0 if windows is project.test.windows else WINDOW.test_size
    return [max(int((project.frame["shop"] == name).sum()) - cut, 0) for name in project.fit.ids]


def told(row: dict[str, Any] | None, name: str) -> float:
    """A covariate of a step; the calendar of what is before the start is 0, what else is there is missing."""
    if name in ("price", "promo"):
        return np.nan if row is None else row[name]
    if row is None:
        return 0.0
    local = row["hour"].tz_convert(ZONE)
    cycle, wave = name.split("_")
    phase = {"day": local.hour / 24, "week": local.weekday() / 7, "year": (local.day_of_year - 1) / 365.25}[cycle]
    return float(np.float32(getattr(np, wave[:3])(2 * np.pi * int(wave[3:]) * phase)))


def code_of(row: dict[str, Any], name: str) -> int:
    words = {"unique_id": ["a", "b", "c"], "town": ["Bonn", "Ulm"], "kind": ["big", "small"]}[name]
    word = row["shop"] if name == "unique_id" else row[name]
    return words.index(word) + 1 if word in words else 0


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("calendar", "identity"), [("auto", "embedding"), ("none", "none")])
def test_inputs_are_those_cut_by_hand_from_the_raw_rows(
    split: str, calendar: str, identity: str, shops: Project
) -> None:
    spec, windows = shops.spec(calendar=calendar, identity=identity), split_of(shops, split)
    found = windows.inputs(spec)
    shapes = spec.inputs.shapes(C, H)
    assert set(found) == {"history", "observed", *shapes}
    assert {name: found[name].shape[1:] for name in shapes} == shapes
    assert len(spec.inputs.past) == 2 + 18 * (calendar == "auto")
    for number, expected in enumerate(by_hand(shops, windows, spec.inputs)):
        for name, values in expected.items():
            np.testing.assert_allclose(found[name][number], values, atol=1e-6, err_msg=f"{name} of window {number}")
    assert np.isnan(found["past"][..., 0]).any()


def test_chosen_windows_have_the_inputs_that_they_have_among_all(shops: Project) -> None:
    windows, spec = shops.fit.train, shops.spec()
    everything = windows.inputs(spec)
    rows = np.array([3, 0, len(windows) - 1])
    for name, values in windows.inputs(spec, rows).items():
        np.testing.assert_array_equal(values, everything[name][rows])
    for name, values in windows.inputs(spec, slice(5, 9)).items():
        np.testing.assert_array_equal(values, everything[name][5:9])


def test_a_network_without_covariates_takes_the_history_alone(small_fit: FitSet) -> None:
    spec = small_fit.spec("gru", (0.5,), replace(HPARAMS, calendar="none", identity="none"))
    assert set(small_fit.train.inputs(spec)) == {"history", "observed"}


def test_covariates_are_scaled_by_the_training_part_alone(shops: Project) -> None:
    inputs, parts = shops.spec(calendar="none").inputs, []
    for _, rows in shops.frame.groupby("shop"):
        parts.append(rows.sort_values("hour").iloc[: max(len(rows) - WINDOW.test_size - WINDOW.val_size, 0)])
    train = pd.concat(parts)
    np.testing.assert_allclose(inputs.past_location, train[["price", "promo"]].mean())
    np.testing.assert_allclose(inputs.past_scale, train[["price", "promo"]].std(ddof=0))
    areas = np.array([40, 70.5])  # neither that of d, which has no training part, nor the missing one of c
    assert inputs.numeric_location == (pytest.approx(areas.mean()),)
    assert inputs.numeric_scale == (pytest.approx(areas.std()),)


def test_the_test_part_changes_nothing_of_what_is_fitted(shops: Project, tmp_path: Path) -> None:
    frame = shops.frame.copy()
    last = frame.groupby("shop")["hour"].rank(ascending=False) <= WINDOW.test_size
    for name in ("sold", "price", "promo"):
        frame.loc[last, name] = frame.loc[last, name].fillna(0) * -7 + 1000
    changed = build_project(tmp_path, frame)
    assert sha256_of(tmp_path / "data/windows/fit") == sha256_of(shops.folder / "data/windows/fit")
    assert sha256_of(tmp_path / "data/windows/test") != sha256_of(shops.folder / "data/windows/test")
    assert changed.test.meta["covariates"] == shops.test.meta["covariates"] == shops.fit.meta["covariates"]


def test_windows_have_the_series_in_the_order_of_the_panel_whatever_they_are_called(
    shops: Project, tmp_path: Path
) -> None:
    names = {"a": "\U0001f600 " * 2000, "b": "Z", "c": "\uffff", "d": "z\xe9 z"}
    test = build_project(tmp_path, shops.frame.assign(shop=shops.frame["shop"].map(names))).test
    assert test.ids == sorted(names.values())
    steps = {names[shop]: told[1] for shop, told in SHOPS.items()}
    assert np.load(tmp_path / "data/windows/test/lengths.npy").tolist() == [steps[name] for name in test.ids]


def test_a_category_that_training_never_saw_is_unknown(shops: Project) -> None:
    spec = shops.spec()
    assert shops.fit.meta["covariates"]["categorical"] == {"town": ["Bonn", "Ulm"], "kind": ["big", "small"]}
    assert spec.inputs.categories == (3, 2, 2)  # d has no training window: its name means nothing
    windows = shops.test.windows
    codes = windows.inputs(spec)["static_cat"]
    of_series = {shops.test.ids[s]: codes[windows.series == s][0].tolist() for s in np.unique(windows.series)}
    assert of_series == {"a": [1, 2, 1], "b": [2, 1, 0], "c": [3, 2, 2], "d": [0, 0, 1]}
    assert encode(["Ulm", None, "Rome", "Bonn"], ["Bonn", "Ulm"]).tolist() == [2, 0, 0, 1]


@pytest.mark.parametrize(
    ("word", "vocabulary", "code"),
    [
        ("7", ["007", "8"], 1),
        ("7.0", ["8", "007"], 2),
        ("1000", ["1e3"], 1),
        ("-0.5", ["-.50"], 1),
        ("True", ["false", "true"], 2),
        ("true", ["TRUE"], 1),
        ("12345678901234567891", ["12345678901234567890"], 0),
        ("7", ["07", "007"], 0),
        ("12", ["1_2", "\u0661\u0662", "x"], 0),
        ("1e9999", ["1"], 0),
        ("ulm", ["Ulm"], 0),
        ("1", ["true"], 0),
    ],
)
def test_a_category_may_be_spelt_otherwise_where_it_is_a_number_or_a_truth(
    word: str, vocabulary: list[str], code: int
) -> None:
    assert encode_history([word, None, vocabulary[0]], vocabulary)[1:].tolist() == [0, 1]
    assert encode_history([word, None], vocabulary).tolist() == [code, 0]


def test_how_a_category_is_taken_does_not_depend_on_the_others_of_a_request() -> None:
    assert encode_history(["7", "007", "08"], ["007", "8"]).tolist() == [1, 1, 2]
    assert encode_history(["7"], ["007", "8"]).tolist() == [1]


def test_a_series_is_found_under_another_spelling_where_its_target_is_named_too() -> None:
    assert encode_history(["7/sold", "7/left", "8/sold", "a/sold"], ["007/sold", "07/left"]).tolist() == [1, 2, 0, 0]
    assert encode_history(["true/y", "7/x/y"], ["True/y", "007/x/y"]).tolist() == [1, 2]


def test_in_the_data_of_training_two_spellings_are_two_categories() -> None:
    assert encode(["7", "007", None], ["007"]).tolist() == [0, 1, 0]


@pytest.mark.parametrize("column", ["price", "promo", "sold"])
def test_nothing_is_known_before_its_time(column: str, shops: Project, tmp_path: Path) -> None:
    frame, spec = shops.frame.copy(), shops.spec()
    step = 80
    rank = frame.groupby("shop")["hour"].rank().astype(int) - 1
    frame.loc[rank == step, column] = 1e6
    changed = build_project(tmp_path, frame).test.windows.inputs(spec)
    windows = shops.test.windows
    before = windows.inputs(spec)
    starts = np.concatenate([[0], np.cumsum([C + n for n in lengths_of(shops, windows)])])
    first = windows.positions - starts[windows.series] - C  # number of the first target step in its series
    known_until = first + (H if column == "promo" else 0)
    blind = (known_until <= step) | (first - C > step)
    assert 0 < blind.sum() < len(windows)
    for name, values in changed.items():
        np.testing.assert_array_equal(values[blind], before[name][blind])
        if name == {"price": "past", "promo": "future", "sold": "history"}[column]:
            told = [not np.array_equal(a, b, equal_nan=True) for a, b in zip(values, before[name], strict=True)]
            assert any(told)


def test_scales_of_what_says_nothing_are_harmless() -> None:
    values = [np.column_stack([np.full(9, 3.0), np.full(9, np.nan), np.arange(9.0)])]
    known = Known(("same", "absent", "counts"), (), values, {}, {"none": np.array([np.nan])})
    described = describe(known, [8], ["a"], [0])
    assert described["past_location"] == [3.0, 0.0, 3.5]
    assert described["past_scale"] == [3.0, UNSEEN, pytest.approx(np.std(np.arange(8)))]
    assert (described["numeric_location"], described["numeric_scale"]) == ([0.0], [UNSEEN])
    # A network has no weights for what it has never seen: 20,000 visitors must not reach it as 20,000.
    assert 0 < (20_000 - described["past_location"][1]) / described["past_scale"][1] < 1e-20


def test_what_the_training_part_does_not_tell_is_said() -> None:
    flag, late = np.where(np.arange(9) % 4 == 0, 1.0, np.nan), np.where(np.arange(9) == 8, 5.0, np.nan)
    values = [np.column_stack([flag, late, np.full(9, 2.0), np.arange(9.0)])]
    known = Known(("flag", "late", "same", "counts"), (), values, {}, {"size": np.array([np.nan, 3.0])})
    told = list(say_nothing(known, [8], [0]))
    assert [words.partition(" ")[0] for words in told] == ["'flag'", "'late'", "'same'", "'size'"]
    assert told[0].startswith("'flag' is 1 wherever the training part has it")
    assert told[1].startswith("'late' has no value in the training part")
    assert told[2].startswith("'same' is 2 all through the training part")


@given(st.floats(-1e6, 1e6), st.integers(1, 400))
def test_what_never_changes_is_in_units_of_its_own_size(value: float, count: int) -> None:
    # 9.99 365 times over has a computed mean that is not 9.99, and so a deviation of 1e-15.
    described = describe(Known(("price",), (), [np.full((count, 1), value)], {}, {}), [count], ["a"], [0])
    assert described["past_location"] == [value]
    assert described["past_scale"] == [max(abs(value), 1.0)]


def test_every_shop_is_there_for_a_reason(shops: Project) -> None:
    assert shops.fit.ids == list(SHOPS)
    assert set(shops.fit.train.series) == {0, 1, 2}
    assert set(shops.test.windows.series) == {0, 1, 2, 3}
    assert COLUMNS.future_covariates == ("promo",)
