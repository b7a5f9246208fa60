"""Errors of reading data, for those who bring it for a forecast: they have options, and no params.yaml.

Light, because a server loads it at its start; what it looks for is what `checks` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pipeline.errors import DataError

_KEYS = re.compile(r"(?:params\.yaml, )?\bdata\.(delimiter|decimal|encoding)\b")
_REPAIR = re.compile(r", or set data\.repair\.\w+: [\w ]+$")
_NAMES, _COLUMNS = "mend the names under data in params.yaml", "name the columns as those of the training data"


def for_forecast(error: DataError, option: Callable[[str], str]) -> DataError:
    """The same error with a mend that is in the reach of who asks for a forecast.

    Args:
        error: as ingest would raise it.
        option: what takes the place of `data.delimiter`, `data.decimal` and `data.encoding`, by the last word.

    Returns:
        An error that names no key of params.yaml of these, nor the repairs that were settled with the training.
    """
    text = _REPAIR.sub("", str(error).removeprefix(f"[{error.code}] "))
    text = text.replace(_NAMES, f"{_COLUMNS}, or unique_id, ds, y")
    return DataError(error.code, _KEYS.sub(lambda found: option(found[1]), text))
