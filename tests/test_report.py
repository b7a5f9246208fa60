from __future__ import annotations

import html
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import report_models
from hypothesis import given
from hypothesis import strategies as st
from report_models import HOSTILE, SEEDS, write_comparison, write_project, write_ranks

from pipeline.params import load_params
from pipeline.report import verdict as verdict_part
from pipeline.report.building import build_report, save_report
from pipeline.report.charts import INK, add_line, dark_shades, label, place_evenly, shade
from pipeline.report.evidence import results_table
from pipeline.report.intervals import autocorrelation, mean_autocorrelation, observed_shares
from pipeline.report.page import render_page
from pipeline.report.parts import (
    UNKNOWN,
    Chart,
    Report,
    Section,
    Text,
    figure,
    interval,
    listed,
    probability,
    signed_percent,
)
from pipeline.report.ranks import joined
from pipeline.report.search import allowed_words, hyperparameter_shares
from pipeline.report.sources import Sources
from pipeline.stages import report as stage
from pipeline.storage import read_json, write_json
from pipeline.timestamps import to_user_time
from pipeline.windows import Floats, Windows

CELLS = {"two": ("lstm", "gru"), "three": ("lstm", "gru", "rnn"), "single": ("gru",)}
VIEWS = {"two": ("equal_parameters", "point_wise"), "three": ("equal_parameters",), "single": ()}
MOST_BYTES, MOST_POINTS = 8_000_000, 20_000


def points_of(chart: Chart) -> int:
    """How many points a chart draws; of a band each of its two edges."""
    return sum(np.size(trace.z) if trace.type == "heatmap" else np.size(trace.x) for trace in chart.figure.data)


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sources]:
    """The same results compared over two cells, three cells and one, each with its report written."""
    folder = tmp_path_factory.mktemp("reports")
    write_project(folder / "made", cells=CELLS["three"], views=VIEWS["two"])
    found = {}
    for name, cells in CELLS.items():
        shutil.copytree(folder / "made", folder / name)
        write_comparison(folder / name, cells=cells, views=VIEWS[name])
        found[name] = Sources(folder / name, cells, "mase")
        if name == "two":
            write_ranks(found[name], descriptive=True)
        save_report(build_report(found[name]), page_of(found[name]))
    return found


@pytest.fixture
def sources(projects: dict[str, Sources], tmp_path: Path) -> Sources:
    """A copy of the project of two cells, to change."""
    shutil.copytree(projects["two"].root, tmp_path / "project")
    return Sources(tmp_path / "project", CELLS["two"], "mase")


def page_of(sources: Sources) -> Path:
    return sources.root / "models" / "report" / "report.html"


def replace_verdict(sources: Sources, **found: Any) -> Sources:
    """The project with another verdict."""
    write_json({**sources.verdict, **found}, sources.models / "comparison" / "verdict.json")
    return Sources(sources.root, sources.cells, "mase")


def texts_of(report: Report) -> dict[str, str]:
    """What each section shows as bare text, by its anchor."""
    return {
        section.anchor: " ".join(part.words for part in section.parts if isinstance(part, Text))
        for section in report.sections
    }


def section_of(report: Report, anchor: str) -> Section:
    return next(section for section in report.sections if section.anchor == anchor)


def test_the_report_tells_how_much_of_the_calibration_is_applied(projects: dict[str, Sources]) -> None:
    lead = section_of(build_report(projects["two"]), "calibration").lead
    assert "50 % (LSTM) and 25 % (GRU) is applied" in lead


def test_the_report_says_that_intervals_are_not_calibrated_where_they_are_not(sources: Sources) -> None:
    for cell in CELLS["two"]:
        path = sources.models / "trained" / cell / "training.json"
        write_json({**read_json(path), "calibration": None, "calibration_share": 0.0}, path)
    lead = section_of(build_report(sources), "calibration").lead
    assert lead.endswith("They are the networks' own, not calibrated (calibrate.method).")
    assert "applied" not in lead


def test_the_report_says_that_intervals_are_the_networks_own_where_nothing_was_applied(sources: Sources) -> None:
    for cell in CELLS["two"]:
        path = sources.models / "trained" / cell / "training.json"
        write_json({**read_json(path), "calibration_share": 0.0}, path)
    lead = section_of(build_report(sources), "calibration").lead
    assert "They are the networks' own: no part of the correction" in lead
    assert "They are calibrated" not in lead


