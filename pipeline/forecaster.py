"""The saved forecaster as it is served and evaluated: `Forecaster.load(folder).forecast(frame)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipeline.bundle import DESCRIPTION, how_to_restore, is_evaluated, load_bundle
from pipeline.covariates import encode_history
from pipeline.errors import BundleError, DataError, GatecastError
from pipeline.hparams import UNKNOWN, NetworkSpec
from pipeline.intervals import forecast_columns

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.params import RepairParams
    from pipeline.series import Columns, Panel
    from pipeline.windows import Windows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK = 4096  # windows materialised at once
BATCH_SIZE = 64  # windows; more overflow the processor's caches and are slower


class Forecaster:
    """A trained ensemble of one cell type, or the ridge baseline. Safe to share between threads.

    Args:
        graph: the ONNX model, as `onnx_graph.build_graph` or `linear_graph.build_linear_graph` gives it.
        spec: cell, lengths, quantiles and hyperparameters.
        meta: what the bundle's forecaster.json says.
        threads: used within one call.

    Attributes:
        spec: as given.
        meta: as given.
        cell: key of `CELLS`, or `ridge`.
        quantiles: [Q] levels, ascending.
    """

    def __init__(self, graph: bytes, spec: NetworkSpec, meta: Mapping[str, Any], *, threads: int = 1) -> None:
        self.spec = spec
        self.meta = meta
        self.cell = spec.cell
        self.quantiles = spec.quantiles
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    @classmethod
    def load(cls, folder: Path | str, *, threads: int = 1) -> Forecaster:
        """Loads a bundle wholly into memory.

        Args:
            folder: `models/trained/{cell}` or `models/trained/ridge`.
            threads: used within one call; two are slower than one on a busy machine.

        Returns:
            The forecaster.

        Raises:
            BundleError: a file is missing or altered, the bundle's schema is another, or its graph does not run.
        """
        bundle = load_bundle(Path(folder))
        try:
            made = cls(bundle.graph, bundle.spec, bundle.meta, threads=threads)
        except Exception as error:  # ONNX Runtime has an exception of its own for each of its states
            cause = " ".join(str(error).split())
            raise BundleError(
                f"{folder}: onnxruntime {onnxruntime.__version__} cannot run its graph ({cause}); install the version "
                "that constraints.txt has, or make the bundle again"
            ) from None
        made._check_graph(Path(folder))
        return made

    def _check_graph(self, folder: Path) -> None:
        """Refuses a description whose lengths are not those of the graph, which alone has a hash."""
        told = {"history": [self.spec.context_length], "forecast": [self.spec.horizon, len(self.quantiles)]}
        given = {value.name: value.shape[1:] for value in (*self._session.get_inputs(), *self._session.get_outputs())}
        for name, shape in told.items():
            if given.get(name) != shape:
                raise BundleError(
                    f"{folder / DESCRIPTION} was altered: the graph has {name} [N, {_listed(given.get(name))}]. "
                    f"Received: [N, {_listed(shape)}]; {how_to_restore(folder)}"
                )

    @property
    def evaluated(self) -> bool:
        """Whether a part of the data was left to evaluate it on."""
        return is_evaluated(self.meta)

    @property
    def outputs(self) -> list[str]:
        """What `predict_arrays` can give."""
        return [value.name for value in self._session.get_outputs()]

    def predict_arrays(
        self,
        history: NDArray[Any],
        observed: NDArray[Any],
        *,
        past: NDArray[Any] | None = None,
        future: NDArray[Any] | None = None,
        static_cat: NDArray[Any] | None = None,
        static_num: NDArray[Any] | None = None,
        outputs: Sequence[str] = ("forecast",),
    ) -> dict[str, Floats]:
        """Forecasts from windows.

        What stands beside the history has the columns that `spec.inputs` names, in that order; a network that has
        none of a kind is given none. The calendar's are those of `clock.calendar_features`.

        Args:
            history: [N, C]; anything, NaN too, where nothing is observed.
            observed: [N, C], 1 where `history` is observed, else 0.
            past: [N, C, P] covariates over the context; NaN is missing, and None all of them.
            future: [N, H, K] covariates over the horizon; NaN is missing.
            static_cat: [N, J] numbers of categories, from 1; 0 is unknown, and None all of them.
            static_num: [N, R] static covariates that are numbers; NaN is missing, and None all of them.
            outputs: which of `forecast`, `uncalibrated` [N, H, Q], `members` [K, N, H, Q], `location` and `scale`
                [N, 1], and with a copy head `copy_weights` [N, F, S], to return; see `onnx_graph.build_graph`.

        Returns:
            The chosen outputs by name, in units of the history. A window where nothing is observed gives 0.

        Raises:
            GatecastError: an array has another shape, or `future` is needed and is None; an observed value is not
                finite, or it is negative while the network takes logarithms; or values are so large that a forecast
                of them overflows.
        """
        inputs = self.check_arrays(
            history, observed, past=past, future=future, static_cat=static_cat, static_num=static_num
        )
        return self.run(inputs, outputs=outputs)

    def check_arrays(
        self,
        history: NDArray[Any],
        observed: NDArray[Any],
        *,
        past: NDArray[Any] | None = None,
        future: NDArray[Any] | None = None,
        static_cat: NDArray[Any] | None = None,
        static_num: NDArray[Any] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Checks windows, and completes what may be left out.

        Args:
            history: as for `predict_arrays`, like all others.
            observed: [N, C].
            past: [N, C, P].
            future: [N, H, K].
            static_cat: [N, J].
            static_num: [N, R].

        Returns:
            The inputs of the graph by name, for `run`; those of several calls may be concatenated.

        Raises:
            GatecastError: as `predict_arrays`, but for values that overflow.
        """
        history = np.ascontiguousarray(history, dtype=np.float64)
        observed = np.ascontiguousarray(observed, dtype=np.float32)
        _check_windows(history, observed, self.spec)
        given = {"past": past, "future": future, "static_cat": static_cat, "static_num": static_num}
        return {"history": history, "observed": observed, **_beside(given, len(history), self.spec)}

    def run(self, inputs: Mapping[str, NDArray[Any]], *, outputs: Sequence[str] = ("forecast",)) -> dict[str, Floats]:
        """Runs the graph.

        Args:
            inputs: what `check_arrays` gave.
            outputs: as for `predict_arrays`.

        Returns:
            As `predict_arrays`.

        Raises:
            GatecastError: values are so large that a forecast of them overflows.
        """
        count = len(inputs["history"])
        if 0 < count <= BATCH_SIZE:
            results = dict(zip(outputs, self._session.run(list(outputs), dict(inputs)), strict=True))
        else:
            results = {name: np.empty(self._shape(name, count)) for name in outputs}
            for start in range(0, count, BATCH_SIZE):
                rows = slice(start, start + BATCH_SIZE)
                batch = self._session.run(list(outputs), {name: value[rows] for name, value in inputs.items()})
                for name, value in zip(outputs, batch, strict=True):
                    results[name][(slice(None), rows) if name == "members" else rows] = value
        _check_outputs(results, inputs["history"], inputs["observed"])
        return results

    def predict_windows(self, windows: Windows, *, outputs: Sequence[str] = ("forecast",)) -> dict[str, Floats]:
        """`predict_arrays` of all windows of a split, of which few are in memory at a time."""
        parts = [
            self.predict_arrays(**windows.inputs(self.spec, slice(start, start + CHUNK)), outputs=outputs)
            for start in range(0, len(windows), CHUNK)
        ]
        return {name: np.concatenate([part[name] for part in parts], axis=int(name == "members")) for name in outputs}

    def forecast(
        self, frame: pd.DataFrame, *, future: pd.DataFrame | None = None, skip_empty: bool = False
    ) -> pd.DataFrame:
        """Forecasts the steps after each series' last timestamp.

        The frame passes the same checks and repairs as the training data did.

        Args:
            frame: history of any number of series, in rows of any order, with the columns that the training data
                had or with Nixtla's `unique_id`, `ds`, `y` (`unique_id` may be left out for one series); other
                columns are ignored. Of a longer history the last C steps count; a shorter one is padded.
            future: the covariates known ahead at the H steps after each series' last one, in the columns of the
                training data: series, time and the covariates; other rows and columns are ignored. Where the
                forecaster takes none, all of it is, so that one model can stand in for another.
            skip_empty: leaves out series that have nothing observed in their last C steps, as those of a table with a
                column for each that have ended; else they are an error, so that none goes missing without a word.

        Returns:
            `unique_id`, `ds` in the time zone of the data, `cutoff` (the last timestamp of the series), the median
            in a column named after the cell, and the ends of each interval in `{cell}-lo-95`, …, `{cell}-hi-95`;
            H rows per series, sorted by series and time.

        Raises:
            DataError: the frame does not pass the checks, a series has nothing observed in its last C steps
                (`context-empty`; with `skip_empty` where that is so of all), or a negative value where the network
                takes logarithms (`value-negative`).
            GatecastError: `future` is taken and not given.
        """
        prepared = self.prepare(frame, future=future, skip_empty=skip_empty)
        return prepared.frame(self.run(prepared.inputs)["forecast"])

    def prepare(
        self,
        frame: pd.DataFrame,
        *,
        future: pd.DataFrame | None = None,
        most_steps: int | None = None,
        skip_empty: bool = False,
    ) -> Prepared:
        """Does all of `forecast` that comes before the graph; see there and `read_panel` for arguments and errors."""
        panel = self.read_panel(frame, most_steps=most_steps, keep_unobserved=skip_empty)
        return self.prepare_panel(panel, future=future, skip_empty=skip_empty)

    def prepare_panel(self, panel: Panel, *, future: pd.DataFrame | None = None, skip_empty: bool = False) -> Prepared:
        """`prepare` of a history that is regular already.

        Args:
            panel: as `build_panel` makes it.
            future: as for `forecast`.
            skip_empty: likewise; `Prepared.left_out` names what it left out.
        """
        contexts = _Contexts.of_panel(panel, self.spec.context_length)
        left_out = list(compress(contexts.ids, contexts.empty)) if skip_empty else []
        if 0 < len(left_out) < len(contexts.ids):  # where all are empty, they are refused by their names
            contexts = _Contexts.of_panel(panel.without(left_out), self.spec.context_length)
        contexts.check(self.spec.hparams.transform, self.spec.horizon)
        beside = self._beside(contexts, future)
        inputs = self.check_arrays(contexts.history, np.isfinite(contexts.history), **beside)
        return Prepared(self.spec, inputs, contexts, left_out)

    def _shape(self, output: str, n: int) -> tuple[int, ...]:
        shapes = {value.name: value.shape for value in self._session.get_outputs()}
        return tuple(n if size == "N" else size for size in shapes[output])

    def _beside(self, contexts: _Contexts, future: pd.DataFrame | None) -> dict[str, Any]:
        """The arrays that the network takes beside the history, by name."""
        wanted, arrays = self.spec.inputs, dict[str, Any]()
        names = self._columns().future_covariates
        if names and future is None:
            raise GatecastError(
                f"future: the forecaster takes {', '.join(names)} over the horizon. Received: nothing; give a table "
                "with the series, the time and these columns"
            )
        if wanted.past:
            calendar = self.spec.hparams.calendar == "auto"
            own = (*self._columns().past_covariates, *names)
            arrays["past"], ahead = contexts.covariates(own, self.spec.horizon, calendar=calendar)
            if wanted.future:
                arrays["future"] = np.concatenate([self._future(contexts, future), ahead], axis=2)
        if wanted.categorical:
            words = contexts.panel.statics  # the series' names among them
            codes = [
                encode_history(words[name].tolist(), self.meta["vocabularies"][name]) for name in wanted.categorical
            ]
            arrays["static_cat"] = np.stack(codes, axis=1)
        if wanted.numeric:
            arrays["static_num"] = contexts.panel.statics[list(wanted.numeric)].to_numpy(dtype=np.float64)
        return arrays

    def _future(self, contexts: _Contexts, future: pd.DataFrame | None) -> Floats:
        """The user's covariates over the horizon [N, H, K]."""
        if future is None:
            return np.zeros((len(contexts.ids), self.spec.horizon, 0))
        from pipeline.future import build_future

        return build_future(
            future, panel=contexts.panel, columns=self._columns(), repair=self._repair(), horizon=self.spec.horizon
        )

    def _columns(self) -> Columns:
        from pipeline.series import Columns

        try:
            return Columns.from_json(self.meta["columns"])
        except (KeyError, TypeError, AttributeError) as error:
            raise self._incomplete("columns", error) from None

    def _repair(self) -> RepairParams:
        from pipeline.params import RepairParams

        # A series that never changes has a forecast; one that has none must not go missing without a word.
        try:
            return RepairParams.model_validate({**self.meta["repair"], "constant": "keep", "short": "error"})
        except (KeyError, TypeError, ValueError) as error:
            raise self._incomplete("repair", error) from None

    def _incomplete(self, key: str, error: Exception) -> BundleError:
        told = " ".join(f"{type(error).__name__} {error}".split())[:200]
        return BundleError(f"forecaster.json: {key} cannot be used: {told}; publish or train the bundle again")

    def read_panel(self, frame: pd.DataFrame, *, most_steps: int | None = None, keep_unobserved: bool = False) -> Panel:
        """The history on regular grids, as `forecast` reads it; see there for errors.

        Args:
            frame: as for `forecast`.
            most_steps: of all series together, those in gaps included; more are `limit-points`.
            keep_unobserved: whether series without a value are in it; else they are refused.
        """
        from pipeline.series import build_panel

        columns = self._columns().of_history(list(frame.columns))
        return build_panel(
            frame,
            columns=columns,
            repair=self._repair(),
            min_history=1,
            end=None,
            whole=False,
            most_steps=most_steps,
            keep_unobserved=keep_unobserved,
        )


