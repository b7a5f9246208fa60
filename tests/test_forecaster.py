from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_networks import REPAIR, build_spec, random_weights

from pipeline.bundle import save_bundle
from pipeline.errors import BundleError, DataError, GatecastError
from pipeline.forecaster import BATCH_SIZE, Forecaster
from pipeline.hparams import NetworkSpec
from pipeline.intervals import forecast_columns
from pipeline.onnx_graph import build_graph
from pipeline.params import RepairParams
from pipeline.series import Columns

Floats = NDArray[np.float64]

C, H = 20, 7
HOURLY = Columns(id_col="meter", time_col=("when",), time_format=None, timezone=None, target_col=("load",), freq="h")


def meta_of(columns: Columns = HOURLY, repair: RepairParams = REPAIR) -> dict[str, Any]:
    return {"columns": columns.to_json(), "repair": repair.model_dump(), "seeds": [1, 2]}


def forecaster_of(
    columns: Columns = HOURLY, repair: RepairParams = REPAIR, spec: NetworkSpec | None = None
) -> Forecaster:
    spec = spec or build_spec(context_length=C, horizon=H)
    graph = build_graph(spec, [random_weights(spec, seed) for seed in (1, 2)], np.zeros((H, 9)))
    return Forecaster(graph, spec, meta_of(columns, repair))


def save(folder: Path, *, calibration: Floats | None = None) -> NetworkSpec:
    spec = build_spec("lstm", context_length=C, horizon=H)
    members = [random_weights(spec, seed) for seed in (1, 2)]
    save_bundle(folder, spec=spec, members=members, calibration=calibration, meta=meta_of())
    return spec


