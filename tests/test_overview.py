"""The page of all benchmarks."""

from pathlib import Path
from typing import Any

from benchmarks.benchmark import names
from benchmarks.options import TUNED
from benchmarks.overview import OTHER, PAGE, RESULTS, render_overview, write_overview
from benchmarks.speed.page import WHOLE


def accuracy_of(value: float) -> dict[str, Any]:
    figures = {cell: {"ensemble": {"mase": value, "smape": 10.0}} for cell in ("lstm", "gru")}
    return {"figures": figures, "seconds": {"tune@lstm": 60.0, "train@lstm": 5.4}}


def test_every_benchmark_stands_on_the_page_with_its_command() -> None:
    page = render_overview({})
    for name in names():
        assert f"`python -m benchmarks.accuracy {name} --split test`" in page
    for what, measured in OTHER.items():
        assert f"| {what} " in page
        assert f"`{measured.command}`" in page
    assert page.count("not measured yet") == len(OTHER)


def test_figures_and_times_are_those_of_the_results() -> None:
    row = next(line for line in render_overview({"hospital": accuracy_of(0.7654)}).splitlines() if "Hospital" in line)
    assert [field.strip() for field in row.split("|")[2:5]] == ["MASE", "0.765", "0.765"]
    assert row.split("|")[6].strip() == "0:01:05"


def test_what_others_measured_links_to_its_page_with_its_headline() -> None:
    rows = [
        {"allowed": True, "null": {"decides": 0.05}},
        {"allowed": True, "null": {"decides": 0.071}},
        {"allowed": False, "null": {"decides": 0.5}},
    ]
    page = render_overview({"significance": {"rows": rows, "took_s": 600}})
    row = next(line for line in page.splitlines() if "SIGNIFICANCE.md" in line)
    assert "[how often a test is wrong](SIGNIFICANCE.md)" in row
    assert "7.1 % at most" in row
    assert "0:10:00" in row


def test_a_network_as_it_was_tuned_is_no_choice() -> None:
    found = {"a": {"options": {TUNED: {}, "layers=2": {}}}, "b": {"options": {TUNED: {}, "x": {}, "y": {}}}}
    assert "| 3 choices on 2 data sets |" in " ".join(render_overview({"options": found}).split())


def test_the_default_run_is_told_by_how_much_faster_it_became() -> None:
    before = {"commit": "old", "seconds": [{WHOLE: 300.0}, {WHOLE: 310.0}, {WHOLE: 900.0}]}
    now = {"commit": "new", "seconds": [{WHOLE: 200.0}, {WHOLE: 206.0}, {WHOLE: 208.0}]}
    page = render_overview({"pipeline": {"before": before, "now": now, "took_s": 9}})
    assert "1.50 times as fast as old" in next(line for line in page.splitlines() if "earlier commit" in line)


def test_the_committed_page_is_that_of_the_committed_results(tmp_path: Path) -> None:
    write_overview(RESULTS, tmp_path / "page.md")
    assert PAGE.read_text(encoding="utf-8") == (tmp_path / "page.md").read_text(encoding="utf-8")
