"""Where the error lies: by step of the horizon, by series, by seed."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pipeline.report.charts import (
    DASHES,
    GREYS,
    INK,
    MUTED,
    PAPER,
    add_band,
    add_line,
    colour_of,
    label,
    new_figure,
    shade,
    thin,
    thinning_note,
)
from pipeline.report.parts import Chart, Row, Section, Text, counted, figure, missing, title_of
from pipeline.report.sources import Sources

_STEPS = 120  # points of a line at most
_SERIES = 1500  # points of a scatter at most
_ENOUGH = 20  # series for a histogram
_FAR = 2.0  # times the worst cell's error; baselines beyond are not shown at first


def steps_section(sources: Sources) -> Section:
    """The error along the horizon."""
    lead = "How the error grows the further ahead a forecast looks."
    cells = sources.tables_of_cells("models/evaluation/{cell}-steps.csv")
    metric = sources.metric
    if not cells:
        return Section("steps", "Error by horizon step", "", [missing("models/evaluation/*-steps.csv", "evaluate")])
    chart = new_figure(x="steps ahead", y=title_of(metric))
    for cell, table in cells.items():
        own = table["forecast"] == "ensemble"
        line, seeds = table[own].set_index("step")[metric], table[~own].groupby("step")[metric]
        band = thin(pd.DataFrame({"low": seeds.min(), "high": seeds.max(), "line": line}), _STEPS)
        group = {"legendgroup": cell}
        add_band(chart, band.index, band["low"], band["high"], colour=colour_of(cell), opacity=0.16, **group)
        add_line(chart, band.index, band["line"], name=title_of(cell), colour=colour_of(cell), **group)
    highest = max(float(table.loc[table["forecast"] == "ensemble", metric].mean()) for table in cells.values())
    hidden = _add_baselines(chart, sources, metric, most=_FAR * highest)
    chart.update_yaxes(rangemode="tozero")
    count = max(int(table["step"].max()) for table in cells.values())
    caption = (
        "Lines are the ensembles that are served; the band around each reaches from the best to the worst of its "
        "single networks, and the ensemble is often below all of them. Grey: simple forecasts."
        + (" Those with much larger errors are hidden at first; tap their names to see them." if hidden else "")
        + thinning_note(count, min(count, _STEPS), "steps")
    )
    return Section("steps", "Error by horizon step", lead, [Chart(f"{title_of(metric)} by step", chart, caption, 380)])


def _add_baselines(chart: go.Figure, sources: Sources, metric: str, *, most: float) -> bool:
    """Adds the baselines' lines; gives whether some are hidden at first."""
    table = sources.csv("models/evaluation/baselines-steps.csv")
    hidden = False
    for place, (name, own) in enumerate([] if table is None else table.groupby("forecast", sort=False)):
        line, far = thin(own.set_index("step")[[metric]], _STEPS)[metric], float(own[metric].mean()) > most
        dash = {"dash": DASHES[place % len(DASHES)], "width": 1.75}
        visible = "legendonly" if far else True
        colour = GREYS[place % len(GREYS)]
        add_line(chart, line.index, line, name=title_of(str(name)), colour=colour, line=dash, visible=visible)
        hidden |= far
    return hidden


def series_section(sources: Sources) -> Section:
    """The error of every series, cell against cell."""
    metric = sources.metric
    tables = sources.tables_of_cells("models/evaluation/{cell}-series.csv")
    if len(tables) < 2:
        words = "Only one cell was evaluated, so there is nothing to set its series against."
        found = [Text(words)] if tables else [missing("models/evaluation/*-series.csv", "evaluate")]
        return Section("series", "Error by series", "", found)
    errors = pd.DataFrame(
        {cell: table[table["forecast"] == "ensemble"].set_index("unique_id")[metric] for cell, table in tables.items()}
    ).dropna()
    if errors.empty:
        words = f"{title_of(metric)} is known of no series for every cell, so there is nothing to compare."
        return Section("series", "Error by series", "", [Text(words)])
    if len(errors) < 2:
        told = ", ".join(f"{title_of(str(cell))} {figure(float(errors[cell].mean()))}" for cell in errors)
        words = f"{title_of(metric)} is known of a single series, so there is no spread over series to show: {told}."
        return Section("series", "Error by series", "", [Text(words)])
    lead = f"Is one cell better everywhere, or each on some of the {counted(len(errors), 'series')}?"
    charts = [
        make(errors, first, second, metric)
        for first, second in combinations(errors.columns, 2)
        for make in (_scatter, *([_spread_over_series] if len(errors) >= _ENOUGH else []))
    ]
    return Section("series", "Error by series", lead, [Row(charts)])


