"""What servers are asked: windows of weekly CO2, whole and all different."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import GatecastError

COUNT = 64


@dataclass(frozen=True)
class Window:
    """The history of a request.

    Attributes:
        records: its rows, by the names of the columns.
        values: of the series.
    """

    records: list[dict[str, Any]]
    values: list[float]


def read_windows(data: Path, length: int, count: int = COUNT) -> list[Window]:
    """Reads the last windows of a series.

    Args:
        data: CSV with a time and a value in each row.
        length: of a window.
        count: of windows, one step apart.

    Raises:
        GatecastError: so many whole windows are not at its end.
    """
    with data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[-(length + count - 1) :]
    time, value = rows[0]
    if len(rows) < length + count - 1 or any(not row[value] for row in rows):
        told = f"{data}: {length + count - 1:,} rows without a gap are needed at its end"
        raise GatecastError(f"{told}. Received: {len(rows):,} rows, or missing values; name another file")
    records: list[dict[str, Any]] = [{time: row[time], value: float(row[value])} for row in rows]
    parts = [records[start : start + length] for start in range(count)]
    return [Window(part, [row[value] for row in part]) for part in parts]
