"""Whether the intervals hold what they promise, and whether errors follow a pattern."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from pipeline.intervals import snapped
from pipeline.report.charts import MUTED, colour_of, new_figure, place_evenly, shade, thinning_note
from pipeline.report.parts import Chart, Part, Row, Section, Table, figure, missing, percent, title_of
from pipeline.report.sources import Sources

Floats = NDArray[np.float64]

_LAGS = 40
_SERIES = 300  # whose autocorrelation is measured at most
_FEWEST = 8  # residuals of a series to measure it


def calibration_section(sources: Sources) -> Section:
    """Nominal against observed shares."""
    lead = (
        "A forecast is a distribution: the actual value should fall below its 90 % quantile nine times in ten, and "
        "inside its 80 % interval eight times in ten. Intervals are judged on the test part."
    )
    shares = {cell: observed_shares(sources, cell) for cell in sources.cells}
    parts: list[Part] = []
    if any(shares.values()):
        charts = [_reliability({cell: found for cell, found in shares.items() if found})]
        parts.append(Row([*charts, *_interval_errors(sources)]))
    if table := _coverage(sources):
        parts.append(table)
    if not parts:
        return Section("calibration", "Calibration", "", [missing("models/evaluation/*.parquet", "evaluate")])
    evaluated = sources.tables_of_cells("models/evaluation/{cell}-series.csv")
    if evaluated and not any(_interval_columns(table) for table in evaluated.values()):
        words = (
            "The median alone is forecast (quantiles), so there are no intervals: half of the actual values should lie "
        )
        return Section("calibration", "Calibration", f"{words}below it.", parts)
    return Section("calibration", "Calibration", f"{lead}{_shares_applied(sources)}", parts)


def _shares_applied(sources: Sources) -> str:
    """How much of the correction that validation suggests stood the test on its left-out blocks, if one was made."""
    training = sources.of_cells("models/trained/{cell}/training.json")
    shares = {
        cell: found["calibration_share"]
        for cell, found in training.items()
        if found.get("calibration") is not None and "calibration_share" in found
    }
    if not shares:
        return " They are the networks' own, not calibrated (calibrate.method)."
    if not any(shares.values()):
        return (
            " They are the networks' own: no part of the correction that was found on the validation part forecasts "
            "blocks of it better that were left out, or it is too short for one to be left out."
        )
    told = [f"{percent(share, digits=0)} ({title_of(cell)})" for cell, share in shares.items()]
    return (
        f" They are calibrated on the validation part: of the correction found there, {' and '.join(told)} is applied, "
        "the share that forecasts blocks of it best that were left out."
    )


def observed_shares(sources: Sources, cell: str) -> dict[float, float]:
    """For each quantile of a cell's forecasts the share of actual values at or below it, mean over series."""
    path = f"models/evaluation/{cell}.parquet"
    targets = sources.parquet(path, columns=["unique_id", "y"])
    if targets is None:
        return {}
    series, y = pd.factorize(targets["unique_id"])[0], targets["y"].to_numpy()
    seen = np.isfinite(y)
    count = np.bincount(series[seen])
    table = sources.csv(f"models/evaluation/{cell}-series.csv")
    levels = [] if table is None else [name.removeprefix("coverage_") for name in _interval_columns(table)]
    columns = {0.5: cell}
    for level in levels:
        tail = (1 - float(level) / 100) / 2
        columns |= {round(tail, 10): f"{cell}-lo-{level}", round(1 - tail, 10): f"{cell}-hi-{level}"}
    shares = {}
    for quantile, column in sorted(columns.items()):
        read = sources.parquet(path, columns=[column])  # one at a time: a large test part has millions of rows
        if read is not None:
            below = np.bincount(series[seen], weights=(y <= snapped(read[column].to_numpy(), y))[seen])
            shares[quantile] = float(np.mean(below[count > 0] / count[count > 0]))
    return shares


