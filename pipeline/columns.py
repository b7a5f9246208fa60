"""How a user's frame names things, and which of its columns are meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.checks import failure
from pipeline.params import DataParams
from pipeline.provenance import FILE, ROW

_LISTED = 50  # columns that an error names


@dataclass(frozen=True)
class Columns:
    """How a user's frame names things.

    Attributes:
        id_col: column that names the series; None for one series (or one per target column).
        time_col: columns that tell the time, joined by a space.
        time_format: strptime format of the joined time; None for ISO 8601.
        timezone: IANA name of the zone of the user's times; None for times without a zone.
        target_col: value columns; several make a series each.
        freq: pandas offset alias, or the step of whole-numbered times.
    """

    id_col: str | None
    time_col: tuple[str, ...] | None
    time_format: str | None
    timezone: str | None
    target_col: tuple[str, ...] | None
    freq: str | int

    @classmethod
    def from_params(cls, data: DataParams) -> Columns:
        """Takes them from params.yaml; a .tsf file brings its own names, `unique_id`, `ds` and `y`."""
        if data.format == "tsf":
            return cls("unique_id", ("ds",), None, data.timezone, ("y",), data.freq)
        return cls(data.id_col, data.time_col, data.time_format, data.timezone, data.target_col, data.freq)

    def to_json(self) -> dict[str, Any]:
        """Gives a JSON-able dictionary."""
        lists = {
            "time_col": self.time_col and list(self.time_col),
            "target_col": self.target_col and list(self.target_col),
        }
        return {**dataclasses.asdict(self), **lists}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Columns:
        """Reads what `to_json` gave."""
        lists = {key: None if value[key] is None else tuple(value[key]) for key in ("time_col", "target_col")}
        return cls(**{**value, **lists})


@dataclass(frozen=True)
class Layout:
    """The columns that are read from one frame.

    Attributes:
        id_col: as in `Columns`.
        time: as `Columns.time_col`.
        time_format: as in `Columns`.
        target: as `Columns.target_col`.
        names: what the target columns are called in ids.
    """

    id_col: str | None
    time: tuple[str, ...]
    time_format: str | None
    target: tuple[str, ...]
    names: tuple[str, ...]

    def needed(self) -> list[str]:
        """All columns that are read."""
        return list(dict.fromkeys([*([] if self.id_col is None else [self.id_col]), *self.time, *self.target]))


def find_layout(found: Sequence[Any], columns: Columns, where: str) -> Layout:
    """Finds the user's columns in a frame, or else those of the long-frame convention: `unique_id`, `ds`, `y`.

    Args:
        found: the names of the frame's columns.
        columns: how the user names things.
        where: the file, for errors.

    Returns:
        The columns to read. `unique_id` may be absent where there is one series.

    Raises:
        DataError: `column-missing` or `column-duplicate`.
    """
    found = [name for name in found if name not in (FILE, ROW)]
    target = columns.target_col or ("y",)
    layout = Layout(columns.id_col, columns.time_col or ("ds",), columns.time_format, target, target)
    if not set(layout.needed()) <= set(found) and {"ds", "y"} <= set(found):
        one_series = columns.id_col is None and len(target) == 1
        id_col = None if one_series and "unique_id" not in found else "unique_id"
        layout = Layout(id_col, ("ds",), None, ("y",), target[:1])
    absent = [name for name in layout.needed() if name not in found]
    if absent:
        told = f"no column {', '.join(map(repr, absent))}. Found: {_listing(found)}"
        other = [mark for mark in ";\t|," if len(found) == 1 and mark in str(found[0])]
        raise failure("column-missing", where, f"{told}; is data.delimiter {other[0]!r}?" if other else told)
    for name in layout.needed():
        if list(found).count(name) > 1:
            raise failure("column-duplicate", f"{where}, column {name!r}", "occurs more than once")
    return layout


def _listing(found: Sequence[Any]) -> str:
    names = [repr(str(name)) for name in found]
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else "")
