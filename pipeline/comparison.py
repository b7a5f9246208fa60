"""Cells and baselines side by side: what the stages before left of them, and tables of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.budget import search_table
from pipeline.cells import CELLS
from pipeline.errors import GatecastError
from pipeline.evidence import Measured
from pipeline.hparams import NetworkSpec
from pipeline.losses import load_losses
from pipeline.metrics import to_csv
from pipeline.storage import read_json, replacing, sha256_of, write_json
from pipeline.tables import align_rows

Json = Mapping[str, Any]


@dataclass(frozen=True)
class CellFacts:
    """What a cell has beside its errors.

    Attributes:
        seeds: of the networks.
        parameters: trainable numbers in one network.
        spec: of every network.
        tuned: the result of its search.
        curves: learning curves, one row per seed and epoch.
    """

    seeds: tuple[int, ...]
    parameters: int
    spec: NetworkSpec
    tuned: Json
    curves: pd.DataFrame


@dataclass(frozen=True)
class View:
    """A fair view: other networks of the same cells.

    Attributes:
        networks: by cell what its network is and costs.
        measured: by cell its losses on the test part.
    """

    networks: Mapping[str, Json]
    measured: Mapping[str, Measured]


@dataclass(frozen=True)
class Entry:
    """A cell or a baseline in the comparison.

    Attributes:
        name: of the cell or the baseline.
        test: its metrics on the test part, flat; for a cell those of the ensemble, with `seeds_mean` and `seeds_sd`.
        validation: its metrics on the validation part.
        steps: on the test part, one row per forecast (the ensemble or the baseline itself, then every seed) and step.
        measured: its losses on the test part.
        cell: what else a cell has; None for a baseline.
    """

    name: str
    test: Json
    validation: Json
    steps: pd.DataFrame
    measured: Measured
    cell: CellFacts | None = None

    @property
    def facts(self) -> CellFacts:
        """Of a cell."""
        assert self.cell is not None
        return self.cell


@dataclass(frozen=True)
class Comparison:
    """All that is compared.

    Attributes:
        cells: in the order of params.yaml.
        baselines: what they have to beat.
        metric: what decides which cell is best.
        views: fair views by name.
    """

    cells: Sequence[Entry]
    baselines: Sequence[Entry]
    metric: str
    views: Mapping[str, View]

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


def load_comparison(models: Path, *, cells: Sequence[str], metric: str, views: Sequence[str] = ()) -> Comparison:
    """Reads what the stages before left; only the cells named are read.

    Args:
        models: the folder with `evaluation`, `tuned` and `trained`.
        cells: names of the cells.
        metric: what decides which cell is best on validation.
        views: names of the fair views.

    Returns:
        Cells, baselines and views.

    Raises:
        GatecastError: a file is missing, or the metric is undefined for a model on validation.
    """
    folder = models / "evaluation"
    loaded = Comparison(
        cells=[_load_cell(models, cell) for cell in cells],
        baselines=_load_baselines(folder),
        metric=metric,
        views={view: _load_view(folder, view, cells) for view in views},
    )
    for entry in loaded.entries:
        if entry.validation[metric] is None:
            apart = "no values evaluate.season_length apart, or none that differ"
            why = "all values there are 0" if metric == "scaled_crps" else apart
            raise GatecastError(
                f"compare.metric: {entry.name} has no {metric} on validation, as no series has a scale for it ({why}). "
                f"Received: {metric}; set it to mae"
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
        band = entry.steps[~own if entry.cell else own].groupby("step")["mase"]
        parts.append(pd.DataFrame({"model": entry.name, "mase": line, "lo": band.min(), "hi": band.max()}))
    return pd.concat(parts).rename_axis("step").reset_index()


def views_table(views: Json) -> pd.DataFrame:
    """The networks of every view, one row per view and cell.

    Args:
        views: as verdict.json has them.

    Returns:
        `view, model`, what the network is and costs (`recurrent_steps` among it), and `error`: the metric of one
        network on the test part.
    """
    columns = ("units", "segment_length", "recurrent_steps", "parameters", "multiply_accumulates", "error")
    return pd.DataFrame(
        [
            {"view": view, "model": cell, **{name: network[name] for name in columns}}
            for view, found in views.items()
            for cell, network in found["cells"].items()
        ]
    )


def curves_table(comparison: Comparison) -> pd.DataFrame:
    """Learning curves, for a plot with a line per cell and seed.

    Args:
        comparison: what is compared.

    Returns:
        `model, seed, epoch, loss, val_loss` of the cells, in units of each series' seasonal naive error.
    """
    parts = [cell.facts.curves.assign(model=cell.name) for cell in comparison.cells]
    return pd.concat(parts)[["model", "seed", "epoch", "loss", "val_loss"]].reset_index(drop=True)


def with_training_time(table: pd.DataFrame, seconds: Mapping[str, float]) -> pd.DataFrame:
    """The results table with the seconds of training of all seeds, where they are known."""
    return table.assign(training_s=table["model"].map(dict(seconds)))


def save_comparison(comparison: Comparison, verdict: Json, folder: Path) -> None:
    """Writes `table.csv`, `steps.csv`, `curves.csv`, `search.csv`, `spaces.json` and `verdict.json`."""
    tables = {
        "table": results_table(comparison),
        "steps": steps_table(comparison),
        "curves": curves_table(comparison),
        "search": search_table({cell.name: cell.facts.tuned for cell in comparison.cells}),
    }
    for name, table in tables.items():
        with replacing(folder / f"{name}.csv") as beside:
            beside.write_text(to_csv(table), encoding="utf-8")
    write_json({cell.name: cell.facts.tuned["space"] for cell in comparison.cells}, folder / "spaces.json")
    write_json(verdict, folder / "verdict.json")


def digest_bundles(trained: Path, names: Sequence[str]) -> dict[str, str]:
    """The sha256 of the description of each bundle that is there, by which one that was trained later is told."""
    files = {name: trained / name / "forecaster.json" for name in names}
    return {name: sha256_of(file) for name, file in files.items() if file.exists()}


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
    entries = {
        cell: {**evaluations[cell], **evaluations[f"{cell}-details"]}
        for cell in CELLS
        if f"{cell}-details" in evaluations
    }
    entries |= {name: evaluations[name] for name in evaluations["baselines-details"]["validation"]}
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
        "parameters": entry.cell and entry.cell.parameters,
        "trials": entry.cell and entry.cell.tuned["budget"]["completed"],
        f"validation_{metric}": entry.validation[metric],
    }


def _load_cell(models: Path, cell: str) -> Entry:
    bundle = _read(models / "trained" / cell / "forecaster.json")
    folder = models / "evaluation"
    return Entry(
        name=cell,
        test={**_read(folder / f"{cell}.json"), **_read(folder / f"{cell}-details.json")},
        validation=_read(models / "trained" / cell / "validation.json"),
        steps=_read_csv(folder / f"{cell}-steps.csv"),
        measured=Measured(
            cell, load_losses(folder / f"{cell}-losses.parquet"), load_losses(folder / f"{cell}-horizon.parquet")
        ),
        cell=CellFacts(
            seeds=tuple(bundle["seeds"]),
            parameters=bundle["parameters"],
            spec=NetworkSpec.from_json(bundle),
            tuned=_read(models / "tuned" / f"{cell}.json"),
            curves=_read_csv(models / "trained" / cell / "curves.csv"),
        ),
    )


def _load_baselines(folder: Path) -> list[Entry]:
    details, steps = _read(folder / "baselines-details.json"), _read_csv(folder / "baselines-steps.csv")
    losses = load_losses(folder / "baselines-losses.parquet")
    return [
        Entry(
            name=name,
            test=_read(folder / f"{name}.json"),
            validation=details["validation"][name],
            steps=steps[steps["forecast"] == name],
            measured=Measured(name, losses[losses["forecast"] == name]),
        )
        for name in details["validation"]
    ]


def _load_view(folder: Path, view: str, cells: Sequence[str]) -> View:
    return View(
        networks={cell: _read(folder / f"view-{view}-{cell}.json") for cell in cells},
        measured={cell: Measured(cell, load_losses(folder / f"view-{view}-{cell}-losses.parquet")) for cell in cells},
    )


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
    if "seeds_mean" in entry:
        mean, spread = entry["seeds_mean"]["mase"], entry["seeds_sd"]["mase"]
        seeds = _fixed(mean) if spread is None else f"{_fixed(mean)} ± {_fixed(spread)}"
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