@dataclass(frozen=True)
class Prepared:
    """A table of history on its way into the graph.

    Attributes:
        spec: the network's.
        inputs: the inputs of the graph, for `Forecaster.run`; one window per series.
        contexts: the series.
        left_out: those that `skip_empty` left out.
    """

    spec: NetworkSpec
    inputs: Mapping[str, NDArray[Any]]
    contexts: _Contexts
    left_out: Sequence[str] = ()

    def times(self) -> tuple[pd.Series[Any], pd.Series[Any]]:
        """The H timestamps that follow each series [N * H], and its last one [N], in the time zone of the data."""
        return self.contexts.times(self.spec.horizon)

    def frame(self, quantiles: Floats) -> pd.DataFrame:
        """The forecast frame, as `Forecaster.forecast` gives it, of the graph's output [N, H, Q]."""
        columns = forecast_columns(self.spec.cell, self.spec.quantiles)
        return self.contexts.frame(self.spec.horizon, {name: quantiles[:, :, place] for name, place in columns})


@dataclass(frozen=True)
class _Contexts:
    """The last steps of every series of a panel.

    Attributes:
        panel: where they come from.
        ids: [N] names of the series.
        ends: [N] row of the last step of each series in the panel.
        rows: [N, C] rows of the context in the panel; those before a series' start are of another one.
        started: [N, C] whether the series had started.
        history: [N, C]; NaN is missing or before the series' start.
    """

    panel: Panel
    ids: list[str]
    ends: Ints
    rows: Ints
    started: NDArray[np.bool_]
    history: Floats

    @classmethod
    def of_panel(cls, panel: Panel, context_length: int) -> _Contexts:
        codes, names = panel.frame["unique_id"].factorize()
        ends: Ints = np.searchsorted(codes, np.arange(len(names)), side="right") - 1
        starts = np.concatenate([[0], ends[:-1] + 1])
        values = panel.frame["y"].to_numpy(dtype=np.float64)
        rows = ends[:, None] + np.arange(1 - context_length, 1)
        started, rows = rows >= starts[:, None], np.maximum(rows, 0)
        history = np.where(started, values[rows], np.nan)
        return cls(panel, [str(name) for name in names], ends, rows, started, history)

    @property
    def empty(self) -> NDArray[np.bool_]:
        """[N] whether nothing is observed."""
        return np.asarray(~np.isfinite(self.history).any(axis=1))

    def covariates(self, names: Sequence[str], horizon: int, *, calendar: bool) -> tuple[Floats, Floats]:
        """Covariates over the context [N, C, P], the calendar's last if it is wanted, and the calendar's over the
        horizon [N, H, L].
        """
        from pipeline.clock import calendar_features
        from pipeline.series import future_times

        panel, ds = self.panel, self.panel.frame["ds"]
        known = panel.frame[list(names)].to_numpy(dtype=np.float64)[self.rows]
        past = np.where(self.started[:, :, None], known, np.nan)
        if not calendar:
            return past, np.zeros((len(self.ids), horizon, 0))
        ahead = future_times(ds.iloc[self.ends], freq=panel.freq, horizon=horizon)
        clocks = [
            calendar_features(times.ravel(), freq=panel.freq, timezone=panel.timezone)[1].reshape(*times.shape, -1)
            for times in (ds.to_numpy()[self.rows], ahead)
        ]
        # As in training, where nothing is known of the steps before a series' start.
        before = np.where(self.started[:, :, None], clocks[0], 0.0)
        return np.concatenate([past, before], axis=2), clocks[1].astype(np.float64)

    def check(self, transform: str, horizon: int) -> None:
        """Refuses what the network has no forecast of."""
        from pipeline.timestamps import leaves_calendar

        empty = self.empty
        if empty.any():
            length = self.history.shape[1]
            way_out = "" if empty.all() else ", or leave such series out with skip_empty=True"
            raise DataError(
                "context-empty",
                f"{self._at(int(np.argmax(empty)), length - 1)}: nothing is observed in the {length} steps up to here "
                f"({empty.sum():,} such series of {len(self.ids):,}); bring values{way_out}",
            )
        if transform == "log1p":
            what = "negative, and this network takes logarithms (transform: log1p)"
            self._refuse(self.history < 0, "value-negative", what, "correct it, or train with transform: [none]")
        lasts = self.panel.frame["ds"].to_numpy()[self.ends]
        latest = int(np.argmax(lasts))
        if leaves_calendar(lasts[latest], freq=self.panel.freq, steps=horizon):
            raise DataError(
                "time-unparseable",
                f"{self._at(latest, self.history.shape[1] - 1)}: {horizon} steps from here lie beyond the year 9999, "
                "the last that timestamps know. Received: this as the last time; correct it, or leave the series out",
            )

    def _refuse(self, bad: NDArray[np.bool_], code: str, what: str, mend: str) -> None:
        if bad.any():
            series, step = np.argwhere(bad)[0]
            raise DataError(
                code,
                f"{self._at(series, step)}: {what}. Received: {self.history[series, step]} "
                f"(the first of {bad.sum():,}); {mend}",
            )

    def _at(self, series: int, step: int) -> str:
        row = self.ends[series] - self.history.shape[1] + 1 + step
        return f"series {self.ids[series]!r} at {self._user_times(self.panel.frame['ds'].iloc[[row]]).iloc[0]}"

    def _user_times(self, ds: pd.Series[Any]) -> pd.Series[Any]:
        from pipeline.series import to_user_time

        return to_user_time(ds.reset_index(drop=True), freq=self.panel.freq, timezone=self.panel.timezone)

    def times(self, horizon: int) -> tuple[pd.Series[Any], pd.Series[Any]]:
        """The timestamps after each series' last one [N * H], and that one [N], as the user has them."""
        import pandas as pd

        from pipeline.series import future_times

        last = self.panel.frame["ds"].iloc[self.ends]
        future = future_times(last, freq=self.panel.freq, horizon=horizon)
        return self._user_times(pd.Series(future.ravel())), self._user_times(last)

    def frame(self, horizon: int, values: Mapping[str, Floats]) -> pd.DataFrame:
        """A forecast frame: series and time, then the columns [N, H] given."""
        import pandas as pd

        future, last = self.times(horizon)
        columns: dict[str, Any] = {
            "unique_id": pd.Index(self.ids, dtype="str").repeat(horizon),
            "ds": future,
            "cutoff": last.repeat(horizon).array,
        }
        return pd.DataFrame(columns | {name: value.ravel() for name, value in values.items()})


