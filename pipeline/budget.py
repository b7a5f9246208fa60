"""What each cell's search was given, whether that was the same, and what more of it would have changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Json = Mapping[str, Any]

STATUSES = ("completed", "failed", "duplicate")
SPENT = ("epochs", "windows")


@dataclass(frozen=True)
class Budget:
    """The budgets of all cells.

    Attributes:
        cells: for each cell its trials `requested`, `completed`, `failed` and `duplicate`, and over all of them the
            `epochs` run and the training `windows` seen.
        why: what differs between the cells, in words; nothing where the budgets are equal.
    """

    cells: Mapping[str, Mapping[str, int]]
    why: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether the cells were given the same; without it a comparison says nothing about them."""
        return not self.why

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "equal": self.equal,
            "why": list(self.why),
            "cells": {cell: dict(spent) for cell, spent in self.cells.items()},
        }


def audit_budgets(tuned: Mapping[str, Json]) -> Budget:
    """Counts what each search spent, from its ledger, and compares what it was given.

    Budgets are equal where the algorithm, the completed trials and the epoch rules (the most epochs, the patience,
    the windows of an epoch) are. The epochs run may differ: early stopping spends them as a network needs them.

    Args:
        tuned: for each cell the result of its search, as `models/tuned` has it.

    Returns:
        The budgets.
    """
    cells = {cell: _spent(found) for cell, found in tuned.items()}
    given = {
        "tune.algorithm": {cell: found["algorithm"] for cell, found in tuned.items()},
        "completed trials": {cell: spent["completed"] for cell, spent in cells.items()},
    }
    for rule in dict.fromkeys(rule for found in tuned.values() for rule in found["epoch_rule"]):
        given[f"tune.{rule}"] = {cell: found["epoch_rule"].get(rule) for cell, found in tuned.items()}
    return Budget(cells, tuple(_difference(name, values) for name, values in given.items() if _differ(values)))


def search_table(tuned: Mapping[str, Json]) -> pd.DataFrame:
    """Whether more search would change the picture, for a plot with a line and a band per cell.

    Args:
        tuned: for each cell the result of its search, as `models/tuned` has it.

    Returns:
        `model, trials, expected_best, lo, hi`: `expected_best` of the scores of each cell's completed trials.
    """
    parts = [
        expected_best([row["score"] for row in found["trials"] if row["status"] == "completed"]).assign(model=cell)
        for cell, found in tuned.items()
    ]
    return pd.concat(parts)[["model", "trials", "expected_best", "lo", "hi"]].reset_index(drop=True)


def expected_best(scores: Sequence[float]) -> pd.DataFrame:
    """The best score to expect of so many trials: the mean of the lowest of n draws from the scores found.

    The draws are with replacement from the empirical distribution (Dodge et al. 2019, arXiv 1909.03004, where the
    best is the highest). Of random trials this is an estimate, for few trials a little pessimistic at its end. Where
    later trials learn from earlier ones (a local, Bayesian or Hyperband search) the scores are no sample of one
    distribution, and it only describes the ledger.

    Args:
        scores: [N] of completed trials in any order; lower is better.

    Returns:
        One row per number of trials, 1 to N: `trials`, `expected_best`, and the band `lo` to `hi`, one standard
        deviation of the best to either side, within the scores found.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    trials = np.arange(1, len(ordered) + 1)
    # P(the best of n draws is at least the i-th lowest score) = ((N - i + 1) / N) ** n, for i = 1, ..., N, N + 1
    at_least = (np.arange(len(ordered), -1, -1) / max(1, len(ordered))) ** trials[:, None]
    chance = at_least[:, :-1] - at_least[:, 1:]
    best = (chance * ordered).sum(axis=1)
    spread = np.sqrt((chance * np.square(ordered - best[:, None])).sum(axis=1))
    return pd.DataFrame(
        {
            "trials": trials,
            "expected_best": best,
            "lo": np.maximum(best - spread, ordered[:1]),
            "hi": np.minimum(best + spread, ordered[-1:]),
        }
    )


def _spent(found: Json) -> dict[str, int]:
    rows = found["trials"]
    return {
        "requested": found["budget"]["requested"],
        **{status: sum(row["status"] == status for row in rows) for status in STATUSES},
        **{name: sum(row[name] for row in rows) for name in SPENT},
    }


def _differ(values: Mapping[str, Any]) -> bool:
    return any(value != other for value in values.values() for other in values.values())


def _difference(name: str, values: Mapping[str, Any]) -> str:
    """What differs, with the value of every cell as params.yaml has it."""
    shown = {cell: value if isinstance(value, str) else json.dumps(value) for cell, value in values.items()}
    return f"{name}: {', '.join(f'{cell} {value}' for cell, value in shown.items())}"
