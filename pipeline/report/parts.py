"""What a report is made of: sections of text, figures, tables and charts. All plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.cells import CELLS

UNKNOWN = "–"
_MINUS = "\u2212"
_SPELT = {
    "mae": "MAE",
    "rmse": "RMSE",
    "smape": "sMAPE",
    "mase": "MASE",
    "rmsse": "RMSSE",
    "scaled_crps": "scaled CRPS",
}


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    words: str


@dataclass(frozen=True)
class Facts:
    """Figures to see at a glance: what is measured, and its value."""

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """Rows of fields; the first column is text, all others are numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """A plotly figure with words that tell how to read it.

    Attributes:
        title: what it shows.
        figure: a `plotly.graph_objects.Figure`; names of the user's in it have gone through `report.charts.label`.
        caption: how to read it.
        height: in pixels.
    """

    title: str
    figure: Any
    caption: str
    height: int = 340


@dataclass(frozen=True)
class Row:
    """Charts that stand side by side where there is room."""

    charts: Sequence[Chart]


@dataclass(frozen=True)
class Fold:
    """Details that are shown when asked for, and in print; without charts, which need a width to be drawn."""

    title: str
    parts: Sequence[Text | Facts | Table]


Part = Text | Facts | Table | Chart | Row | Fold


@dataclass(frozen=True)
class Section:
    """A part of the report with a heading.

    Attributes:
        anchor: its address in the page.
        title: its heading.
        lead: what it is about, one or two sentences.
        parts: what it shows; where its data is missing, a sentence that says why.
    """

    anchor: str
    title: str
    lead: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Report:
    """The whole page.

    Attributes:
        kicker: a few words above the headline.
        headline: the verdict in words.
        standfirst: what follows from it.
        sections: in reading order.
    """

    kicker: str
    headline: str
    standfirst: str
    sections: Sequence[Section] = field(default=())

    @property
    def charts(self) -> list[Chart]:
        """All charts in reading order."""
        found: list[Chart] = []
        for section in self.sections:
            for part in section.parts:
                found += [part] if isinstance(part, Chart) else part.charts if isinstance(part, Row) else []
        return found


def missing(name: str, made_by: str) -> Text:
    """Says that a section's data is not there, and what makes it."""
    return Text(f"Not shown: {name} is missing; {made_by} makes it.")


def title_of(name: str) -> str:
    """A cell, baseline or metric as people write it."""
    if name in _SPELT:
        return _SPELT[name]
    return name.upper() if name in CELLS else name.replace("_", " ")


def figure(value: Any, *, digits: int = 4) -> str:
    """A number with so many significant digits, large ones in full; a dash for what is undefined."""
    if value is None or pd.isna(value):
        return UNKNOWN
    if isinstance(value, int | float) and abs(value) >= min(1000, 10**digits):
        return f"{value:,.0f}".replace("-", _MINUS)
    return (f"{value:.{digits}g}" if isinstance(value, float) else str(value)).replace("-", _MINUS)


def probability(value: float | None) -> str:
    """A p value with two significant digits, down to where more would pretend to know."""
    return "< 0.0001" if value is not None and value < 1e-4 else figure(value, digits=2)


def percent(share: float | None, *, digits: int = 1) -> str:
    """A share in percent."""
    return UNKNOWN if share is None or pd.isna(share) else f"{100 * share:.{digits}f} %".replace("-", _MINUS)


def signed_percent(share: float | None, *, digits: int = 1) -> str:
    """A change in percent, with its sign."""
    return UNKNOWN if share is None or pd.isna(share) else f"{100 * share:+.{digits}f} %".replace("-", _MINUS)


def interval(ends: Sequence[float] | None) -> str:
    """Both ends of an interval of changes, in percent."""
    return UNKNOWN if ends is None else f"{signed_percent(ends[0])} to {signed_percent(ends[1])}"


def counted(number: int, noun: str) -> str:
    """A number with its noun, which is regular or ends in `series`."""
    return f"{number:,} {noun if number == 1 or noun.endswith('series') else noun + 's'}"


def listed(items: Sequence[str]) -> str:
    """Items as in a sentence: `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"
