"""How the networks came about: the trials of the search, what mattered in them, and the learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pipeline.report.charts import MUTED, add_band, add_line, colour_of, label, new_figure, shade, thin, thinning_note
from pipeline.report.parts import Chart, Part, Row, Section, Table, counted, figure, missing, title_of
from pipeline.report.sources import Json, Sources

_TRIALS = 300  # of each cell drawn at most
_SEEDS = 6  # of each cell whose learning curves are drawn at most
_EPOCHS = 40  # points of a learning curve at most
_BINS = 4
_LOSS = "validation loss"


def search_section(sources: Sources) -> Section:
    """The ledgers of the searches."""
    lead = (
        "Each cell was tuned on its own. The score of a trial is its loss on the validation part, in units of each "
        "series' seasonal naive error; lower is better."
    )
    tuned = sources.of_cells("models/tuned/{cell}.json")
    if not tuned:
        return Section("search", "The search", "", [missing("models/tuned/*.json", "tune")])
    parts: list[Part] = [Row([_history(tuned), *_expected(sources.csv("models/comparison/search.csv"), sources.cells)])]
    if importance := _importance(tuned):
        parts.append(importance)
    return Section("search", "The search", lead, [*parts, _spaces(tuned)])


def _history(tuned: Mapping[str, Json]) -> Chart:
    chart = new_figure(x="trial", y=_LOSS)
    notes = ""
    for cell, ledger in tuned.items():
        scores = completed_scores(ledger)
        table = pd.DataFrame({"trial": np.arange(1, len(scores) + 1), "score": scores})
        table["best"] = table["score"].cummin()
        drawn = thin(table, _TRIALS)
        marker = {"color": shade(colour_of(cell), 0.45), "size": 7}
        group: dict[str, Any] = {"legendgroup": cell}
        chart.add_trace(
            go.Scatter(
                **{"x": drawn["trial"], "y": drawn["score"], "mode": "markers", "marker": marker, "showlegend": False},
                **{"hovertemplate": "trial %{x}: %{y:.4g}<extra></extra>", **group},
            )
        )
        steps = {"shape": "hv"}
        add_line(chart, drawn["trial"], drawn["best"], name=title_of(cell), colour=colour_of(cell), line=steps, **group)
        notes += thinning_note(len(table), len(drawn), f"trials of {title_of(cell)}")
    told = "; ".join(f"{title_of(cell)} {figure(ledger['best']['score'])}" for cell, ledger in tuned.items())
    caption = (
        f"Dots are trials in the order they were run, lines the best score so far. Best in the end: {told}.{notes}"
    )
    return Chart("Score by trial", chart, caption)


def _expected(search: pd.DataFrame | None, cells: Sequence[str]) -> list[Chart]:
    if search is None:
        return []
    chart = new_figure(x="completed trials", y=f"expected best {_LOSS}")
    for cell in cells:
        own = thin(search[search["model"] == cell], _TRIALS)
        group = {"legendgroup": cell}
        add_band(chart, own["trials"], own["lo"], own["hi"], colour=colour_of(cell), opacity=0.14, **group)
        add_line(chart, own["trials"], own["expected_best"], name=title_of(cell), colour=colour_of(cell), **group)
    caption = (
        "The best score to be expected from so many trials drawn from the ledger at random (Dodge et al. 2019), with "
        "its spread. Lines that have flattened say that more search would change little; lines that cross, that the "
        "budget decides who wins. A search that learns from its trials does better than this line."
    )
    return [Chart("What more search would bring", chart, caption)]


def _importance(tuned: Mapping[str, Json]) -> Chart | None:
    """Per hyperparameter and cell the share of the variance of scores between its values."""
    shares = {cell: hyperparameter_shares(ledger) for cell, ledger in tuned.items()}
    names = list(dict.fromkeys(name for found in shares.values() for name in found))
    if not names:
        return None
    names.sort(key=lambda name: max(found.get(name, (0.0, 0.0))[0] for found in shares.values()))
    chart = new_figure(x="share of the variance of scores, %", y="")
    for cell, found in reversed(shares.items()):  # plotly draws groups of bars from below
        rows = [name for name in names if name in found]
        words = [label(name.replace("_", " ")) for name in rows]
        bars = [100 * found[name][0] for name in rows]
        chance = [100 * found[name][1] for name in rows]
        hover = "%{x:.0f} %<extra></extra>"
        chart.add_trace(
            go.Bar(
                **{"x": bars, "y": words, "orientation": "h", "name": title_of(cell), "hovertemplate": hover},
                **{"marker": {"color": shade(colour_of(cell), 0.8)}, "offsetgroup": cell, "customdata": chance},
            )
        )
    chance_of = {name: 100 * max(found[name][1] for found in shares.values() if name in found) for name in names}
    marker = {"symbol": "line-ns", "size": 20, "line": {"color": MUTED, "width": 2}}
    words = [label(name.replace("_", " ")) for name in names]
    chart.add_trace(
        go.Scatter(
            **{"x": list(chance_of.values()), "y": words, "mode": "markers", "marker": marker, "name": "chance alone"},
            hovertemplate="by chance alone: %{x:.0f} %<extra></extra>",
        )
    )
    chart.update_layout(barmode="group", bargap=0.35, legend_traceorder="reversed")
    chart.update_xaxes(showgrid=True, rangemode="tozero")
    chart.update_yaxes(showgrid=False)
    counts = ", ".join(f"{len(completed_scores(ledger))} of {title_of(cell)}" for cell, ledger in tuned.items())
    caption = (
        "How much of the difference between trials goes with each hyperparameter's value, taken alone. The grey mark "
        "is what a hyperparameter without any effect would reach on average with so few trials: only bars well beyond "
        f"it say something. Trials: {counts}. A search that learns tries good values more often, and hyperparameters "
        "are changed together, so this is a hint and no proof."
    )
    return Chart("Which hyperparameters mattered", chart, caption, 130 + (22 + 16 * len(tuned)) * len(names))


def completed_scores(ledger: Json) -> list[float]:
    """The scores of the completed trials, in their order."""
    return [float(row["score"]) for row in ledger["trials"] if row["status"] == "completed"]


def hyperparameter_shares(ledger: Json) -> dict[str, tuple[float, float]]:
    """How much of the variance of trial scores lies between the values of each hyperparameter.

    Args:
        ledger: the result of a search.

    Returns:
        By hyperparameter that took more than one value: the sum of squares between its values as a share of the
        total, and the share to be expected where it has no effect, (values - 1) / (trials - 1). Numbers with many
        values count as four ranges, equally wide in their logarithm.
    """
    rows = [row for row in ledger["trials"] if row["status"] == "completed"]
    scores = np.array([float(row["score"]) for row in rows])
    total = float(np.square(scores - scores.mean()).sum()) if rows else 0.0
    if len(rows) < 3 or not total > 0:
        return {}
    shares = {}
    for name in rows[0]["values"]:
        groups = _groups([row["values"].get(name) for row in rows])
        count = len(np.unique(groups))
        if name.startswith("tuner/") or count < 2 or count == len(rows):
            continue
        means = np.array([scores[groups == group].mean() for group in groups])
        between = float(np.square(means - scores.mean()).sum())
        shares[str(name)] = between / total, (count - 1) / (len(rows) - 1)
    return shares


def _groups(values: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The group of each value: of equal ones, or of ranges where they are numbers of many values."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not numbers or len(set(values)) <= _BINS:
        return np.unique([str(value) for value in values], return_inverse=True)[1].astype(np.int64)
    array = np.array(values, dtype=np.float64)
    array = np.log(array) if array.min() > 0 else array
    edges = np.linspace(array.min(), array.max(), _BINS + 1)[1:-1]
    return np.digitize(array, edges).astype(np.int64)


def _spaces(tuned: Mapping[str, Json]) -> Table:
    """Every cell's space and what was chosen from them."""
    names = list(dict.fromkeys(name for ledger in tuned.values() for name in ledger["space"]))
    header = ["hyperparameter", *(f"{title_of(cell)}: {kind}" for cell in tuned for kind in ("searched", "best"))]
    rows = []
    for name in names:
        row = [name.replace("_", " ")]
        for ledger in tuned.values():
            best = ledger["best"]["hparams"]
            chosen = best.get("context_used") if name == "context_share" else best.get(name)
            shown = figure(chosen) if not isinstance(chosen, str) else chosen
            row += [allowed_words(ledger["space"].get(name)), f"{shown} steps" if name == "context_share" else shown]
        rows.append(row)
    caption = (
        "The spaces as the search had them, after what the data leaves no choice about, and the values of the best "
        "trial."
    )
    return Table("Search spaces", header, rows, caption)


