"""Cells and baselines side by side, and which cell is best on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.cells import CELLS
from pipeline.errors import GatecastError
from pipeline.metrics import rounded, to_csv
from pipeline.storage import read_json, replacing, write_json
from pipeline.tables import align_rows, format_figure

SCHEMA = 1
BASELINES = ("seasonal_naive", "seasonal_drift", "ridge")
AUDIT_KEYS = ("series", "steps", "missing", "rows", "repairs")  # without the figures of every series

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A cell or a baseline in the comparison.

    Attributes:
        name: of the cell or the baseline.
        test: its metrics on the test part, flat; for a cell those of the ensemble, with `per_seed`, `seeds_mean` and
            `seeds_sd`.
        validation: its metrics on the validation part.
        steps: on the test part, one row per forecast (the ensemble or the baseline itself, then every seed) and step.
        seeds: of the networks; none for a baseline.
        parameters: trainable numbers in one network; None for a baseline.
        trials: completed trials of the search; None for a baseline.
        curves: learning curves, one row per seed and epoch; None for a baseline.
    """

    name: str
    test: Json
    validation: Json
    steps: pd.DataFrame
    seeds: tuple[int, ...] = ()
    parameters: int | None = None
    trials: int | None = None
    curves: pd.DataFrame | None = None


@dataclass(frozen=True)
class Comparison:
    """All that is compared.

    Attributes:
        cells: in the order of params.yaml.
        baselines: what they have to beat.
        metric: what decides which cell is best.
    """

    cells: Sequence[Entry]
    baselines: Sequence[Entry]
    metric: str

    @property
    def entries(self) -> list[Entry]:
        """The cells, then the baselines."""
        return [*self.cells, *self.baselines]

    @property
    def ranked(self) -> list[Entry]:
        """The cells, best on validation first; of equals the one named first in params.yaml."""
        return sorted(self.cells, key=lambda cell: float(cell.validation[self.metric]))

    @property
    def best_baseline(self) -> Entry:
        """The baseline that is best on validation."""
        return min(self.baselines, key=lambda baseline: float(baseline.validation[self.metric]))


def load_comparison(models: Path, *, cells: Sequence[str], metric: str) -> Comparison:
    """Reads what the stages before left; only the cells named are read.

    Args:
        models: the folder with `evaluation`, `tuned` and `trained`.
        cells: names of the cells.
        metric: what decides which cell is best on validation.

    Returns:
        Cells and baselines.

    Raises:
        GatecastError: a file is missing, or the metric is undefined for a model on validation.
    """
    loaded = Comparison([_load_cell(models, cell) for cell in cells], _load_baselines(models / "evaluation"), metric)
    for entry in loaded.entries:
        if entry.validation[metric] is None:
            raise GatecastError(
                f"compare.metric: {entry.name} has no {metric} on validation, as no series has a scale for it (no "
                f"values evaluate.season_length apart, or none that differ). Received: {metric}; set it to mae"
            )
    return loaded


def results_table(comparison: Comparison) -> pd.DataFrame:
    """One row per cell and baseline.

    Args:
        comparison: what is compared.

    Returns:
        `model`, the metrics on the test part (a cell's are the ensemble's), MASE as mean and standard deviation over
        the seeds, `parameters`, `trials`, and the metric on validation that decides; NaN where there is none.
    """
    rows = [_table_row(entry, comparison.metric) for entry in comparison.entries]
    return pd.DataFrame(rows).astype({"parameters": "Int64", "trials": "Int64"})


def steps_table(comparison: Comparison) -> pd.DataFrame:
    """MASE along the horizon, for a plot with a line and a band per model.

    Args:
        comparison: what is compared.

    Returns:
        `step, model, mase, lo, hi`, by model and step: MASE of the ensemble, lowest and highest of its seeds (the
        ensemble is often below both); for a baseline all three are its own.
    """
    parts = []
    for entry in comparison.entries:
        own = entry.steps["forecast"].isin(("ensemble", entry.name))
        line = entry.steps[own].set_index("step")["mase"]
        band = entry.steps[~own if entry.seeds else own].groupby("step")["mase"]
        parts.append(pd.DataFrame({"model": entry.name, "mase": line, "lo": band.min(), "hi": band.max()}))
    return pd.concat(parts).rename_axis("step").reset_index()


def curves_table(comparison: Comparison) -> pd.DataFrame:
    """Learning curves, for a plot with a line per cell and seed.

    Args:
        comparison: what is compared.

    Returns:
        `model, seed, epoch, loss, val_loss` of the cells, in units of each series' standard deviation.
    """
    parts = [entry.curves.assign(model=entry.name) for entry in comparison.entries if entry.curves is not None]
    return pd.concat(parts)[["model", "seed", "epoch", "loss", "val_loss"]].reset_index(drop=True)


