"""Where the rows of a raw frame come from, so that an error can name file and row.

A frame that was read from files carries two extra columns, `__file__` (the name as the user wrote it) and `__row__`,
and two attributes: `row_unit`, what `__row__` counts from 1 (`line` of a text file, header and blank lines included;
`row` of a Parquet file), and `decimal`, the decimal point of its text. A frame without them names its own rows from 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FILE = "__file__"
ROW = "__row__"


@dataclass(frozen=True)
class Provenance:
    """The origin of a frame's rows.

    Attributes:
        files: [N] file names; None for a frame made in memory.
        rows: [N] places in the file, from 1; None for a frame made in memory.
        unit: what `rows` counts: `line` or `row`.
        decimal: the decimal point of text.
        called: what a frame made in memory is called.
    """

    files: pd.Series | None
    rows: pd.Series | None
    unit: str
    decimal: str
    called: str = "frame"

    @classmethod
    def of(cls, frame: pd.DataFrame, *, called: str = "frame") -> Provenance:
        """Finds what a raw frame says of its origin."""
        unit, decimal = str(frame.attrs.get("row_unit", "row")), str(frame.attrs.get("decimal", "."))
        if FILE not in frame.columns or ROW not in frame.columns:
            return cls(None, None, unit, decimal, called)
        return cls(frame[FILE], frame[ROW], unit, decimal, called)

    def take(self, places: NDArray[np.int64]) -> Provenance:
        """That of the rows at the given positions, which go on naming their place in the whole."""
        if self.files is None or self.rows is None:
            files = pd.Series(pd.Categorical([self.called]).take(np.zeros(len(places), np.int64)))
            return replace(self, files=files, rows=pd.Series(places + 1), unit="row")
        return replace(self, files=self.files.iloc[places], rows=self.rows.iloc[places])

    def locate(self, index: Any) -> str:
        """Names a row by its position in the frame, such as `data/raw/load.csv, line 17`."""
        if self.files is None or self.rows is None:
            return f"{self.called}, row {int(index) + 1}"
        return f"{self.files.iloc[int(index)]}, {self.unit} {self.rows.iloc[int(index)]}"

    def name(self) -> str:
        """Names the whole: its file, or its first file where there are several."""
        if self.files is None or self.files.empty:
            return self.called
        return str(self.files.iloc[0])
