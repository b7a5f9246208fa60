"""What a bundle says of where it comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.covariates import IDENTITY
from pipeline.frequency import parse_frequency
from pipeline.timestamps import to_user_time
from pipeline.windows import Windows


def describe_data(windows: Windows, ids: Sequence[str], meta: Mapping[str, Any]) -> dict[str, Any]:
    """The series of a network, the range of what it was trained on, in the user's time and in value, and the
    vocabularies of their categories.

    Args:
        windows: those it was trained on.
        ids: [S] the series.
        meta: of the part that the windows come from.
    """
    observed = np.isfinite(windows.values) & windows.covered()
    values, times = windows.values[observed], windows.covariates.ds[observed]
    ends = _in_user_time(np.array([times.min(), times.max()]), windows)
    levels = {"min": 0.0, "p01": 0.01, "p99": 0.99, "max": 1.0}
    quantiles = np.quantile(values, list(levels.values())).tolist()
    return {
        "ids": list(ids),
        "vocabularies": {IDENTITY: meta["covariates"]["identity"], **meta["covariates"]["categorical"]},
        "training_range": dict(zip(("start", "end"), ends, strict=True)),
        "value_range": dict(zip(levels, quantiles, strict=True)),
    }


def _in_user_time(times: NDArray[Any], windows: Windows) -> list[str]:
    """Times as the user's clocks show them, with their offset where the grid is not the clocks' own."""
    freq, zone = windows.covariates.freq, windows.covariates.timezone
    frequency = parse_frequency(freq)
    if zone is None or frequency.whole_numbered or frequency.keeps_wall_time:
        return [str(time) for time in times]
    return [time.isoformat() for time in to_user_time(pd.Series(times), freq=freq, timezone=zone)]


def hash_of(value: Any) -> str:
    """The sha256 of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
