"""Windows gathered in the graph: those that are gathered outside of it, however much is laid out beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from shops import Project

from pipeline import gathering
from pipeline.gathering import gather_windows, runs_of
from pipeline.network import SegmentNetwork

NOTHING, EVERYTHING = 0, 2**40  # bytes


@pytest.mark.parametrize("laid_out", [NOTHING, EVERYTHING])
@pytest.mark.parametrize("split", ["train", "val", "refit"])
@pytest.mark.parametrize(("calendar", "identity"), [("auto", "embedding"), ("auto", "none"), ("none", "none")])
def test_gathered_windows_are_those_of_the_arrays(
    calendar: str, identity: str, split: str, laid_out: int, shops: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "LAID_OUT", laid_out)
    spec, windows = shops.spec(calendar=calendar, identity=identity), getattr(shops.fit, split)
    gather = tf.function(gather_windows(spec, shops.fit.train, len(shops.fit.loss_scale)))
    rows = np.array([len(windows) - 1, 0, 3, 3])
    batch, inputs = gather(windows.positions[rows], windows.series[rows]), windows.inputs(spec, rows)
    expected = SegmentNetwork(spec).beside({name: tf.constant(value) for name, value in inputs.items()})
    assert batch.beside.keys() == expected.keys() - {"history", "observed"}
    for name, values in batch.beside.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
    np.testing.assert_array_equal(np.nan_to_num(batch.history), inputs["history"])
    np.testing.assert_array_equal(np.isfinite(batch.history), inputs["observed"] == 1)
    np.testing.assert_array_equal(batch.target, windows.targets(rows))
    np.testing.assert_array_equal(batch.series, windows.series[rows])


@given(st.data(), st.sampled_from([NOTHING, 1000, EVERYTHING]))
def test_runs_are_the_values_from_each_place_on(data: st.DataObject, laid_out: int) -> None:
    values = np.arange(data.draw(st.integers(1, 90)), dtype=np.float32)
    length = data.draw(st.integers(1, len(values)))
    firsts = np.array(data.draw(st.lists(st.integers(0, len(values) - length), min_size=1)), np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "LAID_OUT", laid_out)
        found: Any = runs_of(values, length)(tf.constant(firsts))
    np.testing.assert_array_equal(found[:, :length], firsts[:, None] + np.arange(length))


def test_what_is_laid_out_keeps_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    constant = tf.constant
    monkeypatch.setattr(tf, "constant", lambda value: made.append(value.nbytes) or constant(value))
    values = np.zeros(1000, np.float32)
    for limit in (4000, 8000, 40_000, EVERYTHING):
        monkeypatch.setattr(gathering, "LAID_OUT", limit)
        runs_of(values, 96)
    assert made == [4000, 8000, 40_000, 96_000]
