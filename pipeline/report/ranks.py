"""The critical-difference diagram: models by their average rank over the series (Demšar 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import plotly.graph_objects as go

from pipeline.report.charts import CELL_COLOURS, INK, MUTED, PAPER, add_line, colour_of, label, new_figure, shade
from pipeline.report.evidence import descriptive_words
from pipeline.report.parts import Chart, figure, probability, title_of
from pipeline.report.sources import Json

_BAR, _ROW = 0.3, 1.0  # of bars below the axis, and of names below them; in the unit of the vertical axis
_MARGIN = 0.25  # beside the ranks, for names; as a share of their number


def rank_chart(verdict: Json) -> list[Chart]:
    """The models ranked over series, where there are enough of them."""
    ranks = verdict.get("ranks")
    if not ranks:
        return []
    average: dict[str, float] = ranks["average_ranks"]
    order = sorted(average, key=lambda name: average[name])
    critical = float(ranks["critical_difference"])
    bars = joined([average[name] for name in order], critical)
    chart = new_figure(x="", y="")
    depth = _add_names(chart, [(name, average[name]) for name in order], top=_BAR * (len(bars) + 1))
    for place, (first, last) in enumerate(bars, start=1):
        ends = [average[order[first]] - 0.04, average[order[last]] + 0.04]
        stroke = {"line": {"width": 6}, "opacity": 0.75, "showlegend": False, "hoverinfo": "skip"}
        add_line(chart, ends, [-_BAR * place] * 2, name="not told apart", colour=MUTED, **stroke)
    _add_ruler(chart, critical, y=-depth - 1.2)
    chart.update_xaxes(side="top", range=_edges(len(order)), tickvals=[*range(1, len(order) + 1)])
    chart.update_yaxes(visible=False, range=[-depth - 1.4, 0])
    caption = (
        "Each model stands at its average rank over the series; 1 is best. A bar joins models whose ranks are closer "
        f"than the critical difference of {figure(critical)} (Nemenyi, 5 % level), and which are so not told apart. "
        f"Friedman's p value, that all are equally good, is {probability(ranks.get('friedman_p'))}. All this is "
        f"{descriptive_words(verdict)}."
    )
    return [Chart("Ranks over the series", chart, caption, 90 + round(50 * depth))]


def joined(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """The groups of models that are not told apart.

    Args:
        ranks: average ranks, ascending.
        critical: ranks that are further apart than this are told apart.

    Returns:
        The first and the last place of each group of two or more; of groups within another only the larger.
    """
    groups: list[tuple[int, int]] = []
    for first, low in enumerate(ranks):
        last = max(place for place, rank in enumerate(ranks) if rank - low <= critical)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def _add_names(chart: go.Figure, models: Sequence[tuple[str, float]], *, top: float) -> float:
    """Leads a line from every rank to its model's name: the better half to the left, the others to the right.

    Gives how deep the lowest name lies.
    """
    half, most, greys = (len(models) + 1) // 2, len(models), count()
    edges = dict(zip(("left", "right"), _edges(most), strict=True))
    depth = top
    for place, (name, rank) in enumerate(models):
        side, row = ("left", place) if place < half else ("right", most - 1 - place)
        colour = colour_of(name) if name in CELL_COLOURS else colour_of(name, next(greys))
        down = -top - _ROW * (row + 0.6)
        depth = max(depth, -down)
        add_line(
            *(chart, [rank, rank, edges[side]], [0, down, down]),
            name=title_of(name),
            colour=colour,
            line={"width": 1.5},
            showlegend=False,
            hovertemplate=f"{label(title_of(name))}: {figure(rank)}<extra></extra>",
        )
        chart.add_annotation(
            **{"x": edges[side], "xanchor": side, "y": down, "yanchor": "bottom", "showarrow": False},
            **{"text": label(f"{title_of(name)} {figure(rank, digits=3)}"), "font": {"size": 13, "color": INK}},
            bgcolor=shade(PAPER, 0.8),
        )
    return depth


def _edges(models: int) -> tuple[float, float]:
    """The ends of the axis of ranks."""
    return 1 - _MARGIN * models, models + _MARGIN * models


def _add_ruler(chart: go.Figure, critical: float, *, y: float) -> None:
    """The length of the critical difference, below the names."""
    add_line(
        *(chart, [1, 1 + critical], [y, y]),
        name="critical difference",
        colour=INK,
        showlegend=False,
        hovertemplate=f"critical difference {figure(critical)}<extra></extra>",
    )
    chart.add_annotation(
        **{"x": 1, "xanchor": "left", "y": y, "yanchor": "bottom", "showarrow": False},
        **{"text": f"critical difference {figure(critical, digits=3)}", "font": {"size": 12, "color": MUTED}},
    )
