"""What a bundle says of where it comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.covariates import IDENTITY
from pipeline.windows import Windows


def describe_data(windows: Windows, ids: Sequence[str], meta: Mapping[str, Any]) -> dict[str, Any]:
    """The series of a network, the range in time and value of what it was trained on, and the vocabularies of their
    categories.

    Args:
        windows: those it was trained on.
        ids: [S] the series.
        meta: of the part that the windows come from.
    """
    observed = np.isfinite(windows.values) & windows.covered()
    values, times = windows.values[observed], windows.covariates.ds[observed]
    levels = {"min": 0.0, "p01": 0.01, "p99": 0.99, "max": 1.0}
    quantiles = np.quantile(values, list(levels.values())).tolist()
    return {
        "ids": list(ids),
        "vocabularies": {IDENTITY: meta["covariates"]["identity"], **meta["covariates"]["categorical"]},
        "training_range": {"start": str(times.min()), "end": str(times.max())},
        "value_range": dict(zip(levels, quantiles, strict=True)),
    }


def hash_of(value: Any) -> str:
    """The sha256 of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
