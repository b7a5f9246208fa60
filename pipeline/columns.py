"""How a user's frame names things, and which of its columns are meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.checks import failure
from pipeline.params import DataParams
from pipeline.provenance import FILE, ROW

_LONG = ("unique_id", "ds", "y")  # the columns of the long-frame convention
_LISTED = 50  # names that a line has

# Finds what is read, given the names of a frame's columns, how the user names things, and the file's name for errors.
FindLayout = Callable[[Sequence[Any], "Columns", str], "Layout"]


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
        past_covariates: columns of numbers that are known up to the cutoff only.
        future_covariates: columns of numbers that are known ahead.
        static_categorical: columns of text, the same in all rows of a series.
        static_numeric: columns of numbers, the same in all rows of a series.
        or_iso: whether a column `ds` may be in ISO 8601 instead of in the format.
    """

    id_col: str | None
    time_col: tuple[str, ...] | None
    time_format: str | None
    timezone: str | None
    target_col: tuple[str, ...] | None
    freq: str | int
    past_covariates: tuple[str, ...] = ()
    future_covariates: tuple[str, ...] = ()
    static_categorical: tuple[str, ...] = ()
    static_numeric: tuple[str, ...] = ()
    or_iso: bool = False

    @classmethod
    def from_params(cls, data: DataParams) -> Columns:
        """Takes them from params.yaml; a .tsf file brings its own names, `unique_id`, `ds` and `y`."""
        if data.format == "tsf":
            return cls("unique_id", ("ds",), None, data.timezone, ("y",), data.freq)
        return cls(
            data.id_col,
            data.time_col,
            data.time_format,
            data.timezone,
            data.target_col,
            data.freq,
            data.past_covariates,
            data.future_covariates,
            data.static_covariates.categorical,
            data.static_covariates.numeric,
        )

    def to_json(self) -> dict[str, Any]:
        """Gives a JSON-able dictionary with the keys of section data of params.yaml."""
        return {
            "id_col": self.id_col,
            "time_col": self.time_col and list(self.time_col),
            "time_format": self.time_format,
            "timezone": self.timezone,
            "target_col": self.target_col and list(self.target_col),
            "freq": self.freq,
            "past_covariates": list(self.past_covariates),
            "future_covariates": list(self.future_covariates),
            "static_covariates": {
                "categorical": list(self.static_categorical),
                "numeric": list(self.static_numeric),
            },
        }

    def of_history(self, found: Sequence[Any]) -> Columns:
        """The same for a history to forecast from, given the names of its columns.

        Where one series was trained on, as `ds` and `y`, a history that names its series may hold many. A column `ds`
        may be in ISO 8601, as it is where the training data has other names, though they have it in a format.
        """
        one_series = (self.id_col, self.time_col, self.target_col) == (None, ("ds",), ("y",))
        id_col = "unique_id" if one_series and "unique_id" in found else self.id_col
        return dataclasses.replace(self, id_col=id_col, or_iso=True)

    def covariates(self) -> tuple[str, ...]:
        """All covariates: past, future, static."""
        return self.past_covariates + self.future_covariates + self.static_categorical + self.static_numeric

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Columns:
        """Reads what `to_json` gave."""
        static = value["static_covariates"]
        return cls(
            value["id_col"],
            value["time_col"] and tuple(value["time_col"]),
            value["time_format"],
            value["timezone"],
            value["target_col"] and tuple(value["target_col"]),
            value["freq"],
            tuple(value["past_covariates"]),
            tuple(value["future_covariates"]),
            tuple(static["categorical"]),
            tuple(static["numeric"]),
        )


@dataclass(frozen=True)
class Layout:
    """The columns that are read from one frame.

    Attributes:
        id_col: as in `Columns`.
        time: as `Columns.time_col`.
        time_format: as in `Columns`.
        target: as `Columns.target_col`.
        names: what the target columns are called in ids.
        past: as `Columns.past_covariates`.
        future: as `Columns.future_covariates`.
        categorical: as `Columns.static_categorical`.
        numeric: as `Columns.static_numeric`.
        or_iso: whether times may be in ISO 8601 all the same.
    """

    id_col: str | None
    time: tuple[str, ...]
    time_format: str | None
    target: tuple[str, ...]
    names: tuple[str, ...]
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    or_iso: bool = False

    def needed(self) -> list[str]:
        """All columns that are read."""
        named = [*([] if self.id_col is None else [self.id_col]), *self.time, *self.target]
        return list(dict.fromkeys([*named, *self.steps(), *self.categorical, *self.numeric]))

    def steps(self) -> tuple[str, ...]:
        """The covariates that have a value at each step, those known ahead last."""
        return self.past + self.future

    def truths(self) -> tuple[str, ...]:
        """The columns of numbers that may be true or false."""
        return self.steps() + self.numeric


