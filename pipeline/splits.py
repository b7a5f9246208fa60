"""Cutoffs and splits: a panel -> what tuning and training may see, and what only evaluation may see."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.covariates import Known, describe, save_covariates, say_nothing
from pipeline.errors import GatecastError
from pipeline.params import WindowParams
from pipeline.seasonal import seasonal_scales
from pipeline.storage import replacing, write_json

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def first_targets_from_end(first: int, last: int, step: int) -> Ints:
    """Positions of first target steps from `last` back to `first`, `step` apart, ascending."""
    return np.arange(last, first - 1, -step, dtype=np.int64)[::-1]


def split_positions(length: int, params: WindowParams) -> tuple[Ints, Ints, Ints]:
    """First target steps of the training, validation and test windows of a series of `length` steps."""
    p = params
    test_start = length - p.test_size
    val_start = test_start - p.val_size
    return (
        first_targets_from_end(max(p.min_context, 1), val_start - p.horizon, p.stride),
        first_targets_from_end(max(val_start, 1), test_start - p.horizon, p.step_size),
        first_targets_from_end(max(test_start, 1), length - p.horizon, p.step_size),
    )


def save_windows(
    ids: list[str],
    series: list[Floats],
    times: list[NDArray[Any]],
    params: WindowParams,
    *,
    season_length: int,
    meta: dict[str, Any],
    folder: Path,
    known: Known | None = None,
) -> None:
    """Splits every series and writes `folder/fit` and `folder/test`.

    Args:
        ids: [S] names of the series.
        series: for each series its values on the regular grid; NaN is missing.
        times: for each series its timestamps.
        params: lengths, in steps from each series' end.
        season_length: in steps, of the naive forecast whose error is the unit of the training loss.
        meta: frequency and time zone of the panel.
        folder: where both outputs go.
        known: covariates; None for none.

    Raises:
        GatecastError: a split has no window, or the training part never changes.
    """
    positions = [split_positions(len(values), params) for values in series]
    fit_lengths = [max(len(values) - params.test_size, 0) for values in series]
    fit_values = [values[:length] for values, length in zip(series, fit_lengths, strict=True)]
    longest = max(map(len, series))
    if params.context_length > longest:
        raise GatecastError(
            f"window.context_length {params.context_length} is longer than every series; the longest has {longest} "
            "steps. Make it shorter"
        )
    needed = params.min_context + params.horizon + params.val_size + params.test_size
    splits = {}
    for place, (name, values) in enumerate((("training", fit_values), ("validation", fit_values), ("test", series))):
        splits[name] = usable(values, [p[place] for p in positions], params)
        if not len(splits[name]):
            mend = "make them smaller or bring longer series"
            if longest >= needed:
                seen = _observed_share(values, [p[place] for p in positions], params.horizon)
                mend = f"{100 * seen:.3g} % of the steps there have a value; look for what took the others"
            raise GatecastError(
                f"no {name} window with an observed value: the longest of {len(series)} series has {longest} steps, "
                f"and window.min_context {params.min_context} + horizon {params.horizon} + val_size {params.val_size} "
                f"+ test_size {params.test_size} need {needed}; {mend}"
            )
    train_lengths = [max(length - params.val_size, 0) for length in fit_lengths]
    train_parts = [values[:length] for values, length in zip(series, train_lengths, strict=True)]
    places = np.searchsorted(starts_of(np.array(fit_lengths)), splits["training"], side="right") - 1
    trained = np.unique(places).tolist()
    train_scales = loss_scales(train_parts, season_length)
    if not train_scales[trained].any():
        raise GatecastError(
            f"the values before the validation part never change in any of the {len(trained)} series with training "
            f"windows, so that nothing can be learnt from them; make window.val_size {params.val_size} and test_size "
            f"{params.test_size} smaller, or leave the flat beginning out of the data"
        )
    shape: dict[str, Any] = {"context_length": params.context_length, "horizon": params.horizon}
    known = known or Known()
    shape["covariates"] = describe(known, train_lengths, ids, trained)
    fit_times = [t[:n] for t, n in zip(times, fit_lengths, strict=True)]
    refit = [first_targets_from_end(max(params.min_context, 1), n - params.horizon, params.stride) for n in fit_lengths]
    log.info(
        "window: %s training, %s validation, %s test windows; %s of %s series have none to train on",
        *(f"{len(splits[name]):,}" for name in ("training", "validation", "test")),
        f"{len(series) - len(trained):,}",
        f"{len(series):,}",
    )
    for told in say_nothing(known, train_lengths, trained):
        log.warning("window: covariate %s", told)
    if _goes_below_zero(series) and not _goes_below_zero(fit_values):
        # The search must not know it, and its network might not be able to forecast there.
        log.warning(
            "window: values are below 0 in the test part alone, where a network of transform log1p cannot be "
            "evaluated; leave log1p out of tune.space if they are right"
        )
    if max(train_lengths) <= season_length:
        log.warning(
            "window: evaluate.season_length %s is as long as all the history before the validation part, of at most %s "
            "steps; MASE and RMSSE are undefined there, so that compare.metric cannot be one of them",
            season_length,
            max(train_lengths),
        )
    if season_length > params.context_length:
        log.warning(
            "window: evaluate.season_length %s is longer than window.context_length %s, so that the seasonal naive "
            "and drift forecasts go without a season: beating them is no proof against the season before",
            season_length,
            params.context_length,
        )
    with replacing(folder / "fit") as out:
        _write_part(out, ids, fit_values, times=fit_times, meta={**meta, **shape}, known=known.cut(fit_lengths))
        np.save(out / "train_lengths.npy", np.array(train_lengths, np.int64))
        np.save(out / "loss_scale.npy", train_scales)
        # A series that is younger than the validation part, or was constant before it, has its unit from later.
        scales = np.where(train_scales > 0, train_scales, loss_scales(fit_values, season_length))
        np.save(out / "refit_scale.npy", scales)
        np.save(out / "train.npy", splits["training"])
        np.save(out / "val.npy", splits["validation"])
        np.save(out / "refit.npy", usable(fit_values, refit, params))
    with replacing(folder / "test") as out:
        _write_part(out, ids, series, times=times, meta={**meta, **shape}, known=known)
        np.save(out / "fit_lengths.npy", np.array(fit_lengths, np.int64))
        np.save(out / "final_scale.npy", np.where(scales > 0, scales, loss_scales(series, season_length)))
        np.save(out / "test.npy", splits["test"])


def _observed_share(series: Sequence[Floats], positions: Sequence[Ints], horizon: int) -> float:
    """How much is observed of the steps that windows are to forecast, whose first ones are at `positions`."""
    parts = [y[p.min() : p.max() + horizon] for y, p in zip(series, positions, strict=True) if len(p)]
    steps = sum(map(len, parts))
    return sum(np.count_nonzero(~np.isnan(part)) for part in parts) / steps if steps else 0.0


def require_season(longest_history: int, season_length: int) -> None:
    """Checks, before anything is trained, that the seasonal naive forecast which scales MASE exists.

    Args:
        longest_history: steps before the test part, of the series that has the most.
        season_length: in steps.

    Raises:
        GatecastError: no series has two values a season apart before its test part.
    """
    if 0 < longest_history <= season_length:
        raise GatecastError(
            f"evaluate.season_length {season_length} is as long as all the history before the test part, of at most "
            f"{longest_history} steps; MASE has nothing to be scaled by. Make it shorter (1: no season)"
        )


def usable(values: list[Floats], positions: list[Ints], params: WindowParams) -> Ints:
    """Flat first target steps [N] of the windows with something observed in context and in target."""
    starts = starts_of(np.array([len(v) for v in values], np.int64))
    seen = np.concatenate([[0], np.cumsum(np.isfinite(np.concatenate(values)))])
    flat = np.concatenate([p + start for p, start in zip(positions, starts, strict=True)])
    first = np.repeat(starts, [len(p) for p in positions])
    context = seen[flat] - seen[np.maximum(flat - params.context_length, first)]
    target = seen[flat + params.horizon] - seen[flat]
    kept: Ints = flat[(context > 0) & (target > 0)]
    return kept


def _write_part(
    out: Path, ids: list[str], values: list[Floats], *, times: list[NDArray[Any]], meta: dict[str, Any], known: Known
) -> None:
    out.mkdir()
    np.save(out / "values.npy", np.concatenate(values))
    np.save(out / "lengths.npy", np.array([len(v) for v in values], np.int64))
    np.save(out / "ds.npy", np.concatenate(times))
    save_covariates(known, meta["covariates"], out, count=len(ids))
    write_json(ids, out / "ids.json")
    write_json(meta, out / "meta.json")


def starts_of(lengths: Ints) -> Ints:
    """Where each series begins in flat values, given the steps of each."""
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)


def loss_scales(series: Sequence[Floats], season_length: int) -> Floats:
    """The unit of the training loss for each series: what its seasonal naive forecast errs, so that the loss is in the
    units of MASE.

    Standard deviations let the series with much noise decide: of M4's hourly series a quarter have one above twenty
    times their seasonal naive error, and hyperparameters chosen by such a loss had a higher MASE.

    Args:
        series: [S] for each series the values of its training part; NaN is missing.
        season_length: in steps.

    Returns:
        [S] the mean absolute error of the seasonal naive forecast; the standard deviation where that is unknown, and a
        thousandth of it where it is less than that; 0 for a series that never changes.
    """
    spreads = np.array([_std(values) for values in series])
    errors = seasonal_scales(series, season_length)[:, 0]
    return np.where(np.isfinite(errors), np.maximum(errors, spreads / 1000), spreads)


def _goes_below_zero(series: Sequence[Floats]) -> bool:
    return any(bool((values < 0).any()) for values in series)


def _std(values: Floats) -> float:
    observed = values[np.isfinite(values)]
    # The mean of equal values may differ from them in the last bit, which would be a unit of 1e-17.
    return float(np.std(observed)) if len(observed) and np.ptp(observed) > 0 else 0.0