def allowed_words(allowed: Any) -> str:
    """What a search may choose from, in a few words."""
    if isinstance(allowed, Mapping):
        ends = f"{figure(allowed['min'])} to {figure(allowed['max'])}"
        step = allowed.get("step")
        return ends + (f" by {figure(step)}" if step else "") + (", log" if allowed.get("sampling") == "log" else "")
    if isinstance(allowed, Sequence) and not isinstance(allowed, str):
        return ", ".join(item if isinstance(item, str) else figure(item) for item in allowed)
    return figure(allowed)


def curves_section(sources: Sources) -> Section:
    """The learning curves of the networks that were trained in the end."""
    lead = (
        "How the loss fell while networks were trained, one line for each seed. Where train.refit says so, what is "
        "served was then trained again, with the validation part too, for as many epochs as the best one took here."
    )
    curves = sources.csv("models/comparison/curves.csv")
    if curves is None:
        return Section("learning", "Learning curves", "", [missing("models/comparison/curves.csv", "compare")])
    curves = curves[curves["model"].isin(sources.cells)]
    highest = float(curves[["loss", "val_loss"]].max().max())
    charts = [_learning(curves[curves["model"] == cell], cell, highest) for cell in sources.cells]
    return Section("learning", "Learning curves", lead, [Row(charts)])


def _learning(curves: pd.DataFrame, cell: str, highest: float) -> Chart:
    chart = new_figure(x="epoch", y="loss")
    seeds = list(curves["seed"].unique())
    for place, seed in enumerate(seeds[:_SEEDS]):
        own = thin(curves[curves["seed"] == seed], _EPOCHS)
        first = {"showlegend": place == 0, "customdata": [seed] * len(own)}
        hover = "seed %{customdata}, epoch %{x}: %{y:.4g}<extra></extra>"
        for name, column, stroke in (
            ("validation", "val_loss", {"width": 1.75}),
            ("training", "loss", {"width": 1, "dash": "dot"}),
        ):
            add_line(
                chart,
                own["epoch"],
                own[column],
                name=name,
                colour=shade(colour_of(cell), 0.75),
                line=stroke,
                legendgroup=name,
                hovertemplate=hover,
                **first,
            )
    chart.update_yaxes(range=[0, 1.04 * highest])
    lasted = curves.groupby("seed")["epoch"].max()
    epochs = f"{lasted.min()} to {lasted.max()}" if lasted.min() < lasted.max() else f"{lasted.max()}"
    caption = (
        f"{counted(len(seeds), 'network')}, trained for {epochs} epochs. Where the validation "
        "line rises while the training line falls, a network learns by heart; its best epoch is kept."
        + thinning_note(len(seeds), min(len(seeds), _SEEDS), "networks", how="drawn")
    )
    return Chart(title_of(cell), chart, caption, 300)
