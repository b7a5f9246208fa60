"""Writes the committed metrics into the README's results table: `python -m benchmarks.readme`."""

from __future__ import annotations

from pathlib import Path

from pipeline.comparison import render_results
from pipeline.errors import GatecastError
from pipeline.stages import run_stage
from pipeline.storage import read_json, replacing

START, END = "<!-- results -->", "<!-- /results -->"


def update_readme(path: Path, *, evaluation: Path) -> None:
    """Rewrites the results table of a README.

    Args:
        path: the README.
        evaluation: the folder with the metrics, as the evaluate and baselines stages write it.

    Raises:
        GatecastError: the README lacks the markers around the table.
    """
    table = render_results({file.stem: read_json(file) for file in sorted(evaluation.glob("*.json"))})
    text = replace_results(path.read_text(encoding="utf-8"), table)
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def replace_results(text: str, table: str) -> str:
    """A README with another results table.

    Args:
        text: the README.
        table: in Markdown, with a line feed at its end.

    Returns:
        The README, changed between `<!-- results -->` and `<!-- /results -->` alone.

    Raises:
        GatecastError: the two markers are not there once each, in this order.
    """
    found = [text.count(START), text.count(END)]
    if found != [1, 1] or text.index(START) > text.index(END):
        raise GatecastError(
            f"README.md: {START} and {END} are needed once each, in this order. Received: {found[0]} and {found[1]}; "
            "put them around the results table"
        )
    before, rest = text.split(START)
    return f"{before}{START}\n{table}{END}{rest.split(END)[1]}"


def main() -> None:
    update_readme(Path("README.md"), evaluation=Path("models/evaluation"))


if __name__ == "__main__":
    run_stage(main)
