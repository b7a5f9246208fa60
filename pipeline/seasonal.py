"""Histories season by season: what repeats, what drifts, and what to put where a value is missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDED = 1e-12  # of a series' size: differences up to this are what float64 leaves of equal values


def seasonal_naive(contexts: Floats, *, horizon: int, season_length: int) -> Floats:
    """Repeats the last season.

    Args:
        contexts: [N, C] history; NaN is missing, and something is observed in each row.
        horizon: steps to forecast.
        season_length: in steps; a context that is shorter has its last value repeated.

    Returns:
        [N, H] for each step the most recent observed value at its place in the season; where the context has none,
        the last observed value.
    """
    source, place = _last_season(contexts, season_length), _places(contexts, horizon, season_length)
    repeated: Floats = np.take_along_axis(contexts, source[:, place], axis=1)
    return repeated


def seasonal_drift(contexts: Floats, *, horizon: int, season_length: int) -> Floats:
    """Repeats the last season, moved by the latest change from season to season.

    Args:
        contexts: [N, C] history; NaN is missing, and something is observed in each row.
        horizon: steps to forecast.
        season_length: in steps; 1 in a context that is shorter.

    Returns:
        [N, H] the value that `seasonal_naive` repeats, plus the drift per step times the steps since that value. The
        drift is the difference of the latest two observed values one season apart, over the season's length; 0 where
        no such pair is observed. With nothing missing, and within one season, it is
        `y[t + h - season_length] + y[t] - y[t - season_length]`.
    """
    source, place = _last_season(contexts, season_length), _places(contexts, horizon, season_length)
    ahead = contexts.shape[1] + np.arange(horizon) - source[:, place]
    repeated = np.take_along_axis(contexts, source[:, place], axis=1)
    drifted: Floats = repeated + ahead * _drift(contexts, season_length)
    return drifted


def fill_missing(values: Floats, season_length: int) -> Floats:
    """Fills what is missing with what came before it.

    Args:
        values: [N, L]; NaN is missing, and something is observed in each row.
        season_length: in steps; 1 where a row is shorter.

    Returns:
        [N, L] with the latest earlier value at the same place in the season, else the latest earlier value, else the
        mean of what is observed.
    """
    positions = _positions(values)
    seasons = np.maximum.accumulate(_by_season(positions, _season_within(values, season_length)), axis=1)
    source = seasons.reshape(len(values), -1)[:, -values.shape[1] :]
    source = np.where(source >= 0, source, np.maximum.accumulate(positions, axis=1))
    count = np.maximum((positions >= 0).sum(axis=1, keepdims=True), 1)
    mean = np.nansum(values, axis=1, keepdims=True) / count
    return np.where(source >= 0, np.take_along_axis(values, source, axis=1), mean)


def seasonal_scales(history: Sequence[Floats], season_length: int) -> Floats:
    """What MASE and RMSSE are divided by.

    Args:
        history: [S] for each series its values; NaN is missing.
        season_length: in steps.

    Returns:
        [S, 2] MAE and RMSE of the seasonal naive forecast over the pairs that are both observed; NaN where it is 0, but
        for what float64 rounds, or there is no pair.
    """
    scales = np.full((len(history), 2), np.nan)
    for number, values in enumerate(history):
        errors = values[season_length:] - values[:-season_length]
        errors = errors[np.isfinite(errors)]
        if np.abs(errors).max(initial=0.0) > ROUNDED * np.abs(values).max(initial=0.0, where=np.isfinite(values)):
            scales[number] = np.abs(errors).mean(), np.sqrt(np.square(errors).mean())
    return scales


def latest_positions(contexts: Floats) -> Ints:
    """Position [N, 1] of the last observed value of contexts [N, C]; -1 where nothing is observed."""
    latest: Ints = _positions(contexts).max(axis=1, keepdims=True)
    return latest


def _season_within(contexts: Floats, season_length: int) -> int:
    return season_length if season_length <= contexts.shape[1] else 1


def _places(contexts: Floats, horizon: int, season_length: int) -> Ints:
    """Place in the season [H] of every step of the horizon."""
    return np.arange(horizon, dtype=np.int64) % _season_within(contexts, season_length)


def _positions(contexts: Floats) -> Ints:
    """Of every step [N, C] its position in the context, -1 where it is missing."""
    return np.where(np.isfinite(contexts), np.arange(contexts.shape[1]), -1)


def _by_season(positions: Ints, season: int) -> Ints:
    """Positions season by season [N, K, season], the last one complete; -1 before the first."""
    missing = -positions.shape[1] % season
    padded = np.pad(positions, ((0, 0), (missing, 0)), constant_values=-1)
    return padded.reshape(len(positions), -1, season)


def _last_season(contexts: Floats, season_length: int) -> Ints:
    """Position in the context of the value that is repeated, [N, season] for each place in the season."""
    source = _by_season(_positions(contexts), _season_within(contexts, season_length)).max(axis=1)
    return np.where(source >= 0, source, latest_positions(contexts))


def _drift(contexts: Floats, season_length: int) -> Floats:
    """Drift per step [N, 1]."""
    season = _season_within(contexts, season_length)
    change = contexts[:, season:] - contexts[:, :-season]
    change = np.concatenate([np.zeros((len(change), 1)), change], axis=1)  # where no pair is observed
    latest: Floats = np.take_along_axis(change, latest_positions(change), axis=1)
    return latest / season
