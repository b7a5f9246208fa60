"""The report: one page that says which cell to use, shows why, and tells where everything comes from."""

from __future__ import annotations

from pathlib import Path

from pipeline.report.cost import copies_section, cost_section, views_section
from pipeline.report.errors import seeds_section, series_section, steps_section
from pipeline.report.forecasts import forecasts_section
from pipeline.report.intervals import calibration_section, residuals_section
from pipeline.report.origin import audit_section, lineage_section
from pipeline.report.page import render_page
from pipeline.report.parts import Report, listed, title_of
from pipeline.report.search import curves_section, search_section
from pipeline.report.sources import Sources
from pipeline.report.verdict import headline, verdict_section
from pipeline.storage import replacing

_SECTIONS = (
    verdict_section,
    forecasts_section,
    steps_section,
    series_section,
    seeds_section,
    search_section,
    curves_section,
    calibration_section,
    residuals_section,
    cost_section,
    views_section,
    copies_section,
    audit_section,
    lineage_section,
)


def build_report(sources: Sources) -> Report:
    """Assembles the report.

    Args:
        sources: what the stages before left; a section whose files are missing says so in a sentence.

    Returns:
        The report, as text, tables and charts.
    """
    words, follows = headline(sources)
    cells = listed([title_of(cell) for cell in sources.cells]).replace(" and ", " or ")
    kicker = f"Gatecast: {cells}?" if len(sources.cells) > 1 else f"Gatecast: {cells}"
    made = (make(sources) for make in _SECTIONS)
    return Report(kicker, words, follows, [section for section in made if section is not None])


def save_report(report: Report, path: Path) -> None:
    """Writes the report as one HTML file that needs nothing else."""
    with replacing(path) as beside:
        beside.write_text(render_page(report), encoding="utf-8")
