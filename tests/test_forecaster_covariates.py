"""The served forecaster with covariates: a frame is forecast as the arrays of stage window are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from random_networks import build_inputs, build_spec, random_inputs, random_weights
from shops import COLUMNS, QUANTILES, WINDOW, Project, build_project

from pipeline.errors import DataError, GatecastError
from pipeline.forecaster import Forecaster
from pipeline.hparams import NetworkSpec
from pipeline.onnx_graph import build_graph
from pipeline.series import Columns

C, H = WINDOW.context_length, WINDOW.horizon
VALUES = ["gru-lo-80", "gru", "gru-hi-80"]


def forecaster_of(project: Project, columns: Columns = COLUMNS, **changes: Any) -> Forecaster:
    spec = project.spec(**changes)
    graph = build_graph(spec, [random_weights(spec, seed) for seed in (1, 2)], None)
    return Forecaster(graph, spec, project.meta(columns))


def split(frame: pd.DataFrame, back: int = H) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of every shop but its last `back` hours, and the H hours after them without what is not known ahead."""
    left = frame.groupby("shop")["hour"].rank(ascending=False)
    ahead = frame[(left <= back) & (left > back - H)]
    return frame[left > back], ahead.drop(columns=["sold", "price", "town", "kind", "area"])


def last_rows(project: Project, back: int = H) -> NDArray[np.int64]:
    """The test window of every series whose target starts `back` steps before its end, in the order of the series."""
    windows, rows = project.test.windows, []
    for series in range(len(project.test.ids)):
        own = np.flatnonzero(windows.series == series)
        end = windows.positions[own].max() + H
        rows += [row for row in own if windows.positions[row] == end - back]
    return np.array(rows)


def quantiles_of(frame: pd.DataFrame) -> NDArray[np.float64]:
    return frame[VALUES].to_numpy().reshape(-1, H, len(QUANTILES))


@pytest.mark.parametrize("back", [H, H + 5])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"calendar": "none", "identity": "none"},
        {"identity": "none", "head": "copy", "linear": "ridge", "location": "mean"},
        {"context_used": 9, "segment_length": 5, "layers": 2},
    ],
)
def test_a_frame_is_forecast_as_the_windows_of_its_cutoffs(back: int, changes: dict[str, Any], shops: Project) -> None:
    forecaster, rows = forecaster_of(shops, **changes), last_rows(shops, back)
    assert len(rows) == len(shops.test.ids) == 4
    history, future = split(shops.frame, back)
    found = forecaster.forecast(history, future=future)
    expected = forecaster.predict_arrays(**shops.test.windows.inputs(forecaster.spec, rows))["forecast"]
    np.testing.assert_allclose(quantiles_of(found), expected, rtol=1e-9)
    assert found["unique_id"].unique().tolist() == shops.test.ids
    first = found.groupby("unique_id")["ds"].min()
    assert (first - history.groupby("shop")["hour"].max() == pd.Timedelta(1, "h")).all()


@pytest.mark.parametrize("column", ["price", "promo", "town", "kind", "area"])
def test_every_covariate_matters(column: str, shops: Project) -> None:
    forecaster = forecaster_of(shops)
    history, future = split(shops.frame)
    plain = forecaster.forecast(history, future=future)
    changed = {"price": 2.75, "promo": 1.0, "town": "Bonn", "kind": "small", "area": 1e3}[column]
    assert not np.allclose(
        quantiles_of(forecaster.forecast(history.assign(**{column: changed}), future=future)),
        quantiles_of(plain),
        rtol=1e-4,
    )
    if column == "promo":
        other = forecaster.forecast(history, future=future.assign(promo=1 - future["promo"]))
        assert not np.allclose(quantiles_of(other), quantiles_of(plain), rtol=1e-4)


def test_times_are_those_of_the_zone_and_not_of_the_clock_they_are_written_in(shops: Project) -> None:
    forecaster = forecaster_of(shops)
    history, future = split(shops.frame)
    plain = forecaster.forecast(history, future=future)
    utc = [part.assign(hour=part["hour"].dt.tz_convert("UTC").astype(str)) for part in (history, future)]
    pd.testing.assert_frame_equal(forecaster.forecast(utc[0], future=utc[1]), plain)
    moved = [part.assign(hour=part["hour"] + pd.Timedelta(7, "h")) for part in (history, future)]
    assert not np.allclose(quantiles_of(forecaster.forecast(moved[0], future=moved[1])), quantiles_of(plain), rtol=1e-4)
    without = forecaster_of(shops, calendar="none")
    np.testing.assert_array_equal(
        quantiles_of(without.forecast(moved[0], future=moved[1])),
        quantiles_of(without.forecast(history, future=future)),
    )