def history_of(lengths: dict[str, int], *, seed: int = 0, freq: str = "h") -> pd.DataFrame:
    """Nixtla's columns; every series ends on its own."""
    rng = np.random.default_rng(seed)
    parts = [
        pd.DataFrame({"unique_id": name, "ds": pd.date_range("2024-01-01", periods=n, freq=freq, unit="us")})
        for name, n in lengths.items()
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(y=rng.standard_normal(len(frame)).cumsum() + 50)


FORECASTER = forecaster_of()
VALUES = [name for name, _ in sorted(forecast_columns("gru", FORECASTER.quantiles), key=lambda item: item[1])]


class TestBundle:
    def test_what_is_saved_is_what_is_loaded(self, tmp_path: Path) -> None:
        calibration = np.ones((H, 9)) * np.sign(np.arange(9) - 4)
        spec = save(tmp_path, calibration=calibration)
        loaded = Forecaster.load(tmp_path)
        graph = build_graph(spec, [random_weights(spec, seed) for seed in (1, 2)], calibration)
        history, observed = np.random.default_rng(0).standard_normal((5, C)), np.ones((5, C))
        assert (loaded.spec, loaded.cell, loaded.quantiles) == (spec, "lstm", spec.quantiles)
        assert loaded.meta["columns"] == HOURLY.to_json()
        assert np.array_equal(
            loaded.predict_arrays(history, observed)["forecast"],
            Forecaster(graph, spec, {}).predict_arrays(history, observed)["forecast"],
        )

    def test_forecaster_json_lists_the_hash_of_every_other_file(self, tmp_path: Path) -> None:
        (tmp_path / "curves").mkdir()
        (tmp_path / "curves" / "seed-1.csv").write_text("epoch\n")
        (tmp_path / "seed-1.keras").write_bytes(b"weights")
        save(tmp_path)
        save(tmp_path)  # the earlier forecaster.json is none of them
        files = json.loads((tmp_path / "forecaster.json").read_text())["files"]
        assert files == {
            name: sha256((tmp_path / name).read_bytes()).hexdigest()
            for name in ("curves/seed-1.csv", "forecaster.onnx", "seed-1.keras")
        }

    def test_forecaster_json_says_what_the_network_is(self, tmp_path: Path) -> None:
        spec = save(tmp_path)
        meta = json.loads((tmp_path / "forecaster.json").read_text())
        assert (meta["schema"], meta["name"], meta["calibrated"]) == (1, "gatecast", False)
        assert {key: meta[key] for key in spec.to_json()} == spec.to_json()
        assert meta["parameters"] == sum(weights.size for weights in random_weights(spec, 1).values())

    def test_the_same_bundle_has_the_same_bytes(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            save(tmp_path / name)
        for file in ("forecaster.onnx", "forecaster.json"):
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()

    @pytest.mark.parametrize("file", ["forecaster.json", "forecaster.onnx"])
    def test_a_missing_file_is_named(self, file: str, tmp_path: Path) -> None:
        save(tmp_path)
        (tmp_path / file).unlink()
        with pytest.raises(BundleError, match=rf"{file} not found; run `dvc repro`"):
            Forecaster.load(tmp_path)

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"gru.forecaster\.json not found"):
            Forecaster.load(tmp_path / "gru")

    def test_an_altered_graph_is_refused(self, tmp_path: Path) -> None:
        save(tmp_path)
        graph = bytearray((tmp_path / "forecaster.onnx").read_bytes())
        graph[len(graph) // 2] ^= 1
        (tmp_path / "forecaster.onnx").write_bytes(graph)
        with pytest.raises(BundleError, match=r"forecaster\.onnx was altered.*Received: [0-9a-f]{64}; bring it back"):
            Forecaster.load(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"schema": 2}, "schema that this version cannot read, which reads 1. Received: 2;"),
            ({"schema": None}, "Received: None;"),
            ({"hparams": None}, "is incomplete"),
            ({"hparams": {"units": 3}}, "is incomplete"),
            ({"files": {}}, "is incomplete: 'forecaster.onnx'"),
            ({"inputs": []}, "is incomplete"),
            ({"horizon": H + 1}, f"the graph has forecast [N, {H}, 9]. Received: [N, {H + 1}, 9]"),
            ({"context_length": C + 1}, f"the graph has history [N, {C}]. Received: [N, {C + 1}]"),
            ({"quantiles": [0.1, 0.5, 0.9]}, f"the graph has forecast [N, {H}, 9]. Received: [N, {H}, 3]"),
        ],
    )
    def test_another_description_is_refused_in_one_line(
        self, change: dict[str, Any], message: str, tmp_path: Path
    ) -> None:
        save(tmp_path)
        path = tmp_path / "forecaster.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(BundleError) as caught:
            Forecaster.load(tmp_path)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_graph_that_does_not_run_here_is_refused_in_one_line(self, tmp_path: Path) -> None:
        save(tmp_path)
        graph, path = b"no graph", tmp_path / "forecaster.json"
        (tmp_path / "forecaster.onnx").write_bytes(graph)
        described = json.loads(path.read_text())
        described["files"]["forecaster.onnx"] = sha256(graph).hexdigest()
        path.write_text(json.dumps(described))
        with pytest.raises(BundleError, match=r"onnxruntime [0-9.]+ cannot run its graph \(.+\); install") as caught:
            Forecaster.load(tmp_path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("text", ["", "{", "[]", "\x00\xff"])
    def test_a_description_that_is_no_json_object_is_refused_in_one_line(self, text: str, tmp_path: Path) -> None:
        save(tmp_path)
        (tmp_path / "forecaster.json").write_text(text, encoding="latin-1")
        with pytest.raises(BundleError, match=r"forecaster\.json") as caught:
            Forecaster.load(tmp_path)
        assert "\n" not in str(caught.value)

    def test_serving_needs_neither_tensorflow_nor_onnx(self, tmp_path: Path) -> None:
        save(tmp_path)
        history_of({"a": 30}).to_csv(tmp_path / "history.csv", index=False)
        code = (
            "import sys; from pipeline.forecaster import Forecaster;"
            "assert not {'pandas', 'pydantic'} & set(sys.modules), 'imported with the module';"
            f"forecaster = Forecaster.load({str(tmp_path)!r}); import pandas as pd;"
            f"print(len(forecaster.forecast(pd.read_csv({str(tmp_path / 'history.csv')!r}))));"
            "assert not {'tensorflow', 'keras', 'onnx'} & set(sys.modules), 'imported by forecasting'"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (run.returncode, run.stdout.strip()) == (0, str(H)), run.stderr


class TestPredictArrays:
    @pytest.mark.parametrize("n", [0, 1, BATCH_SIZE - 1, BATCH_SIZE, 2 * BATCH_SIZE + 1])
    def test_windows_are_forecast_alike_whatever_comes_with_them(self, n: int) -> None:
        history, observed = np.random.default_rng(n).standard_normal((n, C)), np.ones((n, C))
        outputs = ("members", "forecast", "scale", "location", "uncalibrated")
        together = FORECASTER.predict_arrays(history, observed, outputs=outputs)
        assert {name: value.shape for name, value in together.items()} == {
            "members": (2, n, H, 9),
            "forecast": (n, H, 9),
            "scale": (n, 1),
            "location": (n, 1),
            "uncalibrated": (n, H, 9),
        }
        for row in range(0, n, 13):
            alone = FORECASTER.predict_arrays(history[row : row + 1], observed[row : row + 1], outputs=outputs)
            np.testing.assert_allclose(together["members"][:, row], alone["members"][:, 0], atol=2e-6)
            np.testing.assert_allclose(together["forecast"][row], alone["forecast"][0], atol=2e-6)
            np.testing.assert_allclose(together["scale"][row], alone["scale"][0], rtol=1e-12)

    def test_only_the_chosen_outputs_come_back(self) -> None:
        out = FORECASTER.predict_arrays(np.zeros((1, C)), np.ones((1, C)), outputs=("scale",))
        assert list(out) == ["scale"]

    @pytest.mark.parametrize(("history", "observed"), [((2, C + 1), (2, C + 1)), ((2, C), (1, C)), ((C,), (C,))])
    def test_other_shapes_are_refused(self, history: tuple[int, ...], observed: tuple[int, ...]) -> None:
        with pytest.raises(GatecastError, match=rf"both \[N, {C}\]. Received: \[") as caught:
            FORECASTER.predict_arrays(np.zeros(history), np.ones(observed))
        assert str(list(history)) in str(caught.value)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_observed_values_have_to_be_finite(self, value: float) -> None:
        history = np.zeros((3, C))
        history[1, 5] = value
        with pytest.raises(GatecastError, match=rf"history, row 1, step 5: a finite value .* Received: {value}"):
            FORECASTER.predict_arrays(history, np.ones((3, C)))

    def test_observed_values_have_to_fit_the_logarithm(self) -> None:
        forecaster = forecaster_of(spec=build_spec(context_length=C, horizon=H, transform="log1p"))
        history, observed = np.full((3, C), 1.0), np.ones((3, C))
        history[2, [4, 6]] = -0.5
        with pytest.raises(GatecastError, match=r"row 2, step 4: .*log1p.* Received: -0.5 \(2 such values\)"):
            forecaster.predict_arrays(history, observed)
        observed[2, [4, 6]] = 0
        assert np.isfinite(forecaster.predict_arrays(history, observed)["forecast"]).all()

    @pytest.mark.parametrize("output", ["forecast", "uncalibrated", "members", "scale"])
    def test_an_overflow_is_an_error_and_never_a_forecast(self, output: str) -> None:
        history = np.zeros((3, C))
        history[1, [3, 12]] = -1e200, 1e300
        with pytest.raises(
            GatecastError, match=rf"row 1: its {output} overflows. Received: values from -1e\+200 to 1e"
        ):
            FORECASTER.predict_arrays(history, np.ones((3, C)), outputs=(output,))

    def test_threads_share_a_forecaster(self) -> None:
        rng = np.random.default_rng(9)
        batches = [rng.standard_normal((5, C)) for _ in range(40)]

        def predict(history: Floats) -> Floats:
            return FORECASTER.predict_arrays(history, np.ones_like(history))["forecast"]

        with ThreadPoolExecutor(4) as pool:
            parallel = list(pool.map(predict, batches))
        assert all(np.array_equal(a, predict(batch)) for a, batch in zip(parallel, batches, strict=True))


class TestForecast:
    def test_the_frame_has_the_columns_and_order_of_nixtla(self) -> None:
        frame = FORECASTER.forecast(history_of({"b": 30, "a": 25}))
        levels = ("95", "90", "80", "50")
        intervals = [f"gru-lo-{n}" for n in levels] + [f"gru-hi-{n}" for n in reversed(levels)]
        assert list(frame.columns) == ["unique_id", "ds", "cutoff", "gru", *intervals]
        assert list(frame.index) == list(range(2 * H))
        assert list(frame["unique_id"]) == ["a"] * H + ["b"] * H
        assert (np.diff(frame[VALUES].to_numpy(), axis=1) >= 0).all()

    def test_the_steps_follow_the_last_timestamp_of_each_series(self) -> None:
        frame = FORECASTER.forecast(history_of({"a": 25, "b": 30}))
        for name, n in (("a", 25), ("b", 30)):
            part = frame[frame["unique_id"] == name]
            cutoff = pd.Timestamp("2024-01-01") + pd.Timedelta(n - 1, "h")
            assert (part["cutoff"] == cutoff).all()
            assert list(part["ds"]) == [cutoff + pd.Timedelta(step, "h") for step in range(1, H + 1)]

    @given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, 40), min_size=1), st.integers(0, 99))
    @settings(max_examples=20, deadline=None)
    def test_a_frame_is_forecast_as_the_arrays_of_its_contexts(self, lengths: dict[str, int], seed: int) -> None:
        history = history_of(lengths, seed=seed)
        history.loc[history.index[1::5], "y"] = np.nan
        history = history.groupby("unique_id").filter(lambda part: bool(part["y"].tail(C).notna().any()))
        contexts = np.full((history["unique_id"].nunique(), C), np.nan)
        for row, (_, part) in enumerate(history.groupby("unique_id")):
            tail = part["y"].to_numpy()[-C:]
            contexts[row, C - len(tail) :] = tail
        expected = FORECASTER.predict_arrays(contexts, np.isfinite(contexts))["forecast"]
        frame = FORECASTER.forecast(history.sample(frac=1, random_state=seed))
        assert np.array_equal(frame[VALUES].to_numpy(), expected.reshape(-1, 9))
        assert np.isfinite(expected).all()

    def test_a_series_is_forecast_alike_whatever_comes_with_it(self) -> None:
        history = history_of({f"s{i}": 15 + i for i in range(10)})
        together = FORECASTER.forecast(history).set_index("unique_id")
        for name, part in history.groupby("unique_id"):
            alone = FORECASTER.forecast(part).set_index("unique_id")
            np.testing.assert_allclose(together.loc[name, VALUES], alone[VALUES], atol=1e-4)

    def test_steps_before_the_context_have_no_effect(self) -> None:
        history = history_of({"a": 50})
        expected = FORECASTER.forecast(history)
        pd.testing.assert_frame_equal(FORECASTER.forecast(history.tail(C)), expected)
        history.loc[: 50 - C - 1, "y"] *= 1000
        pd.testing.assert_frame_equal(FORECASTER.forecast(history), expected)

    def test_absent_timestamps_are_missing_steps(self) -> None:
        history = history_of({"a": 30})
        absent = history.drop(index=[15, 16, 20])
        history.loc[[15, 16, 20], "y"] = np.nan
        pd.testing.assert_frame_equal(FORECASTER.forecast(absent), FORECASTER.forecast(history))

    def test_columns_of_the_training_data_and_nixtlas_give_the_same(self) -> None:
        history = history_of({"a": 30, "b": 22})
        own = history.rename(columns={"unique_id": "meter", "ds": "when", "y": "load"}).assign(weather="sun", y_2=1)
        text = own.assign(when=own["when"].astype(str), load=own["load"].astype(str))
        expected = FORECASTER.forecast(history.assign(extra=1))
        pd.testing.assert_frame_equal(FORECASTER.forecast(own), expected)
        pd.testing.assert_frame_equal(FORECASTER.forecast(text), expected)

    def test_one_series_needs_no_id(self) -> None:
        single = forecaster_of(Columns(None, ("when",), None, None, ("load",), "h"))
        history = history_of({"a": 30})
        frame = single.forecast(history.drop(columns="unique_id"))
        assert frame["unique_id"].nunique() == 1
        assert np.array_equal(frame[VALUES], FORECASTER.forecast(history)[VALUES])

    @pytest.mark.parametrize("columns", [("ds", "y"), ("when", "load")])
    def test_a_model_of_one_series_forecasts_many(self, columns: tuple[str, str]) -> None:
        time_col, target_col = columns
        single = forecaster_of(Columns(None, (time_col,), None, None, (target_col,), "h"))
        history = history_of({"a": 30, "b": 25})
        pd.testing.assert_frame_equal(single.forecast(history), FORECASTER.forecast(history))

    @pytest.mark.parametrize("freq", ["h", "D", "MS", "W-SAT"])
    def test_times_come_back_in_the_zone_of_the_data(self, freq: str) -> None:
        zone = "Australia/Melbourne"
        forecaster = forecaster_of(Columns(None, ("ds",), None, zone, ("y",), freq))
        ds = pd.date_range("2024-03-01" if freq == "h" else "2020-02-01", periods=920, freq=freq, tz=zone, unit="us")
        history = pd.DataFrame({"ds": ds, "y": np.arange(920.0) % 7})
        last = 917  # hourly, the clocks go back inside the horizon: 2024-04-07 03:00
        if freq == "h":
            last = int(np.flatnonzero(ds == pd.Timestamp("2024-04-07 00:00", tz=zone))[0])
        frame = forecaster.forecast(history.iloc[: last + 1])
        expected = pd.date_range(ds[last], periods=H + 1, freq=freq, unit="us")
        assert list(frame["ds"]) == list(expected[1:])
        assert (frame["cutoff"] == ds[last]).all()
        assert str(frame["ds"].dt.tz) == zone

    def test_whole_numbered_times_stay_whole(self) -> None:
        forecaster = forecaster_of(Columns(None, ("ds",), None, None, ("y",), 10))
        frame = forecaster.forecast(pd.DataFrame({"ds": np.arange(5, 305, 10), "y": np.arange(30.0)}))
        assert frame["ds"].tolist() == list(range(305, 375, 10))
        assert frame["cutoff"].tolist() == [295] * H

    def test_a_series_without_values_in_its_context_is_an_error(self) -> None:
        history = history_of({"a": 30, "b": 60})
        history.loc[history["unique_id"].eq("b") & (history.groupby("unique_id").cumcount() >= 60 - C), "y"] = np.nan
        with pytest.raises(
            DataError, match=rf"series 'b' at 2024-01-03 11:00:00: nothing is observed in the {C} s"
        ) as caught:
            FORECASTER.forecast(history)
        assert caught.value.code == "context-empty"
        assert "(1 such series of 2)" in str(caught.value)

    def test_series_without_values_are_skipped_where_that_is_asked_for(self) -> None:
        history = history_of({"a": 30, "b": 60, "c": 30, "d": 30})
        steps = history.groupby("unique_id").cumcount()
        history.loc[history["unique_id"].eq("b") & (steps >= 60 - C), "y"] = np.nan  # has ended
        history.loc[history["unique_id"].eq("d"), "y"] = np.nan  # never began
        shuffled = history.sample(frac=1.0, random_state=0)
        expected = FORECASTER.forecast(history[history["unique_id"].isin(["a", "c"])])
        pd.testing.assert_frame_equal(FORECASTER.forecast(shuffled, skip_empty=True), expected)
        assert FORECASTER.prepare(shuffled, skip_empty=True).left_out == ["b", "d"]
        assert FORECASTER.prepare(history_of({"a": 30}), skip_empty=True).left_out == []
        for ids in (["b", "d"], ["d"]):
            told = rf"series '{ids[0]}' .*\({len(ids)} such series of {len(ids)}\); bring values$"
            with pytest.raises(DataError, match=told) as caught:
                FORECASTER.forecast(history[history["unique_id"].isin(ids)], skip_empty=True)
            assert caught.value.code == "context-empty"

    def test_a_series_without_any_value_is_never_left_out_silently(self) -> None:
        forecaster = forecaster_of(repair=REPAIR.model_copy(update={"short": "drop"}))
        history = history_of({"a": 30, "b": 30})
        history.loc[history["unique_id"] == "b", "y"] = np.nan
        with pytest.raises(DataError, match="'b'"):
            forecaster.forecast(history)

    @pytest.mark.parametrize("policy", ["drop", "error"])
    def test_a_constant_series_is_forecast_whatever_the_policy_of_training(self, policy: Any) -> None:
        forecaster = forecaster_of(repair=REPAIR.model_copy(update={"constant": policy}))
        frame = forecaster.forecast(history_of({"a": 30}).assign(y=3.25))
        assert (frame[VALUES] == 3.25).all(axis=None)

    def test_a_series_without_a_readable_time_does_not_go_missing(self) -> None:
        forecaster = forecaster_of(repair=REPAIR.model_copy(update={"bad_time": "drop", "short": "drop"}))
        history = history_of({"a": 30, "b": 20}).astype({"ds": object})
        history.loc[history["unique_id"] == "b", "ds"] = "soon"
        with pytest.raises(DataError, match=r"series 'b': no row of the series can be used") as caught:
            forecaster.forecast(history)
        assert caught.value.code == "series-unusable"
        with pytest.raises(DataError, match=r"series 'b': no row of the series can be used"):
            forecaster.forecast(history, skip_empty=True)

    def test_one_step_of_history_is_enough(self) -> None:
        frame = FORECASTER.forecast(pd.DataFrame({"ds": ["2024-01-01"], "y": [7.5], "unique_id": ["a"]}))
        assert (frame[VALUES] == 7.5).all(axis=None)

    def test_a_negative_value_is_named_where_the_network_takes_logarithms(self) -> None:
        forecaster = forecaster_of(spec=build_spec(context_length=C, horizon=H, transform="log1p"))
        history = history_of({"a": 30, "b": 30})
        history.loc[30 + 25, "y"] = -2.5
        with pytest.raises(
            DataError, match=r"series 'b' at 2024-01-02 01:00:00: .*log1p.* Received: -2.5 \("
        ) as caught:
            forecaster.forecast(history)
        assert caught.value.code == "value-negative"
        assert "\n" not in str(caught.value)

    def test_a_value_too_large_for_any_forecast_is_named(self) -> None:
        history = history_of({"a": 30, "b": 30})
        history.loc[30 + 25, "y"] = -1e200
        with pytest.raises(DataError, match=r"frame, row 56, column 'y': .* Received: '-1e\+200' \(") as caught:
            FORECASTER.forecast(history)
        assert caught.value.code == "value-huge"

    def test_a_negative_value_before_the_context_does_no_harm(self) -> None:
        forecaster = forecaster_of(spec=build_spec(context_length=C, horizon=H, transform="log1p"))
        history = history_of({"a": 50})
        history.loc[3, "y"] = -2.5
        assert len(forecaster.forecast(history)) == H

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (lambda frame: frame.rename(columns={"y": "value"}), "column-missing"),
            (lambda frame: frame.iloc[:0], "panel-empty"),
            (lambda frame: frame.assign(y="text"), "value-text"),
            (lambda frame: frame.assign(y=np.inf), "value-infinite"),
            (lambda frame: frame.assign(ds=frame["ds"] + pd.to_timedelta(frame.index * 7, "min")), "freq-mismatch"),
            (lambda frame: pd.concat([frame, frame.assign(y=0)]), "row-conflicting"),
        ],
    )
    def test_a_frame_passes_the_checks_of_ingest(
        self, change: Callable[[pd.DataFrame], pd.DataFrame], code: str
    ) -> None:
        with pytest.raises(DataError) as caught:
            FORECASTER.forecast(change(history_of({"a": 30})))
        assert caught.value.code == code

    def test_covariates_ahead_that_are_not_taken_are_not_read(self) -> None:
        history = history_of({"a": 30})
        pd.testing.assert_frame_equal(FORECASTER.forecast(history, future=history), FORECASTER.forecast(history))

    def test_the_frame_given_is_left_as_it_is(self) -> None:
        history = history_of({"a": 30}).sample(frac=1, random_state=1)
        before = history.copy(deep=True)
        FORECASTER.forecast(history)
        pd.testing.assert_frame_equal(history, before)
