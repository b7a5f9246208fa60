"""The forecasters to beat: seasonal naive, seasonal naive with drift, and a linear map of the context.

Each is a function of contexts alone and equivariant to a positive affine change of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from pipeline.evaluation import Evaluation, count_windows, forecast_frame, score_test, stack
from pipeline.linear_map import LinearMap, chunks, fit_linear_maps, normalise
from pipeline.losses import Losses, measure_losses
from pipeline.metrics import Scores, rounded, score
from pipeline.seasonal import seasonal_drift, seasonal_naive
from pipeline.windows import FitSet, Floats, TestSet, Windows

PointForecaster = Callable[[Floats], Floats]


def choose_linear_map(fit: FitSet, *, alphas: Sequence[float], season_length: int) -> LinearMap:
    """Fits ridge regressions to the training part and takes the best on the validation part.

    Args:
        fit: the training and validation parts.
        alphas: ridge penalties to choose from.
        season_length: in steps.

    Returns:
        The linear map with the lowest MASE, or MAE where no series has a scale; of equals the first.
    """

    def error_of(candidate: LinearMap) -> float:
        points, _ = _forecast(fit.val, candidate.forecast)
        errors = _score_validation(fit, points[:, :, None], quantiles=(0.5,), season_length=season_length).overall
        return errors["mae"] if np.isnan(errors["mase"]) else errors["mase"]

    maps = fit_linear_maps(fit.train, fit.loss_scale, alphas=alphas, season_length=season_length)
    return min(maps, key=error_of)


def residual_offsets(residuals: Floats, quantiles: Sequence[float]) -> Floats:
    """What to add to a point forecast to make its quantiles: the empirical quantiles of its errors.

    Args:
        residuals: [N, H] target less forecast, in units of each window's scale; NaN is missing.
        quantiles: [Q] ascending, symmetric around 0.5.

    Returns:
        [H, Q] ascending along Q and 0 for the median, so that the point forecast stays the median; 0 for a step
        without residuals.
    """
    offsets = np.zeros((residuals.shape[1], len(quantiles)))
    for step, column in enumerate(residuals.T):
        known = column[np.isfinite(column)]
        if len(known):
            offsets[step] = np.quantile(known, quantiles)
    levels = np.array(quantiles)
    offsets = np.where(levels < 0.5, np.minimum(offsets, 0.0), np.maximum(offsets, 0.0))
    return np.where(levels == 0.5, 0.0, offsets)


def spread_on_validation(fit: FitSet, forecaster: PointForecaster, quantiles: Sequence[float]) -> tuple[Floats, Floats]:
    """The `residual_offsets` [H, Q] of a forecaster's errors on validation, and its quantiles [N, H, Q] there."""
    median, scale = _forecast(fit.val, forecaster)
    residuals = np.divide(fit.val.targets() - median, scale, out=np.full_like(median, np.nan), where=scale > 0)
    offsets = residual_offsets(residuals, quantiles)
    return offsets, _spread(median, scale, offsets)


def evaluate_baselines(
    fit: FitSet, test: TestSet, *, ridge: LinearMap, quantiles: Sequence[float], season_length: int
) -> Evaluation:
    """Evaluates every baseline on the test part.

    Args:
        fit: the training and validation parts.
        test: the test part.
        ridge: as `choose_linear_map` gives it.
        quantiles: [Q] ascending, symmetric around 0.5; the intervals come from the errors on validation.
        season_length: in steps.

    Returns:
        Metrics by baseline on the test part, and what they are made of. Of the details `validation` has the same of
        the validation part, where the intervals were fitted.
    """
    points: dict[str, PointForecaster] = {
        "seasonal_naive": partial(seasonal_naive, horizon=fit.val.horizon, season_length=season_length),
        "seasonal_drift": partial(seasonal_drift, horizon=fit.val.horizon, season_length=season_length),
        "ridge": ridge.forecast,
    }
    validation: dict[str, Scores] = {}
    errors: dict[str, Scores] = {}
    losses: dict[str, Losses] = {}
    forecasts: dict[str, Floats] = {}
    for name, forecaster in points.items():
        offsets, validated = spread_on_validation(fit, forecaster, quantiles)
        validation[name] = _score_validation(fit, validated, quantiles=quantiles, season_length=season_length)
        forecasts[name] = _spread(*_forecast(test.windows, forecaster), offsets)
        errors[name] = score_test(test, forecasts[name], quantiles=quantiles, season_length=season_length)
        losses[name] = measure_losses(test, forecasts[name], quantiles=quantiles, season_length=season_length)
    details = {
        "validation": {name: scores.to_json() for name, scores in validation.items()},
        "ridge_alpha": ridge.alpha,
        "series_without_scale": errors["ridge"].series_without_scale,  # the same of every forecast
        **count_windows(test),
    }
    return Evaluation(
        metrics={name: rounded(scores.overall) for name, scores in errors.items()},
        details=rounded(details),
        forecasts=forecast_frame(test, forecasts, quantiles=quantiles),
        steps=stack({name: scores.per_step for name, scores in errors.items()}),
        series=stack({name: scores.per_series for name, scores in errors.items()}),
        losses=stack({name: found.windows for name, found in losses.items()}),
        horizon=stack({name: found.horizon for name, found in losses.items()}),
    )


def _score_validation(fit: FitSet, forecast: Floats, *, quantiles: Sequence[float], season_length: int) -> Scores:
    return score(fit.val, forecast, quantiles=quantiles, ids=fit.ids, history=fit.history, season_length=season_length)


def _forecast(windows: Windows, forecaster: PointForecaster) -> tuple[Floats, Floats]:
    """Point forecasts [N, H] of all windows, and the standard deviation of each context [N, 1]."""
    contexts = (windows.contexts(rows) for rows in chunks(np.arange(len(windows))))
    parts = [(forecaster(chunk), normalise(chunk)[2]) for chunk in contexts]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _spread(median: Floats, scale: Floats, offsets: Floats) -> Floats:
    """Quantiles [N, H, Q] around point forecasts [N, H]; scale [N, 1], offsets [H, Q] in units of it."""
    spread: Floats = median[:, :, None] + scale[:, :, None] * offsets
    return spread