def test_series_and_categories_that_training_never_saw_are_forecast_as_unknown(shops: Project) -> None:
    forecaster, rows = forecaster_of(shops), last_rows(shops)
    names = {"a": "new", "b": "b", "c": "other", "d": "d"}
    history, future = split(shops.frame.assign(shop=shops.frame["shop"].map(names)))
    history["town"] = history["town"].replace({"Bonn": "Atlantis"})
    found = forecaster.forecast(history, future=future)
    arrays = shops.test.windows.inputs(forecaster.spec, rows)
    codes = arrays["static_cat"].copy()
    codes[[0, 2], 0] = 0
    codes[1, 1] = 0
    assert (codes != arrays["static_cat"]).sum() == 3
    expected = forecaster.predict_arrays(**{**arrays, "static_cat": codes})["forecast"]
    by_id = dict(zip(["new", "b", "other", "d"], expected, strict=True))
    for name, part in found.groupby("unique_id"):
        np.testing.assert_allclose(part[VALUES], by_id[str(name)], rtol=1e-9)


def test_a_short_history_is_padded_as_in_training(shops: Project) -> None:
    forecaster = forecaster_of(shops)
    history, future = split(shops.frame)
    recent = history.groupby("shop")["hour"].rank(ascending=False) <= 9
    found = forecaster.forecast(history[recent], future=future)
    arrays = shops.test.windows.inputs(forecaster.spec, last_rows(shops))
    keep = np.arange(C) >= C - 9
    arrays["observed"] = arrays["observed"] * keep
    beside = np.where(keep[:, None], arrays["past"], np.nan)
    beside[:, :, 2:] = np.where(keep[:, None], arrays["past"][:, :, 2:], 0)
    expected = forecaster.predict_arrays(**{**arrays, "past": beside})["forecast"]
    np.testing.assert_allclose(quantiles_of(found), expected, rtol=1e-9)


def test_steps_of_the_history_that_are_absent_are_missing_in_covariates_too(shops: Project) -> None:
    forecaster = forecaster_of(shops)
    history, future = split(shops.frame)
    left = history.groupby("shop")["hour"].rank(ascending=False)
    hole = left.between(3, 5)
    blank = history.copy()
    blank.loc[hole, ["sold", "price", "promo"]] = np.nan
    pd.testing.assert_frame_equal(
        forecaster.forecast(history[~hole], future=future), forecaster.forecast(blank, future=future)
    )


def test_several_targets_share_the_covariates_of_their_rows(shops: Project, tmp_path: Any) -> None:
    columns = dataclasses.replace(COLUMNS, target_col=("sold", "back"))
    frame = shops.frame.assign(back=shops.frame["sold"] * 0.5 - shops.frame["promo"])
    project = build_project(tmp_path, frame, columns)
    assert len(project.test.ids) == 8
    forecaster, rows = forecaster_of(project, columns), last_rows(project)
    history, future = split(frame)
    found = forecaster.forecast(history, future=future)
    expected = forecaster.predict_arrays(**project.test.windows.inputs(forecaster.spec, rows))["forecast"]
    np.testing.assert_allclose(quantiles_of(found), expected, rtol=1e-9)


def test_a_step_of_the_future_that_is_not_told_is_an_error(shops: Project) -> None:
    forecaster = forecaster_of(shops)
    history, future = split(shops.frame)
    gone = future.drop(index=future[future["shop"] == "c"].index[2])
    with pytest.raises(DataError, match=r"series 'c' at 2024-\S+ \S+, column 'promo': no row \(the only one") as caught:
        forecaster.forecast(history, future=gone)
    assert caught.value.code == "future-missing"
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"series 'a' at .*, column 'promo': no value"):
        forecaster.forecast(history, future=future.assign(promo=np.nan))
    with pytest.raises(DataError, match="column-missing.*'promo'"):
        forecaster.forecast(history, future=future.drop(columns="promo"))
    with pytest.raises(DataError, match="column-missing.*'price'"):
        forecaster.forecast(history.drop(columns="price"), future=future)


def test_the_future_is_given_where_it_is_taken_and_ignored_elsewhere(shops: Project) -> None:
    history, future = split(shops.frame)
    with pytest.raises(
        GatecastError, match=r"future: .* takes promo over the horizon. Received: nothing; give a table"
    ):
        forecaster_of(shops).forecast(history)
    bare = dataclasses.replace(COLUMNS, past_covariates=(), future_covariates=())
    spec = build_spec(context_length=C, horizon=H, quantiles=QUANTILES)
    forecaster = Forecaster(build_graph(spec, [random_weights(spec, 1)], None), spec, shops.meta(bare))
    pd.testing.assert_frame_equal(forecaster.forecast(history, future=future), forecaster.forecast(history))


