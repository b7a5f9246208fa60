"""What is decided of a comparison, as verdict.json has it, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.budget import audit_budgets
from pipeline.comparison import Comparison, View
from pipeline.cost import describe_cost, multiply_accumulates
from pipeline.evidence import measure_design
from pipeline.metrics import rounded
from pipeline.params import SERVED_BASELINE
from pipeline.tables import format_figure
from pipeline.verdict import Candidate, Case, Rules, compare_pairs, judge

SCHEMA = 2
AUDIT_KEYS = ("series", "steps", "missing", "rows", "repairs")  # without the figures of every series

Json = Mapping[str, Any]


def decide(
    comparison: Comparison,
    *,
    served: str,
    audit: Json,
    rope: float,
    step_size: int,
    independent_series: bool,
) -> dict[str, Any]:
    """What is decided and what it rests on.

    Args:
        comparison: what is compared.
        served: `best`, a cell, or `ridge`.
        audit: what ingest counted and repaired.
        rope: relative differences up to this do not matter.
        step_size: steps between the cutoffs of the test part.
        independent_series: whether the series are declared to be independent.

    Returns:
        A JSON object: what `verdict.judge` gives, and `schema`; `best_on_validation`, a cell; `served`, a cell or
        `ridge`; `models`, the bundles of this run; `metric`, which decides; `n_cutoffs` and `n_series` of the test
        part, those that can be compared; `seeds`; `baseline`, the best on validation with its metric on both parts,
        whether it beats the best cell on validation, and every cell's difference from it on the test part; `budget` of
        the searches; `views`; `audit` of the data. The stage adds `bundles`, the sha256 of each model's description.
    """
    metric, ranked, baseline = comparison.metric, comparison.ranked, comparison.best_baseline
    best = ranked[0]
    budget = audit_budgets({cell.name: cell.facts.tuned for cell in comparison.cells})
    design = measure_design(
        best.measured,
        metric=metric,
        horizon=best.facts.spec.horizon,
        step_size=step_size,
        independent_series=independent_series,
    )
    baseline_leads = baseline.validation[metric] < best.validation[metric]
    case = Case(
        candidates=[Candidate(cell.measured, multiply_accumulates(cell.facts.spec)) for cell in ranked],
        baseline=baseline.measured,
        others=[entry.measured for entry in comparison.baselines if entry.name != baseline.name],
        design=design,
        rules=Rules(metric, rope),
        seeds=min(len(cell.facts.seeds) for cell in comparison.cells),
        unequal=budget.why,
        baseline_leads=baseline_leads,
    )
    found = judge(case)
    differences = found.pop("differences")
    decided: dict[str, Any] = rounded(
        {
            "schema": SCHEMA,
            **found,
            "best_on_validation": best.name,
            "served": best.name if served == "best" else served,
            "models": [*(cell.name for cell in comparison.cells), SERVED_BASELINE],
            "metric": metric,
            "n_cutoffs": design.n_cutoffs,
            "n_series": design.compared_series,
            "seeds": list(best.facts.seeds),
            "baseline": {
                "name": baseline.name,
                "validation": baseline.validation[metric],
                "test": baseline.test[metric],
                "beats_best_cell_on_validation": baseline_leads,
                "differences": differences,
            },
            "budget": budget.to_json(),
            "views": _describe_views(comparison, case, found["pairs"]),
            "audit": {key: audit[key] for key in AUDIT_KEYS if key in audit},
        }
    )
    return decided


def _describe_views(comparison: Comparison, case: Case, pairs: Sequence[Json]) -> dict[str, Any]:
    """The tuned networks, whose pairs are decided, then every fair view."""
    tuned = View(
        {cell.name: describe_cost(cell.facts.spec) for cell in comparison.cells},
        {cell.name: cell.measured for cell in comparison.cells},
    )
    views = {name: _describe_view(view, case, _pairs_of(view, case)) for name, view in comparison.views.items()}
    return {"tuned": _describe_view(tuned, case, pairs), **views}


def _pairs_of(view: View, case: Case) -> list[dict[str, Any]]:
    candidates = [
        Candidate(view.measured[c.name], view.networks[c.name]["multiply_accumulates"]) for c in case.candidates
    ]
    return compare_pairs(replace(case, candidates=candidates))


def _describe_view(view: View, case: Case, pairs: Sequence[Json]) -> dict[str, Any]:
    """What each cell's network is, its error, and the difference of the first pair."""
    first = pairs[0] if pairs else {}
    metric = case.rules.metric
    return {
        "cells": {
            name: {**network, "error": view.measured[name].error(metric)} for name, network in view.networks.items()
        },
        **{key: first.get(key) for key in ("pair", "verdict", "cell", "relative_difference", "ci", "p")},
    }


def relative_difference(a: float | None, b: float | None) -> float | None:
    """How much larger an error a is than b, as a share of b; None where that is undefined."""
    return None if a is None or b is None or b == 0 else (a - b) / b


def describe(comparison: Comparison) -> str:
    """One line: the best cell on validation, by how much, and how it did on test against the best baseline."""
    metric, ranked, baseline = comparison.metric, comparison.ranked, comparison.best_baseline
    best = ranked[0]
    rank, margin = "the only cell", ""
    if len(ranked) > 1:
        rank, margin = "best", f", {_against(ranked[1].name, best.validation[metric], ranked[1].validation[metric])}"
    return (
        f"{best.name} is {rank} on validation ({metric} {format_figure(best.validation[metric])}{margin}); on test "
        f"its {metric} is {format_figure(best.test[metric])}, "
        f"{_against(baseline.name, best.test[metric], baseline.test[metric])}, the best baseline on validation."
    )


def _against(name: str, value: float | None, other: float | None) -> str:
    share = relative_difference(value, other)
    size = "against" if share is None else f"{abs(100 * share):.3g} % {'below' if share < 0 else 'above'}"
    return f"{size} {name}'s {format_figure(other)}"
