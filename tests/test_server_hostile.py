"""Small requests that would cost much, or that would be answered with something else than what they say."""

from __future__ import annotations

import contextlib
import encodings
import io
import json
import math
import pkgutil
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from server_models import COLUMNS, C, Client, H, build_app, client, history_of, hours, save_model, tensor

from pipeline.columns import Columns, find_history_layout
from pipeline.errors import DataError
from pipeline.server import native, oip, series, timeseries
from pipeline.server.app import create_app
from pipeline.server.bodies import read_body, read_json, read_numbers
from pipeline.server.limits import Limits
from pipeline.server.parquet_pages import unpacked_size
from pipeline.server.request_errors import RequestError
from pipeline.server.tables import read_table
from pipeline.textfile import decode, is_charset

TEXT = "x" * 20_000
NO_CHARSETS = [
    "punycode",
    "idna",
    "unicode_escape",
    "raw-unicode-escape",
    "utf-7",
    "U7",
    "undefined",
    "base64",
    "rot13",
]
PLACES = st.lists(st.integers(1, 4), min_size=1, max_size=4).flatmap(
    lambda shape: st.tuples(st.just(tuple(shape)), st.integers(0, math.prod(shape) - 1))
)


def infer(*tensors: dict[str, Any], model: str = "gru", **more: Any) -> httpx.Response:
    return client().post(f"/v2/models/{model}/infer", json={"inputs": list(tensors), **more})


def refused(response: httpx.Response, status: int) -> str:
    """The one line of an error."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    message = error if isinstance(error, str) else error["message"]
    assert "\n" not in message
    return str(message)


def peak_of(work: Any) -> int:
    """The bytes that work takes at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Bodies


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        (oip.InferenceRequest, {"inputs": [{}] * 1_000}, "inputs[0].name: field required"),
        (oip.InferenceRequest, {"inputs": [], "outputs": [0] * 1_000}, "outputs[0]: input should be"),
        (oip.InferenceRequest, {"inputs": [tensor("x", 1) | {"shape": [""] * 1_000}]}, "inputs[0].shape[0]: input"),
        (native.ForecastRequest, {"history": [], "level": [""] * 1_000}, "level[0]: input should be"),
        (native.ForecastRequest, {str(key): 0 for key in range(1_000)} | {"history": []}, "0: extra inputs are not"),
        (series.SeriesRequest, {"history": []} | {str(key): 0 for key in range(1_000)}, "0: extra inputs are not"),
        (timeseries.TimeSeriesRequest, {"inputs": [{}] * 1_000}, "inputs[0].series: field required"),
        (timeseries.TimeSeriesRequest, {"inputs": [{"series": [""] * 1_000}]}, "inputs[0].series[0]: input should be"),
        (
            timeseries.TimeSeriesRequest,
            {"inputs": [], "options": {"quantiles": [""] * 1_000}},
            "options.quantiles[0]: input should be",
        ),
    ],
)
def test_a_thousand_mistakes_are_no_thousand_errors(kind: type[BaseModel], body: Any, told: str) -> None:
    with pytest.raises(RequestError) as error:
        read_body(json.dumps(body).encode(), kind)
    assert error.value.message.startswith(told)
    assert isinstance(error.value.__context__, ValidationError)
    assert error.value.__context__.error_count() < 10


@pytest.mark.parametrize("part", ["[1]", "[[[[[[[1]]]]]]]", "{}", '{"y":[]}'])
def test_lists_and_objects_are_counted_before_they_are_made(part: str) -> None:
    def read(count: int) -> Any:
        return read_json(f"[{','.join([part] * count)}]".encode())

    most = 499_999 // (part.count("[") + part.count("{"))
    assert len(read(most)) == most

    def refuse() -> None:
        with pytest.raises(
            RequestError, match="body: at most 500,000 lists and objects are taken. Received: "
        ) as error:
            read(most + 1)
        assert (error.value.status, error.value.code) == (413, "limit-body")

    assert peak_of(refuse) < 20_000_000  # of 100 MB


# Tensors


