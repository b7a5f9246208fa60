"""The report's first section: the verdict, the intervals it rests on, what it assumes, and the budgets behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.report.charts import INK, MUTED, add_intervals, colour_of, new_figure, shade
from pipeline.report.evidence import budget_table, results_table, test_tables, versus
from pipeline.report.parts import (
    Chart,
    Facts,
    Fold,
    Part,
    Row,
    Section,
    Text,
    counted,
    figure,
    interval,
    listed,
    missing,
    probability,
    signed_percent,
    title_of,
)
from pipeline.report.ranks import rank_chart
from pipeline.report.sources import Json, Sources

_MEANING = {
    "better": "The whole interval lies on one side, beyond the band of differences too small to matter.",
    "equivalent": "The whole interval lies inside the band of differences too small to matter: take the cheaper cell.",
    "undecided": "The interval neither clears the band of differences too small to matter nor lies inside it: this "
    "data does not say which cell is better.",
    "neither": "A simple forecast is not beaten with certainty; before choosing between cells, ask whether a recurrent "
    "network is needed at all.",
    "single_cell": "Only one cell was trained, so there is nothing to compare it with.",
}
_KINDS = {
    "over_time": "over forecasts made at different times",
    "over_series": "over different series",
}


def headline(sources: Sources) -> tuple[str, str]:
    """The verdict as a headline, and below it the verdict in words with what is recommended."""
    verdict = sources.verdict
    words, recommended, because = verdict.get("words"), verdict.get("recommended"), verdict.get("because")
    if not words:
        return "No verdict yet", "Stage compare has not run."
    if recommended and "Recommended:" not in words:
        words += f" Recommended: {title_of(recommended)}" + (f", {because.rstrip('.')}." if because else ".")
    return _claim(sources), words


def _claim(sources: Sources) -> str:
    """The verdict in as few words as it takes."""
    verdict, cells = sources.verdict, [title_of(cell) for cell in sources.cells]
    pair = [title_of(cell) for cell in verdict.get("pair") or sources.cells]
    nobody = {1: f"{cells[0]} is not", 2: "Neither cell is"}.get(len(cells), "No cell is")
    simple = title_of((verdict.get("baseline") or {}).get("name", "the simple forecast"))
    claims = {
        "better": f"{title_of(verdict.get('cell') or '')} is better {_than(verdict)}on this data",
        "equivalent": f"{listed(pair)} are practically equivalent on this data",
        "undecided": f"{listed(pair)}: this data does not decide between them",
        "neither": f"{nobody} shown to beat {simple}",
        "single_cell": f"Only {cells[0]} was trained",
    }
    return claims.get(str(verdict.get("verdict")), str(verdict.get("verdict", "No verdict")))


def verdict_section(sources: Sources) -> Section:
    """What was decided, and what it rests on."""
    verdict = sources.verdict
    if "verdict" not in verdict:
        return Section("verdict", "The verdict", "", [missing("models/comparison/verdict.json", "compare")])
    parts: list[Part] = [Facts(_facts(verdict)), *_intervals(verdict), *_reservations(verdict)]
    if verdict.get("budget"):
        parts.append(budget_table(verdict["budget"]))
    table = sources.csv("models/comparison/table.csv")
    if table is not None:
        parts.append(results_table(table, sources.metric))
    parts += rank_chart(verdict)
    if details := test_tables(verdict):
        parts.append(Fold("Every test, and what stands beside it", details))
    return Section("verdict", "What the figures say", _lead(verdict), parts)


def _lead(verdict: Json) -> str:
    """What the verdict means."""
    if verdict["verdict"] == "undecided" and verdict.get("obstacles"):
        return "Something stands in the way of a decision, whatever the intervals are: what it is, is said below them."
    if verdict["verdict"] == "undecided" and len(verdict.get("pairs") or ()) > 1:
        return f"{_MEANING['undecided']} With Holm's correction for the number of pairs it takes more than it shows."
    return _MEANING.get(verdict["verdict"], "")


def _than(verdict: Json) -> str:
    """Of more than two cells, the one that the better one was compared with; the third may be better than both."""
    if len(verdict.get("pairs") or ()) <= 1:
        return ""
    return "".join(f"than {title_of(cell)} " for cell in verdict["pair"] if cell != verdict.get("cell"))


def _facts(verdict: Json) -> list[tuple[str, str]]:
    facts = [("Verdict", str(verdict["verdict"]).replace("_", " "))]
    if verdict.get("pair"):
        first, second = map(title_of, verdict["pair"])
        facts += [
            (f"{first} against {second}", signed_percent(verdict.get("relative_difference"))),
            ("95 % interval", interval(verdict.get("ci"))),
            ("p-value", probability(verdict.get("p"))),
        ]
    baseline = verdict.get("baseline") or {}
    facts += [
        ("Decided by", title_of(str(verdict.get("metric", "")))),
        ("Best cell on validation", title_of(str(verdict.get("best_on_validation", "")))),
        ("Served", title_of(str(verdict.get("served", "")))),
        ("Forecast origins", f"{figure(verdict.get('n_cutoffs'))} × {counted(verdict.get('n_series') or 0, 'series')}"),
        *_worth(verdict),
        ("Networks per cell", str(len(verdict.get("seeds") or ()))),
    ]
    facts += [("To beat", title_of(baseline["name"]))] if baseline else []
    ranking = [title_of(cell) for cell in verdict.get("ranking") or ()]
    return facts + ([("On test, best first", ", ".join(ranking))] if len(ranking) > 2 else [])


def _worth(verdict: Json) -> list[tuple[str, str]]:
    """How many horizons follow each other; nothing where series are resampled."""
    if verdict.get("kind") == "over_series":
        return []
    worth = verdict.get("horizons_worth")  # rounded down, as the obstacle has it: 6.96 is no 7
    return [("Horizons' worth of origins", figure(worth and math.floor(10 * worth) / 10, digits=6))]


def _intervals(verdict: Json) -> list[Part]:
    """The pairs of cells against the rope, and every cell against the best baseline."""
    charts = []
    metric, rope = title_of(str(verdict.get("metric", "error"))), 100 * (verdict.get("rope") or 0.0)
    pairs = [
        row
        for pair in verdict.get("pairs") or ()
        for row in (
            _estimate(f"{versus(pair['pair'])}, one trained network", pair, colour_of(pair["pair"][0])),
            _estimate(f"{versus(pair['pair'])}, the ensembles as they are", pair.get("ensembles"), MUTED),
        )
        if row
    ]
    if pairs:
        chart = new_figure(x=f"difference in {metric}, %", y="")
        height = add_intervals(chart, pairs)
        chart.add_vrect(x0=-rope, x1=rope, fillcolor=shade(MUTED, 0.14), line_width=0, layer="below")
        chart.add_vline(x=0, line={"color": INK, "width": 1})
        caption = (
            "Each dot is an estimated difference and its line the 95 % interval: left of zero the first-named cell has "
            f"the lower {metric}. The shaded band holds differences under {rope:g} %, too small to matter. "
            f"{_rule(verdict)} Grey: the two ensembles that were trained, which says nothing of networks trained anew."
        )
        charts.append(Chart("Cell against cell", chart, caption, height))
    baseline = verdict.get("baseline") or {}
    found = (baseline.get("differences") or {}).items()
    rows = [row for cell, part in found if (row := _estimate(title_of(cell), part, colour_of(cell)))]
    if rows:
        name = title_of(baseline["name"])
        chart = new_figure(x=f"difference in {metric}, %", y="")
        height = add_intervals(chart, rows)
        chart.add_vline(x=0, line={"color": INK, "width": 1})
        caption = (
            f"How much lower (left) or higher (right) the {metric} of one trained network, before calibration, is than "
            f"that of {name}, the simple forecast that did best on validation. A cell whose line reaches zero has not "
            "been shown to beat it."
        )
        charts.append(Chart("Cells against the best simple forecast", chart, caption, height))
    return [Row(charts)] if charts else []


def _rule(verdict: Json) -> str:
    """How the lines of pairs are to be read."""
    if verdict.get("obstacles"):
        return "No line decides anything, as something stands in the way."
    rule = "A line wholly beyond the band is a winner, one wholly inside it means equal; anything else is undecided."
    if (count := len(verdict.get("pairs") or ())) > 1:
        rule += f" With Holm's correction for {count} pairs it takes more than the line shows."
    if verdict.get("verdict") == "neither":
        rule += " A winner that does not beat the simple forecast is no reason to use it."
    return rule


def _estimate(name: str, part: Json | None, colour: str) -> tuple[str, float, Sequence[float], str] | None:
    if not part or part.get("ci") is None or part.get("relative_difference") is None:
        return None
    return name, 100 * part["relative_difference"], [100 * end for end in part["ci"]], colour


def _reservations(verdict: Json) -> list[Part]:
    """What is resampled, what that assumes, what is conditional, and what more would decide."""
    words = [f"Nothing can be decided yet: {obstacle}." for obstacle in verdict.get("obstacles") or ()]
    if verdict.get("kind"):
        several = len(verdict.get("seeds") or ()) > 1
        chance = ", and over independent seeds." if several else "; the chance of a single seed is not in it."
        words.append(f"The interval is {_KINDS.get(verdict['kind'], verdict['kind'])}{chance}")
    if verdict.get("assumes"):
        words.append(f"It assumes: {str(verdict['assumes']).rstrip('.')}.")
    best, recommended = verdict.get("best_on_validation"), verdict.get("recommended")
    if verdict.get("cell") and best and best != verdict["cell"]:
        words.append(
            f"On the validation part {title_of(best)} did best, on the test part {title_of(verdict['cell'])} is "
            "better: the two parts disagree, so take the difference with care."
        )
    elif recommended and best and best != recommended:
        words.append(
            f"Of the cells {title_of(best)} did best on the validation part; {title_of(recommended)} is recommended."
        )
    words += [
        f"{versus(pair['pair'])}: {more}"
        for pair in verdict.get("pairs") or ()
        if (more := _needed(pair.get("needed")))
    ]
    return [Text(sentence) for sentence in words]


def _needed(needed: Json | None) -> str:
    """What it would take to decide, in words."""
    if not needed:
        return ""
    alone = _amounts(needed)
    if alone:
        return f"if the difference stayed as it is, {' or '.join(alone)} in all would decide."
    if together := needed.get("together"):
        return (
            "windows and seeds each leave too much to chance for more of the other to decide; if the difference stayed "
            f"as it is, {figure(together['times'], digits=2)} times as many of both would: "
            f"{' and '.join(_amounts(together))} in all."
        )
    return "no number of windows and seeds within reach would decide a difference so near the limit."


def _amounts(needed: Json) -> list[str]:
    nouns = {"cutoffs": "forecast origin", "series": "series", "seeds": "seed"}
    return [counted(needed[key], noun) for key, noun in nouns.items() if needed.get(key) is not None]
