from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from server_models import Client, build_app, history_of

from pipeline.errors import GatecastError
from pipeline.server.auth import check_exposure, find_key

KEY = "s3cret-schlüssel"
PATHS = ["/v1/models", "/v1/models/gru", "/v2", "/v2/models/gru", "/metrics", "/openapi.json", "/nothing"]


@pytest.fixture(scope="module")
def guarded() -> Client:
    return Client(build_app(key=KEY))


@pytest.mark.parametrize("path", PATHS)
def test_nothing_but_health_is_told_without_the_key(path: str, guarded: Client) -> None:
    for headers in (
        {},
        {"X-API-Key": "s3cret"},
        {"X-API-Key": ""},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {KEY}".encode()},
    ):
        response = guarded.get(path, headers=headers)
        assert response.status_code == 401, path
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "API key" in response.text
    for health in ("/v2/health/live", "/v2/health/ready"):
        assert guarded.get(health).status_code == 200


@pytest.mark.parametrize("header", ["X-API-Key: {}", "Authorization: Bearer {}", "authorization: bearer {}"])
def test_the_key_comes_in_either_header(header: str, guarded: Client) -> None:
    name, _, value = header.format(KEY).partition(": ")
    headers = {name: value.encode()}
    assert guarded.get("/v1/models", headers=headers).status_code == 200
    assert guarded.post("/v1/forecast", json={"history": history_of({"a": 5})}, headers=headers).status_code == 200


@pytest.mark.parametrize("beside", ["Bearer of-a-proxy", "Basic b2YtYS1wcm94eQ==", "Bearer"])
def test_the_key_in_one_header_is_enough_whatever_the_other_has(beside: str, guarded: Client) -> None:
    right = guarded.get("/v1/models", headers={"Authorization": beside, "X-API-Key": KEY.encode()})
    wrong = guarded.get("/v1/models", headers={"Authorization": beside, "X-API-Key": "unknown"})
    assert (right.status_code, wrong.status_code) == (200, 401)
    headers = {"Authorization": f"Bearer {KEY}".encode(), "X-API-Key": "unknown"}
    assert guarded.get("/v1/models", headers=headers).status_code == 200


def test_keys_are_never_in_logs_nor_in_answers(guarded: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for key in (KEY, "another-key"):
        headers = {"X-API-Key": key.encode()}
        answers = [guarded.get(path, headers=headers) for path in PATHS]
        answers.append(guarded.post("/v1/forecast", json={"history": 1}, headers=headers))
        assert not any(key in answer.text for answer in answers)
        assert not any(key in record.getMessage() for record in caplog.records if record.name.startswith("pipeline"))


def test_the_key_is_that_of_the_file_or_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATECAST_API_KEY", raising=False)
    assert find_key(None) is None
    monkeypatch.setenv("GATECAST_API_KEY", " from-environment\n")
    assert find_key(None) == "from-environment"
    file = tmp_path / "key"
    file.write_text("from-file\n")
    assert find_key(file) == "from-file"
    for content in (b"", b"two words", b"\xff"):
        file.write_bytes(content)
        with pytest.raises(GatecastError, match="--api-key-file"):
            find_key(file)
    with pytest.raises(GatecastError, match="cannot be read: No such file"):
        find_key(tmp_path / "absent")


def test_a_key_of_the_environment_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"GATECAST_API_KEY", b"k\xff")
    with pytest.raises(GatecastError) as error:
        find_key(None)
    assert str(error.value) == "GATECAST_API_KEY cannot be read: it is no text; set it to a key in UTF-8"
    monkeypatch.setitem(os.environb, b"GATECAST_API_KEY", KEY.encode())
    assert find_key(None) == KEY


def test_other_machines_are_served_with_a_key_or_by_the_users_word() -> None:
    for host in ("127.0.0.1", "127.3.2.1", "::1", "localhost"):
        check_exposure(host, None, no_auth=False)
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.com"):
        check_exposure(host, KEY, no_auth=False)
        check_exposure(host, None, no_auth=True)
        with pytest.raises(GatecastError, match=r"GATECAST_API_KEY or --api-key-file, or say --no-auth"):
            check_exposure(host, None, no_auth=False)
    with pytest.raises(GatecastError, match="leave out one"):
        check_exposure("127.0.0.1", KEY, no_auth=True)