def _scatter(errors: pd.DataFrame, first: str, second: str, metric: str) -> Chart:
    drawn = thin(errors[[first, second]], _SERIES)
    ends = [float(drawn.min().min()), float(drawn.max().max())]
    logarithmic = ends[0] > 0 and ends[1] > 20 * ends[0]
    chart = new_figure(x=f"{title_of(metric)} of {title_of(first)}", y=f"{title_of(metric)} of {title_of(second)}")
    line = {"color": MUTED, "width": 1, "dash": "dot"}
    chart.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line=line, hoverinfo="skip", showlegend=False))
    colours = [colour_of(first if a < b else second) for a, b in drawn.itertuples(index=False)]
    chart.add_trace(
        go.Scatter(
            x=drawn[first],
            y=drawn[second],
            mode="markers",
            marker={"color": colours, "size": 7 if len(drawn) < 300 else 4, "opacity": 0.6},
            customdata=[[label(name)] for name in drawn.index],
            hovertemplate="%{customdata[0]}<br>" + f"{title_of(first)} %{{x:.4g}}, {title_of(second)} %{{y:.4g}}"
            "<extra></extra>",
            showlegend=False,
        )
    )
    if logarithmic:
        chart.update_xaxes(type="log")
        chart.update_yaxes(type="log")
    better = int((errors[first] < errors[second]).sum())
    caption = (
        f"Every dot is a series; above the dotted line {title_of(first)} has the lower error, below it "
        f"{title_of(second)}, and the dot has the colour of the better. {title_of(first)} is better on "
        f"{better:,} of {len(errors):,}." + thinning_note(len(errors), len(drawn), "series")
    )
    return Chart(f"{title_of(first)} against {title_of(second)}", chart, caption, 420)


def _spread_over_series(errors: pd.DataFrame, first: str, second: str, metric: str) -> Chart:
    """How the relative difference of two cells is spread over series."""
    change = (100 * (errors[first] - errors[second]) / errors[second]).replace([np.inf, -np.inf], np.nan).dropna()
    low, high = np.quantile(change, [0.01, 0.99]) if len(change) else (0.0, 0.0)
    width = (high - low) / min(40, max(8, len(change) // 5)) or 1.0
    # One of the edges is 0, so that no bar holds series of both cells.
    edges = width * np.arange(np.floor(low / width), np.floor(high / width) + 2)
    count, _ = np.histogram(change.clip(low, high), bins=edges)
    middle = (edges[:-1] + edges[1:]) / 2
    chart = new_figure(x=f"difference in {title_of(metric)}, %", y="series")
    chart.add_trace(
        go.Bar(
            x=middle,
            y=count,
            width=np.diff(edges),
            marker={"color": [shade(colour_of(first if x < 0 else second), 0.75) for x in middle]},
            hovertemplate="%{y} series near %{x:.3g} %<extra></extra>",
        )
    )
    chart.add_vline(x=0, line={"color": INK, "width": 1})
    caption = (
        f"How much lower (left) or higher (right) the error of {title_of(first)} is, series by series; half of them "
        f"lie below {figure(float(change.median()), digits=2)} %. The furthest one in a hundred on each side is drawn "
        "at the edge."
    )
    return Chart(f"{title_of(first)} against {title_of(second)}, difference", chart, caption, 420)


def seeds_section(sources: Sources) -> Section:
    """The error of every single network."""
    metric = sources.metric
    lead = (
        "The same network, trained again from another random start, errs differently. Differences between cells that "
        "are no larger than this spread mean little."
    )
    metrics = sources.of_cells("models/evaluation/{cell}.json")
    if not metrics:
        return Section("seeds", "Spread over seeds", "", [missing("models/evaluation/*.json", "evaluate")])
    chart = new_figure(x=title_of(metric), y="")
    for place, (cell, found) in enumerate(metrics.items()):
        networks = {own["seed"]: own[metric] for own in found["per_seed"] if own[metric] is not None}
        marker = {"color": shade(colour_of(cell), 0.65), "size": 12}
        chart.add_trace(
            go.Scatter(
                x=list(networks.values()),
                y=[-place] * len(networks),
                mode="markers",
                marker=marker,
                customdata=list(networks),
                hovertemplate="seed %{customdata}: %{x:.4g}<extra></extra>",
                name="one network",
                showlegend=False,
            )
        )
        if found[metric] is not None:
            whole = {"color": PAPER, "size": 14, "symbol": "diamond", "line": {"color": colour_of(cell), "width": 2.5}}
            hover = "ensemble: %{x:.4g}<extra></extra>"
            chart.add_trace(
                go.Scatter(
                    x=[found[metric]], y=[-place], mode="markers", marker=whole, hovertemplate=hover, showlegend=False
                )
            )
        chart.add_annotation(
            **{"x": 0, "xref": "paper", "xanchor": "left", "y": -place, "yshift": 22, "text": title_of(cell)},
            **{"showarrow": False, "font": {"size": 13, "color": INK}},
        )
    chart.update_yaxes(visible=False, range=[-len(metrics) + 0.6, 0.75])
    chart.update_xaxes(showgrid=True)
    caption = (
        "Round dots are single networks, one for each seed; the diamond is their ensemble. "
        f"{_spread_words(sources, metric)}"
    )
    return Section("seeds", "Spread over seeds", lead, [Chart("Every network", chart, caption, 64 + 76 * len(metrics))])


def _spread_words(sources: Sources, metric: str) -> str:
    """How large the spread of each cell is."""
    told = [
        f"{title_of(cell)}: {figure(found['seeds_mean'][metric])}"
        + (f" ± {figure(spread, digits=2)}" if (spread := found["seeds_sd"][metric]) is not None else "")
        for cell, found in sources.of_cells("models/evaluation/{cell}-details.json").items()
        if found["seeds_mean"][metric] is not None
    ]
    return f"Mean and standard deviation of single networks: {'; '.join(told)}." if told else ""
