"""The look of the report's charts, and the strokes they are drawn with."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

# Colours that people with any colour vision tell apart (Okabe and Ito 2008), each with its shade on a dark page.
CELL_COLOURS = {"lstm": "#0072b2", "gru": "#d55e00", "rnn": "#009e73"}
GREYS = ("#66717d", "#8d97a1", "#aeb6be")
INK, MUTED, RULE, PAPER, BAND = "#1c2733", "#5b6875", "#e2e7ec", "#ffffff", "#b9c4cf"
DARK = {
    "#0072b2": "#5bb5ec",
    "#d55e00": "#f0913f",
    "#009e73": "#3cc79c",
    "#66717d": "#a5afb9",
    "#8d97a1": "#818b95",
    "#aeb6be": "#5f6974",
    INK: "#e4e8ec",
    MUTED: "#9aa6b2",
    RULE: "#2b343e",
    PAPER: "#151b21",
    BAND: "#46525e",
}
DASHES = ("dash", "dot", "dashdot")
_DOT = 6  # pixels, of a point that no line goes through
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def shade(colour: str, opacity: float) -> str:
    """A colour such as `#0072b2`, seen through."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def dark_shades() -> list[tuple[str, str]]:
    """For every colour as figures spell it, opaque or seen through, that on a dark page."""
    pairs = list(DARK.items())
    return pairs + [(shade(light, 0)[:-2], shade(dark, 0)[:-2]) for light, dark in pairs]


def colour_of(name: str, place: int = 0) -> str:
    """The colour of a cell; a grey for what is no cell, by its place among them."""
    return CELL_COLOURS.get(name, GREYS[place % len(GREYS)])


def label(text: Any) -> str:
    """A name of the user's as plotly shows it literally: its texts are a kind of HTML."""
    return html.escape(str(text), quote=False)


def new_figure(*, x: str, y: str) -> go.Figure:
    """An empty chart with named axes, in the report's look."""
    axis = {
        "gridcolor": RULE,
        "zeroline": False,
        "linecolor": RULE,
        "automargin": True,
        "tickfont": {"color": MUTED, "size": 12},
        "title": {"font": {"color": MUTED, "size": 13}, "standoff": 8},
    }
    figure = go.Figure()
    figure.update_layout(
        template="none",
        font={"family": FONT, "color": INK, "size": 13},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 8, "r": 12, "t": 8, "b": 8, "pad": 2},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 13}},
        hoverlabel={"font": {"family": FONT, "color": INK}, "bgcolor": PAPER, "bordercolor": RULE},
        hovermode="closest",
        xaxis=axis,
        yaxis=axis,
    )
    figure.update_xaxes(title_text=x or None, showgrid=False, ticks="outside", tickcolor=RULE)
    figure.update_yaxes(title_text=y or None, ticks="")
    return figure


def add_line(figure: go.Figure, x: Any, y: Any, *, name: str, colour: str, **changes: Any) -> None:
    """A line, with a dot for a point that has no neighbour; `changes` are fields of the trace, `line` among them."""
    line = {"color": colour, "width": 2} | changes.pop("line", {})
    seen = np.concatenate([[False], ~pd.isna(np.asarray(y)), [False]])
    alone = seen[1:-1] & ~seen[:-2] & ~seen[2:]
    if alone.any():
        changes |= {"mode": "lines+markers", "marker": {"color": line["color"], "size": np.where(alone, _DOT, 0)}}
    figure.add_trace(go.Scatter(x=x, y=y, name=label(name), line=line, **({"mode": "lines"} | changes)))


def add_band(figure: go.Figure, x: Any, low: Any, high: Any, *, colour: str, opacity: float, **changes: Any) -> None:
    """An area between two lines, without an entry in the legend of its own."""
    edge: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False} | changes
    figure.add_trace(go.Scatter(x=x, y=high, **edge))
    figure.add_trace(go.Scatter(x=x, y=low, fill="tonexty", fillcolor=shade(colour, opacity), **edge))


def add_intervals(
    figure: go.Figure, rows: Sequence[tuple[str, float, Sequence[float], str]], *, form: str = "%{x:.2f}"
) -> int:
    """Estimates with their intervals, one below the other, each under its own name.

    Args:
        figure: a chart whose x axis has the unit of the estimates.
        rows: name, estimate, both ends of its interval, and colour.
        form: how an estimate is shown under the pointer.

    Returns:
        The height that the chart needs, in pixels.
    """
    for place, (name, value, (low, high), colour) in enumerate(rows):
        figure.add_trace(
            go.Scatter(
                x=[value],
                y=[-place],
                mode="markers",
                name=label(name),
                marker={"color": colour, "size": 11},
                error_x={
                    **{"type": "data", "symmetric": False, "array": [high - value], "arrayminus": [value - low]},
                    **{"color": colour, "thickness": 3, "width": 0},
                },
                hovertemplate=form + "<extra></extra>",
                showlegend=False,
            )
        )
        figure.add_annotation(
            **{"x": 0, "xref": "paper", "xanchor": "left", "y": -place, "yshift": 17, "text": label(name)},
            **{"showarrow": False, "font": {"size": 13, "color": INK}, "bgcolor": shade(PAPER, 0.8)},
        )
    figure.update_yaxes(visible=False, range=[-len(rows) + 0.6, 0.75])
    figure.update_xaxes(showgrid=True)
    return 64 + 56 * len(rows)


def place_evenly(count: int, most: int) -> NDArray[np.int64]:
    """Positions of at most so many of `count` items, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(np.int64))


def thin(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows, evenly spread, the first and the last among them."""
    return frame if len(frame) <= most else frame.iloc[place_evenly(len(frame), most)]


def thinning_note(count: int, taken: int, noun: str, *, how: str = "drawn, evenly spread") -> str:
    """Says how so many are taken where that is not all."""
    return "" if taken >= count else f" To keep the page light, {taken:,} of {count:,} {noun} are {how}."
