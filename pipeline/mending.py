"""Errors of reading data, for those who bring it for a forecast: they have options, and no params.yaml.

Light, because a server loads it at its start; what it looks for is what `checks` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pipeline.errors import DataError

_OPTIONS = re.compile(r"(?:params\.yaml, )?\bdata\.(delimiter|decimal|encoding)\b")
_REPAIR = re.compile(r", or set data\.repair\.\w+: [\w ]+$")
_SET = re.compile(r"; set data\.\w+ to null[^;(]*(?= \(|;|$)| \(data\.freq: 1 counts steps instead\)")

# What was settled with the training, and what it is called then.
_SETTLED = {
    "data.timezone is null": "the training data has none",
    "freq": "the forecaster's frequency",
    "time_format": "the forecaster's time format",
    "timezone": "the forecaster's time zone",
}
_KEYS = re.compile(r"(data\.timezone is null)|(?:params\.yaml, )?\bdata\.(freq|time_format|timezone)\b")

# The mends that are others for a forecast, by the code of the check.
_ANEW = "train the forecaster anew with one that is known here"
_MENDS = {
    "file-missing": "name a file that is there",
    "file-no-match": "name a file",
    "file-empty": "bring a file with rows",
    "file-binary": "give its name the ending of what it is, or set data.encoding to the file's encoding",
    "tsf-header": "mend the header, or bring a .csv or .parquet file",
    "column-missing": "name the columns as those of the training data, or unique_id, ds, y",
    "id-null": "fill it in",
    "time-unparseable": "write it as the training data has its times, or in a column ds in ISO 8601",
    "time-format": _ANEW,
    "zone-unknown": f"install tzdata, or {_ANEW}",
    "zone-missing": "give the times without a zone",
    "end-unparseable": _ANEW,
    "freq-unknown": _ANEW,
    "freq-mismatch": "move the timestamps to its steps, and bring steps between them as rows without a value",
    "covariate-varies": "give the series one value",
    "gap-huge": "mend the timestamps around the gap",
    "series-short": "bring more rows of it",
    "context-empty": "bring values, or leave the series out (of a table with a column for each by bringing the others "
    "as unique_id, ds, y)",
    "panel-empty": "bring rows whose timestamps can be read",
}


def for_forecast(
    error: DataError, option: Callable[[str], str], mends: Mapping[str, str] = MappingProxyType({})
) -> DataError:
    """The same error with a mend that is in the reach of who asks for a forecast.

    Args:
        error: as ingest would raise it: its text ends with the mend, after the last semicolon.
        option: what takes the place of `data.delimiter`, `data.decimal` and `data.encoding`, by the last word.
        mends: by code, those that are others for this asker.

    Returns:
        An error that names no key of params.yaml, nor the repairs that were settled with the training.
    """
    text = _SET.sub("", _REPAIR.sub("", str(error).removeprefix(f"[{error.code}] ")))
    if mend := mends.get(error.code) or _MENDS.get(error.code):
        text = f"{text.rpartition('; ')[0]}; {mend}"
    text = _KEYS.sub(lambda found: _SETTLED[found[1] or found[2]], text)
    return DataError(error.code, _OPTIONS.sub(lambda found: option(found[1]), text))