def _interval_columns(table: pd.DataFrame) -> list[str]:
    """Of a table of errors by series those that are of an interval."""
    return [str(name) for name in table if str(name).startswith("coverage_")]


def _reliability(shares: dict[str, dict[float, float]]) -> Chart:
    chart = new_figure(x="quantile of the forecast, %", y="actual values at or below it, %")
    chart.add_trace(
        go.Scatter(
            **{"x": [0, 100], "y": [0, 100], "mode": "lines", "name": "ideal", "hoverinfo": "skip"},
            line={"color": MUTED, "width": 1, "dash": "dot"},
        )
    )
    for cell, found in shares.items():
        chart.add_trace(
            go.Scatter(
                x=[100 * quantile for quantile in found],
                y=[100 * share for share in found.values()],
                mode="lines+markers",
                name=title_of(cell),
                line={"color": colour_of(cell), "width": 2},
                marker={"size": 8},
                hovertemplate="%{x:.3g} % quantile: %{y:.1f} %<extra></extra>",
            )
        )
    chart.update_xaxes(range=[0, 100], showgrid=True)
    chart.update_yaxes(range=[0, 100])
    caption = (
        "On the dotted line, forecasts are as sure as they should be. A line "
        "that lies above it on the left and below it on the right: intervals too narrow. Wholly above: forecasts too "
        "high; wholly below: too low."
    )
    return Chart("Quantiles, promised and observed", chart, caption, 400)


def _interval_errors(sources: Sources) -> list[Chart]:
    """How far the coverage of each interval is from its level, after calibration and, where it was measured, before."""
    chart = new_figure(x="interval, %", y="held more or less than promised, points")
    chart.add_hline(y=0, line={"color": MUTED, "width": 1, "dash": "dot"})
    for cell, details in sources.of_cells("models/evaluation/{cell}-details.json").items():
        table = sources.csv(f"models/evaluation/{cell}-series.csv")
        if table is None:
            continue
        columns = sorted(_interval_columns(table), key=lambda column: float(column.removeprefix("coverage_")))
        if not columns:
            continue
        levels = [column.removeprefix("coverage_") for column in columns]
        before = details["uncalibrated"]
        for words, symbol, covered in (
            ("before", "circle-open", [before.get(column) for column in columns]),
            ("calibrated", "circle", [float(table[column].mean()) for column in columns]),
        ):
            off = [
                None if share is None else 100 * share - float(level)
                for level, share in zip(levels, covered, strict=True)
            ]
            marker = {
                "color": colour_of(cell),
                "size": 11,
                "symbol": symbol,
                "line": {"color": colour_of(cell), "width": 2},
            }
            name = f"{title_of(cell)}{', before' * (words == 'before')}"
            hover = f"{name}: %{{y:+.1f}} points<extra></extra>"
            chart.add_trace(go.Scatter(x=levels, y=off, mode="markers", name=name, marker=marker, hovertemplate=hover))
    if not chart.data:
        return []
    chart.update_xaxes(type="category")
    chart.update_yaxes(rangemode="tozero")
    caption = (
        "How many points of a hundred more (above zero) or fewer (below) of the actual values each interval held than "
        "it promised; below zero it was too narrow. Rings: before calibration, where that was measured."
    )
    return [Chart("Intervals, more or less than promised", chart, caption, 400)]


def _coverage(sources: Sources) -> Table | None:
    """Coverage and width of every interval, before and after calibration where the former was measured."""
    rows = []
    for cell, details in sources.of_cells("models/evaluation/{cell}-details.json").items():
        table = sources.csv(f"models/evaluation/{cell}-series.csv")
        if table is None:
            continue
        before = details["uncalibrated"]
        for column in _interval_columns(table):
            level = column.removeprefix("coverage_")
            rows.append(
                [
                    f"{title_of(cell)}, {level} %",
                    percent(before.get(column)),
                    percent(float(table[column].mean())),
                    figure(before.get(f"width_{level}")),
                    figure(float(table[f"width_{level}"].mean())),
                ]
            )
    if not rows:
        return None
    header = ["interval", "held before", "held after", "width before", "width after"]
    caption = (
        "The share of actual values inside each interval, before calibration and after, and the interval's mean width "
        "in units of the data; a dash is a figure that was not measured. Of two that hold what they promise, the "
        "narrower is better."
    )
    return Table("Intervals before and after calibration", header, rows, caption)


