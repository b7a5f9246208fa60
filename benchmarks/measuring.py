"""The errors of a benchmark's networks and baselines on one split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.benchmark import Json
from pipeline.baselines import choose_linear_map, residual_offsets
from pipeline.ensemble import load_weights
from pipeline.errors import GatecastError
from pipeline.forecaster import Forecaster
from pipeline.linear_map import chunks, normalise
from pipeline.metrics import rounded, score
from pipeline.onnx_graph import build_graph
from pipeline.params import load_params
from pipeline.seasonal import seasonal_naive
from pipeline.storage import read_json, sha256_of
from pipeline.windows import FitSet, Floats, Windows, load_fit, load_test

PointForecaster = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Part:
    """The windows of a split, and what their errors are measured by.

    Attributes:
        windows: of the split.
        history: for each series its values before the split, which scale MASE.
        ids: [S] the series.
        deviation: [S] standard deviation of each series over its training part.
        quantiles: [Q] ascending.
        season_length: in steps.
    """

    windows: Windows
    history: list[Floats]
    ids: list[str]
    deviation: Floats
    quantiles: tuple[float, ...]
    season_length: int

    def figures(self, forecast: Floats) -> Json:
        """The headline metrics of a forecast [N, H, Q], and MSE and MAE of z-scored values."""
        scores = score(
            self.windows,
            forecast,
            quantiles=self.quantiles,
            ids=self.ids,
            history=self.history,
            season_length=self.season_length,
        )
        median = forecast[:, :, self.quantiles.index(0.5)]
        return {**scores.to_json(), **rounded(z_scored(self.windows, median, self.deviation))}


def measure(work: Path, split: str) -> Json:
    """Measures what the stages left in a folder.

    Args:
        work: the folder.
        split: `val` or `test`; for `val` the test part is not read.

    Returns:
        `figures`, by cell those of the `ensemble` and of each seed; and `baselines`, by name.
    """
    params = load_params(work / "params.yaml")
    fit = load_fit(work / "data/windows/fit")
    windows, history = fit.val, fit.history
    if split == "test":
        test = load_test(work / "data/windows/test")
        windows, history = test.windows, test.history
    part = Part(windows, history, fit.ids, deviations(fit), params.quantiles, params.evaluate.season_length)
    with threadpool_limits(params.compute.threads):  # as the stage has it
        baselines = measure_baselines(fit, part, alphas=params.baselines.ridge_alphas)
    load = load_evaluated if split == "test" else load_fitted
    return {"figures": {cell: measure_cell(load(work, cell), part) for cell in params.cells}, "baselines": baselines}


def measure_cell(forecaster: Forecaster, part: Part) -> Json:
    """The figures of an ensemble, with its `uncalibrated` scaled CRPS and coverage, and of each seed."""
    out = predict(forecaster, part.windows, ("forecast", "uncalibrated"))
    ensemble, raw = part.figures(out.pop("forecast")), part.figures(out.pop("uncalibrated"))
    ensemble["uncalibrated"] = {name: raw[name] for name in ("scaled_crps", "coverage_80")}
    members = predict(forecaster, part.windows, ("members",))["members"]
    seeds = zip(forecaster.meta["seeds"], members, strict=True)
    return {"ensemble": ensemble, **{str(seed): part.figures(forecast) for seed, forecast in seeds}}


def predict(forecaster: Forecaster, windows: Windows, outputs: Sequence[str]) -> dict[str, Floats]:
    """The chosen outputs of a forecaster for all windows."""
    return forecaster.predict_windows(windows, outputs=outputs)


def load_evaluated(work: Path, cell: str) -> Forecaster:
    """The bundle, which is what meets the test part."""
    return Forecaster.load(work / "models/trained" / cell)


def load_fitted(work: Path, cell: str) -> Forecaster:
    """The networks before they were trained again on the validation part too, which is what can be measured on it.

    Raises:
        GatecastError: they were removed from the folder of finished work.
    """
    bundle, trained = load_evaluated(work, cell), work / "models/trained" / cell
    seeds = bundle.meta["seeds"]
    hashes = {seed: sha256_of(trained / f"seed-{seed}.keras") for seed in seeds}
    for finished in (work / ".scratch" / f"train-{cell}").glob("*"):
        networks = {seed: finished / f"seed-{seed}.keras" for seed in seeds}
        fitted = [finished / f"fitted-{seed}.npz" for seed in seeds]
        if all(file.exists() for file in (*networks.values(), *fitted)) and hashes == {
            seed: sha256_of(file) for seed, file in networks.items()
        }:
            offsets = read_json(trained / "training.json")["calibration"]
            calibration = None if offsets is None else np.array(offsets)
            graph = build_graph(bundle.spec, [load_weights(file) for file in fitted], calibration)
            return Forecaster(graph, bundle.spec, bundle.meta)
    raise GatecastError(
        f"{work / '.scratch'}: the {cell} networks from before the refit, the only ones that validation can measure, "
        "are not there; run without --measure-only"
    )


def measure_baselines(fit: FitSet, part: Part, *, alphas: Sequence[float]) -> Json:
    """The figures of the ridge regression and of the seasonal naive forecast."""
    season_length, horizon = part.season_length, part.windows.horizon
    forecasters: dict[str, PointForecaster] = {
        "ridge": choose_linear_map(fit, alphas=alphas, season_length=season_length).forecast,
        "seasonal naive": partial(seasonal_naive, horizon=horizon, season_length=season_length),
    }
    return {name: part.figures(with_quantiles(model, fit.val, part)) for name, model in forecasters.items()}


def with_quantiles(forecaster: PointForecaster, validation: Windows, part: Part) -> Floats:
    """Quantiles [N, H, Q] around a point forecast, by its errors on the validation part."""
    median, scale = point_forecasts(forecaster, validation)
    residuals = np.divide(validation.targets() - median, scale, out=np.full_like(median, np.nan), where=scale > 0)
    offsets = residual_offsets(residuals, part.quantiles)
    median, scale = point_forecasts(forecaster, part.windows)
    spread: Floats = median[:, :, None] + scale[:, :, None] * offsets
    return spread


def point_forecasts(forecaster: PointForecaster, windows: Windows) -> tuple[Floats, Floats]:
    """Point forecasts [N, H], and the standard deviation of each context [N, 1]."""
    contexts = (windows.contexts(rows) for rows in chunks(np.arange(len(windows))))
    parts = [(forecaster(chunk), normalise(chunk)[2]) for chunk in contexts]
    return np.concatenate([point for point, _ in parts]), np.concatenate([scale for _, scale in parts])


def deviations(fit: FitSet) -> Floats:
    """The standard deviation [S] of each series over its training part; 0 where nothing is observed."""
    return np.array([np.nanstd(values) if np.isfinite(values).any() else 0.0 for values in fit.history])


def z_scored(windows: Windows, median: Floats, deviation: Floats) -> dict[str, Any]:
    """Errors in standard deviations of each series' training part, averaged over all windows and steps.

    Series that never change in their training part are left out.
    """
    scale = deviation[windows.series][:, None]
    z = np.divide(windows.targets() - median, scale, out=np.full_like(median, np.nan), where=scale > 0)
    z = z[np.isfinite(z)]
    return (
        {"z_mse": float(np.mean(z**2)), "z_mae": float(np.mean(np.abs(z)))}
        if len(z)
        else {"z_mse": None, "z_mae": None}
    )
