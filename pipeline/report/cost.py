"""What each cell costs, how cells compare on equal terms, and what copy heads look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from pipeline.cost import Ratio, cost_ratios, describe_cost, peak_memory
from pipeline.hparams import NetworkSpec
from pipeline.report.charts import INK, MUTED, PAPER, add_intervals, colour_of, new_figure
from pipeline.report.parts import (
    Chart,
    Part,
    Row,
    Section,
    Table,
    Text,
    figure,
    interval,
    missing,
    percent,
    signed_percent,
    title_of,
)
from pipeline.report.sources import Json, Sources

_MEASURED = {
    "seconds_per_epoch": "training time per epoch",
    "best_epoch": "epochs to the best",
    "peak_memory_mib": "peak memory of training",
    "inference_ms_1": "latency of one forecast",
    "inference_ms_64": "latency of 64 forecasts",
}
_COUNTED = {
    "parameters": "parameters",
    "multiply_accumulates": "multiply-accumulates",
    "recurrent_steps": "recurrent steps",
}
_VIEWS = {
    "tuned": "each at its own best",
    "equal_units": "equal units",
    "equal_parameters": "equal parameters",
    "point_wise": "point-wise",
}


def cost_section(sources: Sources) -> Section:
    """Counted and measured costs of each cell, and their ratios."""
    lead = (
        "What a forecast and its training cost. Counts are exact; times and memory are those of the machine that ran "
        "this."
    )
    counts = {cell: _counts(meta) for cell, meta in sources.of_cells("models/trained/{cell}/forecaster.json").items()}
    timings = sources.of_cells("models/timings/train-{cell}.json")
    # As people ask: a GRU as a multiple of an LSTM, whatever the order in params.yaml.
    cells = sorted(counts or timings, key=lambda cell: (cell != "lstm", list(sources.cells).index(cell)))
    charts = [chart for other in cells[1:] if (chart := _ratios(other, cells[0], counts, timings))]
    if counts or timings:
        return Section("cost", "Cost", lead, [Row(charts), _costs(counts, timings)])
    return Section("cost", "Cost", "", [missing("models/trained/*/forecaster.json", "train")])


def _counts(meta: Json) -> dict[str, int]:
    """What can be told from the network alone."""
    cost = describe_cost(NetworkSpec.from_json(meta))
    return {words: cost[name] for name, words in _COUNTED.items()}


def _ratios(cell: str, to: str, counts: Mapping[str, Mapping[str, int]], timings: Mapping[str, Json]) -> Chart | None:
    ratios: dict[str, Ratio] = {}
    if cell in counts and to in counts:
        ratios = {name: Ratio(value / counts[to][name], None, None) for name, value in counts[cell].items()}
    if cell in timings and to in timings:
        measured = cost_ratios(timings[cell], timings[to])
        ratios |= {words: measured[name] for name, words in _MEASURED.items() if name in measured}
    if not ratios:
        return None
    rows = [
        (name, found.ratio, [found.ratio if end is None else end for end in (found.lo, found.hi)], colour_of(cell))
        for name, found in ratios.items()
    ]
    chart = new_figure(x=f"{title_of(cell)} as a multiple of {title_of(to)}", y="")
    height = add_intervals(chart, rows, form="%{x:.3f} times")
    chart.add_vline(x=1, line={"color": INK, "width": 1})
    chart.update_xaxes(type="log", tickformat=".3~g", nticks=6)
    caption = (
        f"Left of the line at 1, {title_of(cell)} is the cheaper. Lines are 95 % intervals over the seeds; for latency "
        "they reach from the least to the most that single measurements give. Counts have no spread, and peak memory "
        "is a single figure for all seeds. These are the tuned networks, which may differ in more than their cell."
    )
    return Chart(f"{title_of(cell)} in units of {title_of(to)}", chart, caption, height)


def _costs(counts: Mapping[str, Mapping[str, int]], timings: Mapping[str, Json]) -> Table:
    counted = list(_COUNTED.values())
    header = ["cell", *counted, "training of all networks, s", "peak memory of training, MiB"]
    cells = list(dict.fromkeys([*counts, *timings]))
    rows = [
        [
            title_of(cell),
            *(figure(counts.get(cell, {}).get(name)) for name in counted),
            figure(timings.get(cell, {}).get("seconds")),
            figure(peak_memory(timings[cell]) if cell in timings else None),
        ]
        for cell in cells
    ]
    caption = (
        "Of one network; multiply-accumulates and recurrent steps are those of one forecast. A cell that takes few "
        "steps in a row has little to remember, and its type matters little. Peak memory is the most that a process "
        "which trained the cell has held, with Python, TensorFlow and the data; a process trains several seeds, so it "
        "says nothing of single ones."
    )
    return Table("Size and work", header, rows, caption)


def views_section(sources: Sources) -> Section:
    """The cells on equal terms, where such views ran."""
    lead = (
        "Tuning gives each cell its own best shape. These views hold more things equal: the same units, the same "
        "number of parameters, or one step of the series at a time."
    )
    views: Mapping[str, Any] = sources.verdict.get("views") or {}
    if set(views) <= {"tuned"}:
        words = "Not shown: no fair views ran. Name some in compare.views of params.yaml to train and compare them."
        return Section("views", "On equal terms", "", [Text(words)])
    metric = title_of(sources.metric)
    estimates = [
        (
            _view_words(name),
            100 * found["relative_difference"],
            [100 * end for end in found["ci"]],
            colour_of(found["pair"][0]),
        )
        for name, found in views.items()
        if found.get("ci") is not None and found.get("relative_difference") is not None
    ]
    parts: list[Part] = []
    if estimates:
        chart = new_figure(x=f"difference in {metric}, %", y="")
        height = add_intervals(chart, estimates)
        chart.add_vline(x=0, line={"color": INK, "width": 1})
        first, second = map(title_of, views["tuned"]["pair"])
        caption = (
            f"How much lower (left) or higher (right) the {metric} of {first} is than that of {second}, with its 95 % "
            "interval. If the views disagree, it is not the cell alone that makes the difference."
        )
        parts.append(Chart("Cell against cell, in each view", chart, caption, height))
    header = [
        "view and cell",
        "units",
        "segment length",
        "parameters",
        "recurrent steps",
        "multiply-accumulates",
        metric,
    ]
    keys = ("units", "segment_length", "parameters", "recurrent_steps", "multiply_accumulates", "error")
    rows = [
        [f"{_view_words(name)}: {title_of(cell)}", *(figure(own.get(key)) for key in keys)]
        for name, found in views.items()
        for cell, own in found["cells"].items()
    ]
    verdicts = [
        f"{_view_words(name)}: {found.get('verdict')}, {signed_percent(found.get('relative_difference'))} "
        f"({interval(found.get('ci'))})"
        for name, found in views.items()
        if found.get("pair")
    ]
    table = Table("The networks of each view", header, rows, f"Verdicts: {'; '.join(verdicts)}." if verdicts else "")
    return Section("views", "On equal terms", lead, [*parts, table])


def _view_words(view: str) -> str:
    return _VIEWS.get(view, view.replace("_", " "))


def copies_section(sources: Sources) -> Section | None:
    """Where copy heads look; no section where no network has one."""
    tables = sources.tables_of_cells("models/evaluation/{cell}-copy.csv")
    charts = []
    for cell, table in tables.items():
        if table.empty:
            continue
        grid = table.pivot_table(index="future_segment", columns="past_segment", values="weight")
        grid = grid[sorted(grid.columns, reverse=True)]
        chart = new_figure(x="past segment, counted back from the cutoff", y="future segment")
        chart.add_trace(
            go.Heatmap(
                x=[str(name) for name in grid.columns],
                y=[str(name) for name in grid.index],
                z=grid.to_numpy(),
                colorscale=[[0, PAPER], [1, colour_of(cell)]],
                zmin=0,
                hovertemplate="future %{y} from past %{x}: %{z:.3f}<extra></extra>",
                colorbar={"thickness": 10, "outlinewidth": 0, "tickfont": {"color": MUTED}},
            )
        )
        chart.update_xaxes(type="category")
        chart.update_yaxes(type="category", autorange="reversed")
        caption = (
            "Each row is a stretch of the future, and its strong fields are the stretches of the past it is copied "
            f"from, on average. The strongest weight is {percent(float(grid.max().max()), digits=0)}."
        )
        charts.append(Chart(title_of(cell), chart, caption, 130 + 26 * min(len(grid), 12)))
    if not charts:
        return None
    lead = "Networks with a copy head start from a weighted copy of past segments; these are the weights."
    return Section("copies", "What is copied from the past", lead, [Row(charts)])
