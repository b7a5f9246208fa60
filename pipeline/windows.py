"""Windows: views into the flat values of all series, never materialised; read from what `splits` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.covariates import Covariates, encode
from pipeline.hparams import Hparams, NetworkSpec
from pipeline.params import WindowParams
from pipeline.splits import Floats, Ints, first_targets_from_end, starts_of, usable
from pipeline.storage import read_json

__all__ = [
    "FitSet",
    "Floats",
    "Ints",
    "TestSet",
    "Windows",
    "draw_rows",
    "load_everything",
    "load_fit",
    "load_test",
    "split_missing",
]


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

    def covered(self) -> NDArray[np.bool_]:
        """Which steps [T] lie in the context or the target of a window."""
        edges = np.zeros(len(self.values) + 1, np.int64)
        np.add.at(edges, self.positions - self.context_length, 1)
        np.add.at(edges, self.positions + self.horizon, -1)
        return np.cumsum(edges[:-1]) > 0

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
        val: windows whose targets lie in the validation part, of the same values.
        refit: windows whose targets lie in either, of the same values.
        loss_scale: [S] unit of each series in the training loss, of `splits.loss_scales` (0: it never changes).
        refit_scale: [S] the same, and of a series that has none there that of the fit part.
        history: for each series its values before the validation part, which scale MASE there.
        meta: frequency, time zone, lengths of windows, what the covariates are.
    """

    ids: list[str]
    train: Windows
    val: Windows
    refit: Windows
    loss_scale: Floats
    refit_scale: Floats
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
        refit_scale=np.load(folder / "refit_scale.npy"),
        history=part.beginnings(train_lengths),
        meta=part.meta,
    )


def load_test(folder: Path) -> TestSet:
    """Reads what `save_windows` wrote to `test`."""
    part = _read_part(folder)
    windows = part.windows(np.load(folder / "test.npy"))
    history = part.beginnings(np.load(folder / "fit_lengths.npy"))
    return TestSet(ids=part.ids, windows=windows, ds=windows.covariates.ds, history=history, meta=part.meta)


def load_everything(folder: Path, params: WindowParams) -> tuple[Windows, Floats]:
    """All windows of all series, those of the test part too, for a network that is served and never evaluated.

    Args:
        folder: the `test` part.
        params: as for `save_windows`.

    Returns:
        The windows, and [S] as `FitSet.refit_scale`, of a series that has none there that of all its values.
    """
    part = _read_part(folder)
    series = part.beginnings(part.lengths)
    last = part.lengths - params.horizon
    positions = [first_targets_from_end(max(params.min_context, 1), int(end), params.stride) for end in last]
    return part.windows(usable(series, positions, params)), np.load(folder / "final_scale.npy")


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
        series = np.searchsorted(starts_of(self.lengths), flat, side="right").astype(np.int64) - 1
        positions = flat + context_length * (series + 1)
        return Windows(self.padded, positions, series, context_length, self.meta["horizon"], self.covariates)

    def beginnings(self, lengths: Ints) -> list[Floats]:
        """The first steps of each series."""
        return [self.values[start : start + n] for start, n in zip(starts_of(self.lengths), lengths, strict=True)]


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


def _pad(values: NDArray[Any], lengths: Ints, before: int, filler: object) -> NDArray[Any]:
    """Puts `before` fillers in front of every series, so that a short history needs no special case."""
    padded = np.full((len(values) + before * len(lengths), *values.shape[1:]), filler, values.dtype)
    series = np.repeat(np.arange(len(lengths)), lengths)
    padded[np.arange(len(values)) + before * (series + 1)] = values
    return padded


def draw_rows(count: int, most: int) -> Ints:
    """Numbers of windows, ascending; of more than `most` that many, always the same."""
    if count <= most:
        return np.arange(count, dtype=np.int64)
    # Drawn, for a regular step could meet the same place in the season each time.
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def split_missing(contexts: Floats) -> tuple[Floats, NDArray[np.float32]]:
    """The network's two inputs: history [N, C] with 0 where it is missing, and what of it was observed."""
    seen = np.isfinite(contexts)
    return np.where(seen, contexts, 0.0), seen.astype(np.float32)