def test_the_report_of_a_single_seed_claims_no_spread(sources: Sources) -> None:
    for cell in CELLS["two"]:
        path = sources.models / "evaluation" / f"{cell}-details.json"
        details = read_json(path)
        write_json({**details, "seeds_sd": dict.fromkeys(details["seeds_sd"])}, path)
    path = sources.models / "comparison" / "verdict.json"
    write_json({**read_json(path), "seeds": [11], "kind": "over_time"}, path)
    report = build_report(sources)
    captions = [part.caption for part in section_of(report, "seeds").parts if isinstance(part, Chart)]
    assert "Mean and standard deviation of single networks: LSTM: 0." in captions[0]
    assert "±" not in captions[0]
    assert "the chance of a single seed is not in it" in texts_of(report)["verdict"]


@pytest.mark.parametrize(("worth", "shown"), [(6.96, "6.9"), (7.04, "7"), (None, UNKNOWN), (103.26, "103.2")])
def test_horizons_worth_is_rounded_down_as_the_obstacle_has_it(worth: float | None, shown: str) -> None:
    assert verdict_part._worth({"kind": None, "horizons_worth": worth}) == [("Horizons' worth of origins", shown)]


def test_forecasts_are_drawn_at_the_times_of_the_users_clocks(sources: Sources) -> None:
    def charts() -> list[Any]:
        return [part for part in section_of(build_report(sources), "forecasts").parts if isinstance(part, Chart)]

    here_drawn, path = charts(), sources.root / "data" / "series" / "audit.json"
    columns = {"freq": "h", "timezone": "Australia/Melbourne"}
    write_json({**read_json(path), "columns": columns}, path)
    for file in (sources.models / "evaluation").glob("*.parquet"):  # as the stages write them in a zone
        frame = pd.read_parquet(file)
        times = [name for name in ("ds", "cutoff") if name in frame]
        frame.assign(**{name: to_user_time(frame[name], **columns) for name in times}).to_parquet(file)
    local = charts()
    for there, here in zip(local, here_drawn, strict=True):
        assert len(there.figure.data) == len(here.figure.data) > 2
        for one, other in zip(there.figure.data, here.figure.data, strict=True):
            moved = {pd.Timestamp(a) - pd.Timestamp(b) for a, b in zip(one.x, other.x, strict=True)}
            assert moved <= {pd.Timedelta(hours=10), pd.Timedelta(hours=11)}
        assert re.search(r"dotted line, \d{4}-\d\d-\d\d( \d\d:00:00\+1[01]:00)?\. ", there.caption)
        assert there.figure.layout.shapes[0].x0 > here.figure.layout.shapes[0].x0


def test_the_metric_that_decides_stands_among_all_results(sources: Sources) -> None:
    table = pd.read_csv(sources.models / "comparison" / "table.csv")
    assert "MAE" not in results_table(table, "mase").header
    assert "MAE" in results_table(table, "mae").header


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", CELLS)
def test_the_report_opens_offline_with_every_chart_drawn(
    projects: dict[str, Sources], browser: Any, name: str, width: int
) -> None:
    complaints, requests = [], []
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_of(projects[name]).as_uri())
    page.wait_for_selector("body[data-drawn]")
    sizes = page.eval_on_selector_all(
        ".chart",
        "charts => charts.map(chart => chart.querySelector('.main-svg')?.getBoundingClientRect() ?? {width: 0})"
        ".map(box => [box.width, box.height])",
    )
    marks = page.eval_on_selector_all(
        ".chart",
        "charts => charts.map(chart => chart.querySelectorAll('.trace path, .points path, .errorbar, image').length)",
    )
    assert len(sizes) == len(build_report(projects[name]).charts) >= 14
    assert all(0 < chart_width <= width and height > 50 for chart_width, height in sizes)
    assert all(marks)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (complaints, requests) == ([], [page_of(projects[name]).as_uri()])
    # A name of the user's is text: none of its tags has become an element.
    assert page.locator("main img, main b, svg img, svg b, svg i, svg a").count() == 0
    context.close()