def test_an_output_is_given_once() -> None:
    both = [{"name": "mean"}, {"name": "forecast"}]
    history = tensor("history", [[1.0, 2.0]])
    assert [output["name"] for output in infer(history, outputs=both).json()["outputs"]] == ["mean", "forecast"]
    told = refused(infer(history, outputs=[*both, {"name": "mean"}]), 400)
    assert told == "outputs[2].name: each output is given once. Received: 'mean' again; leave it out"


def test_a_shape_of_many_dimensions_is_refused_before_its_product_is_made() -> None:
    history = tensor("history", [[1.0]]) | {"shape": [999_999_999] * 160_000}
    assert "inputs[0].shape: at most 8 dimensions are taken. Received: 160,000" in refused(infer(history), 400)


@given(PLACES)
def test_numbers_nested_evenly_are_read_as_numpy_reads_them(place: tuple[tuple[int, ...], int]) -> None:
    shape, seed = place
    array = np.random.default_rng(seed).standard_normal(shape)
    found = read_numbers(array.tolist(), "x")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, array)


@given(PLACES, st.sampled_from([None, "1.0", "long" * 100, {}, 10**400, math.inf]))
def test_the_place_of_what_is_no_finite_number_is_named(place: tuple[tuple[int, ...], int], leaf: Any) -> None:
    array = np.ones(place[0]).astype(object)
    array.flat[place[1]] = leaf
    with pytest.raises(RequestError, match="number is needed") as error:
        read_numbers(array.tolist(), "x")
    where = "".join(f"[{at}]" for at in np.unravel_index(place[1], place[0]))
    assert error.value.message.startswith(f"x{where}: a ")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([[1.0], [1.0, 2.0]], "x[1]: lists of one length"),
        ([[1.0], 2.0], "x[1]: lists of one length"),
        ([[[1.0]], [[1.0], [2.0]]], "x[1]: lists of one length"),
        ([[[1.0], [1.0]], [[1.0], "no"]], "x[1][1]: lists of one length"),
        ([1.0, [2.0]], "x[1]: a number"),
        ([[[[[[[[[1.0]]]]]]]]], "x: lists nested at most 8 deep"),
        ("1.0", "x: a number"),
    ],
)
def test_lists_that_are_nested_unevenly_are_refused_by_place(value: Any, told: str) -> None:
    with pytest.raises(RequestError) as error:
        read_numbers(value, "x")
    assert error.value.message.startswith(told), error.value.message


def test_whole_numbers_and_truths_are_numbers() -> None:
    assert read_numbers([True, 2, 2**64 + 2**13, False], "x").tolist() == [1.0, 2.0, float(2**64 + 2**13), 0.0]
    assert [read_numbers(value, "x").shape for value in ([], [[], []], 1.5)] == [(0,), (2, 0), ()]


def test_a_long_text_among_numbers_takes_no_more_memory_than_it_has() -> None:
    def read() -> None:
        with pytest.raises(RequestError, match=r"x\[1000\]: a number is needed"):
            read_numbers([1.0] * 1_000 + [TEXT] + [1.0] * 1_000, "x")

    assert peak_of(read) < 5_000_000  # of 160 MB


@pytest.mark.parametrize("tiny", [1e-60, 1e-46, 0.0, -1.0])
def test_what_the_graph_takes_for_0_is_not_observed(tiny: float) -> None:
    history = tensor("history", [[1.0, 2.0, 3.0]])
    told = refused(infer(history, tensor("observed", [[tiny] * 3])), 400)
    assert told == "inputs[1], row 0: a value in the last 20 steps is needed. Received: nothing observed there"
    rows = [{"history": [1.0, 2.0, 3.0], "observed": [tiny] * 3}]
    refused(client().post("/v1/models/gru:predict", json={"instances": rows}), 400)


@pytest.mark.parametrize("seen", [1e-40, 0.5, 2.0, 1e300])
def test_what_is_above_0_to_the_graph_is_observed(seen: float) -> None:
    history = tensor("history", [[1.0, 2.0, 3.0]])
    assert infer(history, tensor("observed", [[seen] * 3])).json() == infer(history).json()


