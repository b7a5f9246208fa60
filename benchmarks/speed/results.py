"""Where the results and the page are, and how the page is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.accuracy import RESULTS
from benchmarks.benchmark import HERE
from benchmarks.pages import read_results, save_page
from benchmarks.speed.page import render_page
from pipeline.storage import read_json

FOUND = RESULTS / "training.json"
PAGE = HERE / "TRAINING.md"
RUN = "pipeline.json"  # beside the results: what `python -m benchmarks.speed.pipeline` writes


def beside_other_kinds(found: dict[str, Any], results: Path) -> dict[str, Any]:
    """Results with `elsewhere`, the last ones of every other kind of processor among those that were there before."""
    if not results.exists():
        return found
    before = read_json(results)
    kinds = [before, *before.pop("elsewhere", [])]
    others = [kind for kind in kinds if kind["machine"]["cpu"] != found["machine"]["cpu"]]
    return {**found, "elsewhere": others} if others else found


def write_page(results: Path, page: Path) -> None:
    """Writes the page from the results, with the default run where that was timed too.

    Raises:
        GatecastError: no step has been timed yet.
    """
    found, run = read_results(results, "python -m benchmarks.speed"), results.with_name(RUN)
    save_page(render_page(found, read_json(run) if run.exists() else None), page)