def _listed(shape: Sequence[int] | None) -> str:
    return ", ".join(map(str, shape or ()))


def _check_windows(history: Floats, observed: NDArray[np.float32], spec: NetworkSpec) -> None:
    if history.ndim != 2 or history.shape[1] != spec.context_length or history.shape != observed.shape:
        raise GatecastError(
            f"history and observed are both [N, {spec.context_length}]. "
            f"Received: {list(history.shape)} and {list(observed.shape)}; pad shorter ones on the left with observed 0"
        )
    seen = observed > 0
    _refuse(history, seen & ~np.isfinite(history), "a finite value where observed is 1", "set observed to 0 there")
    if spec.hparams.transform == "log1p":
        _refuse(
            history,
            seen & (history < 0),
            "a value of at least 0, as this network takes logarithms (transform: log1p)",
            "correct the values, or train with transform: [none]",
        )


def _beside(given: Mapping[str, NDArray[Any] | None], n: int, spec: NetworkSpec) -> dict[str, NDArray[Any]]:
    """What the graph takes beside the history, checked; what may be left out is unknown."""
    arrays = {}
    wanted = {name: (n, *shape) for name, shape in spec.inputs.shapes(spec.context_length, spec.horizon).items()}
    for name, value in given.items():
        if name not in wanted:
            if value is not None and value.size:
                raise GatecastError(
                    f"{name}: this network takes none. Received: shape {list(value.shape)}; leave it out"
                )
            continue
        kind: Any = np.int64 if name == "static_cat" else np.float64
        if value is None and name == "future":
            names = ", ".join(spec.inputs.future)
            raise GatecastError(f"future: a tensor `future` [N, H, K] of {names} is needed. Received: nothing")
        unknown = np.full(wanted[name], 0 if name == "static_cat" else np.nan)
        array = np.ascontiguousarray(unknown if value is None else value, dtype=kind)
        if array.shape != wanted[name]:
            raise GatecastError(f"{name}: shape {list(wanted[name])} is needed. Received: {list(array.shape)}")
        if (np.abs(array) > np.finfo(np.float32).max).any():  # an infinity too
            largest = np.nanmax(np.abs(array))
            raise GatecastError(f"{name}: numbers of float32, or NaN where missing, are needed. Received: {largest:g}")
        if name == "static_cat":
            array = np.where((array < 0) | (array > np.array(spec.inputs.categories)), UNKNOWN, array)
        arrays[name] = array
    return arrays


def _refuse(history: Floats, bad: NDArray[np.bool_], needed: str, mend: str) -> None:
    if bad.any():
        row, step = np.argwhere(bad)[0]
        raise GatecastError(
            f"history, row {row}, step {step}: {needed} is needed. Received: {history[row, step]} "
            f"({bad.sum()} such values); {mend}"
        )


def _check_outputs(results: Mapping[str, Floats], history: Floats, observed: NDArray[np.float32]) -> None:
    for name, value in results.items():
        if np.isfinite(value).all():
            continue
        by_window = np.moveaxis(value, 1, 0) if name == "members" else value
        row = int(np.argwhere(~np.isfinite(by_window))[0, 0])
        seen = history[row][observed[row] > 0]
        raise GatecastError(
            f"history, row {row}: its {name} overflows. Received: values from {seen.min():g} to {seen.max():g}; "
            "bring them to a common size, such as by another unit"
        )