def test_a_dark_page_has_light_figures_and_prints_on_white(projects: dict[str, Sources], browser: Any) -> None:
    page = browser.new_page(color_scheme="dark")
    page.set_default_timeout(120_000)
    page.goto(page_of(projects["two"]).as_uri())
    page.wait_for_selector("body[data-drawn]")
    ink = "getComputedStyle(document.querySelector('.legendtext')).fill"
    assert page.evaluate(ink) == "rgb(228, 232, 236)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(ink) == "rgb(28, 39, 51)"
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(ink) == "rgb(228, 232, 236)"
    assert page.locator("details[open]").count() == 0
    page.close()


@pytest.mark.parametrize("name", CELLS)
def test_the_report_is_one_small_file_with_its_script_once(projects: dict[str, Sources], name: str) -> None:
    text = page_of(projects[name]).read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    assert text.count("* plotly.js v") == 1
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.(?!data:)", text.split("<script>")[0])


def test_the_report_begins_with_the_verdict_in_words(projects: dict[str, Sources]) -> None:
    for sources in projects.values():
        verdict = sources.verdict
        assert html.escape(verdict["words"]) in page_of(sources).read_text(encoding="utf-8").split("<main>")[0]


@pytest.mark.parametrize(
    ("found", "claim"),
    [
        ({"verdict": "better", "cell": "lstm"}, "LSTM is better on this data"),
        ({"verdict": "equivalent"}, "GRU and LSTM are practically equivalent on this data"),
        ({"verdict": "undecided"}, "GRU and LSTM: this data does not decide between them"),
        ({"verdict": "neither"}, "Neither cell is shown to beat ridge"),
    ],
)
def test_the_headline_follows_the_verdict(sources: Sources, found: dict[str, Any], claim: str) -> None:
    verdict = {**sources.verdict, "cell": None, "pair": ["gru", "lstm"], **found}
    write_json(verdict, sources.models / "comparison" / "verdict.json")
    assert build_report(sources).headline == claim


def test_of_three_cells_the_headline_names_the_one_that_was_beaten(
    projects: dict[str, Sources], tmp_path: Path
) -> None:
    shutil.copytree(projects["three"].root, tmp_path / "project")
    three = Sources(tmp_path / "project", CELLS["three"], "mase")
    found = replace_verdict(three, verdict="better", cell="lstm", pair=["gru", "lstm"])
    assert build_report(found).headline == "LSTM is better than GRU on this data"


def test_a_single_cell_that_is_not_shown_to_beat_a_simple_forecast_is_named(
    projects: dict[str, Sources], tmp_path: Path
) -> None:
    shutil.copytree(projects["single"].root, tmp_path / "project")
    one = Sources(tmp_path / "project", CELLS["single"], "mase")
    assert build_report(replace_verdict(one, verdict="neither")).headline == "GRU is not shown to beat ridge"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"verdict": "better"}, "anything else is undecided. Grey"),
        ({"verdict": "neither"}, "A winner that does not beat the simple forecast is no reason to use it."),
        ({"verdict": "undecided", "obstacles": ["four seeds"]}, "No line decides anything, as something stands in"),
    ],
)
def test_lines_of_pairs_are_read_as_the_verdict_read_them(sources: Sources, found: dict[str, Any], told: str) -> None:
    report = build_report(replace_verdict(sources, **found))
    chart = next(chart for chart in report.charts if chart.title == "Cell against cell")
    assert told in chart.caption
    lead = section_of(report, "verdict").lead
    assert lead.startswith("Something stands in the way") == ("obstacles" in found)


def test_unequal_budgets_and_what_stands_in_the_way_are_told(sources: Sources) -> None:
    verdict = {**sources.verdict, "obstacles": ["three cutoffs are too few"]}
    verdict["budget"] = {**verdict["budget"], "equal": False, "why": ["completed trials: lstm 24, gru 12"]}
    write_json(verdict, sources.models / "comparison" / "verdict.json")
    section = section_of(build_report(sources), "verdict")
    assert any("three cutoffs are too few" in part.words for part in section.parts if isinstance(part, Text))
    assert "completed trials: lstm 24, gru 12" in render_page(Report("", "", "", [section]))


