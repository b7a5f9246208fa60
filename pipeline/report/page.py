"""A report as one HTML file: the only place that writes HTML, and it escapes every text it is given."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from html import escape

import plotly.io
from plotly.offline import get_plotlyjs

from pipeline.report.charts import dark_shades
from pipeline.report.parts import Chart, Facts, Fold, Part, Report, Row, Section, Table, Text
from pipeline.report.style import SCRIPT, STYLE

_FOOT = "Made by Gatecast from the results beside it. This file needs no network and can be sent as it is."


def render_page(report: Report) -> str:
    """Writes a report as HTML.

    Its scripts are told to the browser by their hashes, and it may load nothing: whatever names the data brings,
    nothing else runs, and nothing goes out.

    Args:
        report: what it says and shows.

    Returns:
        A whole page, with plotly's script, the data of all charts, and the style in it.
    """
    library = get_plotlyjs()
    numbers = iter(range(1, len(report.charts) + 1))
    links = "".join(f'<li><a href="#{_text(s.anchor)}">{_text(s.title)}</a></li>' for s in report.sections)
    standfirst = f'<p class="standfirst">{_text(report.standfirst)}</p>' if report.standfirst else ""
    sections = "\n".join(_section(section, numbers) for section in report.sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(library, SCRIPT)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(report.kicker)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>
<p class="kicker">{_text(report.kicker)}</p>
<h1>{_text(report.headline)}</h1>
{standfirst}
</header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
{sections}
<noscript><p>The charts need JavaScript, which is switched off; all tables are here without it.</p></noscript>
</main>
<footer>{_FOOT}</footer>
<script type="application/json" id="charts">{_charts(report.charts)}</script>
<script type="application/json" id="shades">{_inert(json.dumps(dark_shades()))}</script>
<script>{library}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _policy(*scripts: str) -> str:
    """A content security policy under which these scripts run and no others, and nothing is loaded."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    hashes = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:"


def _charts(charts: Sequence[Chart]) -> str:
    figures = []
    for chart in charts:
        chart.figure.update_layout(height=chart.height)
        figures.append(plotly.io.to_json(chart.figure, validate=False))
    return _inert(f"[{','.join(figures)}]")


def _inert(text: str) -> str:
    """JSON in which no tag can begin or end."""
    return text.replace("<", "\\u003c")


def _text(words: str) -> str:
    return escape(words)


def _section(section: Section, numbers: Iterator[int]) -> str:
    lead = f'<p class="lead">{_text(section.lead)}</p>' if section.lead else ""
    parts = "\n".join(_part(part, numbers) for part in section.parts)
    return f'<section id="{_text(section.anchor)}">\n<h2>{_text(section.title)}</h2>\n{lead}\n{parts}\n</section>'


def _part(part: Part, numbers: Iterator[int]) -> str:
    match part:
        case Text(words):
            return f"<p>{_text(words)}</p>"
        case Facts(items):
            return f"<dl>{''.join(_fact(*item) for item in items)}</dl>"
        case Table():
            return _table(part)
        case Chart():
            return _chart(part, next(numbers))
        case Row(charts):
            return f'<div class="row">{"".join(_chart(chart, next(numbers)) for chart in charts)}</div>'
        case Fold(title, parts):
            inner = "\n".join(_part(inside, numbers) for inside in parts)
            return f"<details><summary>{_text(title)}</summary>\n{inner}\n</details>"


def _fact(name: str, value: str) -> str:
    return f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>"


def _chart(chart: Chart, number: int) -> str:
    place = f'<div class="chart" id="chart-{number}" style="height:{chart.height}px" role="img"'
    named = f' aria-label="{_text(chart.title)}"></div>'
    return f"<figure><h3>{_text(chart.title)}</h3>\n{place}{named}\n{_caption(chart.caption)}</figure>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in table.header)
    body = "".join(f"<tr>{''.join(f'<td>{_text(field)}</td>' for field in row)}</tr>" for row in table.rows)
    grid = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    scroll = f'<div class="wide" tabindex="0" role="region" aria-label="{_text(table.title)}">{grid}</div>'
    return f"<figure><h3>{_text(table.title)}</h3>\n{scroll}\n{_caption(table.caption)}</figure>"


def _caption(words: str) -> str:
    return f"<figcaption>{_text(words)}</figcaption>" if words else ""
