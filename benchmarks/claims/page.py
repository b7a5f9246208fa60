"""The page CLAIMS.md, made of the results alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.catalogue import CLAIMS
from benchmarks.claims.judging import Figure, Result
from benchmarks.claims.laboratory import time_of
from pipeline.tables import UNKNOWN, align_rows

INTRODUCTION = """\
# What is commonly said of LSTM and GRU, put to the test

Made by `python -m benchmarks.claims`. Each claim has the figure of those who make it, and ours with a 95 % interval:
of a ratio a Welch t-interval of logarithms over seeds, which are no pairs. A training seed draws the weights, the
training examples and their order. Intervals are of single figures: one in twenty misses its truth by chance.

A claim is taken as it is made, without conditions. It *holds* if every figure that decides is for it, it *does not
hold* if none is and one is against it, it *depends* if some are for it and others are not, and was *not shown here* if
all are open. A ratio whose whole interval is within 2 % of 1 is no difference, and against a claim of one. A deciding
figure is for, against or open; the others stand beside. `n` is the number of seeds of each side; where a figure is over
data sets, of these. Minutes are of one core, the searches for learning rates with them; what claims share counts in
each.
"""


def render_page(results: Mapping[str, Any]) -> str:
    """The page.

    Args:
        results: by claim the result, with the machine, commit and date it is of.
    """
    sections = [_section(name, results[name]) for name in CLAIMS if name in results]
    table = align_rows(_overview(results))
    return "\n".join([INTRODUCTION, table, *_total(results), *sections]).rstrip("\n") + "\n"


def render_summary(results: Mapping[str, Any]) -> str:
    """Each claim with its verdict.

    Args:
        results: as for `render_page`.
    """
    return align_rows([row[:2] for row in _overview(results)])


def _overview(results: Mapping[str, Any]) -> list[list[str]]:
    """The header, and a row for each claim."""
    rows = [["claim", "verdict", "our figures", "minutes"]]
    for name, claim in CLAIMS.items():
        found = results.get(name)
        if found is None:
            rows.append([claim.words, "not measured yet", UNKNOWN, UNKNOWN])
        else:
            result = Result.from_json(found["result"])
            rows.append([claim.words, result.verdict, _range(result), _minutes(result.seconds)])
    return rows


def all_spent(results: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of one core by run, those that claims share once."""
    return {run: seconds for found in results.values() for run, seconds in found["result"]["spent"].items()}


def render_result(result: Result) -> str:
    """The figures of a claim, as they are printed."""
    lines = [f"  {' | '.join(_row(figure))}" for figure in result.figures]
    return "\n".join([*lines, f"  {result.verdict}"])


def _total(results: Mapping[str, Any]) -> list[str]:
    """How long all of it took, once all of it is there."""
    if set(CLAIMS) - set(results):
        return []
    core, both = (seconds / 3600 for seconds in time_of(all_spent(results)))
    return [f"All of it, what claims share once, took {core:.1f} hours of one core, which are {both:.1f} on two.", ""]


def _section(name: str, found: Mapping[str, Any]) -> str:
    claim, result = CLAIMS[name], Result.from_json(found["result"])
    lines = [f"## {name}: {result.verdict}", "", f"**{claim.words}** {claim.said_by}", "", result.setup, ""]
    if result.figures:
        rows = [["where", "what", "ours", "95 % interval", "n", "says"]]
        rows += [_row(figure) for figure in result.figures]
        lines += [align_rows(rows)]
    machine = found["machine"]
    lines += [
        f"{_minutes(result.seconds)} minutes of one core, on {machine['device']}: {machine['cpu']}, {machine['cores']} "
        f"cores, {machine['memory_gib']} GiB, TensorFlow {machine['tensorflow']}; {found['date']}, {found['commit']}.",
        "",
    ]
    return "\n".join(lines)


def _row(figure: Figure) -> list[str]:
    interval = f"{_short(figure.lo)} to {_short(figure.hi)}" if figure.n > 1 else "exact"
    return [figure.setting, figure.quantity, _short(figure.value), interval, str(figure.n), figure.stance]


def _range(result: Result) -> str:
    values = [figure.value for figure in result.figures if figure.stance != "beside"]
    if not values:
        return UNKNOWN
    low, high = _short(min(values)), _short(max(values))
    return low if low == high else f"{low} to {high} in {len(values)} settings"


def _short(value: float) -> str:
    """Three decimals where there is one digit before them, three digits where there are more."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}"
