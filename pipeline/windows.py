"""Cutoffs, splits and windows. Windows are views into the flat values of all series, never materialised."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.covariates import Covariates, Known, describe, encode, save_covariates
from pipeline.errors import GatecastError
from pipeline.hparams import Hparams, NetworkSpec
from pipeline.params import WindowParams
from pipeline.storage import read_json, replacing, write_json

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """The windows of one split.

    Attributes:
        values: [T] all series end to end, each after `context_length` missing steps; NaN is missing.
        positions: [N] for each window the index into `values` of its first target step.
        series: [N] for each window the number of its series.
        context_length: steps of history in a window.
        horizon: steps of target in a window.
        covariates: what is known beside `values`.
    """

    values: Floats
    positions: Ints
    series: Ints
    context_length: int
    horizon: int
    covariates: Covariates

    def __len__(self) -> int:
        return len(self.positions)

    def independent(self) -> float:
        """How many windows these are worth: for each series the horizons that its cutoffs span, at least one."""
        _, first, counts = np.unique(self.series, return_index=True, return_counts=True)
        span = self.positions[first + counts - 1] - self.positions[first] + 1
        return float(np.minimum(np.maximum(span / self.horizon, 1), counts).sum())

    def contexts(self, rows: slice | Ints = slice(None)) -> Floats:
        """The history [N, C] of the chosen windows; NaN is missing or before the series' start."""
        views: Floats = sliding_window_view(self.values, self.context_length)
        return views[self.positions[rows] - self.context_length]

    def inputs(self, spec: NetworkSpec, rows: slice | Ints = slice(None)) -> dict[str, NDArray[Any]]:
        """The arrays that a network takes of the chosen windows, by name: see `Forecaster.predict_arrays`."""
        history, observed = split_missing(self.contexts(rows))
        arrays: dict[str, NDArray[Any]] = {"history": history, "observed": observed}
        wanted, beside, first = spec.inputs, self.covariates, self.positions[rows][:, None]
        if wanted.past:
            arrays["past"] = beside.along(first + np.arange(-self.context_length, 0), wanted)
        if wanted.future:
            arrays["future"] = beside.along(first + np.arange(self.horizon), wanted)[..., -len(wanted.future) :]
        if wanted.categorical:
            arrays["static_cat"] = beside.categories(self.series[rows], wanted)
        if wanted.numeric:
            arrays["static_num"] = beside.numbers[self.series[rows]]
        return arrays

    def targets(self, rows: slice | Ints = slice(None)) -> Floats:
        """The target [N, H] of the chosen windows; NaN is missing."""
        views: Floats = sliding_window_view(self.values, self.horizon)
        return views[self.positions[rows]]


@dataclass(frozen=True)
class FitSet:
    """All that tuning and training may see.

    Attributes:
        ids: [S] the series.
        train: windows whose targets lie in the training part.
        val: windows whose targets lie in the validation part.
        refit: windows whose targets lie in either.
        loss_scale: [S] standard deviation of each series over its training part (0: it never changes).
        history: for each series its values before the validation part, which scale MASE there.
        meta: frequency, time zone and range of the fit part.
    """

    ids: list[str]
    train: Windows
    val: Windows
    refit: Windows
    loss_scale: Floats
    history: list[Floats]
    meta: dict[str, Any]

    def spec(self, cell: str, quantiles: tuple[float, ...], hparams: Hparams) -> NetworkSpec:
        """All that defines a network for this data but its weights."""
        inputs = self.train.covariates.inputs(hparams)
        return NetworkSpec(cell, self.train.context_length, self.train.horizon, quantiles, hparams, inputs)


@dataclass(frozen=True)
class TestSet:
    """What only evaluation may see.

    Attributes:
        ids: [S] the series.
        windows: windows whose targets lie in the test part.
        ds: [T] timestamp of every step of `windows.values` (NaT in the padding), or whole numbers.
        history: for each series its values before the test part, which scale MASE.
        meta: frequency and time zone.
    """

    ids: list[str]
    windows: Windows
    ds: NDArray[Any]
    history: list[Floats]
    meta: dict[str, Any]

    __test__ = False  # for pytest: no test case, whatever its name


def cutoffs_from_end(first: int, last: int, step: int) -> Ints:
    """Positions of first target steps from `last` back to `first`, `step` apart, ascending."""
    return np.arange(last, first - 1, -step, dtype=np.int64)[::-1]