def test_ranks_are_a_diagram_whose_bars_join_what_is_not_told_apart(sources: Sources) -> None:
    chart = next(chart for chart in build_report(sources).charts if chart.title == "Ranks over the series")
    lines = [trace for trace in chart.figure.data if trace.name != "not told apart"]
    assert {trace.name: trace.x[0] for trace in lines} == {
        **{"GRU": 1.9, "LSTM": 1.6, "ridge": 2.7, "seasonal drift": 4.9, "seasonal naive": 3.9},
        "critical difference": 1.0,
    }
    bars = [trace.x for trace in chart.figure.data if trace.name == "not told apart"]
    assert [(round(x[0], 1), round(x[1], 1)) for x in bars] == [(1.6, 2.7), (3.9, 4.9)]
    assert "1.15" in chart.caption
    assert "< 0.0001" in chart.caption


def test_groups_of_ranks_are_the_largest_ones() -> None:
    assert joined([1.0, 1.5, 2.0, 3.5, 4.0], 1.0) == [(0, 2), (3, 4)]
    assert joined([1.0, 1.8, 2.6, 3.4], 1.0) == [(0, 1), (1, 2), (2, 3)]
    assert joined([1.0, 2.5], 1.0) == []
    assert joined([2.0, 2.0, 2.0], 0.1) == [(0, 2)]


@pytest.mark.parametrize("descriptive", [True, False])
def test_tests_over_series_are_descriptive_unless_the_series_are_declared_independent(
    sources: Sources, descriptive: bool
) -> None:
    write_ranks(sources, descriptive=descriptive)
    section = section_of(build_report(sources), "verdict")
    page = render_page(Report("", "", "", [section]))
    # Of the ranks with Friedman's test, and of Wilcoxon's.
    assert page.count("descriptive: it assumes independent series") == 2 * descriptive
    assert page.count("meant for independent series, which these are declared to be") == 2 * (not descriptive)


def test_of_three_cells_the_order_on_the_test_part_is_told(projects: dict[str, Sources]) -> None:
    order = projects["three"].verdict["ranking"]
    facts = page_of(projects["three"]).read_text(encoding="utf-8").split("<main>")[1]
    assert f"<dt>On test, best first</dt><dd>{', '.join(cell.upper() for cell in order)}</dd>" in facts
    assert "On test, best first" not in page_of(projects["two"]).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("recommended", "chosen"),
    [
        ("gru", "the MASE of GRU, the recommended cell."),
        ("ridge", "the MASE of LSTM, the best cell on validation; recommended is ridge, which is no cell."),
    ],
)
def test_the_forecasts_say_by_whose_error_they_are_chosen(sources: Sources, recommended: str, chosen: str) -> None:
    verdict = {**sources.verdict, "recommended": recommended, "best_on_validation": "lstm"}
    write_json(verdict, sources.models / "comparison" / "verdict.json")
    assert chosen in section_of(build_report(sources), "forecasts").lead


@pytest.mark.parametrize(
    ("needed", "told"),
    [
        ({"cutoffs": 400, "seeds": None, "together": None}, "400 forecast origins in all would decide."),
        (
            {"cutoffs": None, "seeds": None, "together": {"times": 3.2, "cutoffs": 586, "seeds": 16}},
            "3.2 times as many of both would: 586 forecast origins and 16 seeds in all.",
        ),
        ({"cutoffs": None, "seeds": None, "together": None}, "would decide a difference so near the limit."),
    ],
)
def test_what_would_decide_is_told(sources: Sources, needed: dict[str, Any], told: str) -> None:
    pairs = [{**pair, "needed": needed} for pair in sources.verdict["pairs"]]
    write_json({**sources.verdict, "pairs": pairs}, sources.models / "comparison" / "verdict.json")
    assert told in texts_of(build_report(sources))["verdict"]


def test_peak_memory_has_no_interval_and_is_said_to_be_a_high_water_mark(sources: Sources) -> None:
    section = section_of(build_report(sources), "cost")
    page = render_page(Report("", "", "", [section]))
    assert "peak memory of training, MiB" in page
    assert "the most that a process which trained the cell has held" in page
    chart = next(chart for chart in Report("", "", "", [section]).charts if chart.title == "GRU in units of LSTM")
    peak = next(trace for trace in chart.figure.data if trace.name == "peak memory of training")
    assert (peak.error_x.array[0], peak.error_x.arrayminus[0]) == (0, 0)


def test_names_of_the_user_are_never_markup(projects: dict[str, Sources]) -> None:
    text = page_of(projects["two"]).read_text(encoding="utf-8").replace(r"<\/script>", "")
    for name in HOSTILE[:3]:
        assert name not in text
        assert html.escape(name) in text
    assert label("<a href='x'>&") == "&lt;a href='x'&gt;&amp;"


