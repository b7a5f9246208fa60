"""Raw rows -> covariates: what the frame says of each step beside its target, and of each series as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.checks import failure, quoted, such
from pipeline.frequency import Bools, Int64s
from pipeline.rows import Floats, Rows, Source, values_of
from pipeline.timestamps import factorize_text


@dataclass(frozen=True)
class CovariateRows:
    """Covariates as the raw frame, of N rows, has them.

    Attributes:
        steps: by column, [N] its numbers, NaN where missing; those known ahead last.
        categorical: by column, [S] the text of each series, None where missing.
        numeric: by column, [S] the number of each series, NaN where missing.
    """

    steps: dict[str, Floats]
    categorical: dict[str, NDArray[np.object_]]
    numeric: dict[str, Floats]

    def of_rows(self, rows: Rows) -> dict[str, Floats]:
        """The covariates of long rows, by column [R]; those of steps put into gaps are missing."""
        absent = rows.origin < 0 if self.steps else np.empty(0, np.bool_)
        return {name: np.where(absent, np.nan, values[rows.origin]) for name, values in self.steps.items()}

    def of_series(self, numbers: NDArray[Any]) -> dict[str, pd.Series]:
        """The static covariates of the series with the given numbers, by column."""
        texts = {name: pd.Series(values[numbers], dtype=object) for name, values in self.categorical.items()}
        return texts | {name: pd.Series(values[numbers]) for name, values in self.numeric.items()}


def read_covariates(rows: Rows, source: Source) -> CovariateRows:
    """Reads the covariates of a raw frame.

    Args:
        rows: the long rows whose times are good; covariates of other rows are not looked at.
        source: the frame they come from.

    Returns:
        The covariates.

    Raises:
        DataError: `value-text`, `value-infinite`, `value-huge`, `covariate-varies`.
    """
    layout = source.layout
    judged = np.zeros(len(source.frame), np.bool_)
    if layout.truths() or layout.categorical:
        judged[rows.origin] = True

    def numbers(column: str) -> Floats:
        return values_of(source, column, series=source.series, judged=judged, truths=True)

    return CovariateRows(
        {column: numbers(column) for column in layout.steps()},
        {column: _texts_of_series(source, column, judged) for column in layout.categorical},
        {column: _numbers_of_series(source, column, numbers(column), judged) for column in layout.numeric},
    )


def _texts_of_series(source: Source, column: str, judged: Bools) -> NDArray[np.object_]:
    codes, words = factorize_text(source.frame[column])
    # Several of the words may be equal; blank ones say nothing.
    same, distinct = pd.factorize(words.mask(words.str.strip() == ""))
    codes = np.append(same, -1)[codes]
    origins = _one_per_series(source, column, codes, judged & (codes >= 0))
    texts = np.full(len(origins), None, dtype=object)
    texts[origins >= 0] = np.asarray(distinct, dtype=object)[codes[origins[origins >= 0]]]
    return texts


def _numbers_of_series(source: Source, column: str, numbers: Floats, judged: Bools) -> Floats:
    origins = _one_per_series(source, column, numbers, judged & ~np.isnan(numbers))
    return np.where(origins < 0, np.nan, numbers[origins])


def _one_per_series(source: Source, column: str, values: NDArray[Any], known: Bools) -> Int64s:
    """The row that the value of each series is taken from [S], -1 where it has none; refuses different values."""
    found = np.flatnonzero(known)
    groups = source.series[found, 0]  # series of one row, one per target, share its value
    firsts = np.full(len(source.ids), -1, np.int64)
    firsts[groups[::-1]] = found[::-1]  # of several the first, as it is written last
    differs = values[found] != values[firsts[groups]]
    if differs.any():
        row = found[np.argmax(differs)]
        first = firsts[source.series[row, 0]]
        before = f"{quoted(source.frame[column].iloc[int(first)])} in {source.provenance.locate(first)}"
        what = f"series {source.ids[source.series[row, 0]]!r} has another value, {before}"
        found_here = f"{source.value(row, [column])} ({such(int(differs.sum()))})"
        raise failure("covariate-varies", source.cell(row, [column]), f"{what}. {found_here}")
    origins = np.full(len(source.ids), -1, np.int64)
    chosen = firsts[firsts >= 0]
    origins[source.series[chosen]] = chosen[:, None]
    return origins
