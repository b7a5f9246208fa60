"""Each protocol by its golden files, each a request and the response to it, and by what its specification says."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from server_models import Client, H, call_unevaluated, client, save_model, tensor, trained

from pipeline.columns import Columns
from pipeline.forecaster import Forecaster
from pipeline.server.app import create_app

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.rglob("*.json"))
DIFFERENT = {"id", "created_at"}  # in each response of the time-series protocol
HISTORY = [3.9, 1.2, 3.8, 1.1, 4.0]


def send(request: dict[str, Any]) -> httpx.Response:
    content = None if "body" not in request else json.dumps(request["body"])
    return client().request(request["method"], request["path"], content=content, headers=request.get("headers"))


def assert_alike(found: Any, expected: Any, place: str = "body") -> None:
    """Equal, but for the last digits of numbers, which depend on the processor."""
    assert type(found) is type(expected) or {type(found), type(expected)} == {int, float}, place
    if isinstance(expected, dict):
        assert list(found) == list(expected), place
        for name in expected.keys() - (DIFFERENT if "created_at" in expected else set()):
            assert_alike(found[name], expected[name], f"{place}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_alike(one, other, f"{place}[{number}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5), place
    else:
        assert found == expected, place


@pytest.mark.parametrize("case", CASES)
def test_a_request_has_the_response_of_its_golden_file(case: str) -> None:
    golden = json.loads((GOLDEN / case).read_text())
    response = send(golden["request"])
    assert response.status_code == golden["response"]["status"], response.text
    assert_alike(response.json(), golden["response"]["body"])


def test_every_protocol_has_golden_files_of_an_answer_and_of_an_error() -> None:
    for protocol in ("native", "tfserving", "oip", "timeseries"):
        statuses = {json.loads((GOLDEN / case).read_text())["response"]["status"] for case in CASES if protocol in case}
        assert {200, 404} <= statuses, protocol
        assert statuses & {400, 422}, protocol


def infer(*tensors: dict[str, Any], model: str = "gru", **more: Any) -> httpx.Response:
    return client().post(f"/v2/models/{model}/infer", json={"inputs": list(tensors), **more})


def predict(body: Any, model: str = "gru") -> httpx.Response:
    return client().post(f"/v1/models/{model}:predict", json=body)


def forecast(*inputs: dict[str, Any], model: str = "weekly", **options: Any) -> httpx.Response:
    return client().post("/v1/timeseries/forecast", json={"model": model, "inputs": list(inputs), "options": options})


def test_all_protocols_give_the_same_numbers() -> None:
    stamps = [str(day) for day in np.datetime64("2026-01-03") + 7 * np.arange(len(HISTORY))]
    table = {"model": "weekly", "history": {"ds": stamps, "y": HISTORY}}
    median = client().post("/v1/forecast", json=table).json()["series"][0]["median"]
    outputs = {one["name"]: one for one in infer(tensor("history", [HISTORY]), model="weekly").json()["outputs"]}
    assert outputs["mean"]["data"] == median
    assert np.reshape(outputs["forecast"]["data"], outputs["forecast"]["shape"])[0, :, 4].tolist() == median
    assert predict({"instances": [HISTORY]}, "weekly").json()["predictions"][0]["mean"] == median
    assert predict({"inputs": {"history": [HISTORY]}}, "weekly").json()["outputs"]["mean"] == [median]
    series = {"series": HISTORY, "frequency": "W", "start_timestamp": "2026-01-03T00:00:00Z"}
    content = forecast(series).json()["outputs"][0]["content"][0]
    assert content["mean_forecast"] == content["quantiles"]["0.5"] == median
    assert content["start_timestamp"] == "2026-02-07T00:00:00Z"


def test_each_protocol_that_has_a_place_for_it_says_that_a_model_is_not_evaluated(tmp_path: Path) -> None:
    asking = Client(create_app({"final": call_unevaluated(save_model(tmp_path / "final")), "gru": trained()["gru"]}))
    rows = [{"when": f"2024-01-0{day}", "load": day} for day in (1, 2, 3)]
    for name, evaluated in (("final", False), ("gru", True)):
        listed = {model["name"]: model for model in asking.get("/v1/models").json()["models"]}
        assert listed[name]["evaluated"] is evaluated
        assert asking.get(f"/v1/models/{name}/schema").json()["evaluated"] is evaluated
        forecast = asking.post("/v1/forecast", json={"model": name, "history": [row | {"meter": "a"} for row in rows]})
        assert forecast.json()["evaluated"] is evaluated
        metadata = asking.get(f"/v1/models/{name}/metadata").json()["metadata"]
        assert metadata.get("gatecast") == (None if evaluated else {"evaluated": False})
        answer = asking.post(f"/v2/models/{name}/infer", json={"inputs": [tensor("history", [HISTORY])]}).json()
        assert answer.get("parameters") == (None if evaluated else {"evaluated": False})


def test_ridge_is_served_by_every_protocol_as_networks_are() -> None:
    padded = np.array([[np.nan] * (20 - len(HISTORY)) + HISTORY])
    expected = Forecaster.load(trained()["ridge"]).predict_arrays(padded, np.isfinite(padded))["forecast"][0, :, 4]
    table = {"meter": ["a"] * 5, "when": [f"2024-01-01 0{hour}:00" for hour in range(5)], "load": HISTORY}
    native = client().post("/v1/forecast", json={"model": "ridge", "history": table}).json()["series"][0]["median"]
    tensors = infer(tensor("history", [HISTORY]), model="ridge").json()["outputs"][1]["data"]
    rows = predict({"instances": [HISTORY]}, "ridge").json()["predictions"][0]["mean"]
    series = forecast({"series": HISTORY}, model="ridge").json()["outputs"][0]["content"][0]["mean_forecast"]
    for found in (native, tensors, rows, series):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_fp32_tensors_come_back_in_fp32_and_fp64_in_fp64() -> None:
    for datatype, kind in (("FP32", np.float32), ("FP64", np.float64)):
        output = infer(tensor("history", [HISTORY], datatype), outputs=[{"name": "mean"}]).json()["outputs"][0]
        assert output["datatype"] == datatype
        assert np.array(output["data"], kind).astype(np.float64).tolist() == output["data"]
    offset = infer(tensor("history", [[1e9 + value for value in HISTORY]]), outputs=[{"name": "mean"}]).json()
    plain = infer(tensor("history", [HISTORY]), outputs=[{"name": "mean"}]).json()
    found, expected = (np.array(answer["outputs"][0]["data"]) for answer in (offset, plain))
    np.testing.assert_allclose(found - 1e9, expected, atol=1e-5)


def test_data_may_be_nested_or_flat() -> None:
    nested = tensor("history", [HISTORY, HISTORY[::-1]])
    flat = {**nested, "data": HISTORY + HISTORY[::-1]}
    assert infer(nested).json() == infer(flat).json()


def test_history_may_be_shorter_or_longer_than_the_context() -> None:
    rng = np.random.default_rng(0)
    long = rng.standard_normal((2, 50))
    assert infer(tensor("history", long)).json() == infer(tensor("history", long[:, 30:])).json()
    padded = np.concatenate([rng.standard_normal((2, 15)), long[:, :5]], axis=1)
    observed = np.repeat([[0] * 15 + [1] * 5], 2, axis=0)
    expected = infer(tensor("history", padded), tensor("observed", observed, "FP32")).json()
    assert infer(tensor("history", long[:, :5])).json() == expected


def test_tensors_of_covariates_reach_the_network() -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "history": rng.standard_normal((2, 20)),
        "past": rng.standard_normal((2, 20, 2)),
        "future": rng.standard_normal((2, H, 1)),
        "static_cat": np.array([[1], [2]]),
    }
    inputs = [tensor(name, value, "INT64" if name == "static_cat" else "FP64") for name, value in arrays.items()]
    found = infer(*inputs, model="shops", outputs=[{"name": "forecast"}]).json()["outputs"][0]
    expected = Forecaster.load(trained()["shops"]).predict_arrays(**arrays, observed=np.ones((2, 20)))["forecast"]
    np.testing.assert_allclose(np.reshape(found["data"], found["shape"]), expected, rtol=1e-5, atol=1e-5)
    rows = [{name: value[row].tolist() for name, value in arrays.items()} for row in range(2)]
    predicted = predict({"instances": rows}, "shops").json()["predictions"]
    np.testing.assert_allclose([row["forecast"] for row in predicted], expected, rtol=1e-5, atol=1e-5)
    assert "inputs: a tensor `future` [N, H, K] of open is needed" in infer(*inputs[:2], model="shops").json()["error"]
    assert "inputs[1]: shape [2, 20, 2]" in infer(inputs[0], tensor("past", [[[1.0]]]), model="shops").text.replace(
        "-1", "2"
    )


@pytest.mark.parametrize(
    ("inputs", "more", "parts"),
    [
        ([], {}, ["inputs: the values of the history are needed"]),
        ([{"name": "history"}], {}, ["inputs[0].shape: field required"]),
        ([tensor("history", [[1.0]], "FP16")], {}, ["inputs[0].datatype", "'FP16'"]),
        ([tensor("history", [[1.0]]) | {"shape": [1, 2]}], {}, ["inputs[0].shape", "[1, 2]"]),
        ([tensor("history", [[1.0]]) | {"shape": [-1, -1]}], {}, ["inputs[0].shape"]),
        ([tensor("history", [[1.0]]) | {"shape": [10**30, 0]}], {}, ["inputs[0].shape"]),
        ([tensor("history", [[1.0]]) | {"data": "1.0"}], {}, ["inputs[0].data", "'1.0'"]),
        ([tensor("history", [[1.0]]) | {"data": [[1.0], [1.0, 2.0]]}], {}, ["inputs[0].data", "one length"]),
        ([tensor("history", [[1.0]]) | {"data": [None]}], {}, ["inputs[0].data[0]: a number", "None"]),
        ([tensor("history", [1.0, 2.0])], {}, ["inputs[0]: shape [N, steps] is needed. Received: [2]"]),
        ([tensor("history", [[1.0]]), tensor("history", [[1.0]])], {}, ["inputs[1].name", "again"]),
        ([tensor("history", [[1.0]]), tensor("past", [[[1.0]]])], {}, ["inputs[1]", "'past'"]),
        ([tensor("history", [[1.0]]), tensor("observed", [[0]], "BOOL")], {}, ["inputs[1], row 0", "nothing observed"]),
        ([tensor("history", [[1.0]])], {"outputs": [{"name": "sum"}]}, ["outputs[0].name", "forecast, mean", "'sum'"]),
        ([tensor("history", [[1e300, -1e300]])], {}, ["inputs", "overflows"]),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(inputs: list[Any], more: dict[str, Any], parts: list[str]) -> None:
    response = infer(*inputs, **more)
    assert response.status_code == 400, response.text
    assert all(part in response.json()["error"] for part in parts), response.text


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ({}, ["Missing 'inputs' or 'instances' key"]),
        ({"inputs": [[1.0]], "instances": [[1.0]]}, ["'inputs' and 'instances'", "both"]),
        ({"instances": []}, ["instances"]),
        ({"instances": {"history": [1.0]}}, ["instances"]),
        ({"instances": [[1.0], [1.0, 2.0]]}, ["instances", "one length"]),
        ({"instances": [{"history": [1.0]}, {"x": [1.0]}]}, ["instances[1]"]),
        ({"instances": [{"x": [1.0]}]}, ["instances.x", "'x'"]),
        ({"instances": [[True, "a"]]}, ["instances"]),
        ({"inputs": {"history": [[1.0]], "observed": [[1.0, 1.0]]}}, ["inputs.observed", "[1, 2]"]),
        ({"signature_name": "other", "instances": [[1.0]]}, ["signature_name", "'other'"]),
        ([], ["body"]),
    ],
)
def test_predict_refuses_what_does_not_fit_by_name(body: Any, parts: list[str]) -> None:
    response = predict(body)
    assert response.status_code == 400, response.text
    assert list(response.json()) == ["error"]
    assert all(part in response.json()["error"] for part in parts), response.text


GOOD = {"series": HISTORY, "frequency": "W", "start_timestamp": "2026-01-03"}


@pytest.mark.parametrize(
    ("change", "options", "param"),
    [
        ({"type": "multivariate_time_series"}, {}, "inputs[0].type"),
        ({"series": []}, {}, "inputs[0].series"),
        ({"series": ["a"]}, {}, "inputs[0].series[0]"),
        ({"series": [None, None]}, {}, "inputs"),
        ({"frequency": "D"}, {}, "inputs[0].frequency"),
        ({"start_timestamp": "now"}, {}, "inputs[0].start_timestamp"),
        ({"start_timestamp": "2026-13-03"}, {}, "inputs[0].start_timestamp"),
        ({"start_timestamp": "2026-01-04"}, {}, "inputs[0].start_timestamp"),
        ({"start_timestamp": "9999-12-25"}, {}, "inputs[0].start_timestamp"),
        ({"start_timestamp": 5}, {}, "inputs[0].start_timestamp"),
        ({}, {"horizon": H + 1}, "options.horizon"),
        ({}, {"horizon": 0}, "options.horizon"),
        ({}, {"quantiles": [0.5, 0.3]}, "options.quantiles[1]"),
    ],
)
def test_series_that_do_not_fit_are_refused_by_param(change: Any, options: Any, param: str) -> None:
    response = forecast(GOOD | change, **options)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"] == param, error
    assert (error["code"], error["type"]) == ("400", "BadRequestError")


def test_series_answer_in_the_order_and_with_the_options_of_the_request() -> None:
    names = ["b", "a", "c"]
    inputs = [GOOD | {"name": name, "series": [place + value for value in HISTORY]} for place, name in enumerate(names)]
    answer = forecast(*inputs, horizon=2, quantiles=[0.9, 0.1], extra="allowed").json()
    assert [one["id"] for one in answer["outputs"]] == names
    alone = [forecast(one, horizon=2, quantiles=[0.9, 0.1]).json()["outputs"][0] for one in inputs]
    assert answer["outputs"] == alone
    assert list(alone[0]["content"][0]["quantiles"]) == ["0.9", "0.1"]
    assert forecast(inputs[0], inputs[0]).json()["error"]["param"] == "inputs[1].name"


def test_series_need_no_timestamp_where_nothing_depends_on_it() -> None:
    with_time = forecast(GOOD).json()["outputs"][0]["content"][0]
    without = forecast({"series": HISTORY}).json()["outputs"][0]["content"][0]
    assert without["mean_forecast"] == with_time["mean_forecast"]
    assert without["start_timestamp"] is None
    numbered = forecast({"series": HISTORY, "start_timestamp": 105}, model="numbered").json()["outputs"][0]
    assert numbered["content"][0]["start_timestamp"] == 155


def test_a_model_with_covariates_is_not_for_the_protocol_of_series() -> None:
    response = forecast({"series": HISTORY}, model="shops")
    assert response.status_code == 400
    assert "price, open, town" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"instances": [[NaN]]}', "JSON Parse error"),
        (b'{"instances": [[Infinity]]}', "JSON Parse error"),
        (b'{"instances": [[1.0]]} x', "trailing characters"),
        (b'{"instances": [[1.0]', "EOF"),
        (b'{"instances": ' + b"[" * 100_000, "recursion limit"),
        (b'{"signature_name": "\\ud800"}', "JSON Parse error"),
        (b"", "JSON Parse error"),
        (b"\xff\xfe", "JSON Parse error"),
        (b'{"instances": [[1e400]]}', "finite"),
    ],
)
def test_json_is_read_strictly_by_every_protocol(content: bytes, told: str) -> None:
    response = client().post("/v1/models/gru:predict", content=content)
    assert (response.status_code, told in response.json()["error"]) == (400, True), response.text
    for path in ("/v2/models/gru/infer", "/v1/timeseries/forecast", "/v1/forecast"):
        assert client().post(path, content=content).status_code in {400, 422}, path


@pytest.mark.parametrize(
    "path",
    ["/v1/models/..%2f..%2fgru", "/v1/models/%00", "/v1/models/gru/versions/../1", "/v2/models/..%2f/ready", "/etc"],
)
def test_names_that_are_paths_name_nothing(path: str) -> None:
    response = client().get(path)
    assert response.status_code == 404
    assert "error" in response.json()


def test_versions_are_those_that_are_served() -> None:
    for path in ("/v1/models/gru/versions/1", "/v2/models/gru/versions/1", "/v2/models/gru/versions/1/ready"):
        assert client().get(path).status_code == 200, path
    for path in ("/v1/models/gru/versions/2", "/v2/models/gru/versions/01", "/v2/models/gru/versions/2/ready"):
        assert client().get(path).status_code == 404, path


def test_openapi_is_served_and_no_page_that_loads_scripts_from_elsewhere() -> None:
    paths = client().get("/openapi.json").json()["paths"]
    assert {"/v1/forecast", "/v1/models/{name}:predict", "/v2/models/{name}/infer", "/metrics"} <= set(paths)
    for path in ("/docs", "/redoc"):
        assert client().get(path).status_code == 404


def test_openapi_tells_tables_as_tables_and_no_errors_of_another_shape() -> None:
    described = client().get("/openapi.json").json()
    paths = described["paths"]
    assert list(paths["/v1/models/{name}/example"]["get"]["responses"]["200"]["content"]) == ["text/csv"]
    assert set(paths["/v1/forecast"]["post"]["responses"]["200"]["content"]) == {"application/json", "text/csv"}
    assert "HTTPValidationError" not in json.dumps(described)
    for path, methods in paths.items():
        named = re.findall(r"\{(\w+)\}", path)
        for told in methods.values():
            assert [parameter["name"] for parameter in told.get("parameters", ())] == named, path


def curls_of(readme: str) -> list[list[str]]:
    """The arguments of every curl in the README that asks this server."""
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in blocks.splitlines() if re.match("curl .*:8000/", line)]


README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("arguments", curls_of(README), ids=lambda arguments: arguments[-1][:40])
def test_every_curl_of_the_readme_works_as_printed(arguments: list[str], tmp_path: Path) -> None:
    columns = Columns(None, ("week",), None, None, ("co2",), "W-SAT")
    bundles = {name: save_model(tmp_path / name, columns=columns) for name in ("gru", "lstm")}
    bundles["ridge"] = trained()["ridge"]
    asking = Client(create_app(bundles, default="gru"))
    url = next(argument for argument in arguments if argument.startswith("http://127.0.0.1:8000/"))
    given: dict[str, list[str]] = {"-F": [], "-H": [], "-d": []}
    for option, value in pairwise(arguments):
        given.get(option, []).append(value)
    headers = dict(header.split(": ", 1) for header in given["-H"])
    if given["-F"]:
        fields = dict(field.split("=", 1) for field in given["-F"])
        files = {name: Path(value[1:]) for name, value in fields.items() if value.startswith("@")}
        root = Path(__file__).parents[1]
        data = {name: value for name, value in fields.items() if name not in files}
        content = {name: (path.name, (root / path).read_bytes()) for name, path in files.items()}
        response = asking.post(url, data=data, files=content, headers=headers)
    else:
        usual = {"Content-Type": "application/x-www-form-urlencoded"}
        response = asking.post(url, content=given["-d"][0], headers=usual | headers)
    assert response.status_code == 200, response.text


def test_the_readme_has_a_curl_of_every_protocol() -> None:
    urls = " ".join(argument for arguments in curls_of(README) for argument in arguments)
    assert all(path in urls for path in ("/v1/forecast", ":predict", "/infer", "/v1/timeseries/forecast"))
