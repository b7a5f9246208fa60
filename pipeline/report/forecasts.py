"""Forecasts over what came true: the best, the median and the worst window."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pipeline.report.charts import (
    GREYS,
    INK,
    add_band,
    add_line,
    colour_of,
    new_figure,
    shade,
    thin,
    thinning_note,
)
from pipeline.report.parts import Chart, Section, Text, figure, listed, missing, title_of
from pipeline.report.sources import Json, Sources
from pipeline.timestamps import to_user_time

_POINTS = 150  # of each line at most
_LEVEL = 80  # percent; the interval that is drawn is the one nearest to it
_HORIZONS = 2  # of history shown


def forecasts_section(sources: Sources) -> Section:
    """Three windows, chosen by the loss of one cell's ensemble, forecast by everyone."""
    cell = sources.recommended
    lead = (
        "Three forecasts of the test part: the one that went best, one in the middle and the one that went worst, by "
        f"the {title_of(sources.metric)} of {_chooser(sources, cell)}. No network had seen the values they are drawn "
        "over."
    )
    windows = _chosen(sources, cell)
    if windows is None:
        path = f"models/evaluation/{cell}-losses.parquet"
        return Section("forecasts", "Forecasts", "", [missing(f"{path} or its forecasts", f"evaluate@{cell}")])
    if not windows:
        words = (
            f"{title_of(sources.metric)} is defined for no window of the test part, so none is the best or the worst."
        )
        return Section("forecasts", "Forecasts", "", [Text(words)])
    columns = (sources.json("data/series/audit.json") or {}).get("columns") or {}
    charts = [_chart(sources, name, columns, **window) for name, window in windows.items()]
    return Section("forecasts", "Forecasts", lead, charts)


def _chooser(sources: Sources, cell: str) -> str:
    """Whose loss the windows are chosen by, and why that cell's."""
    recommended = sources.verdict.get("recommended")
    if recommended == cell:
        return f"{title_of(cell)}, the recommended cell"
    why = "the best cell on validation" if sources.verdict.get("best_on_validation") == cell else "the first named"
    instead = f"; recommended is {title_of(recommended)}, which is no cell" if recommended else ""
    return f"{title_of(cell)}, {why}{instead}"