def test_a_word_that_looks_like_markup_stays_a_word() -> None:
    hostile = "<script>alert(1)</script>"
    page = render_page(Report(hostile, hostile, hostile, [Section("a", hostile, hostile, [Text(hostile)])]))
    assert hostile not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 8


@pytest.mark.parametrize(
    ("missing", "anchors"),
    [
        ("models/comparison/verdict.json", ["verdict", "views"]),
        ("models/evaluation/gru-losses.parquet", ["forecasts"]),
        ("models/evaluation/*-steps.csv", ["steps"]),
        ("models/evaluation/*-series.csv", ["series"]),
        ("models/evaluation/*.json", ["seeds"]),
        ("models/tuned/*.json", ["search"]),
        ("models/comparison/curves.csv", ["learning"]),
        ("models/evaluation/*.parquet", ["forecasts", "residuals"]),
        ("data/series/audit.json", ["audit"]),
    ],
)
def test_a_section_without_its_files_says_so_and_the_others_stay(
    sources: Sources, missing: str, anchors: list[str]
) -> None:
    before = texts_of(build_report(sources))
    for path in sources.root.glob(missing):
        path.unlink()
    after = texts_of(build_report(sources))
    for anchor, words in after.items():
        assert ("Not shown" in words) == (anchor in anchors or "Not shown" in before[anchor]), anchor


def test_an_empty_project_has_a_report_without_charts(tmp_path: Path) -> None:
    report = build_report(Sources(tmp_path, ("lstm", "gru"), "mase"))
    assert report.headline == "No verdict yet"
    assert report.charts == []
    assert "Not shown" in render_page(report)


def test_left_over_cells_are_not_in_the_report(projects: dict[str, Sources]) -> None:
    text = page_of(projects["two"]).read_text(encoding="utf-8").split("<script>")[0]
    assert "RNN" not in text
    assert "RNN" in page_of(projects["three"]).read_text(encoding="utf-8").split("<script>")[0]


def test_a_single_cell_and_a_single_series_have_nothing_to_be_set_against(
    projects: dict[str, Sources], sources: Sources
) -> None:
    assert "Only one cell" in texts_of(build_report(projects["single"]))["series"]
    for cell in sources.cells:
        path = sources.models / "evaluation" / f"{cell}-series.csv"
        pd.read_csv(path).head(1).to_csv(path, index=False)
    assert "a single series" in texts_of(build_report(sources))["series"]


def test_a_metric_that_is_defined_nowhere_on_the_test_part_is_told_as_that(sources: Sources) -> None:
    for cell in sources.cells:
        path = sources.models / "evaluation" / f"{cell}-series.csv"
        pd.read_csv(path).assign(mase=np.nan).to_csv(path, index=False)
        path = sources.models / "evaluation" / f"{cell}-losses.parquet"
        pd.read_parquet(path).assign(mase=np.nan).to_parquet(path)
    texts = texts_of(build_report(sources))
    assert "MASE is defined for no window of the test part" in texts["forecasts"]
    assert "MASE is known of no series" in texts["series"]
    assert "missing" not in texts["forecasts"]


def test_a_forecast_of_one_step_is_a_dot_with_its_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_models, "HORIZON", 1)
    charts = section_of(build_report(write_project(tmp_path)), "forecasts").parts
    assert len(charts) == 3
    for chart in charts:
        assert isinstance(chart, Chart)
        drawn = {trace.name: trace for trace in chart.figure.data}
        for cell in ("LSTM", "GRU"):
            assert (drawn[cell].mode, list(drawn[cell].marker.size)) == ("lines+markers", [6])
            assert drawn[cell].error_y.array[0] > 0
            assert drawn[cell].error_y.arrayminus[0] > 0
        assert drawn["actual"].mode == "lines"


def test_where_the_median_alone_is_forecast_nothing_is_said_of_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Median(report_models.Oracle):
        def predict_windows(self, windows: Windows, *, outputs: Sequence[str]) -> dict[str, Floats]:
            found = super().predict_windows(windows, outputs=outputs)
            return {name: v if name == "copy_weights" else v[..., 2:3] for name, v in found.items()}

    monkeypatch.setattr(report_models, "QUANTILES", (0.5,))
    monkeypatch.setattr(report_models, "Oracle", lambda cell: Median(cell, quantiles=(0.5,)))
    report = build_report(write_project(tmp_path))
    lead = section_of(report, "calibration").lead
    assert lead.startswith("The median alone is forecast (quantiles), so there are no intervals: half")
    assert "correction" not in lead
    for chart in section_of(report, "forecasts").parts:
        assert isinstance(chart, Chart)
        assert "medians; there are no intervals." in chart.caption


