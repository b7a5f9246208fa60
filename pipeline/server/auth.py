"""API keys: who may ask."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Callable
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.errors import GatecastError
from pipeline.server.browser import PAGE_PATHS
from pipeline.server.request_errors import RequestError

KEY_VARIABLE = "GATECAST_API_KEY"
# For those who only watch whether it lives; and the page, which knows nothing until it is given the key.
OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready", *PAGE_PATHS})


def find_key(file: Path | None) -> str | None:
    """The key that the user gave, by file or by environment; None for none.

    Args:
        file: that holds it; goes before the environment.

    Raises:
        GatecastError: the file cannot be read, or holds no key; or the environment's is no text.
    """
    if file is None:
        return _key_of_environment()
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no text"
        raise GatecastError(f"--api-key-file: {file} cannot be read: {what}; name a file with the key") from None
    if not key or len(key.split()) > 1:
        raise GatecastError(f"--api-key-file: {file} holds one key and nothing else. Received: {len(key):,} characters")
    return key


def _key_of_environment() -> str | None:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    try:
        key.encode()
    except UnicodeEncodeError:  # Python keeps what it cannot decode as surrogates
        raise GatecastError(f"{KEY_VARIABLE} cannot be read: it is no text; set it to a key in UTF-8") from None
    return key or None


def check_exposure(host: str, key: str | None, *, no_auth: bool) -> None:
    """Refuses to serve others than this machine without a key, unless the user says so.

    Args:
        host: that is listened on.
        key: what `find_key` gave.
        no_auth: the user says so.

    Raises:
        GatecastError: it is refused, or both a key and `--no-auth` are given.
    """
    if key is not None and no_auth:
        raise GatecastError("--no-auth: a key is given too; leave out one of them")
    if key is None and not no_auth and not _is_loopback(host):
        told = f"--host {host} serves other machines, which needs an API key. Received: none"
        raise GatecastError(f"{told}; set {KEY_VARIABLE} or --api-key-file, or say --no-auth")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Authenticated:
    """Lets requests in that bring the key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.

    Args:
        app: that they reach.
        key: that they need; of it no more than a hash is kept.
        respond: turns an error into a response.
    """

    def __init__(self, app: ASGIApp, *, key: str, respond: Callable[[str, RequestError], Response]) -> None:
        self._app, self._respond = app, respond
        self._digest = _digest(key.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._knows(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        told = "an API key is needed, as Authorization: Bearer KEY or X-API-Key: KEY. Received: none that is known"
        error = RequestError(401, told, code="key-unknown", headers={"WWW-Authenticate": "Bearer"})
        await self._respond(scope["path"], error)(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        brought = (token.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", ""))
        known = [hmac.compare_digest(_digest(one.encode("latin-1")), self._digest) for one in brought]
        return any(known)  # after both are compared, so that it takes equally long


def _digest(key: bytes) -> bytes:
    """Equally long for all keys, so that comparing takes equally long."""
    return hashlib.sha256(key).digest()