def find_layout(found: Sequence[Any], columns: Columns, where: str) -> Layout:
    """Finds the user's columns in a frame, and takes no others for them.

    Args:
        found: the names of the frame's columns.
        columns: how the user names things.
        where: the file, for errors.

    Returns:
        The columns to read.

    Raises:
        DataError: `column-missing` or `column-duplicate`.
    """
    layout = _own_layout(columns)
    _check_found(layout, _without_provenance(found), where)
    return layout


def find_long_layout(found: Sequence[Any], columns: Columns, where: str) -> Layout:
    """Finds the user's columns in a frame that may have those of the long-frame convention instead.

    These are `unique_id`, `ds`, `y`; they are taken where the frame has no name of the user's that is not one of them,
    as a frame that has some is the user's with a slip in the others. Covariates have the user's names in both.

    Args:
        found: the names of the frame's columns.
        columns: how the user names things.
        where: the file, for errors.

    Returns:
        The columns to read. `unique_id` may be absent where there is one series.

    Raises:
        DataError: `column-missing` or `column-duplicate`.
    """
    found = _without_provenance(found)
    layout = _own_layout(columns)
    own = {layout.id_col, *layout.time, *layout.target} - {None, *_LONG}
    if own and own.isdisjoint(found) and {"ds", "y"} <= set(found):
        one_series = columns.id_col is None and len(layout.target) == 1
        id_col = None if one_series and "unique_id" not in found else "unique_id"
        names = layout.target[:1]
        layout = dataclasses.replace(layout, id_col=id_col, time=("ds",), time_format=None, target=("y",), names=names)
    _check_found(layout, found, where)
    return layout


def find_history_layout(found: Sequence[Any], columns: Columns, where: str) -> Layout:
    """`find_long_layout` for a history to forecast from."""
    return find_long_layout(found, columns.of_history(found), where)


def find_future_layout(found: Sequence[Any], columns: Columns, where: str, *, one_series: bool) -> Layout:
    """Finds the columns of a frame that tells what is known ahead: series, time and the future covariates.

    Args:
        found: the names of the frame's columns.
        columns: how the user names things; the frame may have `unique_id` and `ds` instead.
        where: the file, for errors.
        one_series: whether a frame that names no series is about all there are.

    Returns:
        The columns to read, without any target.

    Raises:
        DataError: `column-missing` or `column-duplicate`.
    """
    found = _without_provenance(found)
    ids = [name for name in (columns.id_col, "unique_id") if name is not None]
    id_col = next((name for name in ids if name in found), None if one_series else ids[0])
    time = columns.time_col or ("ds",)
    own = set(time) <= set(found) or "ds" not in found
    layout = Layout(
        id_col,
        time if own else ("ds",),
        columns.time_format if own else None,
        (),
        (),
        future=columns.future_covariates,
        or_iso=time == ("ds",),
    )
    _check_found(layout, found, where)
    return layout


def _own_layout(columns: Columns) -> Layout:
    target = columns.target_col or ("y",)
    return Layout(
        columns.id_col,
        columns.time_col or ("ds",),
        columns.time_format,
        target,
        target,
        columns.past_covariates,
        columns.future_covariates,
        columns.static_categorical,
        columns.static_numeric,
        or_iso=columns.or_iso and columns.time_col in (None, ("ds",)),
    )


def _without_provenance(found: Sequence[Any]) -> list[Any]:
    return [name for name in found if name not in (FILE, ROW)]


def _check_found(layout: Layout, found: Sequence[Any], where: str) -> None:
    absent = [name for name in layout.needed() if name not in found]
    if absent:
        told = f"no column {', '.join(map(repr, absent))}. Found: {listing(found)}"
        other = [mark for mark in ";\t|," if len(found) == 1 and mark in str(found[0])]
        raise failure("column-missing", where, f"{told}; is data.delimiter {other[0]!r}?" if other else told)
    for name in layout.needed():
        if list(found).count(name) > 1:
            raise failure("column-duplicate", f"{where}, column {name!r}", "occurs more than once")


def listing(found: Sequence[Any]) -> str:
    """Names in quotes, the first few of many."""
    names = [repr(str(name)) for name in found]
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else "")