@pytest.mark.parametrize(("data", "place"), [([1.0, 1e39, 2e39], "[1]"), ([[1.0, 1.0, -1e39]], "[0][2]")])
def test_what_fp32_does_not_hold_is_refused_by_place(data: Any, place: str) -> None:
    history = {"name": "history", "shape": [1, 3], "datatype": "FP32", "data": data}
    told = refused(infer(history), 400)
    assert told.startswith(f"inputs[0].data{place}: larger than FP32 holds. Received: ")
    assert infer(history | {"datatype": "FP64"}).status_code == 200


def test_an_answer_of_fp32_has_no_nulls() -> None:
    swinging = [[3.4028235e38, -3.4028235e38] * 10]  # what FP32 just holds, as it is usually written
    told = refused(infer(tensor("history", swinging, "FP32")), 400)
    assert told.startswith("forecast[0][0]")
    assert "larger than FP32 holds" in told
    assert infer(tensor("history", swinging)).status_code == 200


@pytest.fixture(scope="module")
def logarithmic(tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder = save_model(tmp_path_factory.mktemp("models") / "gru", transform="log1p")
    return Client(create_app({"gru": folder}, default="gru"))


@pytest.mark.parametrize("length", [3, C - 1, C, C + 5])
def test_errors_count_steps_as_the_request_does(length: int, logarithmic: Client) -> None:
    for step in {length - 1, max(length - C, 0), length // 2}:
        row = [1.0] * length
        row[step] = -3.0
        asked = {"inputs": [tensor("history", [row])]}
        assert f", row 0, step {step}: " in refused(logarithmic.post("/v2/models/gru/infer", json=asked), 400)
        predicted = logarithmic.post("/v1/models/gru:predict", json={"instances": [row]})
        assert f"instances.history, row 0, step {step}: " in refused(predicted, 400)


@pytest.mark.parametrize(
    "body",
    [{"inputs": {"history": [["no"]], "x": 1}}, {"instances": [{"history": ["no"], "x": 1}] * 2}],
    ids=["columns", "rows"],
)
def test_tensors_that_no_model_takes_are_refused_before_numbers_are_read(body: Any) -> None:
    told = refused(client().post("/v1/models/gru:predict", json=body), 400)
    assert told == f"{next(iter(body))}.x: the model takes history, observed. Received: 'x'"


@pytest.mark.parametrize(("category", "shown"), [(1.9, "1.9"), (-0.5, "-0.5"), (1e300, "1e+300")])
def test_a_fraction_is_no_category(category: float, shown: str) -> None:
    arrays = {"history": np.ones((2, C)), "future": np.ones((2, H, 1)), "static_cat": np.array([[1.0], [category]])}
    tensors = [tensor(name, value) for name, value in arrays.items()]
    told = refused(infer(*tensors, model="shops"), 400)
    assert told.startswith("inputs[2], row 1, column 0: the number of a category")
    assert f"Received: {shown}" in told
    instances = [{name: value[row].tolist() for name, value in arrays.items()} for row in range(2)]
    predicted = client().post("/v1/models/shops:predict", json={"instances": instances})
    assert "instances.static_cat, row 1, column 0" in refused(predicted, 400)
    arrays["static_cat"][1] = 2.0
    assert infer(*(tensor(name, value) for name, value in arrays.items()), model="shops").status_code == 200


@pytest.mark.parametrize("shape", [[0, 2**62], [0, 10**30], [2**40, 0, 2**40]])
def test_a_shape_without_numbers_is_none_however_large(shape: list[int]) -> None:
    empty = {"name": "history", "shape": shape, "datatype": "FP64", "data": []}
    assert refused(infer(empty), 400).startswith("inputs[0].shape: the data's shape is needed")


# Series


def test_a_value_that_is_too_large_is_named_by_its_place_in_the_request() -> None:
    body = {"model": "weekly", "inputs": [{"series": [1.0, 2.0]}, {"series": [1.0, 1e200]}]}
    response = client().post("/v1/timeseries/forecast", json=body)
    assert refused(response, 400).startswith("inputs[1].series[1]: larger than 1e+150")


def test_more_values_than_the_calendar_has_are_refused_without_a_start_too(tmp_path: Path) -> None:
    asking = Client(
        create_app({"m": save_model(tmp_path / "m", columns=Columns(None, ("ds",), None, None, ("y",), "MS"))})
    )
    response = asking.post("/v1/timeseries/forecast", json={"inputs": [{"series": [1.0] * 99_999}]})
    assert refused(response, 400).startswith("inputs[0]: ")


def test_a_quantile_is_given_once() -> None:
    body = {"model": "weekly", "inputs": [{"series": [1.0, 2.0]}], "options": {"quantiles": [0.5, 0.1, 0.5]}}
    response = client().post("/v1/timeseries/forecast", json=body)
    assert refused(response, 400).startswith("options.quantiles[2]: each quantile is given once. Received: 0.5 again")
    assert response.json()["error"]["param"] == "options.quantiles[2]"


@pytest.mark.parametrize(("time", "happens"), [("2024-03-31T02:30:00", "skips"), ("2024-10-27T02:30:00", "repeats")])
def test_a_local_time_that_a_clock_change_skips_or_repeats_is_called_so(
    time: str, happens: str, tmp_path: Path
) -> None:
    columns = Columns(None, ("ds",), None, "Europe/Berlin", ("y",), "30min")
    asking = Client(create_app({"berlin": save_model(tmp_path / "berlin", columns=columns)}))

    def ask(start: str) -> httpx.Response:
        body = {"inputs": [{"series": [1.0, 2.0], "start_timestamp": start}]}
        return asking.post("/v1/timeseries/forecast", json=body)

    told = refused(ask(time), 400)
    assert f"inputs[0].start_timestamp: a clock change in Europe/Berlin {happens} this local time" in told
    assert ask(f"{time}+02:00").status_code == 200


# Tables


def read(value: Any, **limits: int) -> dict[str, list[Any]]:
    return read_table(value, "history", columns=COLUMNS, find=find_history_layout, limits=Limits(**limits))


@pytest.mark.parametrize("kind", ["records", "columns"])
def test_of_a_table_only_the_columns_are_built_that_are_read(kind: str) -> None:
    row = {"meter": "a", "when": "2024-01-01", "load": 1.0}
    wide = row | {f"column {place}": 1.0 for place in range(900)}
    table: Any = [wide, *({} for _ in range(5_000))]
    if kind == "columns":
        table = {name: [cell] for name, cell in wide.items()}
    assert list(read(table)) == list(row)
    assert peak_of(partial(read, table)) < 1_000_000  # of 40 MB


@pytest.mark.parametrize("kind", ["records", "columns"])
def test_rows_are_limited_before_a_table_is_built(kind: str) -> None:
    table = history_of({"a": 11})
    records = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    with pytest.raises(RequestError, match=r"history: at most 10 points in a request\. Received: 11"):
        read(records if kind == "records" else table, points=10)
    assert read(records, points=11) == table == read(table, points=11)


def test_records_have_at_most_a_thousand_columns() -> None:
    records = [{"meter": "a"}, {str(place): 1.0 for place in range(1_000)}]
    with pytest.raises(RequestError, match=r"at most 1,000 columns\. Received: 1,001 up to history\[1\]"):
        read(records)


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
@pytest.mark.parametrize("path", ["/v1/forecast", "/v1/series"])
def test_the_series_are_counted_that_are_forecast(path: str, form: str) -> None:
    frame = pd.DataFrame({"unique_id": "a", "meter": [f"s{number}" for number in range(257)]})
    frame = frame.assign(when="2024-01-01", load=1.0)
    if form == "json":
        response = client().post(path, json={"history": frame.to_dict("list")})
    else:
        raw = frame.to_csv(index=False).encode() if form == "csv" else frame.to_parquet(index=False)
        response = client().post(path, files={"history": (f"a.{form}", raw)})
    assert "at most 256 series in a request. Received: 257" in refused(response, 422)
    assert response.json()["error"]["code"] == "limit-series"


@pytest.mark.parametrize("path", ["/v1/series", "/v1/forecast"])
@pytest.mark.parametrize("form", ["json", "csv"])
def test_the_steps_in_gaps_are_counted(form: str, path: str) -> None:
    asking = Client(build_app(limits=Limits(points=50)))
    history = {name: cells[:10] + cells[-1:] for name, cells in history_of({"a": 51}).items()}
    text = pd.DataFrame(history).to_csv(index=False)
    asked: dict[str, Any] = (
        {"json": {"history": history}} if form == "json" else {"files": {"history": ("a.csv", text)}}
    )
    response = asking.post(path, **asked)
    assert "history: at most 50 steps, those in gaps included. Received: 51" in refused(response, 422)
    assert response.json()["error"]["code"] == "limit-points"
    history["when"][-1] = hours(50)[-1]
    answer = asking.post(path, json={"history": history}).json()["series"][0]
    assert len(answer["ds"]) == (50 if path == "/v1/series" else H)


# Files


def same_text(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def parquet(when: Any, rows: int, **options: Any) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({"meter": same_text("a", rows), "when": when, "load": np.ones(rows)})
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def upload(raw: bytes) -> httpx.Response:
    return client().post("/v1/forecast", files={"history": ("a.parquet", raw)})


@pytest.mark.parametrize("kept", [True, False], ids=["as dictionary", "as text"])
def test_a_text_that_many_rows_share_is_counted_for_each(kept: bool) -> None:
    raw = parquet(same_text(TEXT, 20_000), 20_000, store_schema=kept)
    assert len(raw) < 3_000
    response = upload(raw)
    assert "history: at most 128,000,000 bytes when unpacked. Received: 400,0" in refused(response, 413)
    assert response.json()["error"]["code"] == "limit-body"
    assert upload(parquet(pa.array(hours(30)).dictionary_encode(), 30, store_schema=kept)).status_code == 200


def test_bytes_of_one_length_are_counted_for_each_row() -> None:
    raw = parquet(pa.array([TEXT.encode()] * 7_000, pa.binary(20_000)), 7_000, compression="zstd")
    assert "Received: 140,0" in refused(upload(raw), 413)


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_that_a_file_has_whole_are_read(encoding: str) -> None:
    raw = parquet(hours(30), 30, use_dictionary=False, column_encoding={"when": encoding})
    assert upload(raw).status_code == 200
    long = parquet(pa.array([TEXT + str(row) for row in range(7_000)]), 7_000, use_dictionary=False,
                   column_encoding={"when": encoding}, compression="zstd")  # fmt: skip
    assert "bytes when unpacked" in refused(upload(long), 413)


def test_texts_whose_length_is_not_known_before_they_are_unpacked_are_refused() -> None:
    raw = parquet(hours(30), 30, use_dictionary=False, column_encoding={"when": "DELTA_BYTE_ARRAY"})
    assert "write the file anew, in plain or dictionary encoding" in refused(upload(raw), 422)


def test_a_parquet_file_cannot_say_that_it_has_fewer_rows_than_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.server.tables.read_upload", None)  # that it comes to
    rows, one = 100_003, b"\x82\x80\x00"
    said = bytes([2 * rows & 127 | 128, 2 * rows >> 7 & 127 | 128, 2 * rows >> 14])  # as the footer has it
    raw = parquet(np.zeros(rows, "datetime64[us]"), rows)
    footer = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    raw = raw[:footer] + raw[footer:].replace(said, one, 1)
    assert pq.read_metadata(io.BytesIO(raw)).num_rows == 1
    assert "at most 100,000 points in a request. Received: 100,003" in refused(upload(raw), 422)


def varint(number: int) -> bytes:
    """A whole number as footers have it."""
    zigzag, found = 2 * number, []
    while zigzag > 127:
        found.append(zigzag & 127 | 128)
        zigzag >>= 7
    return bytes([*found, zigzag])


def test_a_parquet_file_cannot_say_that_it_unpacks_to_less_than_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.server.tables.read_upload", None)  # that it comes to
    monkeypatch.setattr("pipeline.server.tables._text_size", None)
    honest = parquet(pa.array(["x" * 130_000_000]), 1, use_dictionary=False, compression="zstd", write_statistics=False)
    group = pq.read_metadata(io.BytesIO(honest)).row_group(0)
    footer, forged = len(honest) - 8 - int.from_bytes(honest[-8:-4], "little"), honest
    for size in (group.total_byte_size, group.column(1).total_uncompressed_size):
        said = varint(size)
        assert said in forged[footer:]
        nothing = bytes([*[128] * (len(said) - 1), 0])  # in as many bytes
        forged = forged[:footer] + forged[footer:].replace(said, nothing)
    assert pq.read_metadata(io.BytesIO(forged)).row_group(0).total_byte_size == 0
    for raw in (honest, forged):
        assert "at most 128,000,000 bytes when unpacked. Received: 130,0" in refused(upload(raw), 413)


@pytest.mark.parametrize(
    "options", [{}, {"data_page_version": "2.0", "compression": "gzip"}, {"use_dictionary": False}]
)
def test_pages_tell_what_they_unpack_to(options: dict[str, Any]) -> None:
    texts = pa.array([f"{row % 700:05d}" * 9 for row in range(50_000)])
    raw = parquet(texts, 50_000, data_page_size=5_000, row_group_size=20_000, **options)
    found = pq.read_metadata(io.BytesIO(raw))
    chunks = [found.row_group(group).column(place) for group in range(3) for place in range(3)]
    said = sum(chunk.total_uncompressed_size for chunk in chunks)  # with the pages' headers
    assert 0.9 * said < unpacked_size(raw, chunks) < said


@given(st.data())
def test_pages_that_were_tampered_with_are_refused_or_read(data: st.DataObject) -> None:
    raw = bytearray(parquet(hours(30), 30))
    found = pq.read_metadata(io.BytesIO(raw))
    chunks = [found.row_group(0).column(place) for place in range(3)]
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(4, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        assert unpacked_size(bytes(raw), chunks) >= 0


@pytest.mark.parametrize("field", ["history", "future"])
@pytest.mark.parametrize("cell", [[1.0], {"a": 1.0}], ids=["list", "struct"])
def test_a_cell_of_a_file_is_one_value(field: str, cell: Any) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"meter": ["a"], "when": ["2024-01-01"], "load": [cell]}), buffer)
    good = parquet(hours(30), 30)
    files = {"history": ("a.parquet", good)} | {field: ("a.parquet", buffer.getvalue())}
    model = "shops" if field == "future" else "gru"  # which takes none
    response = client().post("/v1/forecast", files=files, data={"model": model})
    assert response.status_code == 422
    if field == "history":
        assert "a cell is one value" in refused(response, 422)


@pytest.mark.parametrize("encoding", [*NO_CHARSETS, "x" * 1_000_000])
def test_codecs_that_are_no_charset_of_files_are_refused(encoding: str) -> None:
    raw = b"meter,when,load\n\\ud800,2024-01-01,1\n"
    response = client().post("/v1/forecast", files={"history": ("a.csv", raw)}, data={"encoding": encoding})
    assert "history: encoding: Python knows no such text encoding, or it is none of files" in refused(response, 422)
    assert response.json()["error"]["code"] == "file-encoding"


@pytest.mark.parametrize("charset", [*NO_CHARSETS, "klingon"])
def test_a_form_in_no_charset_is_refused(charset: str) -> None:
    content = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n+2AA-\r\n--b--\r\n'
    headers = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}
    for path in ("/v1/forecast", "/v1/series"):
        response = client().post(path, content=content, headers=headers)
        assert refused(response, 400).startswith("Content-Type: a charset such as utf-8 is needed. Received: ")
        assert response.json()["error"]["code"] == "request-invalid"


@pytest.mark.parametrize("charset", ["utf-8", '"UTF-8"', "latin-1"])
def test_a_form_may_name_its_charset(charset: str) -> None:
    text = pd.DataFrame(history_of({"a": 5})).to_csv(index=False)
    part = 'Content-Disposition: form-data; name="history"; filename="a.csv"'
    content = f"--b\r\n{part}\r\n\r\n{text}\r\n--b--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}
    assert client().post("/v1/forecast", content=content, headers=headers).status_code == 200


@given(
    st.sampled_from(sorted({module.name for module in pkgutil.iter_modules(encodings.__path__)})),
    st.binary(max_size=30) | st.sampled_from([b"\\ud800", b"+2AA-", b"xn--a-", b"\xff\xfe\x00\xd8"]),
)
def test_what_is_read_in_any_charset_is_text_that_can_be_sent(encoding: str, raw: bytes) -> None:
    try:
        text = decode(raw, encoding, "a.csv")
    except DataError:
        return
    assert is_charset(encoding)
    assert encoding not in NO_CHARSETS
    assert text.encode().decode() == text
