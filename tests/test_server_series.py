"""What a model reads in a table, and the tables made up for models."""

from __future__ import annotations

import asyncio
import io
import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from server_models import C, Client, H, client, history_of, save_model, together, trained

from pipeline.columns import Columns
from pipeline.forecaster import Forecaster
from pipeline.server.app import create_app
from pipeline.server.series import _flags, _is_flag, write_example


def read(name: str, text: str) -> Any:
    response = client().post("/v1/series", files={"history": ("a.csv", text)}, data={"model": name})
    assert response.status_code == 200, response.text
    return response.json()


def example_of(name: str) -> str:
    response = client().get(f"/v1/models/{name}/example")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    return response.text


def columns_of(series: dict[str, Any], rows: slice, names: list[str]) -> dict[str, list[Any]]:
    """Rows of a series as a table of Nixtla's names."""
    times = series["ds"][rows]
    table: dict[str, list[Any]] = {"unique_id": [series["unique_id"]] * len(times), "ds": times}
    for name in names:
        table[name] = series["covariates"][name][rows]
    return table


def test_series_come_back_regular_with_what_is_missing_as_null() -> None:
    text = "meter,when,load\nb,2024-01-01 02:00,3\nb,2024-01-01 00:00,1.5\na,2024-01-01,7\n"
    answer = read("gru", text)
    assert (answer["model"], answer["version"], answer["freq"]) == ("gru", "1", "h")
    a, b = answer["series"]
    assert (a["unique_id"], a["ds"], a["y"]) == ("a", ["2024-01-01T00:00:00"], [7.0])
    assert b["ds"] == [f"2024-01-01T0{hour}:00:00" for hour in range(3)]
    assert b["y"] == [1.5, None, 3.0]


def test_a_table_in_json_is_read_as_the_file_of_it() -> None:
    history = history_of({"b": 12, "a": 5})
    response = client().post("/v1/series", json={"model": "lstm", "history": history})
    assert response.json() == read("lstm", pd.DataFrame(history).to_csv(index=False))


