"""The panel: all series in one long frame on regular grids, with what was repaired to get there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.columns import Columns
from pipeline.covariate_rows import CovariateRows, read_covariates
from pipeline.frequency import future_times
from pipeline.params import RepairParams
from pipeline.regular import choose_series, fill_grid, keep_one_per_time, place_on_grid
from pipeline.rows import Floats, Rows, Source, read_rows
from pipeline.storage import read_json, replacing, write_json
from pipeline.timestamps import to_user_time

__all__ = ["Columns", "Panel", "build_panel", "future_times", "load_panel", "save_panel", "to_user_time"]


@dataclass(frozen=True)
class Panel:
    """Series on regular grids.

    Attributes:
        frame: `unique_id` (str), `ds` (datetime64[us] grid time without a zone, or int64), `y` (float64, NaN is
            missing), then the past and the future covariates by their names (float64, NaN is missing); sorted by
            `unique_id` and `ds`, without gaps in each series.
        freq: as `data.freq`.
        timezone: as `data.timezone`; None for times without a zone.
        audit: what was read, repaired and left out, JSON-able.
        statics: one row per series in the order of `frame`: `unique_id` (str), then the static covariates by their
            names, text (object, None is missing) before numbers (float64, NaN is missing).
    """

    frame: pd.DataFrame
    freq: str | int
    timezone: str | None
    audit: dict[str, Any]
    statics: pd.DataFrame

    def without(self, ids: Collection[str]) -> Panel:
        """The other series alone; the audit stays that of all."""
        frame, statics = (one[~one["unique_id"].isin(ids)].reset_index(drop=True) for one in (self.frame, self.statics))
        return replace(self, frame=frame, statics=statics)


def build_panel(
    frame: pd.DataFrame,
    *,
    columns: Columns,
    repair: RepairParams,
    min_history: int,
    end: str | int | None,
    whole: bool = True,
    most_steps: int | None = None,
    keep_unobserved: bool = False,
) -> Panel:
    """Checks raw rows, repairs what the policies allow, and puts each series on its regular grid.

    Nothing is interpolated: an absent or unusable value is missing (NaN).

    Args:
        frame: raw rows in the user's columns, or in `unique_id` (optional for one series), `ds`, `y` and the user's
            covariates; values may be text. With the columns of `pipeline.provenance`, errors name file and row, else
            the row of the frame.
        columns: the user's names, frequency and zone.
        repair: what to do with input that is not clean.
        min_history: steps that a series has at least.
        end: last timestamp used, in the user's time; None for all.
        whole: whether this is all of the data. In a part of it, as is brought for a forecast, a series may happen to
            have no two rows one step apart.
        most_steps: of all series together, those in gaps included; None for any number.
        keep_unobserved: whether series without a value stay, whatever `repair.short` says.

    Returns:
        The panel, with an audit of every repair.

    Raises:
        DataError: what cannot be repaired, or what the policies do not let be repaired.
    """
    rows, source, late = read_rows(frame, columns=columns, repair=repair, end=end)
    rows, covariates = keep_one_per_time(rows, source, read_covariates(rows, source))
    placed = place_on_grid(rows, source)
    counts = {"read": source.series.size, "after_end": source.series[late].size, "used": len(placed.rows.ds)}
    rows = fill_grid(placed, source, whole=whole, most_steps=most_steps)
    rows = choose_series(rows, source, late, min_history=min_history, keep_unobserved=keep_unobserved)
    steps = covariates.of_rows(rows)
    audit = {
        "columns": columns.to_json(),
        "repair": repair.model_dump(),
        "rows": counts,
        **_audit(rows, source),
        "covariates": {name: {"missing": int(np.count_nonzero(np.isnan(values)))} for name, values in steps.items()},
    }
    statics = _statics(rows, source, covariates)
    return Panel(_long_frame(rows, source, steps), columns.freq, columns.timezone, audit, statics)


def _audit(rows: Rows, source: Source) -> dict[str, Any]:
    count = len(source.ids)
    steps = np.bincount(rows.series, minlength=count)
    missing = np.bincount(rows.series[np.isnan(rows.y)], minlength=count)
    read = np.bincount(source.series.reshape(-1), minlength=count)
    each = zip(source.ids, read, steps, missing, source.ledger.of_series(), strict=True)
    return {
        "series": {"read": count, "used": int(np.count_nonzero(steps))},
        "steps": int(steps.sum()),
        "missing": int(missing.sum()),
        "repairs": source.ledger.totals(),
        "per_series": {
            name: {"rows_read": int(r), "steps": int(s), "missing": int(m), "repairs": repairs}
            for name, r, s, m, repairs in each
        },
    }


def _long_frame(rows: Rows, source: Source, covariates: dict[str, Floats]) -> pd.DataFrame:
    ds = rows.ds if source.frequency.whole_numbered else rows.ds.view("datetime64[us]")
    names = pd.array(source.ids, dtype="str").take(rows.series)
    return pd.DataFrame({"unique_id": names, "ds": ds, "y": rows.y, **covariates})


def _statics(rows: Rows, source: Source, covariates: CovariateRows) -> pd.DataFrame:
    used = np.flatnonzero(np.bincount(rows.series))
    return pd.DataFrame({"unique_id": pd.array(source.ids, dtype="str").take(used), **covariates.of_series(used)})


def save_panel(panel: Panel, folder: Path) -> None:
    """Writes `panel.parquet`, `statics.parquet`, `schema.json` and `audit.json`: the same bytes for the same panel.

    Args:
        panel: the panel.
        folder: where they go; what lies there is replaced as a whole.
    """
    time = pa.int64() if isinstance(panel.freq, int) else pa.timestamp("us")
    columns = Columns.from_json(panel.audit["columns"])
    steps = columns.past_covariates + columns.future_covariates
    table = _table(panel.frame, {"unique_id": pa.string(), "ds": time, **dict.fromkeys(("y", *steps), pa.float64())})
    texts = dict.fromkeys(("unique_id", *columns.static_categorical), pa.string())
    statics = _table(panel.statics, texts | dict.fromkeys(columns.static_numeric, pa.float64()))
    schema = {
        "schema": 1,
        "freq": panel.freq,
        "timezone": panel.timezone,
        "columns": {field.name: str(field.type) for field in table.schema},
        "covariates": {
            "past": list(columns.past_covariates),
            "future": list(columns.future_covariates),
            "static": {"categorical": list(columns.static_categorical), "numeric": list(columns.static_numeric)},
        },
        "series": panel.audit["series"]["used"],
        "steps": panel.audit["steps"],
        "missing": panel.audit["missing"],
        "repairs": panel.audit["repairs"],
    }
    with replacing(folder) as beside:
        beside.mkdir()
        pq.write_table(table, beside / "panel.parquet", compression="zstd")
        pq.write_table(statics, beside / "statics.parquet", compression="zstd")
        write_json(schema, beside / "schema.json")
        write_json(panel.audit, beside / "audit.json")


def _table(frame: pd.DataFrame, kinds: dict[str, pa.DataType]) -> pa.Table:
    table = pa.Table.from_pandas(frame, schema=pa.schema(list(kinds.items())), preserve_index=False)
    return table.replace_schema_metadata(None)


def load_panel(folder: Path) -> Panel:
    """Reads what `save_panel` wrote.

    Args:
        folder: of `save_panel`.

    Returns:
        The panel.
    """
    schema = read_json(folder / "schema.json")
    frame = pq.read_table(folder / "panel.parquet").to_pandas()
    table = pq.read_table(folder / "statics.parquet")
    categorical = schema["covariates"]["static"]["categorical"]
    texts = {name: pd.Series(table[name].to_pylist(), dtype=object) for name in categorical}
    return Panel(
        frame.astype({"unique_id": "str"}),
        schema["freq"],
        schema["timezone"],
        read_json(folder / "audit.json"),
        table.to_pandas().astype({"unique_id": "str"}).assign(**texts),
    )