def split_positions(length: int, params: WindowParams) -> tuple[Ints, Ints, Ints]:
    """First target steps of the training, validation and test windows of a series of `length` steps."""
    p = params
    test_start = length - p.test_size
    val_start = test_start - p.val_size
    return (
        cutoffs_from_end(max(p.min_context, 1), val_start - p.horizon, p.stride),
        cutoffs_from_end(max(val_start, 1), test_start - p.horizon, p.step_size),
        cutoffs_from_end(max(test_start, 1), length - p.horizon, p.step_size),
    )


def save_windows(
    ids: list[str],
    series: list[Floats],
    times: list[NDArray[Any]],
    params: WindowParams,
    *,
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
        meta: frequency and time zone of the panel.
        folder: where both outputs go.
        known: covariates; None for none.

    Raises:
        GatecastError: a split has no window.
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
        splits[name] = _usable(values, [p[place] for p in positions], params)
        if not len(splits[name]):
            raise GatecastError(
                f"no {name} window with an observed value: the longest of {len(series)} series has {longest} steps, "
                f"and window.min_context {params.min_context} + horizon {params.horizon} + val_size {params.val_size} "
                f"+ test_size {params.test_size} need {needed}; make them smaller or bring longer series"
            )
    train_lengths = [max(length - params.val_size, 0) for length in fit_lengths]
    train_parts = [values[:length] for values, length in zip(series, train_lengths, strict=True)]
    shape: dict[str, Any] = {"context_length": params.context_length, "horizon": params.horizon}
    known = known or Known()
    places = np.searchsorted(_starts(np.array(fit_lengths)), splits["training"], side="right") - 1
    shape["covariates"] = describe(known, train_lengths, [ids[place] for place in np.unique(places)])
    fit_times = [t[:n] for t, n in zip(times, fit_lengths, strict=True)]
    refit = [cutoffs_from_end(max(params.min_context, 1), n - params.horizon, params.stride) for n in fit_lengths]
    log.info(
        "window: %s training, %s validation, %s test windows; %s of %s series are too short to train on",
        *(f"{len(splits[name]):,}" for name in ("training", "validation", "test")),
        f"{sum(not len(p[0]) for p in positions):,}",
        f"{len(series):,}",
    )
    with replacing(folder / "fit") as out:
        described = {**meta, **shape, "range": _span(fit_times)}
        _write_part(out, ids, fit_values, times=fit_times, meta=described, known=known.cut(fit_lengths))
        np.save(out / "train_lengths.npy", np.array(train_lengths, np.int64))
        np.save(out / "loss_scale.npy", np.array([_std(values) for values in train_parts]))
        np.save(out / "train.npy", splits["training"])
        np.save(out / "val.npy", splits["validation"])
        np.save(out / "refit.npy", _usable(fit_values, refit, params))
    with replacing(folder / "test") as out:
        described = {**meta, **shape, "range": _span(times)}
        _write_part(out, ids, series, times=times, meta=described, known=known)
        np.save(out / "fit_lengths.npy", np.array(fit_lengths, np.int64))
        np.save(out / "test.npy", splits["test"])


def load_fit(folder: Path) -> FitSet:
    """Reads what `save_windows` wrote to `fit`."""
    part = _read_part(folder)
    train_lengths = np.load(folder / "train_lengths.npy")
    return FitSet(
        ids=part.ids,
        train=part.windows(np.load(folder / "train.npy")),
        val=part.windows(np.load(folder / "val.npy")),
        refit=part.windows(np.load(folder / "refit.npy")),
        loss_scale=np.load(folder / "loss_scale.npy"),
        history=part.beginnings(train_lengths),
        meta=part.meta,
    )


def load_test(folder: Path) -> TestSet:
    """Reads what `save_windows` wrote to `test`."""
    part = _read_part(folder)
    windows = part.windows(np.load(folder / "test.npy"))
    history = part.beginnings(np.load(folder / "fit_lengths.npy"))
    return TestSet(ids=part.ids, windows=windows, ds=windows.covariates.ds, history=history, meta=part.meta)


def load_everything(folder: Path, params: WindowParams) -> Windows:
    """All windows of all series, those of the test part too, for a network that is served and never evaluated.

    Args:
        folder: the `test` part.
        params: as for `save_windows`.
    """
    part = _read_part(folder)
    series = part.beginnings(part.lengths)
    last = part.lengths - params.horizon
    positions = [cutoffs_from_end(max(params.min_context, 1), int(end), params.stride) for end in last]
    return part.windows(_usable(series, positions, params))


def _usable(values: list[Floats], positions: list[Ints], params: WindowParams) -> Ints:
    """Flat first target steps [N] of the windows with something observed in context and in target."""
    starts = _starts(np.array([len(v) for v in values], np.int64))
    seen = np.concatenate([[0], np.cumsum(np.isfinite(np.concatenate(values)))])
    flat = np.concatenate([p + start for p, start in zip(positions, starts, strict=True)])
    first = np.repeat(starts, [len(p) for p in positions])
    context = seen[flat] - seen[np.maximum(flat - params.context_length, first)]
    target = seen[flat + params.horizon] - seen[flat]
    usable: Ints = flat[(context > 0) & (target > 0)]
    return usable


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


@dataclass(frozen=True)
class _Part:
    """One of the two outputs, as it lies on the disk.

    Attributes:
        ids: [S] the series.
        values: [T] all series end to end; `padded` has `context_length` missing steps before each.
        lengths: [S] steps of each.
        meta: frequency, time zone, lengths of windows, what the covariates are.
        padded: as `Windows.values`.
        covariates: along `padded`.
    """

    ids: list[str]
    values: Floats
    lengths: Ints
    meta: dict[str, Any]
    padded: Floats
    covariates: Covariates

    def windows(self, flat: Ints) -> Windows:
        """Windows by the place of their first target step in `values`."""
        context_length = self.meta["context_length"]
        series = np.searchsorted(_starts(self.lengths), flat, side="right").astype(np.int64) - 1
        positions = flat + context_length * (series + 1)
        return Windows(self.padded, positions, series, context_length, self.meta["horizon"], self.covariates)

    def beginnings(self, lengths: Ints) -> list[Floats]:
        """The first steps of each series."""
        return [self.values[start : start + n] for start, n in zip(_starts(self.lengths), lengths, strict=True)]


def _read_part(folder: Path) -> _Part:
    ids, meta = read_json(folder / "ids.json"), read_json(folder / "meta.json")
    values, lengths, ds = (np.load(folder / f"{name}.npy") for name in ("values", "lengths", "ds"))
    before = meta["context_length"]
    filler = np.array("NaT", ds.dtype) if ds.dtype.kind == "M" else np.iinfo(np.int64).min
    beside = (
        _pad(np.load(folder / "covariates.npy"), lengths, before, np.nan)
        if meta["covariates"]["past"]
        else np.zeros((len(values) + before * len(lengths), 0))
    )
    covariates = Covariates(
        meta["covariates"],
        beside,
        _pad(ds, lengths, before, filler),
        np.load(folder / "static_cat.npy"),
        encode(ids, meta["covariates"]["identity"]),
        np.load(folder / "static_num.npy"),
        meta["freq"],
        meta["timezone"],
    )
    return _Part(ids, values, lengths, meta, _pad(values, lengths, before, np.nan), covariates)


def _span(times: list[NDArray[Any]]) -> dict[str, str]:
    """The first and the last timestamp of all series."""
    some = [t for t in times if len(t)]
    return {"start": str(min(t[0] for t in some)), "end": str(max(t[-1] for t in some))}


def _starts(lengths: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)


def _pad(values: NDArray[Any], lengths: Ints, before: int, filler: object) -> NDArray[Any]:
    """Puts `before` fillers in front of every series, so that a short history needs no special case."""
    padded = np.full((len(values) + before * len(lengths), *values.shape[1:]), filler, values.dtype)
    series = np.repeat(np.arange(len(lengths)), lengths)
    padded[np.arange(len(values)) + before * (series + 1)] = values
    return padded


def _std(values: Floats) -> float:
    observed = values[np.isfinite(values)]
    return float(np.std(observed)) if len(observed) else 0.0


def split_missing(contexts: Floats) -> tuple[Floats, NDArray[np.float32]]:
    """The network's two inputs: history [N, C] with 0 where it is missing, and what of it was observed."""
    seen = np.isfinite(contexts)
    return np.where(seen, contexts, 0.0), seen.astype(np.float32)


def require_season(longest_history: int, season_length: int) -> None:
    """Checks, before anything is trained, that the seasonal naive forecast which scales MASE exists.

    Raises:
        GatecastError: no series has two values a season apart before its test part.
    """
    if 0 < longest_history <= season_length:
        raise GatecastError(
            f"evaluate.season_length {season_length} is as long as all the history before the test part, of at most "
            f"{longest_history} steps; MASE has nothing to be scaled by. Make it shorter (1: no season)"
        )
