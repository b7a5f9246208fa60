"""Errors of reading data, for those who bring it for a forecast: they have options, and no params.yaml."""

from __future__ import annotations

import re
from collections.abc import Callable

from pipeline.checks import CHECKS
from pipeline.errors import DataError

_KEYS = re.compile(r"(?:params\.yaml, )?\bdata\.(delimiter|decimal|encoding)\b")
_COLUMNS = "name the columns as those of the training data, or unique_id, ds, y"


def for_forecast(error: DataError, option: Callable[[str], str]) -> DataError:
    """The same error with a mend that is in the reach of who asks for a forecast.

    Args:
        error: as ingest would raise it.
        option: what takes the place of `data.delimiter`, `data.decimal` and `data.encoding`, by the last word.

    Returns:
        An error that names no key of params.yaml of these, nor the repairs that were settled with the training.
    """
    text = str(error).removeprefix(f"[{error.code}] ")
    if (check := CHECKS.get(error.code)) is not None:
        text = text.removesuffix(check.repair())
        if check.code == "column-missing":
            text = text.replace(check.mend, _COLUMNS)
    return DataError(error.code, _KEYS.sub(lambda found: option(found[1]), text))
