"""The page for people: it asks the other paths, and is all that a browser loads."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import Response

_FOLDER = Path(__file__).with_name("page")
_FILES = {
    "/": ("index.html", "text/html"),
    "/page/page.css": ("page.css", "text/css"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/page/chart.js": ("chart.js", "text/javascript"),
    "/page/tables.js": ("tables.js", "text/javascript"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
PAGE_PATHS = frozenset(_FILES)
HEADERS = {
    # Scripts, styles and answers from this server alone; nothing is sent elsewhere, and no other page shows this one.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def routes() -> APIRouter:
    """The paths of the page, whose files are read once."""
    router = APIRouter(include_in_schema=False)
    for path, (name, kind) in _FILES.items():
        content = (_FOLDER / name).read_bytes()
        router.add_api_route(path, partial(_file, content, f"{kind}; charset=utf-8"), methods=["GET", "HEAD"])
    return router


def _file(content: bytes, kind: str) -> Response:
    return Response(content, headers=HEADERS | {"Content-Type": kind})
