"""The saved forecaster as it is served and evaluated: `Forecaster.load(folder).forecast(frame)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipeline.bundle import load_bundle, save_bundle
from pipeline.errors import DataError, GatecastError
from pipeline.hparams import NetworkSpec
from pipeline.intervals import forecast_columns

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.series import Panel

__all__ = ["Forecaster", "save_bundle"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ONE_SERIES = (None, ("ds",), ("y",))  # the id, time and target columns of such training data
LARGEST = 1e150  # its square is still a number
BATCH_SIZE = 64  # windows; more overflow the processor's caches and are slower


class Forecaster:
    """A trained ensemble of one cell type. Safe to share between threads.

    Args:
        graph: the ONNX model, as `onnx_graph.build_graph` gives it.
        spec: cell, lengths, quantiles and hyperparameters.
        meta: what the bundle's forecaster.json says.
        threads: used within one call.

    Attributes:
        spec: as given.
        meta: as given.
        cell: key of `CELLS`.
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
            folder: `models/trained/{cell}`.
            threads: used within one call; two are slower than one on a busy machine.

        Returns:
            The forecaster.

        Raises:
            BundleError: a file is missing or altered, or the bundle's schema is another.
        """
        bundle = load_bundle(Path(folder))
        return cls(bundle.graph, bundle.spec, bundle.meta, threads=threads)

    @classmethod
    def from_graph(cls, graph: bytes, spec: NetworkSpec, meta: Mapping[str, Any], *, threads: int = 1) -> Forecaster:
        """Makes a forecaster of a graph that is not saved (yet); see the class for the arguments."""
        return cls(graph, spec, meta, threads=threads)

    def predict_arrays(
        self, history: NDArray[Any], observed: NDArray[Any], *, outputs: Sequence[str] = ("forecast",)
    ) -> dict[str, Floats]:
        """Forecasts from windows.

        Args:
            history: [N, C]; anything, NaN too, where nothing is observed.
            observed: [N, C], 1 where `history` is observed, else 0.
            outputs: which of `forecast`, `uncalibrated` [N, H, Q], `members` [K, N, H, Q], `location` and `scale`
                [N, 1] to return; see `onnx_graph.build_graph`.

        Returns:
            The chosen outputs by name, in units of the history. A window where nothing is observed gives 0.

        Raises:
            GatecastError: the shapes are not [N, C]; an observed value is not finite, or it is negative while the
                network takes logarithms; or values are so large that a forecast of them overflows.
        """
        history = np.ascontiguousarray(history, dtype=np.float64)
        observed = np.ascontiguousarray(observed, dtype=np.float32)
        _check_windows(history, observed, self.spec)
        results = {name: np.empty(self._shape(name, len(history))) for name in outputs}
        for start in range(0, len(history), BATCH_SIZE):
            rows = slice(start, start + BATCH_SIZE)
            batch = self._session.run(list(outputs), {"history": history[rows], "observed": observed[rows]})
            for name, value in zip(outputs, batch, strict=True):
                results[name][(slice(None), rows) if name == "members" else rows] = value
        _check_outputs(results, history, observed)
        return results

    def forecast(self, frame: pd.DataFrame, *, future: pd.DataFrame | None = None) -> pd.DataFrame:
        """Forecasts the steps after each series' last timestamp.

        The frame passes the same checks and repairs as the training data did.

        Args:
            frame: history of any number of series, in rows of any order, with the columns that the training data
                had or with Nixtla's `unique_id`, `ds`, `y` (`unique_id` may be left out for one series); other
                columns are ignored. Of a longer history the last C steps count; a shorter one is padded.
            future: covariates known ahead; None, as no network takes any.

        Returns:
            `unique_id`, `ds` in the time zone of the data, `cutoff` (the last timestamp of the series), the median
            in a column named after the cell, and the ends of each interval in `{cell}-lo-95`, …, `{cell}-hi-95`;
            H rows per series, sorted by series and time.

        Raises:
            DataError: the frame does not pass the checks, a series has nothing observed in its last C steps
                (`context-empty`), a negative value where the network takes logarithms (`value-negative`), or one that
                makes a forecast overflow (`value-huge`).
            GatecastError: `future` is given.
        """
        if future is not None:
            raise GatecastError(
                f"future: this forecaster takes no covariates. Received: a {type(future).__name__}; leave it out"
            )
        contexts = _Contexts.of_panel(self._panel(frame), self.spec.context_length)
        contexts.check(self.spec.hparams.transform)
        quantiles = self.predict_arrays(contexts.history, np.isfinite(contexts.history))["forecast"]
        columns = forecast_columns(self.cell, self.quantiles)
        return contexts.frame(self.spec.horizon, {name: quantiles[:, :, place] for name, place in columns})

    def _shape(self, output: str, n: int) -> tuple[int, ...]:
        shapes = {value.name: value.shape for value in self._session.get_outputs()}
        return tuple(n if size == "N" else size for size in shapes[output])

    def _panel(self, frame: pd.DataFrame) -> Panel:
        from pipeline.params import RepairParams
        from pipeline.series import Columns, build_panel

        columns = Columns.from_json(self.meta["columns"])
        if "unique_id" in frame.columns and (columns.id_col, columns.time_col, columns.target_col) == _ONE_SERIES:
            # One series was trained on; a frame that names its series may hold many.
            columns = replace(columns, id_col="unique_id")
        repair = RepairParams.model_validate(self.meta["repair"])
        # A series that never changes has a forecast; one that has none must not go missing without a word.
        repair = repair.model_copy(update={"constant": "keep", "short": "error"})
        return build_panel(frame, columns=columns, repair=repair, min_history=1, end=None)


@dataclass(frozen=True)
class _Contexts:
    """The last steps of every series of a panel.

    Attributes:
        panel: where they come from.
        ids: [N] names of the series.
        ends: [N] row of the last step of each series in the panel.
        history: [N, C]; NaN is missing or before the series' start.
    """

    panel: Panel
    ids: list[str]
    ends: Ints
    history: Floats

    @classmethod
    def of_panel(cls, panel: Panel, context_length: int) -> _Contexts:
        codes, names = panel.frame["unique_id"].factorize()
        ends: Ints = np.searchsorted(codes, np.arange(len(names)), side="right") - 1
        starts = np.concatenate([[0], ends[:-1] + 1])
        values = panel.frame["y"].to_numpy(dtype=np.float64)
        rows = ends[:, None] + np.arange(1 - context_length, 1)
        history = np.where(rows >= starts[:, None], values[np.maximum(rows, 0)], np.nan)
        return cls(panel, [str(name) for name in names], ends, history)

    def check(self, transform: str) -> None:
        """Refuses what the network has no forecast of."""
        empty = ~np.isfinite(self.history).any(axis=1)
        if empty.any():
            length = self.history.shape[1]
            raise DataError(
                "context-empty",
                f"{self._at(int(np.argmax(empty)), length - 1)}: nothing is observed in the {length} steps up to here "
                f"({empty.sum():,} such series of {len(self.ids):,}); bring values, or leave the series out",
            )
        what = f"larger than {LARGEST:g}, which no forecast can be made of"
        self._refuse(np.abs(self.history) > LARGEST, "value-huge", what, "give the values in another unit")
        if transform == "log1p":
            what = "negative, and this network takes logarithms (transform: log1p)"
            self._refuse(self.history < 0, "value-negative", what, "correct it, or train with transform: [none]")

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

    def frame(self, horizon: int, values: Mapping[str, Floats]) -> pd.DataFrame:
        """A forecast frame: series and time, then the columns [N, H] given."""
        import pandas as pd

        from pipeline.series import future_times

        last = self.panel.frame["ds"].iloc[self.ends]
        future = future_times(last, freq=self.panel.freq, horizon=horizon)
        columns: dict[str, Any] = {
            "unique_id": pd.Index(self.ids, dtype="str").repeat(horizon),
            "ds": self._user_times(pd.Series(future.ravel())),
            "cutoff": self._user_times(last).repeat(horizon).array,
        }
        return pd.DataFrame(columns | {name: value.ravel() for name, value in values.items()})


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
