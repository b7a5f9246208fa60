"""The checks of ingest: their stable codes, what they find, and how a finding is settled by data.repair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.frequency import Int64s
from pipeline.params import RepairParams


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        code: stable name, as in `DataError.code` and the audit.
        finds: what is wrong when it fires.
        mend: what the user can do about the data or the params.
        policy: key of `data.repair` that decides; None where only the user can mend it.
        repairs: values of that key that let ingest go on.
    """

    code: str
    finds: str
    mend: str
    policy: str | None = None
    repairs: tuple[str, ...] = ()

    def repair(self) -> str:
        """How to let ingest go on, in one phrase; empty where it cannot."""
        return f", or set data.repair.{self.policy}: {' or '.join(self.repairs)}" if self.policy else ""


_ALL = (
    Check("file-missing", "data.path does not exist", "set data.path to a file or a folder"),
    Check("file-no-match", "no file of the folder matches data.pattern", "mend data.pattern or data.path"),
    Check("file-empty", "a file of 0 bytes or blank lines, or a header without rows", "fill or remove the file"),
    Check("file-unreadable", "the system refuses to read the file", "mend its permissions"),
    Check("file-encoding", "bytes that are no text in data.encoding", "set data.encoding to the file's encoding"),
    Check("file-binary", "NUL bytes in what should be text", "set data.format and data.encoding to what the file is"),
    Check("file-truncated", "a gz or zst file that ends too early", "copy or download the file again"),
    Check(
        "file-corrupt",
        "a gz, zst or Parquet file, or a column of one, that cannot be decoded",
        "copy or download the file again",
    ),
    Check("csv-delimiter", "data.delimiter cannot separate fields", "set data.delimiter to another ASCII character"),
    Check("row-ragged", "a line with more or fewer fields than the header", "mend the line or data.delimiter"),
    Check("tsf-header", "a .tsf file whose header cannot be used", "mend the header or data.format"),
    Check("tsf-row", "a line of a .tsf file that does not follow its header", "mend the line"),
    Check("column-missing", "a column that params.yaml names is absent", "mend the names under data in params.yaml"),
    Check("column-duplicate", "a column that is needed occurs twice", "rename one of them"),
    Check("id-null", "a row without an id", "fill in data.id_col"),
    Check("time-null", "a row without a timestamp", "fill it in", "null_time", ("drop",)),
    Check(
        "time-unparseable",
        "a timestamp that cannot be read (an error anyway where half cannot)",
        "mend it, set data.time_format, such as '%d/%m/%Y %H:%M' (or data.freq, if times are whole numbers)",
        "bad_time",
        ("drop",),
    ),
    Check("time-format", "data.time_format is no strptime format, or ends in a zone as text", "mend data.time_format"),
    Check("zone-unknown", "data.timezone is no IANA name", "mend data.timezone"),
    Check("zone-missing", "timestamps have a zone, but data.timezone is null", "set data.timezone, such as to UTC"),
    Check("zone-mixed", "some timestamps have a zone and some have none", "give all of them a zone, or none"),
    Check(
        "zone-dst",
        "a local time that a clock change skips or repeats",
        "give the timestamps with their offset or in UTC",
        "bad_time",
        ("drop",),
    ),
    Check(
        "end-unparseable",
        "data.end is no time of the data's kind",
        "set data.end to a timestamp in quotes, such as '2024-12-31'",
    ),
    Check("freq-unknown", "data.freq is no usable frequency", "set data.freq to a pandas offset alias"),
    Check(
        "freq-mismatch",
        "timestamps that do not fit data.freq (an error anyway where half do not, or no two of the training data are "
        "one step apart)",
        "mend the timestamps or data.freq",
        "off_grid",
        ("drop",),
    ),
    Check("row-duplicate", "the same row twice", "remove one of them", "duplicate_rows", ("drop",)),
    Check(
        "row-conflicting",
        "one timestamp of a series with different values",
        "keep one of them",
        "conflicting_rows",
        ("first", "last", "mean"),
    ),
    Check(
        "value-text",
        "text where a number belongs (an error anyway where a column has several words and no number)",
        "mend the value",
        "bad_value",
        ("missing",),
    ),
    Check("value-infinite", "an infinite value", "mend the value", "infinite", ("missing",)),
    Check(
        "value-huge",
        "a value beyond what the arithmetic holds, such as 1e200",
        "leave it empty if it stands for none, or give the values in another unit",
        "infinite",
        ("missing",),
    ),
    Check(
        "covariate-varies",
        "a static covariate with several values in one series",
        "give the series one value, or name the column under data.past_covariates or data.future_covariates",
    ),
    Check("gap", "absent timestamps between a series' first and last", "fill them in", "gaps", ("missing",)),
    Check(
        "gap-huge",
        "under 1 in 100 steps between the first and the last timestamp of a series, or of all series, has a row",
        "mend the timestamps around the gap or set a coarser data.freq",
    ),
    Check("series-unobserved", "a series without a single value", "remove the series", "short", ("drop",)),
    Check(
        "series-unusable",
        "a series whose rows all have unusable timestamps",
        "mend its timestamps, or remove its rows",
        "short",
        ("drop",),
    ),
    Check("series-short", "a series shorter than data.min_history", "lower data.min_history", "short", ("drop",)),
    Check("series-constant", "a series that never changes", "remove the series", "constant", ("keep", "drop")),
    Check("panel-empty", "nothing is left to forecast", "look at what data.end and data.repair leave out"),
)
CHECKS = {check.code: check for check in _ALL}


