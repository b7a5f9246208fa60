"""What a bundle says of the data that its networks saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from panels import WINDOW, random_series, window

from pipeline.lineage import describe_data


def test_ranges_are_of_what_lies_in_a_window_and_of_nothing_else() -> None:
    series = random_series(np.random.default_rng(3))
    series[2][-25:] += 1000  # in the validation and test parts alone
    fit, _ = window(series)
    windows = fit.train
    seen = {
        int(step)
        for first in windows.positions
        for step in range(first - WINDOW.context_length, first + WINDOW.horizon)
        if np.isfinite(windows.values[step])
    }
    values = windows.values[sorted(seen)]
    assert np.nanmax(windows.values) > 900 > values.max()
    told = describe_data(windows, fit.ids, fit.meta)
    expected = {"min": values.min(), "max": values.max()}
    expected |= {"p01": np.quantile(values, 0.01), "p99": np.quantile(values, 0.99)}
    assert told["value_range"] == expected
    times = windows.covariates.ds[sorted(seen)]
    assert told["training_range"] == {"start": str(times.min()), "end": str(times.max())}
    assert (told["ids"], told["vocabularies"]["unique_id"]) == (["a", "b", "c"], ["a", "b", "c"])


def test_whole_numbers_are_told_as_they_are_whatever_zone_is_set() -> None:
    fit, _ = window(random_series(np.random.default_rng(3)), whole_numbers=True)
    zoned = replace(fit.train.covariates, freq=1, timezone="Asia/Kolkata")
    plain = replace(zoned, timezone=None)
    found = [
        describe_data(replace(fit.train, covariates=one), fit.ids, fit.meta)["training_range"] for one in (zoned, plain)
    ]
    assert found[0] == found[1]


def test_the_range_of_training_is_told_by_the_users_clocks() -> None:
    fit, _ = window(random_series(np.random.default_rng(3)))
    windows = fit.train
    hourly = pd.date_range("2024-01-01", periods=len(windows.covariates.ds), freq="h").to_numpy()
    covariates = replace(windows.covariates, ds=hourly, freq="h", timezone="Australia/Melbourne")
    there = describe_data(replace(windows, covariates=covariates), fit.ids, fit.meta)["training_range"]
    plain = replace(covariates, timezone=None)
    here = describe_data(replace(windows, covariates=plain), fit.ids, fit.meta)["training_range"]
    for end in ("start", "end"):
        assert there[end].endswith("+11:00")
        assert pd.Timestamp(there[end]) == pd.Timestamp(here[end], tz="UTC")
