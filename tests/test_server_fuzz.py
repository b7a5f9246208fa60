"""Bodies that nobody meant: whatever is sent, no protocol breaks, and errors have its shape."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_models import build_app, client

GOLDEN = Path(__file__).parent / "golden"
POSTS = [
    golden["request"]
    for golden in (json.loads(path.read_text()) for path in sorted(GOLDEN.rglob("*.json")))
    if golden["request"]["method"] == "POST" and golden["response"]["status"] == 200
]
JSON = {"Content-Type": "application/json"}
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**18, 2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 1e-320, 1e151, -0.0]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(
        ["0001-01-01", "now", "9999-12-31T23:00:00", "1677-09-21", "2024-01-01T00:00:00+14:00", "..%2f", "nan", "\0"]
    ),
    st.just([]),
    st.just({}),
    st.just([[1.0], [1.0]]),
    st.just({"history": [1.0]}),
    st.lists(st.floats(-1e3, 1e3), max_size=4),
)  # fmt: skip


def places_of(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(deeper for key, part in inside for deeper in places_of(part, (*place, key)))]


def changed(value: Any, place: tuple[Any, ...], change: Any) -> Any:
    """A JSON value with something else in one place; nothing where the change is a KeyError."""
    if not place:
        return change
    key, rest = place[0], place[1:]
    copy = dict(value) if isinstance(value, dict) else list(value)
    if not rest and change is KeyError:
        del copy[key]
    else:
        copy[key] = changed(value[key], rest, change)
    return copy


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """A request with one to three places changed, and perhaps a few bytes."""
    request = draw(st.sampled_from(POSTS))
    body = request["body"]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places_of(body)))
        body = changed(body, place, KeyError if place and draw(st.integers(0, 4)) == 0 else draw(ODD))
    raw = json.dumps(body).encode()
    if draw(st.integers(0, 5)) == 0:
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, min(start + 5, len(raw))))
        raw = raw[:start] + draw(st.sampled_from([b"", b"NaN", b"\xff", b"[" * 300, b"\\ud800", b'"'])) + raw[end:]
    return request["path"], raw


def assert_answered(path: str, raw: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about what it is given; the server has no such filter
        response = client().post(path, content=raw, headers=JSON)
    assert response.status_code in {200, 400, 404, 413, 422}, (response.status_code, raw)
    answer = response.json()
    if response.status_code == 200:
        assert "error" not in answer
        return
    error = answer["error"]
    message = error if isinstance(error, str) else error["message"]
    assert isinstance(error, str) == (not path.startswith(("/v1/forecast", "/v1/timeseries")))
    assert message
    assert "\n" not in message
    assert "Traceback" not in message


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_mutated_bodies_are_answered_or_refused(request_of: tuple[str, bytes]) -> None:
    assert_answered(*request_of)


@pytest.mark.long
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_ten_thousand_mutated_bodies_are_answered_or_refused(request_of: tuple[str, bytes]) -> None:
    assert_answered(*request_of)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_files_are_refused(data: st.DataObject) -> None:
    import io

    import pandas as pd
    from server_models import history_of

    buffer = io.BytesIO()
    ending = data.draw(st.sampled_from(["csv", "parquet"]))
    frame = pd.DataFrame(history_of({"a": 30}))
    (frame.to_csv if ending == "csv" else frame.to_parquet)(buffer, index=False)
    raw = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    response = client().post("/v1/forecast", files={"history": (f"a.{ending}", bytes(raw))})
    assert response.status_code in {200, 413, 415, 422}, response.text


def test_the_server_is_as_its_openapi_document_says() -> None:
    schemathesis = pytest.importorskip("schemathesis")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = schemathesis.openapi.from_asgi("/openapi.json", build_app())
        checks = schemathesis.checks
        chosen = [
            checks.not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
        ]
        for operation in schema.get_all_operations():

            @given(case=operation.ok().as_strategy())
            @settings(max_examples=15, suppress_health_check=list(HealthCheck), deadline=None)
            def ask(case: Any) -> None:
                case.call_and_validate(checks=chosen)

            ask()