def residuals_section(sources: Sources) -> Section:
    """The autocorrelation of one-step-ahead errors."""
    lead = (
        "If the errors of forecasts one step ahead follow each other in a pattern, there was something left to learn."
    )
    found = {cell: one_step_residuals(sources, cell) for cell in sources.cells}
    usable = {cell: rows for cell, rows in found.items() if rows}
    if not usable:
        reason = missing("forecasts from at least eight origins", "evaluate")
        return Section("residuals", "What is left in the errors", "", [reason])
    longest = max(len(row) for rows in usable.values() for row in rows)
    lags = max(1, min(_LAGS, longest // 4))
    chart = new_figure(x="lag, in forecast origins", y="autocorrelation")
    bound = 1.96 / np.sqrt(longest)
    chart.add_hrect(y0=-bound, y1=bound, fillcolor=shade(MUTED, 0.14), line_width=0, layer="below")
    for cell, rows in usable.items():
        chart.add_trace(
            go.Bar(
                x=np.arange(1, lags + 1),
                y=mean_autocorrelation(rows, lags),
                name=title_of(cell),
                marker={"color": shade(colour_of(cell), 0.85)},
                hovertemplate="lag %{x}: %{y:.3f}<extra></extra>",
            )
        )
    chart.update_layout(barmode="group", bargap=0.3)
    count = max(map(len, usable.values()))
    several = count > 1
    caption = (
        "Bars are the correlation of an error with the one so many forecast origins later. Inside the shaded band they "
        "are what chance gives; bars that stick out, at the season above all, are a pattern no network has caught."
        + (" The bars are means over series; the band is that of a single one." if several else "")
        + thinning_note(count, min(count, _SERIES), "series", how="measured, evenly spread")
    )
    return Section("residuals", "What is left in the errors", lead, [Chart("Autocorrelation", chart, caption, 320)])


def one_step_residuals(sources: Sources, cell: str) -> list[Floats]:
    """The errors of the median one step ahead, by cutoff, of each series that has enough; NaN is missing."""
    table = sources.parquet(f"models/evaluation/{cell}.parquet", columns=["unique_id", "ds", "cutoff", "y", cell])
    if table is None:
        return []
    first = table.drop_duplicates(["unique_id", "cutoff"])  # rows are in the order of the windows, then of the steps
    errors = [(own["y"] - own[cell]).to_numpy() for _, own in first.groupby("unique_id", sort=False)]
    return [row for row in errors if np.isfinite(row).sum() >= _FEWEST]


def mean_autocorrelation(rows: list[Floats], lags: int) -> Floats:
    """The autocorrelation at lags 1 to `lags`, mean over the series that are longer than the lag."""
    measured = np.array([autocorrelation(rows[place], lags) for place in place_evenly(len(rows), _SERIES)])
    counts = np.isfinite(measured).sum(axis=0)
    return np.asarray(np.nansum(measured, axis=0) / np.where(counts, counts, np.nan))


def autocorrelation(values: Any, lags: int) -> Floats:
    """The sample autocorrelation at lags 1 to `lags`, NaN where no pair is so far apart; in its sums pairs with a
    missing value are left out.
    """
    centred = np.nan_to_num(values - np.nanmean(values))
    power = float(np.square(centred).sum())
    found = [float(centred[lag:] @ centred[:-lag]) if lag < len(centred) else np.nan for lag in range(1, lags + 1)]
    return np.array(found) / (power if power > 0 else np.inf)
