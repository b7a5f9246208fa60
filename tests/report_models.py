"""A finished project as the report finds it: made up in a second, without training, by the stages' own functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.baselines import choose_linear_map, evaluate_baselines
from pipeline.comparison import load_comparison, save_comparison
from pipeline.cost import describe_cost, parameter_count
from pipeline.decision import decide
from pipeline.evaluation import evaluate_forecaster, save_evaluation
from pipeline.hparams import Hparams, NetworkSpec
from pipeline.losses import save_losses
from pipeline.params import WindowParams
from pipeline.report.sources import Sources
from pipeline.splits import save_windows
from pipeline.storage import read_json, write_json
from pipeline.windows import Floats, TestSet, Windows, load_fit, load_test

SEASON, HORIZON = 12, 12
SEEDS = (11, 12, 13, 14, 15)
QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
HOSTILE = ("<img src=x onerror=alert(1)>", "</script><b>bold</b>", 'R&D "north" <i>&lt;', "plain")
SKILL = {"lstm": 0.2, "gru": 0.18, "rnn": 0.3}  # the size of a cell's errors
HPARAMS = Hparams(
    **{"segment_length": 12, "units": 64, "layers": 1, "dropout": 0.1, "learning_rate": 0.003, "batch_size": 64},
    **{"context_used": 48, "location": "last", "transform": "none", "head": "copy", "linear": "none"},
    **{"calendar": "auto", "identity": "none"},
)


@dataclass
class Oracle:
    """Stands in for a bundle: it knows the future, but for errors that grow along the horizon and follow each other."""

    cell: str
    meta: Mapping[str, Any] = field(default_factory=lambda: {"seeds": SEEDS})
    quantiles: Sequence[float] = QUANTILES
    outputs: Sequence[str] = ("forecast", "uncalibrated", "members", "copy_weights")

    def predict_windows(self, windows: Windows, *, outputs: Sequence[str]) -> dict[str, Floats]:
        rng = np.random.default_rng([ord(letter) for letter in self.cell])
        targets = windows.targets()
        targets = np.where(np.isfinite(targets), targets, np.nanmean(targets, axis=1, keepdims=True))
        growth = SKILL[self.cell] * np.sqrt(np.arange(1, windows.horizon + 1) / 4)
        shared = targets + growth * _smooth(rng.standard_normal(targets.shape))
        own = [0.4 * growth * _smooth(rng.standard_normal(targets.shape)) + rng.normal(0, 0.05) for _ in SEEDS]
        spread = growth[:, None] * np.array([-1.9, -1.2, 0, 1.2, 1.9])
        members = np.stack([shared + error for error in own])[..., None] + 0.8 * spread
        past = np.tile(np.array([0.1, 0.15, 0.2, 0.55]), (len(targets), 1, 1))
        found = {"forecast": members.mean(axis=0) + 0.2 * spread, "uncalibrated": members.mean(axis=0)}
        return {name: {**found, "members": members, "copy_weights": past}[name] for name in outputs}


def _smooth(noise: Floats) -> Floats:
    """Neighbouring windows err alike, as overlapping forecasts do."""
    smoothed: Floats = sum(np.roll(noise, shift, axis=0) for shift in range(5)) / np.sqrt(5)
    return smoothed


def write_project(
    root: Path,
    *,
    cells: Sequence[str] = ("lstm", "gru"),
    ids: Sequence[str] = HOSTILE,
    views: Sequence[str] = ("equal_parameters", "point_wise"),
    metric: str = "mase",
) -> Sources:
    """Writes everything that the report reads, and gives it as the report reads it."""
    fit, test = _write_data(root, ids)
    folder = root / "models" / "evaluation"
    for cell in cells:
        save_evaluation(evaluate_forecaster(Oracle(cell), test, season_length=SEASON), folder, name=cell)
        _write_cell(root / "models", cell)
    ridge = choose_linear_map(fit, alphas=[1.0], season_length=SEASON)
    baselines = evaluate_baselines(fit, test, ridge=ridge, quantiles=QUANTILES, season_length=SEASON)
    save_evaluation(baselines, folder, name="baselines")
    for view in views:
        for cell in cells:
            losses = pd.read_parquet(folder / f"{cell}-losses.parquet")
            save_losses(losses, folder / f"view-{view}-{cell}-losses.parquet")
            write_json(describe_cost(spec_of(cell, view)), folder / f"view-{view}-{cell}.json")
    write_comparison(root, cells=cells, views=views, metric=metric)
    return Sources(root, cells, metric)


def write_ranks(sources: Sources, *, descriptive: bool) -> None:
    """Ranks in the verdict, as many series have them."""
    average = {"gru": 1.9, "lstm": 1.6, "ridge": 2.7, "seasonal_drift": 4.9, "seasonal_naive": 3.9}
    ranks = {"friedman_p": 1e-6, "average_ranks": average, "critical_difference": 1.15, "descriptive": descriptive}
    write_json({**sources.verdict, "ranks": ranks}, sources.models / "comparison" / "verdict.json")


def write_comparison(root: Path, *, cells: Sequence[str], views: Sequence[str] = (), metric: str = "mase") -> None:
    """What compare makes of it."""
    comparison = load_comparison(root / "models", cells=cells, metric=metric, views=views)
    audit = read_json(root / "data" / "series" / "audit.json")
    rules = {"rope": 0.01, "step_size": 1, "independent_series": False}
    save_comparison(comparison, decide(comparison, served="best", audit=audit, **rules), root / "models" / "comparison")


def spec_of(cell: str, view: str = "tuned") -> NetworkSpec:
    """Of the networks that are made up."""
    hparams = replace(HPARAMS, segment_length=1) if view == "point_wise" else HPARAMS
    return NetworkSpec(cell, 48, HORIZON, QUANTILES, hparams)


def _write_data(root: Path, ids: Sequence[str]) -> tuple[Any, TestSet]:
    rng, steps = np.random.default_rng(3), np.arange(340)
    series = [
        10 + 3 * number + np.sin(2 * np.pi * steps / SEASON) + 0.02 * steps + 0.3 * rng.standard_normal(len(steps))
        for number in range(len(ids))
    ]
    series[0][[40, 41, 300]] = np.nan
    times = [np.datetime64("2015-01-04", "us") + steps * np.timedelta64(7, "D")] * len(ids)
    params = WindowParams(
        context_length=48, horizon=HORIZON, val_size=60, test_size=108, step_size=1, stride=1, min_context=24
    )
    meta = {"freq": "W", "timezone": None}
    save_windows(list(ids), series, times, params, season_length=SEASON, meta=meta, folder=root / "windows")
    panel = [
        pd.DataFrame({"unique_id": name, "ds": times[0], "y": values}) for name, values in zip(ids, series, strict=True)
    ]
    audit = {
        "columns": {"freq": "W"},
        **{"rows": {"read": 1365, "used": 1360}, "series": {"read": len(ids) + 1, "used": len(ids)}},
        **{"steps": 340 * len(ids), "missing": 3, "repairs": {"row-duplicate": {"count": 5}, "gap": {"count": 2}}},
        "per_series": {name: {"rows_read": 340, "steps": 340, "missing": 3 * (name == ids[0])} for name in ids},
    }
    write_json(audit, root / "data" / "series" / "audit.json")
    pd.concat(panel).to_parquet(root / "data" / "series" / "panel.parquet", index=False)
    return load_fit(root / "windows" / "fit"), load_test(root / "windows" / "test")


def _write_cell(models: Path, cell: str) -> None:
    """What tune and train leave of a cell."""
    rng = np.random.default_rng(len(cell) + ord(cell[0]))
    spec, sizes, skill = spec_of(cell), [32, 64, 128], SKILL[cell]
    trials = []
    for number in range(24):
        values = {
            **{"segment_length": 12, "units": sizes[number % 3], "dropout": [0.1, 0.3, 0.5][number // 8]},
            **{"learning_rate": float(10 ** rng.uniform(-3, -2)), "location": ["last", "mean"][number % 2]},
        }
        score = 0.1 * skill * (1.3 + 0.1 * (number % 2) + 0.3 * rng.random() - 0.004 * number)
        row = {"trial": f"{number:04d}", "status": "completed", "score": score, "epochs": 9, "best_epoch": 7}
        trials.append({**row, "seed": 1, "values": values, "error": None, "windows": 9 * 8192})
    failed = {**trials[0], "trial": "0024", "status": "failed", "score": None, "epochs": 0, "windows": 0}
    best = min(trials, key=lambda row: float(row["score"]))
    space = {
        **{"segment_length": [12], "units": sizes, "dropout": {"min": 0.1, "max": 0.5, "step": 0.2}},
        **{"learning_rate": {"min": 0.001, "max": 0.01, "sampling": "log"}, "location": ["last", "mean"]},
    }
    ledger = {
        **{"cell": cell, "algorithm": "local", "objective": "val_loss"},
        "budget": {
            **{"requested": 24, "completed": 24, "failed": 1, "duplicate": 0},
            **{"epochs": 216, "windows": 216 * 8192},
        },
        "epoch_rule": {"max_epochs": 10, "patience": 4, "windows_per_epoch": 8192},
        "space": space,
        "best": {"trial": best["trial"], "score": best["score"], "hparams": HPARAMS.to_json()},
        "trials": [*trials, failed],
    }
    write_json(ledger, models / "tuned" / f"{cell}.json")
    described = {
        **spec.to_json(),
        **{"schema": 1, "parameters": parameter_count(spec), "seeds": list(SEEDS), "kernel": "cpu"},
        **{"data_sha256": "d" * 64, "params_sha256": "e" * 64, "files": {"forecaster.onnx": "f" * 64}},
    }
    write_json(described, models / "trained" / cell / "forecaster.json")
    validation = dict.fromkeys(("mae", "rmse", "smape", "mase", "rmsse", "scaled_crps"), skill)
    write_json(validation, models / "trained" / cell / "validation.json")
    training = {"calibration": [[0.0] * len(QUANTILES)] * HORIZON, "calibration_share": {"lstm": 0.5}.get(cell, 0.25)}
    write_json(training, models / "trained" / cell / "training.json")
    rows = [
        (seed, epoch, 0.05 + 0.2 / epoch, 0.06 + 0.18 / epoch + 0.004 * rng.random(), 0.003)
        for seed in SEEDS
        for epoch in range(1, 16)
    ]
    curves = pd.DataFrame(rows, columns=["seed", "epoch", "loss", "val_loss", "learning_rate"])
    curves.to_csv(models / "trained" / cell / "curves.csv", index=False)
    pace = {"lstm": 0.42, "gru": 0.34, "rnn": 0.2}[cell]
    timings = {
        "seconds": 75 * pace,
        "seeds": {
            str(seed): {
                **{"seconds": 15 * pace, "refit_seconds": 8 * pace, "epochs": 15, "best_epoch": 8 + seed % 4},
                **{"seconds_per_epoch": pace * (1 + 0.03 * rng.standard_normal()), "peak_memory_mib": 610 + 200 * pace},
            }
            for seed in SEEDS
        },
        "inference_ms": {
            size: [float(size) ** 0.5 * pace * (1 + 0.1 * rng.random()) for _ in range(30)] for size in ("1", "64")
        },
    }
    write_json(timings, models / "timings" / f"train-{cell}.json")