@pytest.mark.parametrize("name", sorted(trained()))
def test_what_a_model_reads_of_its_example_it_can_forecast_from_any_cutoff(name: str) -> None:
    (series,) = read(name, example_of(name))["series"]
    schema = client().get(f"/v1/models/{name}/schema").json()
    end = len(series["ds"]) - schema["horizon"]
    assert end > schema["context_length"]
    seen = slice(end - schema["context_length"], end)
    history = columns_of(series, seen, list(series["covariates"])) | {"y": series["y"][seen]}
    history |= {one: [value] * len(history["ds"]) for one, value in series["static_covariates"].items()}
    body: dict[str, Any] = {"model": name, "history": history}
    ahead = schema["columns"]["future_covariates"]
    if ahead:
        body["future"] = columns_of(series, slice(end, None), ahead)
    answer = client().post("/v1/forecast", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["series"][0]["ds"] == series["ds"][end:]


@pytest.mark.parametrize(
    ("freq", "timezone"),
    [("YS", None), ("MS", None), ("B", None), ("h", "Europe/Berlin"), ("30min", None), (7, None)],
)
def test_an_example_has_every_step_of_its_grid_once(freq: Any, timezone: str | None, tmp_path: Path) -> None:
    columns = Columns(None, ("at",), None, timezone, ("y",), freq)
    saved = save_model(tmp_path / "model", columns=columns, context_length=300, context_used=20, segment_length=20)
    asking = Client(create_app({"model": saved}))
    text = asking.get("/v1/models/model/example").text
    (series,) = asking.post("/v1/series", files={"history": ("a.csv", text)}).json()["series"]
    assert len(series["ds"]) == text.count("\n") - 1 >= 299
    assert None not in series["y"]


def test_an_example_has_the_columns_and_the_range_of_the_training_data() -> None:
    frame = pd.read_csv(io.StringIO(example_of("shops")))
    assert list(frame) == ["meter", "when", "load", "price", "open", "town"]
    assert len(frame) == 2 * C + 4 * H
    assert frame["load"].between(-5, 5).all()
    assert set(frame["town"]) == {"Bonn"}
    assert example_of("shops") == example_of("shops")


def test_values_of_an_example_are_told_apart_where_they_are_large_and_close() -> None:
    close = {"min": 10_000_026.0, "p01": 10_000_026.0, "p99": 10_000_033.0, "max": 10_000_033.0}
    known = Forecaster.load(trained()["gru"])
    forecaster: Any = SimpleNamespace(spec=known.spec, meta={**known.meta, "value_range": close})
    values = pd.read_csv(io.StringIO(write_example(forecaster))).iloc[:, -1]
    assert values.between(close["min"], close["max"]).all()
    assert values.nunique() > len(values) / 2


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_flag_of_the_training_data_is_one_in_the_example(share: float) -> None:
    assert _is_flag(share, math.sqrt(share * (1 - share)))
    assert not _is_flag(share, 1.01 * math.sqrt(share * (1 - share)))
    flags = _flags(np.sin(np.arange(400) / 7), share)
    assert set(flags) == {0, 1}
    assert flags.mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(
    ("options", "status", "code", "field"),
    [
        ({"json": {"history": []}}, 422, "table-invalid", "history"),
        ({"json": {"history": {"x": [1]}}}, 422, "column-missing", "history"),
        ({"json": {"history": [{}], "h": 3}}, 422, "body-invalid", "h"),
        ({"json": {"history": [{}], "model": "x"}}, 404, "model-unknown", "model"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "json-invalid", None),
        ({"content": b"x", "headers": {"Content-Type": "text/csv"}}, 415, "body-format", None),
        ({"files": {"history": ("a.txt", b"x")}}, 415, "upload-format", "history"),
        ({"files": {"history": ("a.csv", b"x,y\n1,2\n")}, "data": {"h": "3"}}, 422, "body-invalid", "h"),
        ({"files": {"other": ("a.csv", b"x")}}, 422, "body-invalid", "other"),
        ({"files": {"model": (None, "gru")}}, 422, "body-invalid", "history"),
        (
            {"files": {"history": ("a.csv", b"meter,when,load\n" + b"a,2024-01-01,1\n" * 100_001)}},
            422,
            "limit-points",
            "history",
        ),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(options: Any, status: int, code: str, field: str | None) -> None:
    response = client().post("/v1/series", **options)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["field"]) == (status, code, field)


def test_an_example_is_kept_however_many_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def write(forecaster: Forecaster) -> str:
        written.append(forecaster)
        time.sleep(0.1)
        return write_example(forecaster)

    async def ask(asking: httpx.AsyncClient) -> list[httpx.Response]:
        return await asyncio.gather(*(asking.get("/v1/models/gru/example") for _ in range(50)))

    expected = example_of("gru")
    monkeypatch.setattr("pipeline.server.series.write_example", write)
    app = create_app({"gru": trained()["gru"]})
    assert {answer.text for answer in together(app, ask)} == {expected}
    assert len(written) <= 2  # as many as there are threads


def test_there_is_no_example_of_a_model_that_is_not_served() -> None:
    response = client().get("/v1/models/absent/example")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model-unknown")


@pytest.mark.parametrize("zone", ["America/Santiago", "America/Havana", "America/Sao_Paulo", "Africa/Cairo"])
def test_days_of_a_zone_whose_clock_changes_at_midnight_have_an_example_and_a_forecast(
    zone: str, tmp_path: Path
) -> None:
    days = Columns(None, ("day",), None, zone, ("load",), "D")
    asking = Client(create_app({"m": save_model(tmp_path / "m", columns=days)}))
    example = asking.get("/v1/models/m/example")
    assert example.status_code == 200
    answer = asking.post("/v1/forecast", files={"history": ("a.csv", example.text)})
    assert answer.status_code == 200, answer.text
    values = [float(step % 7) for step in range(400)]
    for start in ({}, {"start_timestamp": "2018-10-20"}):
        answer = asking.post("/v1/timeseries/forecast", json={"model": "m", "inputs": [{"series": values} | start]})
        assert answer.status_code == 200, answer.text
    times = [str(day)[:10] for day in pd.date_range("2018-10-20", periods=400)]
    native = asking.post("/v1/forecast", json={"history": {"day": times, "load": values}}).json()["series"][0]
    assert native["median"] == answer.json()["outputs"][0]["content"][0]["quantiles"]["0.5"]


def test_columns_of_the_long_frame_may_have_iso_times_though_the_model_has_a_format(tmp_path: Path) -> None:
    own = Columns("unique_id", ("ds",), "%d.%m.%Y", None, ("y",), "D")
    asking = Client(create_app({"m": save_model(tmp_path / "m", columns=own)}))
    example = asking.get("/v1/models/m/example").text
    written = [f"{day:%d.%m.%Y}" for day in pd.date_range("2024-01-01", periods=C)]
    iso = [f"{day:%Y-%m-%d}" for day in pd.date_range("2024-01-01", periods=C)]
    assert asking.post("/v1/series", files={"history": ("a.csv", example)}).status_code == 200
    answers = [
        asking.post("/v1/forecast", json={"history": {"unique_id": ["a"] * C, "ds": ds, "y": list(range(C))}})
        for ds in (written, iso)
    ]
    assert answers[0].status_code == 200
    assert answers[0].json() == answers[1].json()
    mixed = asking.post(
        "/v1/forecast", json={"history": {"unique_id": ["a"] * C, "ds": iso[:-1] + written[-1:], "y": list(range(C))}}
    )
    assert mixed.status_code == 422