def test_a_point_without_a_neighbour_is_a_dot() -> None:
    chart = go.Figure()
    add_line(chart, list(range(6)), [1.0, np.nan, 2.0, np.nan, 3.0, 4.0], name="a", colour=INK)
    add_line(chart, list(range(3)), [1.0, 2.0, np.nan], name="b", colour=INK)
    broken, whole = chart.data
    assert (broken.mode, list(broken.marker.size)) == ("lines+markers", [6, 0, 6, 0, 0, 0])
    assert (whole.mode, whole.marker.size) == ("lines", None)


def test_copied_weights_are_shown_only_where_there_are_some(sources: Sources) -> None:
    assert section_of(build_report(sources), "copies")
    for cell in sources.cells:
        path = sources.models / "evaluation" / f"{cell}-copy.csv"
        path.write_text("future_segment,past_segment,weight\n")
    assert "copies" not in texts_of(build_report(sources))


def test_old_timings_without_memory_and_latency_still_give_a_cost(sources: Sources) -> None:
    for cell in sources.cells:
        seeds = {str(seed): {"seconds": 9.0, "seconds_per_epoch": 0.4, "epochs": 12} for seed in SEEDS}
        write_json({"seconds": 61.25, "seeds": seeds}, sources.models / "timings" / f"train-{cell}.json")
    assert "61.25" in render_page(Report("", "", "", [section_of(build_report(sources), "cost")]))