def decide(comparison: Comparison, *, served: str, audit: Json) -> dict[str, Any]:
    """What is decided and what it rests on.

    Args:
        comparison: what is compared.
        served: `best`, or the name of a cell.
        audit: what ingest counted and repaired.

    Returns:
        A JSON object: `schema`; `best_on_validation` and `served`, names of cells; `metric`, which decides;
        `relative_difference`, (best - second) / second in that metric on the test part, of the two best cells on
        validation, so below 0 where the best is better there too, and null for a single cell; `n_cutoffs` and
        `n_series` of the test part; `seeds`; `baseline`, the best on validation with its metric on both parts and
        whether it beats the best cell on validation; `audit`.
    """
    metric, ranked, baseline = comparison.metric, comparison.ranked, comparison.best_baseline
    best = ranked[0]
    decided: dict[str, Any] = rounded(
        {
            "schema": SCHEMA,
            "best_on_validation": best.name,
            "served": best.name if served == "best" else served,
            "metric": metric,
            "relative_difference": relative_difference(best.test[metric], ranked[1].test[metric])
            if len(ranked) > 1
            else None,
            "n_cutoffs": best.test["n_cutoffs"],
            "n_series": best.test["n_series"],
            "seeds": list(best.seeds),
            "baseline": {
                "name": baseline.name,
                "validation": baseline.validation[metric],
                "test": baseline.test[metric],
                "beats_best_cell_on_validation": baseline.validation[metric] < best.validation[metric],
            },
            "audit": {key: audit[key] for key in AUDIT_KEYS if key in audit},
        }
    )
    return decided


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


def with_training_time(table: pd.DataFrame, seconds: Mapping[str, float]) -> pd.DataFrame:
    """The results table with the seconds of training of all seeds, where they are known."""
    return table.assign(training_s=table["model"].map(dict(seconds)))


def save_comparison(comparison: Comparison, verdict: Json, folder: Path) -> None:
    """Writes `table.csv`, `steps.csv`, `curves.csv` and `verdict.json`."""
    tables = {
        "table": results_table(comparison),
        "steps": steps_table(comparison),
        "curves": curves_table(comparison),
    }
    for name, table in tables.items():
        with replacing(folder / f"{name}.csv") as beside:
            beside.write_text(to_csv(table), encoding="utf-8")
    write_json(verdict, folder / "verdict.json")


def load_training_seconds(timings: Path, cells: Sequence[str]) -> dict[str, float]:
    """Seconds of training of each cell's networks together, of those cells whose timings are there."""
    paths = {cell: timings / f"train-{cell}.json" for cell in cells}
    return {cell: float(read_json(path)["seconds"]) for cell, path in paths.items() if path.exists()}


def render_results(evaluations: Mapping[str, Json]) -> str:
    """The README's results table.

    Args:
        evaluations: for each file of models/evaluation, by its name without ending, what it holds.

    Returns:
        A Markdown table of the cells and then the baselines, in their usual order.
    """
    entries = {cell: evaluations[cell] for cell in CELLS if cell in evaluations}
    entries |= {name: evaluations["baselines"][name] for name in BASELINES if "baselines" in evaluations}
    header = ["model", "MASE", "MASE of single networks", "sMAPE", "scaled CRPS", "80 % coverage"]
    return align_rows([header, *(_result_row(name, entry) for name, entry in entries.items())])


def _table_row(entry: Entry, metric: str) -> dict[str, Any]:
    return {
        "model": entry.name,
        "mase": entry.test["mase"],
        "mase_seeds_mean": entry.test.get("seeds_mean", {}).get("mase"),
        "mase_seeds_sd": entry.test.get("seeds_sd", {}).get("mase"),
        **{name: entry.test[name] for name in ("rmsse", "smape", "mae", "rmse", "scaled_crps")},
        "coverage_80": entry.test.get("coverage_80"),
        "width_80": entry.test.get("width_80"),
        "parameters": entry.parameters,
        "trials": entry.trials,
        f"validation_{metric}": entry.validation[metric],
    }


def _load_cell(models: Path, cell: str) -> Entry:
    bundle = _read(models / "trained" / cell / "forecaster.json")
    return Entry(
        name=cell,
        test=_read(models / "evaluation" / f"{cell}.json"),
        validation=_read(models / "trained" / cell / "validation.json"),
        steps=_read_csv(models / "evaluation" / f"{cell}-steps.csv"),
        seeds=tuple(bundle["seeds"]),
        parameters=bundle["parameters"],
        trials=_read(models / "tuned" / f"{cell}.json")["budget"]["completed"],
        curves=_read_csv(models / "trained" / cell / "curves.csv"),
    )


def _load_baselines(folder: Path) -> list[Entry]:
    metrics, steps = _read(folder / "baselines.json"), _read_csv(folder / "baselines-steps.csv")
    return [
        Entry(name, metrics[name], metrics["validation"][name], steps[steps["forecast"] == name]) for name in BASELINES
    ]


def _read(path: Path) -> Any:
    _check_exists(path)
    return read_json(path)


def _read_csv(path: Path) -> pd.DataFrame:
    _check_exists(path)
    return pd.read_csv(path, dtype={"forecast": "str"})


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise GatecastError(f"{path} not found; run `dvc repro` to make it")


def _result_row(name: str, entry: Json) -> list[str]:
    seeds = "-"
    if "per_seed" in entry:
        seeds = f"{_fixed(entry['seeds_mean']['mase'])} ± {_fixed(entry['seeds_sd']['mase'])}"
    coverage = entry.get("coverage_80")
    return [
        name.replace("_", " "),
        _fixed(entry["mase"]),
        seeds,
        _fixed(entry["smape"]),
        "-" if entry["scaled_crps"] is None else f"{entry['scaled_crps']:.5f}",
        "-" if coverage is None else f"{100 * coverage:.1f} %",
    ]


def _fixed(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _against(name: str, value: float | None, other: float | None) -> str:
    share = relative_difference(value, other)
    size = "against" if share is None else f"{abs(100 * share):.3g} % {'below' if share < 0 else 'above'}"
    return f"{size} {name}'s {format_figure(other)}"