def _chosen(sources: Sources, cell: str) -> dict[str, dict[str, Any]] | None:
    """The series and cutoff of each window shown; None where the forecasts are not there."""
    columns = ["forecast", "unique_id", "cutoff", sources.metric]
    losses = sources.parquet(f"models/evaluation/{cell}-losses.parquet", columns=columns, forecast="ensemble")
    forecasts = sources.models / "evaluation" / f"{cell}.parquet"
    if losses is None or not forecasts.exists():
        return None
    ordered = losses.dropna(subset=[sources.metric]).sort_values(sources.metric, kind="stable")
    if ordered.empty:
        return {}
    places = {"Best": 0, "Median": len(ordered) // 2, "Worst": len(ordered) - 1}
    return {name: dict(ordered.iloc[place][["unique_id", "cutoff"]]) for name, place in places.items()}


def _chart(sources: Sources, name: str, columns: Json, *, unique_id: str, cutoff: Any) -> Chart:
    chart = new_figure(x="", y="")
    actual = _actual(sources, columns, unique_id, cutoff)
    told, horizon, drawn = [], 0, 0
    for cell in sources.cells:
        found = _window(sources, cell, unique_id, cutoff)
        if found is not None:
            horizon, drawn = len(found), len(thin(found, _POINTS))
            _draw(chart, _on_clocks(thin(found, _POINTS)), cell)
            told.append(f"{title_of(cell)} {figure(_loss(sources, cell, 'ensemble', unique_id, cutoff))}")
    baseline = sources.best_baseline
    lines = None if baseline is None else _window(sources, "baselines", unique_id, cutoff)
    if lines is not None and baseline in lines:
        lines = _on_clocks(thin(lines, _POINTS))
        line = {"dash": "dash", "width": 1.5}
        add_line(chart, lines["ds"], lines[baseline], name=title_of(str(baseline)), colour=GREYS[0], line=line)
        told.append(
            f"{title_of(str(baseline))} {figure(_loss(sources, 'baselines', str(baseline), unique_id, cutoff))}"
        )
    past = actual[actual["ds"] <= cutoff].tail(_HORIZONS * max(horizon, 1))
    shown = thin(pd.concat([past, actual[actual["ds"] > cutoff].head(horizon)]), 2 * _POINTS)
    shown, line_at = _on_clocks(shown), _on_clocks(pd.DataFrame({"ds": [cutoff]}))["ds"].iloc[0]
    add_line(chart, shown["ds"], shown["y"], name="actual", colour=INK, line={"width": 1.75})
    chart.add_vline(x=line_at, line={"color": GREYS[1], "width": 1, "dash": "dot"})
    caption = (
        f"Forecast made at the dotted line, {_when(cutoff)}. Coloured lines are medians; "
        f"{_band_words(sources)} {title_of(sources.metric)} here: {listed(told)}."
        + thinning_note(horizon, drawn, "steps of each forecast")
    )
    return Chart(f"{name}: {unique_id}", chart, caption, 330)


def _draw(chart: go.Figure, found: pd.DataFrame, cell: str) -> None:
    """A cell's median and the interval around it."""
    level = _nearest_level(found, cell)
    group: dict[str, Any] = {"legendgroup": cell}
    if level is not None:
        low, high = found[f"{cell}-lo-{level}"], found[f"{cell}-hi-{level}"]
        if len(found) > 1:
            add_band(chart, found["ds"], low, high, colour=colour_of(cell), opacity=0.16, **group)
        else:  # of a single step no area is to be seen
            ends = {"array": high - found[cell], "arrayminus": found[cell] - low}
            bar = {"type": "data", "symmetric": False, "color": shade(colour_of(cell), 0.5), "thickness": 3, "width": 0}
            group["error_y"] = {**bar, **ends}
    add_line(chart, found["ds"], found[cell], name=title_of(cell), colour=colour_of(cell), **group)


def _nearest_level(found: pd.DataFrame, cell: str) -> str | None:
    levels = [str(name).removeprefix(f"{cell}-lo-") for name in found if str(name).startswith(f"{cell}-lo-")]
    return min(levels, key=lambda level: abs(float(level) - _LEVEL), default=None)


def _band_words(sources: Sources) -> str:
    table = sources.csv(f"models/evaluation/{sources.recommended}-series.csv")
    names = [] if table is None else [str(name) for name in table]
    levels = [name.removeprefix("coverage_") for name in names if name.startswith("coverage_")]
    level = min(levels, key=lambda item: abs(float(item) - _LEVEL), default=None)
    return "there are no intervals." if level is None else f"the bands should hold {level} % of the actual values."


def _window(sources: Sources, name: str, unique_id: str, cutoff: Any) -> pd.DataFrame | None:
    found = sources.parquet(f"models/evaluation/{name}.parquet", unique_id=unique_id, cutoff=cutoff)
    return None if found is None or found.empty else found


def _loss(sources: Sources, name: str, forecast: str, unique_id: str, cutoff: Any) -> float | None:
    """The loss of one window, as the metric is told: roots are taken of what is averaged as a square."""
    path = f"models/evaluation/{name}-losses.parquet"
    found = sources.parquet(path, columns=[sources.metric], forecast=forecast, unique_id=unique_id, cutoff=cutoff)
    if found is None or found.empty:
        return None
    value = float(found[sources.metric].iloc[0])
    return float(np.sqrt(value)) if sources.metric in {"rmse", "rmsse"} else value


def _actual(sources: Sources, columns: Json, unique_id: str, cutoff: Any) -> pd.DataFrame:
    """What came true: the whole series, or where it is not there the window's own values."""
    panel = sources.parquet("data/series/panel.parquet", columns=["unique_id", "ds", "y"], unique_id=unique_id)
    if panel is not None and not panel.empty:
        return _in_user_time(columns, panel.sort_values("ds", kind="stable"))
    window = _window(sources, sources.recommended, unique_id, cutoff)
    return pd.DataFrame({"ds": [], "y": []}) if window is None else window[["ds", "y"]]


def _in_user_time(columns: Json, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of grid time in the user's zone, which ingest keeps with the columns; evaluation writes these times."""
    if frame.empty or columns.get("timezone") is None:
        return frame
    return frame.assign(ds=to_user_time(frame["ds"], freq=columns["freq"], timezone=columns["timezone"]))


def _on_clocks(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows with the times that the user's clocks show, which charts are drawn by."""
    zoned = isinstance(frame["ds"].dtype, pd.DatetimeTZDtype)
    return frame.assign(ds=frame["ds"].dt.tz_localize(None)) if zoned else frame


def _when(cutoff: Any) -> str:
    """A cutoff without a time of day that says nothing."""
    return re.sub(r" 00:00:00([+-]\d\d:\d\d)?$", "", str(cutoff))
