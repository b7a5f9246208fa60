"""Writes the committed figures into the README's tables: `python -m benchmarks.readme`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.accuracy import LOOKS, RESULTS, count_looks
from benchmarks.benchmark import Benchmark, load_benchmark, names, natural_order
from benchmarks.claims.page import render_summary
from benchmarks.pages import save_page
from benchmarks.peers.catalogue import fields
from benchmarks.peers.summary import render_beside
from benchmarks.report import render_accuracy
from benchmarks.summaries import ETTH1, Mean
from pipeline.comparison import render_results
from pipeline.errors import GatecastError
from pipeline.stages import run_stage
from pipeline.storage import read_json


def update_readme(path: Path, *, evaluation: Path) -> None:
    """Rewrites the tables of a README: the default run's results, what claims came to, the accuracy on public data,
    and the peers beside ours.

    Args:
        path: the README.
        evaluation: the folder with the metrics, as the evaluate and baselines stages write it.

    Raises:
        GatecastError: the README lacks the markers around a table.
    """
    table = render_results({file.stem: read_json(file) for file in sorted(evaluation.glob("*.json"))})
    text = replace_results(path.read_text(encoding="utf-8"), table)
    text = replace_results(text, render_summary(read_json(RESULTS / "claims.json")), name="claims")
    text = replace_results(text, accuracy_table(RESULTS, LOOKS), name="accuracy")
    text = replace_results(text, render_beside(read_json(RESULTS / "peers.json"), fields()), name="peers")
    save_page(text, path)


def accuracy_table(results: Path, looks: Path) -> str:
    """The table of accuracy.

    Args:
        results: the folder with the committed figures; files of other names are left out.
        looks: the file with a line for every look at a test part.
    """
    known = {*names(), ETTH1.name}
    files = sorted(
        (file for file in results.glob("*.json") if file.stem in known), key=lambda file: natural_order(file.stem)
    )
    facts: Mapping[str, Benchmark | Mean] = {
        file.stem: ETTH1 if file.stem == ETTH1.name else load_benchmark(file.stem) for file in files
    }
    return render_accuracy({file.stem: read_json(file) for file in files}, facts, count_looks(looks))


def replace_results(text: str, table: str, *, name: str = "results") -> str:
    """A README with another table.

    Args:
        text: the README.
        table: in Markdown, with a line feed at its end.
        name: of the table.

    Returns:
        The README, changed between `<!-- name -->` and `<!-- /name -->` alone.

    Raises:
        GatecastError: the two markers are not there once each, in this order.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    found = [text.count(start), text.count(end)]
    if found != [1, 1] or text.index(start) > text.index(end):
        raise GatecastError(
            f"README.md: {start} and {end} are needed once each, in this order. Received: {found[0]} and {found[1]}; "
            f"put them around the table of {name}"
        )
    before, rest = text.split(start)
    return f"{before}{start}\n{table}{end}{rest.split(end)[1]}"


def main() -> None:
    update_readme(Path("README.md"), evaluation=Path("models/evaluation"))


if __name__ == "__main__":
    run_stage(main)
