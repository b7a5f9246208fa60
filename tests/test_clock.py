from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.clock import calendar_features

ZONES = [None, "UTC", "Europe/Berlin", "Australia/Melbourne", "Asia/Kathmandu"]
moments = st.datetimes(pd.Timestamp("1990-01-01").to_pydatetime(), pd.Timestamp("2040-01-01").to_pydatetime())


def features(stamps: pd.DatetimeIndex, freq: str, zone: str | None = None) -> NDArray[np.float32]:
    """Of moments in UTC."""
    return calendar_features(stamps.to_numpy(dtype="datetime64[us]"), freq=freq, timezone=zone)[1]


def names_of(freq: str | int) -> tuple[str, ...]:
    ds = np.array([5]) if isinstance(freq, int) else np.array(["2024-01-01"], "datetime64[us]")
    return calendar_features(ds, freq=freq, timezone=None)[0]


def waves(phase: float) -> list[float]:
    return [wave(2 * np.pi * k * phase) for k in (1, 2, 3) for wave in (np.sin, np.cos)]


@given(st.lists(moments, min_size=1, max_size=8), st.sampled_from(ZONES), st.sampled_from(["h", "15min", "6h"]))
def test_features_are_those_of_the_wall_clock_and_the_calendar(
    times: list[pd.Timestamp], zone: str | None, freq: str
) -> None:
    stamps = pd.DatetimeIndex(times).as_unit("us")
    found = features(stamps, freq, zone)
    for row, stamp in zip(found, stamps, strict=True):
        local = stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)
        seconds = local.hour * 3600 + local.minute * 60 + local.second + local.microsecond / 1e6
        year = local.timetuple().tm_yday - 1
        expected = waves(seconds / 86400) + waves(local.weekday() / 7) + waves(year / 365.25)
        np.testing.assert_allclose(row, expected, atol=2e-6)
    assert found.dtype == np.float32
    assert np.abs(found).max() <= 1


@pytest.mark.parametrize("freq", ["h", "30min", "D", "B", "W-FRI", "MS", "QS-FEB"])
def test_every_column_is_what_its_name_says(freq: str) -> None:
    stamps = pd.date_range("2021-02-01", periods=60, freq=freq, unit="us")
    names, found = calendar_features(stamps.to_numpy(), freq=freq, timezone=None)
    assert found.shape == (60, len(names))
    assert len(set(names)) == len(names)
    for column, name in enumerate(names):
        cycle, wave = name.split("_")
        for row, stamp in enumerate(stamps):
            parts = {"day": stamp.hour / 24 + stamp.minute / 1440, "week": stamp.weekday() / 7}
            phase = parts.get(cycle, (stamp.day_of_year - 1) / 365.25)
            assert found[row, column] == pytest.approx(
                waves(phase)[2 * int(wave[3:]) - 2 + (wave[:3] == "cos")], abs=1e-5
            )


@pytest.mark.parametrize(
    ("freq", "cycle", "steps"), [("h", "day", 24), ("30min", "week", 336), ("D", "week", 7), ("B", "week", 5)]
)
def test_a_step_of_a_cycle_returns_to_the_same_values(freq: str, cycle: str, steps: int) -> None:
    stamps = pd.date_range("2021-02-01", periods=2 * steps, freq=freq, unit="us")
    names, found = calendar_features(stamps.to_numpy(), freq=freq, timezone=None)
    columns = [i for i, name in enumerate(names) if name.startswith(cycle)]
    np.testing.assert_array_equal(found[steps:, columns], found[:steps, columns])
    assert len(np.unique(found[:steps, columns], axis=0)) == (7 if freq == "30min" else steps)


@given(st.dates(pd.Timestamp("2001-01-01").date(), pd.Timestamp("2038-01-01").date()), st.sampled_from(ZONES))
def test_the_same_day_a_year_later_has_the_same_time_of_the_year(day: pd.Timestamp, zone: str | None) -> None:
    stamps = pd.DatetimeIndex([day, day + pd.DateOffset(years=1)]).as_unit("us")
    names, found = calendar_features(stamps.to_numpy(), freq="D", timezone=zone)
    of_year = [i for i, name in enumerate(names) if name.startswith("year")]
    leap_day = abs(int(stamps[0].day_of_year) - int(stamps[1].day_of_year)) * 3 * 2 * np.pi / 365
    np.testing.assert_allclose(found[0, of_year], found[1, of_year], atol=leap_day + 1e-6)


def test_an_hour_of_the_day_keeps_its_features_over_a_clock_change() -> None:
    noons = pd.date_range("2024-03-29 12:00", periods=4, freq="D", tz="Europe/Berlin")
    utc = noons.tz_convert("UTC").tz_localize(None)
    assert len(set(np.diff(utc))) == 2  # the clocks go forward in between
    names, found = calendar_features(utc.to_numpy(dtype="datetime64[us]"), freq="h", timezone="Europe/Berlin")
    of_day = [i for i, name in enumerate(names) if name.startswith("day")]
    np.testing.assert_array_equal(found[:, of_day], found[:1, of_day].repeat(4, axis=0))
    without = features(utc, "h")[:, of_day]
    assert np.abs(without[0] - without[-1]).max() > 0.1


def test_repeated_hours_have_the_same_features() -> None:
    utc = pd.DatetimeIndex(["2024-10-27 00:00", "2024-10-27 01:00"])  # both 02:00 in Berlin
    twice = features(utc, "h", "Europe/Berlin")
    np.testing.assert_array_equal(twice[0], twice[1])


def test_three_harmonics_tell_seven_weekdays_apart_linearly() -> None:
    week = features(pd.date_range("2024-01-01", periods=7, freq="D"), "D")[:, :6].astype(np.float64)
    design = np.column_stack([np.ones(7), week])
    assert np.linalg.matrix_rank(design) == 7
    for weekday in range(7):
        wanted = np.eye(7)[weekday]
        np.testing.assert_allclose(design @ np.linalg.solve(design, wanted), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("freqs", "cycles"),
    [
        (["15min", "h", "6h"], {"day", "week", "year"}),
        (["D", "B", "2D", "6D"], {"week", "year"}),
        (["7D", "W-SUN", "W-THU", "W-FRI", "MS", "ME", "QS-FEB", "QE-JAN", "2QS"], {"year"}),
        (["YS", "YE", "YS-FEB", "YE-JAN", "2YS", "12MS"], set()),
    ],
)
def test_a_frequency_has_the_cycles_that_it_can_show_whatever_day_it_is_anchored_at(
    freqs: list[str], cycles: set[str]
) -> None:
    for freq in freqs:
        assert {name.partition("_")[0] for name in names_of(freq)} == cycles, freq


@pytest.mark.parametrize("freq", [1, 10, "YS"])
def test_what_has_no_cycle_has_no_features(freq: str | int) -> None:
    ds = np.arange(5) if isinstance(freq, int) else np.array(["2024-01-01"] * 5, "datetime64[us]")
    names, found = calendar_features(ds, freq=freq, timezone=None)
    assert names == ()
    assert (found.shape, found.dtype) == ((5, 0), np.float32)
