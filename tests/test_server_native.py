from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from server_models import C, Client, H, client, history_of, hours, save_model, trained

from pipeline.columns import Columns
from pipeline.forecaster import Forecaster
from pipeline.server.app import create_app


def ask(body: dict[str, Any]) -> Any:
    response = client().post("/v1/forecast", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def refused(body: Any) -> dict[str, Any]:
    response = client().post("/v1/forecast", json=body)
    assert response.status_code == 422, response.text
    error: dict[str, Any] = response.json()["error"]
    assert "\n" not in error["message"]
    return error


def records_of(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def frame_of(answer: dict[str, Any], cell: str = "gru") -> pd.DataFrame:
    """The forecast frame that a response is equal to."""
    parts = []
    for one in answer["series"]:
        ends = {
            f"{cell}-{end}-{level}": one["intervals"][level][end] for level in one["intervals"] for end in ("lo", "hi")
        }
        named = {"unique_id": one["unique_id"], "ds": one["ds"], "cutoff": one["cutoff"], cell: one["median"]}
        parts.append(pd.DataFrame(named | ends))
    frame = pd.concat(parts, ignore_index=True)
    return frame.astype({"ds": "datetime64[us]", "cutoff": "datetime64[us]"})


HISTORY = history_of({"b": 30, "a": 25, "c": 5})


def test_a_table_is_forecast_as_a_frame_is() -> None:
    expected = Forecaster.load(trained()["gru"]).forecast(pd.DataFrame(HISTORY))
    frame = frame_of(ask({"history": HISTORY}))
    pd.testing.assert_frame_equal(frame[expected.columns], expected, check_dtype=False, rtol=1e-5, atol=1e-5)


def test_records_columns_and_nixtlas_names_say_the_same() -> None:
    expected = ask({"history": HISTORY})
    names = {"meter": "unique_id", "when": "ds", "load": "y"}
    assert ask({"history": records_of(HISTORY)}) == expected
    assert ask({"history": {names[name]: cells for name, cells in HISTORY.items()} | {"more": [1] * 60}}) == expected


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_uploaded_file_is_forecast_as_its_table_is(ending: str) -> None:
    frame, buffer = pd.DataFrame(HISTORY), io.BytesIO()
    if ending == "csv":
        frame.to_csv(buffer, index=False)
    else:
        frame.assign(when=pd.to_datetime(frame["when"])).to_parquet(buffer)
    files = {"history": (f"my history.{ending}", buffer.getvalue())}
    response = client().post("/v1/forecast", files=files, data={"h": "3", "level": "80,50"})
    assert response.status_code == 200, response.text
    assert response.json() == ask({"history": HISTORY, "h": 3, "level": [80, 50]})


def test_a_forecast_can_be_had_as_csv_with_the_columns_of_the_command() -> None:
    body = {"history": HISTORY, "h": 2, "level": [80]}
    response = client().post("/v1/forecast", json=body, headers={"Accept": "text/csv"})
    frame = pd.read_csv(io.StringIO(response.text), parse_dates=["ds", "cutoff"])
    assert list(frame) == ["unique_id", "ds", "cutoff", "gru", "gru-lo-80", "gru-hi-80"]
    pd.testing.assert_frame_equal(frame, frame_of(ask(body))[list(frame)], check_dtype=False, check_exact=True)


def test_h_and_level_choose_from_what_there_is() -> None:
    whole, part = ask({"history": HISTORY}), ask({"history": HISTORY, "h": 2, "level": [95, 50]})
    for all_of, some_of in zip(whole["series"], part["series"], strict=True):
        assert some_of["ds"] == all_of["ds"][:2]
        assert some_of["median"] == all_of["median"][:2]
        assert list(some_of["intervals"]) == ["95", "50"]
        assert some_of["intervals"]["50"]["hi"] == all_of["intervals"]["50"]["hi"][:2]


def test_a_model_is_chosen_by_name_and_the_default_otherwise() -> None:
    assert ask({"history": HISTORY})["model"] == "gru"
    assert ask({"history": HISTORY, "model": "lstm", "version": 1})["model"] == "lstm"
    assert client().post("/v1/forecast", json={"history": HISTORY, "model": "rnn"}).status_code == 404
    assert client().post("/v1/forecast", json={"history": HISTORY, "version": "2"}).status_code == 404


def test_covariates_known_ahead_come_in_a_table_of_their_own() -> None:
    beside = {"price": np.linspace(1, 2, 30).tolist(), "open": [True, False] * 15, "town": ["Ulm"] * 30}
    history = history_of({"a": 30}) | beside
    future = {"meter": ["a"] * H, "when": hours(30 + H)[30:], "open": [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]}
    expected = Forecaster.load(trained()["shops"]).forecast(pd.DataFrame(history), future=pd.DataFrame(future))
    frame = frame_of(ask({"model": "shops", "history": history, "future": records_of(future)}))
    np.testing.assert_allclose(frame["gru"], expected["gru"], rtol=1e-5)
    files = {
        name: (f"{name}.csv", pd.DataFrame(table).to_csv(index=False))
        for name, table in (("history", history), ("future", future))
    }
    uploaded = client().post("/v1/forecast", files=files, data={"model": "shops"})
    assert frame_of(uploaded.json())["gru"].tolist() == frame["gru"].tolist()
    assert refused({"model": "shops", "history": history})["field"] == "future"
    future["open"][3] = None
    assert refused({"model": "shops", "history": history, "future": future})["code"] == "future-missing"
    # A model that takes none can stand in for one that does.
    assert ask({"history": HISTORY, "future": future})["series"] == ask({"history": HISTORY})["series"]
    files["history"] = ("history.csv", pd.DataFrame(HISTORY).to_csv(index=False))
    assert client().post("/v1/forecast", files=files).json()["series"] == ask({"history": HISTORY})["series"]


@pytest.mark.parametrize(("freq", "last"), [("D", "9999-12-25"), ("W-SAT", "9999-12-25"), ("ME", "9999-11-30")])
@pytest.mark.parametrize("timezone", [None, "Europe/Berlin", "America/St_Johns"])
def test_a_forecast_that_leaves_the_calendar_is_refused(freq: str, last: str, timezone: Any, tmp_path: Path) -> None:
    columns = Columns(None, ("ds",), None, timezone, ("y",), freq)
    asking = Client(create_app({"gru": save_model(tmp_path, columns=columns)}))
    answer = asking.post("/v1/forecast", json={"history": [{"ds": last, "y": 1.0}]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "time-unparseable")
    assert f"at {last}" in answer.json()["error"]["message"]
    for start in (last, "9999-12-31T23:59:59"):
        one = {"series": [1.0], "start_timestamp": start}
        assert asking.post("/v1/timeseries/forecast", json={"inputs": [one]}).status_code == 400


def test_whole_numbered_times_stay_whole() -> None:
    answer = ask({"model": "numbered", "history": {"ds": list(range(5, 305, 10)), "y": list(range(30))}})
    assert answer["series"][0]["ds"] == list(range(305, 375, 10))
    assert answer["series"][0]["cutoff"] == 295


def test_large_offsets_and_magnitudes_keep_their_precision() -> None:
    base = history_of({"a": 30})
    expected = np.array(ask({"history": base})["series"][0]["median"])
    for offset, scale, tolerance in ((1e9, 1.0, 1e-5), (0.0, 1e30, 1e-5), (0.0, 2.0**-60, 1e-5)):
        moved = base | {"load": [offset + scale * value for value in base["load"]]}
        found = np.array(ask({"history": moved})["series"][0]["median"])
        np.testing.assert_allclose((found - offset) / scale, expected, atol=tolerance * np.std(base["load"]))
    late = {"ds": [10**15 + 10 * step for step in range(25)], "y": list(range(25))}
    answer = ask({"model": "numbered", "history": late})["series"][0]
    assert answer["ds"] == [10**15 + 250 + 10 * step for step in range(H)]


def test_missing_values_and_gaps_are_not_observed() -> None:
    cells = {name: list(values) for name, values in history_of({"a": 30}).items()}
    cells["load"][20] = None
    without = {name: values[:20] + values[21:] for name, values in cells.items()}
    assert ask({"history": cells}) == ask({"history": without})


@pytest.mark.parametrize(
    ("change", "code", "parts"),
    [
        ({"history": 3}, "table-invalid", ["history: records", "Received: 3"]),
        ({"history": []}, "table-invalid", ["history: rows are needed"]),
        ({"history": {"when": hours(3), "load": [1, 2]}}, "table-invalid", ["history.load", "2 cells"]),
        ({"history": [1]}, "table-invalid", ["history[0]"]),
        ({"history": {"meter": ["a"], "when": hours(1), "load": [[1]]}}, "table-invalid", ["history.load[0]"]),
        ({"history": {"meter": ["a"], "when": hours(1)}}, "column-missing", ["history", "'load'"]),
        (
            {"history": {"meter": ["a", "a"], "when": hours(2), "load": [1, "much"]}},
            "value-text",
            ["history, row 2, column 'load'", "'much'"],
        ),
        (
            {"history": {"meter": ["a", "a"], "when": ["soon", "now"], "load": [1, 2]}},
            "time-unparseable",
            ["history, row 1, column 'when'", "'soon'"],
        ),
        ({"history": {"meter": ["a"] * C, "when": hours(C), "load": [None] * C}}, "series-unobserved", ["'a'"]),
        ({"level": [81]}, "level-unknown", ["level", "95, 90, 80, 50", "81"]),
        ({"h": "3"}, "body-invalid", ["h: ", "'3'"]),
        ({"hh": 3}, "body-invalid", ["hh: ", "not permitted"]),
        ({"model": 3}, "body-invalid", ["model: "]),
    ],
)
def test_mistakes_are_told_in_one_line_with_field_and_value(
    change: dict[str, Any], code: str, parts: list[str]
) -> None:
    error = refused({"history": HISTORY} | change)
    assert error["code"] == code, error
    assert error["field"].startswith(next(iter(change)))
    assert all(part in error["message"] for part in parts), error["message"]


@pytest.mark.parametrize(
    ("files", "data", "status", "parts"),
    [
        ({"history": ("a.xlsx", b"a")}, {}, 415, ["history", ".csv or .parquet", "a.xlsx"]),
        ({"history": ("a.csv.gz", b"a")}, {}, 415, [".csv or .parquet"]),
        ({"history": ("a.csv", b"")}, {}, 422, ["file-empty", "history"]),
        ({"history": ("a.parquet", b"PAR1")}, {}, 422, ["file-corrupt", "history"]),
        ({"history": ("a.csv", b"meter,when,load\na,2024-01-01,1,2")}, {}, 422, ["row-ragged", "history, line 2"]),
        ({"history": ("a.csv", b"\xff\xfe\x00")}, {}, 422, ["history"]),
        (
            {"other": ("a.csv", b"a")},
            {},
            422,
            ["other: no field for a file. Received: a file; one is brought as history"],
        ),
        (
            {"history": ("a.csv", b"a"), "futur": ("b.csv", b"b")},
            {},
            422,
            ["futur: no field for a file", '"field":"futur"'],
        ),
        ({"history": ("a.csv", b"a")}, {"h": "many"}, 422, ['"field":"h"']),
        ({"history": ("a.csv", b"a")}, {"h": "1.5"}, 422, ['"field":"h"']),
        ({"history": ("a.csv", b"a")}, {"level": "80,x"}, 422, ['"field":"level"']),
        ({"history": ("a.csv", b"a")}, {"path": "/etc/passwd"}, 422, ['"field":"path"']),
        ({"history": ("a.csv", b"a")}, {"delimiter": ";;"}, 422, ["delimiter is one character", '"field":"delimiter"']),
        ({"history": ("a.csv", b"a")}, {"decimal": ""}, 422, ["decimal is one character", '"field":"decimal"']),
        ({"history": ("a.csv", b"\xef\xbb\xbf\n")}, {}, 422, ["file-empty", "bring a file with rows"]),
        (
            {"history": ("a.csv", b"a")},
            {"encoding": "utf-9"},
            422,
            ["file-encoding", "history: encoding: Python knows"],
        ),
        (
            {"history": ("a.csv", b"meter;when;load")},
            {},
            422,
            ["column-missing", "is delimiter ';'?; name the columns"],
        ),
    ],
)
def test_uploads_that_cannot_be_read_are_refused(
    files: dict[str, Any], data: dict[str, str], status: int, parts: list[str]
) -> None:
    response = client().post("/v1/forecast", files=files, data=data)
    assert response.status_code == status, response.text
    assert all(part in response.text for part in parts), response.text


@pytest.mark.parametrize("path", ["/v1/forecast", "/v1/series"])
def test_an_empty_model_or_version_of_a_form_is_none(path: str) -> None:
    files = {"history": ("a.csv", pd.DataFrame(HISTORY).to_csv(index=False))}
    plain, empty = (client().post(path, files=files, data=data) for data in ({}, {"model": "", "version": ""}))
    assert (plain.status_code, plain.json()) == (200, empty.json())
    assert client().post(path, files=files, data={"version": "2"}).status_code == 404


def test_a_field_of_a_form_is_given_once() -> None:
    file = ("a.csv", pd.DataFrame(HISTORY).to_csv(index=False))
    response = client().post("/v1/forecast", files=[("history", file), ("history", file)])
    told = "history: each field is given once. Received: 2 of it; leave out all but one"
    assert response.json()["error"] == {"code": "body-invalid", "message": told, "field": "history"}
    for path in ("/v1/forecast", "/v1/series"):
        response = client().post(path, files={"history": file}, data={"model": ["gru", "lstm", "gru"]})
        assert response.status_code == 422
        assert response.json()["error"]["message"].startswith("model: each field is given once. Received: 3 of it")


def test_bodies_of_other_kinds_are_refused() -> None:
    for kind, content in (("text/plain", b"{}"), ("image/png", b"")):
        response = client().post("/v1/forecast", content=content, headers={"Content-Type": kind})
        assert response.status_code == 415
        assert kind in response.json()["error"]["message"]
    broken = client().post("/v1/forecast", content=b"--", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert broken.status_code in {400, 422}
    assert client().post("/v1/forecast", data={"history": "a,b"}, files={"x": b""}).status_code == 422


def test_what_curl_sends_is_read_as_json() -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    content = b'{"history": {"meter": ["a"], "when": ["2024-01-01"], "load": [1]}}'
    assert client().post("/v1/forecast", content=content, headers=kind).status_code == 200


def test_the_schema_tells_what_a_model_takes_and_gives() -> None:
    schema = client().get("/v1/models/shops/schema").json()
    assert schema["columns"]["future_covariates"] == ["open"]
    assert (schema["context_length"], schema["horizon"], schema["levels"][0]) == (C, H, "95")
    assert {tensor["name"] for tensor in schema["tensors"]["inputs"]} == {
        "history", "observed", "past", "future", "static_cat",
    }  # fmt: skip
    listed = client().get("/v1/models").json()["models"]
    assert {model["name"] for model in listed} == set(trained())
    assert [model["name"] for model in listed if model["default"]] == ["gru"]
