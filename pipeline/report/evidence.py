"""The tables behind the verdict: budgets, results, every test, and ranks."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.report.parts import (
    UNKNOWN,
    Table,
    figure,
    interval,
    percent,
    probability,
    signed_percent,
    title_of,
)
from pipeline.report.sources import Json

_BUDGET = ("requested", "completed", "failed", "duplicate", "epochs", "windows")


def versus(pair: Sequence[str]) -> str:
    """Two cells, the first against the second."""
    return f"{title_of(pair[0])} against {title_of(pair[1])}"


def budget_table(budget: Json) -> Table:
    """What each search was allowed and spent, and whether that was the same."""
    rows = [[title_of(cell), *(figure(spent.get(key)) for key in _BUDGET)] for cell, spent in budget["cells"].items()]
    equal = "The searches had the same rules and completed as many trials, so their cells can be compared."
    if len(rows) == 1:
        equal = "There is no other search to compare with."
    why = [str(reason).rstrip(".") for reason in budget.get("why") or ()]
    caption = equal if budget.get("equal") else f"The budgets differ, so no verdict is given: {'; '.join(why)}."
    caption += (
        " A trial is one set of hyperparameters tried; failed ones and repetitions of an earlier one are not counted "
        "as completed. Windows: training examples seen in all trials."
    )
    return Table("What each search was allowed, and used", ["cell", *_BUDGET], rows, caption)


def results_table(table: pd.DataFrame, metric: str) -> Table:
    """The results table of compare, where a metric decided."""
    shares = {"coverage_80"}
    names = {"mase_seeds_mean": "MASE of single networks", "mase_seeds_sd": "± sd", "coverage_80": "80 % coverage"}
    hidden = {"width_80", "mae", "rmse", "parameters", "trials"} - {metric}
    columns = [column for column in table if column not in hidden]
    rows = [
        [
            title_of(str(value)) if name == "model" else percent(value) if name in shares else figure(value)
            for name, value in zip(columns, row, strict=True)
        ]
        for row in table[columns].itertuples(index=False)
    ]
    header = [names.get(str(name), _column_words(str(name))) for name in columns]
    caption = (
        "Errors on the test part, which nothing was chosen on; lower is better. A cell's row is its ensemble, which is "
        "what is served. MASE is in units of the seasonal naive error over the history, which is not that of the test "
        "part: compare with the row of the seasonal naive forecast. Scaled CRPS judges all quantiles of a forecast."
    )
    return Table("All results", header, rows, caption)


def descriptive_words(verdict: Json) -> str:
    """How tests that count every series as one of its own are to be taken."""
    declared = (verdict.get("ranks") or {}).get("descriptive") is False
    if declared:
        return "meant for independent series, which these are declared to be"
    return "descriptive: it assumes independent series"


def _column_words(name: str) -> str:
    validated = name.removeprefix("validation_")
    return title_of(name) if validated == name else f"{title_of(validated)} on validation"


def test_tables(verdict: Json) -> list[Table]:
    """The decision's test and those beside it: a row for each figure, a column for each pair."""
    pairs = verdict.get("pairs") or ()
    if not pairs:
        return []
    columns = [_test_figures(pair) for pair in pairs]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    caption = (
        "The decision uses the interval; Holm's p value allows for testing several pairs. What follows the uncertainty "
        "is shown for comparison only: on overlapping forecasts those tests find differences too often. Steps: at how "
        "many steps of the horizon each cell is better at the 5 % level, with Holm's correction, of the networks as "
        f"they are. Wilcoxon's test is {descriptive_words(verdict)}."
    )
    return [Table("Tests", ["figure", *(versus(pair["pair"]) for pair in pairs)], rows, caption)]


def _test_figures(pair: Json) -> dict[str, str]:
    """What is told of a pair, by name."""
    beside, shares = pair.get("beside") or {}, pair.get("variance_shares") or {}
    steps = beside.get("steps") or {}
    return {
        "verdict": str(pair.get("verdict", "")),
        "difference": signed_percent(pair.get("relative_difference"), digits=2),
        "95 % interval": interval(pair.get("ci")),
        "p value": probability(pair.get("p")),
        "p value, Holm's": probability(pair.get("p_holm")),
        "degrees of freedom": figure(pair.get("df"), digits=3),
        "uncertainty from windows": percent(shares.get("windows"), digits=0),
        "uncertainty from seeds": percent(shares.get("seeds"), digits=0),
        "95 % interval, block bootstrap": interval(beside.get("bootstrap_ci")),
        "p value, Diebold-Mariano": probability(beside.get("dm_hln_p")),
        "p value, Wilcoxon over series": probability(beside.get("wilcoxon_p")),
        "steps where better": ", ".join(f"{title_of(cell)} {len(better)}" for cell, better in steps.items()) or UNKNOWN,
    }
