"""From results to the page that is made of them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.benchmark import Json
from pipeline.errors import GatecastError
from pipeline.storage import read_json, replacing


def read_results(path: Path, command: str) -> Json:
    """Reads what a benchmark has written.

    Args:
        path: of its results.
        command: that writes them.

    Raises:
        GatecastError: it has not been run yet.
    """
    if not path.exists():
        raise GatecastError(f"{path} is not there: nothing was measured yet; run {command}")
    results: Json = read_json(path)
    return results


def save_page(text: str, path: Path) -> None:
    """Writes a page, all of it or nothing."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