def test_the_same_results_are_the_same_bytes(projects: dict[str, Sources], tmp_path: Path) -> None:
    save_report(build_report(projects["two"]), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page_of(projects["two"]).read_bytes()


def test_a_large_panel_is_thinned_and_the_page_says_so(sources: Sources) -> None:
    rng, folder = np.random.default_rng(0), sources.models / "evaluation"
    for cell in sources.cells:
        series = pd.DataFrame({"forecast": "ensemble", "unique_id": [f"s{i}" for i in range(50_000)]})
        series.assign(mase=rng.random(50_000), coverage_80=0.8, width_80=1.0).to_csv(
            folder / f"{cell}-series.csv", index=False
        )
        steps = [(name, step, step / 720) for name in ("ensemble", "11", "12") for step in range(1, 721)]
        pd.DataFrame(steps, columns=["forecast", "step", "mase"]).to_csv(folder / f"{cell}-steps.csv", index=False)
        ledger = read_json(sources.models / "tuned" / f"{cell}.json")
        ledger["trials"] = ledger["trials"][:24] * 100
        write_json(ledger, sources.models / "tuned" / f"{cell}.json")
    curves = [(cell, seed, epoch, 1.0, 1.0) for cell in sources.cells for seed in range(50) for epoch in range(300)]
    table = pd.DataFrame(curves, columns=["model", "seed", "epoch", "loss", "val_loss"])
    table.to_csv(sources.models / "comparison" / "curves.csv", index=False)
    report = build_report(sources)
    assert sum(map(points_of, report.charts)) < MOST_POINTS
    page = render_page(report)
    assert len(page.encode()) < MOST_BYTES
    for told in ("1,500 of 50,000 series", "120 of 720 steps", "300 of 2,400 trials", "6 of 50 networks"):
        assert told in page


def test_quantiles_are_observed_as_the_coverage_of_intervals_says(projects: dict[str, Sources]) -> None:
    sources = projects["two"]
    shares = observed_shares(sources, "gru")
    assert list(shares) == [0.025, 0.1, 0.5, 0.9, 0.975]
    metrics = read_json(sources.models / "evaluation" / "gru.json")
    assert shares[0.9] - shares[0.1] == pytest.approx(metrics["coverage_80"], abs=1e-9)


def test_hyperparameters_share_the_variance_between_their_values() -> None:
    values = [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    scores = [1.0, 1.5, 3.0, 3.5]
    trials = [
        {"status": "completed", "score": score, "values": {"head": head, "units": units, "layers": 1, "tuner/x": units}}
        for score, (head, units) in zip(scores, values, strict=True)
    ]
    found = hyperparameter_shares({"trials": [*trials, {"status": "failed", "score": None, "values": {"head": "c"}}]})
    assert found == {"head": (pytest.approx(4 / 4.25), 1 / 3), "units": (pytest.approx(0.25 / 4.25), 1 / 3)}


def test_what_has_no_effect_reaches_the_share_told_as_chance_on_average() -> None:
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(300):
        rates = 10 ** rng.uniform(-3, -2, 24)
        trials = [
            {"status": "completed", "score": float(score), "values": {"learning_rate": float(rate)}}
            for score, rate in zip(rng.standard_normal(24), rates, strict=True)
        ]
        share, chance = hyperparameter_shares({"trials": trials})["learning_rate"]
        shares.append(share - chance)
    assert np.mean(shares) == pytest.approx(0, abs=0.02)


def test_autocorrelation_is_that_of_the_definition_and_skips_missing_values() -> None:
    values = np.array([1.0, 3.0, 2.0, 5.0, 4.0, 6.0])
    centred = values - values.mean()
    expected = [sum(centred[i] * centred[i + lag] for i in range(6 - lag)) / sum(centred**2) for lag in (1, 2)]
    assert autocorrelation(values, 2) == pytest.approx(expected)
    assert autocorrelation(np.array([1.0, np.nan, 1.0, np.nan]), 2) == pytest.approx([0, 0])
    assert np.isnan(autocorrelation(values, 6)).tolist() == [False] * 5 + [True]
    alternating = np.where(np.arange(50) % 2, 1.0, -1.0)
    alternating[7] = np.nan
    assert autocorrelation(alternating, 1)[0] < -0.9


def test_series_too_short_for_a_lag_do_not_dilute_the_others() -> None:
    long = np.sin(np.arange(400) / 3)
    rows = [long, *[np.random.default_rng(0).standard_normal(8)] * 9]
    assert mean_autocorrelation(rows, 12)[8:] == pytest.approx(autocorrelation(long, 12)[8:])


@given(st.integers(1, 5000), st.integers(2, 300))
def test_thinning_keeps_both_ends_and_no_more_than_asked(count: int, most: int) -> None:
    places = place_evenly(count, most)
    assert (places[0], places[-1], len(places)) == (0, count - 1, min(count, most))
    assert np.ptp(np.diff(places)) <= 1 if len(places) > 2 else True


def test_every_colour_has_its_shade_on_a_dark_page() -> None:
    shades = dict(dark_shades())
    assert shades["#0072b2"] == "#5bb5ec"
    assert shade("#0072b2", 0.16).startswith("rgba(0,114,178,")
    assert shades["rgba(0,114,178,"] == "rgba(91,181,236,"
    assert not set(shades) & set(shades.values())  # replaced one after the other, none is replaced twice


def test_figures_read_as_people_write_them() -> None:
    assert [figure(value) for value in (None, float("nan"), 0.123456, 12345.6, 7, -2)] == [
        *("–", "–", "0.1235", "12,346", "7", "−2")
    ]
    assert (signed_percent(-0.0312), signed_percent(None)) == ("−3.1 %", "–")
    assert interval([-0.05, 0.002]) == "−5.0 % to +0.2 %"
    assert (probability(1e-6), probability(0.04321)) == ("< 0.0001", "0.043")
    assert (listed([]), listed(["a"]), listed(["a", "b", "c"])) == ("none", "a", "a, b and c")
    assert allowed_words({"min": 0.001, "max": 0.01, "sampling": "log"}) == "0.001 to 0.01, log"
    assert allowed_words(["none", 2]) == "none, 2"


def test_the_stage_writes_the_report_of_the_cells_in_params(
    sources: Sources, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = load_params(Path(__file__).parents[1] / "params.yaml").model_copy(update={"cells": ("gru",)})
    monkeypatch.chdir(sources.root)
    monkeypatch.setattr(stage, "load_params", lambda: params)
    page_of(sources).unlink()
    stage.main()
    words = sources.verdict["words"]
    assert capsys.readouterr().out == f"report: models/report/report.html\nVerdict: {words}\n"
    assert "Gatecast: GRU<" in page_of(sources).read_text(encoding="utf-8")