class TestArrays:
    SPEC = build_spec(head="copy", inputs=build_inputs())
    FORECASTER = Forecaster(build_graph(SPEC, [random_weights(SPEC, 1)], None), SPEC, {})

    def arrays(self, n: int = 5) -> dict[str, NDArray[Any]]:
        history = np.random.default_rng(1).standard_normal((n, 20))
        return {"history": history, "observed": np.ones_like(history), **random_inputs(self.SPEC, n, seed=2)}

    def predict(self, **changes: Any) -> NDArray[np.float64]:
        return self.FORECASTER.predict_arrays(**{**self.arrays(), **changes})["forecast"]

    @pytest.mark.parametrize("name", ["past", "static_cat", "static_num"])
    def test_what_is_left_out_is_unknown(self, name: str) -> None:
        given = self.arrays()[name]
        unknown = np.zeros_like(given) if name == "static_cat" else np.full_like(given, np.nan)
        without = self.predict(**{name: None})
        np.testing.assert_array_equal(without, self.predict(**{name: unknown}))
        assert not np.allclose(without, self.predict(), rtol=1e-4)
        arrays = {key: value for key, value in self.arrays().items() if key != name}
        np.testing.assert_array_equal(self.FORECASTER.predict_arrays(**arrays)["forecast"], without)

    def test_a_number_of_no_category_is_unknown(self) -> None:
        codes = self.arrays()["static_cat"]
        codes[:, 0], codes[:, 1] = 5, -1  # of 4 and of 2
        np.testing.assert_array_equal(self.predict(static_cat=codes), self.predict(static_cat=np.zeros_like(codes)))
        edge = np.stack([np.full(5, 4), np.full(5, 2)], axis=1)
        assert not np.allclose(self.predict(static_cat=edge), self.predict(static_cat=np.zeros_like(edge)), rtol=1e-4)

    def test_a_missing_covariate_is_its_mean(self) -> None:
        arrays = self.arrays()
        for name, mean in (
            ("past", self.SPEC.inputs.past_location),
            ("future", self.SPEC.inputs.past_location[-2:]),
            ("static_num", self.SPEC.inputs.numeric_location),
        ):
            filled = np.where(np.isnan(arrays[name]), mean, arrays[name])
            assert np.isnan(arrays[name]).any()
            np.testing.assert_array_equal(self.predict(**{name: filled}), self.predict())

    @pytest.mark.parametrize(
        ("name", "shape"),
        [
            ("past", (5, 20, 2)),
            ("past", (5, 19, 3)),
            ("past", (20, 3)),
            ("future", (5, 7, 3)),
            ("future", (4, 7, 2)),
            ("static_cat", (5, 1)),
            ("static_cat", (5,)),
            ("static_num", (5, 3)),
        ],
    )
    def test_other_shapes_are_refused_with_the_one_needed(self, name: str, shape: tuple[int, ...]) -> None:
        needed = list(self.arrays()[name].shape)
        with pytest.raises(GatecastError) as caught:
            self.predict(**{name: np.zeros(shape)})
        assert str(caught.value) == f"{name}: shape {needed} is needed. Received: {list(shape)}"

    def test_the_future_cannot_be_left_out(self) -> None:
        with pytest.raises(GatecastError, match=r"future: a tensor `future` \[N, H, K\] of p1, p2 is needed"):
            self.predict(future=None)

    @pytest.mark.parametrize("name", ["past", "future", "static_num"])
    def test_infinities_are_refused(self, name: str) -> None:
        values = self.arrays()[name]
        values.flat[3] = -np.inf
        with pytest.raises(GatecastError, match=rf"{name}: numbers of float32, or NaN where missing, .* Received: inf"):
            self.predict(**{name: values})

    @pytest.mark.parametrize("name", ["past", "future", "static_cat", "static_num"])
    def test_a_network_that_takes_none_is_given_none(self, name: str) -> None:
        spec: NetworkSpec = build_spec()
        plain = Forecaster(build_graph(spec, [random_weights(spec, 1)], None), spec, {})
        history = np.random.default_rng(1).standard_normal((5, 20))
        extra: dict[str, Any] = {name: self.arrays()[name]}
        with pytest.raises(
            GatecastError, match=rf"{name}: this network takes none. Received: shape \[5, .*leave it out"
        ):
            plain.predict_arrays(history, np.ones_like(history), **extra)
        empty: dict[str, Any] = {name: np.zeros((5, 0))}
        assert plain.predict_arrays(history, np.ones_like(history), **empty)["forecast"].shape == (5, 7, 9)

    def test_windows_are_forecast_alike_whatever_comes_with_them(self) -> None:
        arrays = self.arrays(150)
        together = self.FORECASTER.predict_arrays(**arrays)["forecast"]
        for row in (0, 63, 64, 149):
            alone = self.FORECASTER.predict_arrays(**{name: value[row : row + 1] for name, value in arrays.items()})
            np.testing.assert_allclose(alone["forecast"][0], together[row], atol=2e-6)


def test_windows_of_a_split_are_forecast_as_their_arrays(shops: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    forecaster, windows = forecaster_of(shops), shops.test.windows
    outputs = ("forecast", "members", "scale")
    expected = forecaster.predict_arrays(**windows.inputs(forecaster.spec), outputs=outputs)
    monkeypatch.setattr("pipeline.forecaster.CHUNK", 20)
    found = forecaster.predict_windows(windows, outputs=outputs)
    assert len(windows) > 2 * 20
    for name in outputs:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