def failure(code: str, where: str, what: str, repair: str = "") -> DataError:
    """Builds the error of a check.

    Args:
        code: of the check.
        where: file, row, column.
        what: what is wrong, with the value received.
        repair: the way out that `data.repair` gives, as `Check.repair` says it; empty for none.

    Returns:
        The error, its text one line that ends with the mend.
    """
    return DataError(code, " ".join(f"{where}: {what}; {CHECKS[code].mend}{repair}".split()))


def received(value: Any) -> str:
    """Echoes a value in an error, cut where it is long."""
    return f"Received: {quoted(value)}"


def quoted(value: Any) -> str:
    """Writes a value in quotes, cut where it is long."""
    text = repr(str(value))
    return text if len(text) <= 80 else text[:77] + "..."


class Ledger:
    """Settles findings by the policies of data.repair, and counts what was repaired.

    Args:
        repair: the policies.
        ids: [S] the series.
    """

    def __init__(self, repair: RepairParams, ids: Sequence[str]) -> None:
        self._repair = repair
        self._ids = ids
        self._counts: dict[str, Int64s] = {}

    def settle(
        self,
        code: str,
        series: NDArray[Any],
        *,
        first: Callable[[], tuple[str, str]],
        amounts: NDArray[Any] | None = None,
        count: int | None = None,
        among: int | None = None,
    ) -> str:
        """Raises or counts.

        Args:
            code: of the check.
            series: [F] the number of the series of each finding; may be empty.
            first: gives where the first finding is and what is wrong there.
            amounts: [F] how much each finding counts; None for 1.
            count: how many the error speaks of; None for F.
            among: rows that could have been found; where half of them are, the data is of another kind than params.yaml
                says, and that is no matter of leaving rows out. None where a finding is never that.

        Returns:
            The policy that applies.

        Raises:
            DataError: there are findings and the policy is `error`; or they are half of the rows or more.
        """
        policy = str(getattr(self._repair, str(CHECKS[code].policy)))
        if not len(series):
            return policy
        count = len(series) if count is None else count
        beyond_repair = among is not None and 2 * count >= among
        if policy == "error" or beyond_repair:
            where, what = first()
            if beyond_repair:
                raise failure(code, where, f"{what} ({such(count)} in {among:,} row{'s' * (among != 1)})")
            raise failure(code, where, f"{what} ({such(count)})", CHECKS[code].repair())
        counts = np.bincount(series, weights=amounts, minlength=len(self._ids)).astype(np.int64)
        self._counts[code] = self._counts.get(code, np.int64(0)) + counts
        return policy

    def totals(self) -> dict[str, dict[str, Any]]:
        """The repairs by code: the policy, how many, and in how many series."""
        return {
            code: {
                "policy": f"data.repair.{CHECKS[code].policy}: {getattr(self._repair, str(CHECKS[code].policy))}",
                "count": int(counts.sum()),
                "series": int(np.count_nonzero(counts)),
            }
            for code, counts in sorted(self._counts.items())
        }

    def of_series(self) -> list[dict[str, int]]:
        """The repairs of each series by code [S]."""
        repairs: list[dict[str, int]] = [{} for _ in self._ids]
        for code, counts in sorted(self._counts.items()):
            for number in np.flatnonzero(counts):
                repairs[number][code] = int(counts[number])
        return repairs


def such(count: int) -> str:
    """Tells of the first finding how many there are."""
    return "the only one" if count == 1 else f"the first of {count:,}"
