"""Raw rows -> panel: grids, zones, repairs, and the panel's file format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panels import LENIENT

from pipeline.errors import DataError
from pipeline.frequency import parse_frequency
from pipeline.params import RepairParams, load_params
from pipeline.series import Columns, Panel, build_panel, future_times, load_panel, save_panel, to_user_time
from pipeline.storage import sha256_of
from pipeline.timestamps import AWARE, OK, read_times

FREQUENCIES = ["h", "30min", "15min", "2h", "D", "7D", "W-SAT", "2W-SUN", "B", "MS", "ME", "2MS", "QS-FEB", "YE", "SMS"]
ZONES = ["Australia/Melbourne", "America/New_York"]


def columns(**changes: Any) -> Columns:
    return Columns(
        **{**dict.fromkeys(("id_col", "time_col", "time_format", "timezone", "target_col")), "freq": "D", **changes}
    )


def panel_of(frame: pd.DataFrame, repair: RepairParams = LENIENT, **changes: Any) -> Panel:
    kept = {name: changes.pop(name, other) for name, other in (("min_history", 1), ("end", None), ("whole", True))}
    id_col = "unique_id" if "unique_id" in frame else None
    named = columns(**{"id_col": id_col, "time_col": ("ds",), "target_col": ("y",), **changes})
    return build_panel(frame, columns=named, repair=repair, **kept)


@st.composite
def sparse_frames(draw: st.DrawFn) -> tuple[pd.DataFrame, str]:
    """Up to three series on regular grids of their own, each with its first, its second and some other rows."""
    freq = draw(st.sampled_from(FREQUENCIES))
    parts = []
    for name in draw(st.lists(st.sampled_from(["a", "b", "\xe9", "10", "9"]), min_size=1, max_size=3, unique=True)):
        start = pd.Timestamp("2023-11-25") + pd.Timedelta(draw(st.integers(0, 100)), "D")
        stamps = pd.date_range(start, periods=draw(st.integers(2, 40)), freq=freq)
        values = np.asarray([draw(st.integers(-5, 5)) for _ in stamps], float)
        kept = [0, 1, *(place for place in range(2, len(stamps)) if draw(st.booleans()))]
        parts.append(pd.DataFrame({"unique_id": name, "ds": stamps[kept], "y": values[kept]}))
    return pd.concat(parts, ignore_index=True), freq


def reindexed(frame: pd.DataFrame, freq: str) -> pd.DataFrame:
    """Each series on pandas' own range, one at a time."""
    parts = []
    for name, rows in sorted(frame.groupby("unique_id"), key=lambda item: str(item[0])):
        grid = pd.date_range(rows["ds"].min(), rows["ds"].max(), freq=freq)
        filled = rows.set_index("ds")["y"].reindex(grid)
        parts.append(pd.DataFrame({"unique_id": name, "ds": grid.as_unit("us"), "y": filled.to_numpy()}))
    return pd.concat(parts, ignore_index=True)


@given(sparse_frames())
def test_absent_rows_are_missing_steps_of_a_grid_like_pandas_own(case: tuple[pd.DataFrame, str]) -> None:
    frame, freq = case
    panel = panel_of(frame, freq=freq)
    expected = reindexed(frame, freq)
    pd.testing.assert_frame_equal(panel.frame, expected.astype({"unique_id": "str"}), check_freq=False)
    assert panel.audit["steps"] == len(expected)
    assert panel.audit["missing"] == expected["y"].isna().sum()
    assert panel.audit["repairs"].get("gap", {"count": 0})["count"] == len(expected) - len(frame)


@given(sparse_frames(), st.data())
def test_the_order_of_rows_does_not_change_the_panel(case: tuple[pd.DataFrame, str], data: st.DataObject) -> None:
    frame, freq = case
    again = [data.draw(st.integers(0, len(frame) - 1)) for _ in range(data.draw(st.integers(0, 6)))]
    noise = [data.draw(st.sampled_from([0.0, 0.1, 0.2, 0.3, np.nan])) for _ in again]
    frame = pd.concat([frame, frame.iloc[again].assign(y=lambda rows: rows["y"] + noise)], ignore_index=True)
    shuffled = frame.iloc[data.draw(st.permutations(range(len(frame))))]
    one, other = panel_of(frame, freq=freq), panel_of(shuffled, freq=freq)
    pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)
    assert one.audit == other.audit


@given(sparse_frames())
def test_a_series_is_the_same_whichever_others_stand_beside_it(case: tuple[pd.DataFrame, str]) -> None:
    frame, freq = case
    together = panel_of(frame, freq=freq)
    for name, rows in frame.groupby("unique_id"):
        alone = panel_of(rows, freq=freq)
        beside = together.frame[together.frame["unique_id"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone.frame, beside)
        assert alone.audit["per_series"][name] == together.audit["per_series"][name]


@given(sparse_frames())
def test_a_panel_comes_back_from_its_files_unchanged(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[pd.DataFrame, str]
) -> None:
    frame, freq = case
    folder = tmp_path_factory.mktemp("panel") / "series"
    panel = panel_of(frame, freq=freq)
    save_panel(panel, folder)
    loaded = load_panel(folder)
    pd.testing.assert_frame_equal(loaded.frame, panel.frame)
    assert (loaded.freq, loaded.timezone, loaded.audit) == (panel.freq, panel.timezone, panel.audit)


def test_the_same_panel_has_the_same_bytes_and_replaces_what_was_there(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ds": ["2024-01-01", "2024-01-02"], "y": [1.0, 2.0]})
    save_panel(panel_of(frame), tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "stale.json").write_text("{}")
    save_panel(panel_of(frame.iloc[::-1]), tmp_path / "two")
    assert sha256_of(tmp_path / "one") == sha256_of(tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_the_schema_names_frequency_columns_zone_sizes_and_repairs(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ds": ["2024-01-01", "2024-01-03", "2024-01-04"], "y": ["1", "x", "3"]})
    save_panel(panel_of(frame, timezone="UTC"), tmp_path / "series")
    assert json.loads((tmp_path / "series" / "schema.json").read_text()) == {
        "schema": 1,
        "freq": "D",
        "timezone": "UTC",
        "columns": {"unique_id": "string", "ds": "timestamp[us]", "y": "double"},
        "covariates": {"past": [], "future": [], "static": {"categorical": [], "numeric": []}},
        "series": 1,
        "steps": 4,
        "missing": 2,
        "repairs": {
            "gap": {"policy": "data.repair.gaps: missing", "count": 1, "series": 1},
            "value-text": {"policy": "data.repair.bad_value: missing", "count": 1, "series": 1},
        },
    }


@given(st.integers(1, 9), st.integers(-50, 50), st.lists(st.booleans(), min_size=1, max_size=30))
def test_whole_numbered_times_step_by_the_frequency(step: int, start: int, present: list[bool]) -> None:
    places = [0, 1, *(place for place, here in enumerate(present, 2) if here)]
    frame = pd.DataFrame({"ds": [start + step * place for place in places], "y": np.arange(len(places), dtype=float)})
    panel = panel_of(frame, freq=step)
    assert panel.frame["ds"].dtype == np.int64
    assert panel.frame["ds"].tolist() == list(range(start, start + step * places[-1] + 1, step))
    np.testing.assert_array_equal(np.flatnonzero(panel.frame["y"].notna()), places)


def test_whole_numbers_beyond_the_exact_floats_keep_their_last_digit() -> None:
    start = 2**59 + 1
    for times in ([start, start + 1], [str(start), str(start + 1)]):
        assert panel_of(pd.DataFrame({"ds": times, "y": [1.0, 2.0]}), freq=1).frame["ds"].tolist() == [start, start + 1]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("freq", ["h", "30min"])
def test_sub_daily_steps_are_equally_long_over_clock_changes(zone: str, freq: str) -> None:
    local = pd.date_range("2024-03-01", "2024-11-30", freq=freq, tz=zone)
    panel = panel_of(
        pd.DataFrame({"ds": local.astype(str), "y": np.arange(len(local), dtype=float)}), freq=freq, timezone=zone
    )
    np.testing.assert_array_equal(panel.frame["y"], np.arange(len(local)))
    np.testing.assert_array_equal(panel.frame["ds"], local.tz_convert("UTC").tz_localize(None))
    assert to_user_time(panel.frame["ds"], freq=freq, timezone=zone).tolist() == local.tolist()


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("freq", ["D", "W-SUN", "MS"])
def test_steps_of_whole_days_keep_the_local_clock_over_clock_changes(zone: str, freq: str) -> None:
    local = pd.date_range("2024-01-01 00:00", "2024-12-31", freq=freq, tz=zone)
    instants = pd.DataFrame({"ds": local.tz_convert("UTC"), "y": np.arange(len(local), dtype=float)})
    naive = instants.assign(ds=local.tz_localize(None))
    for frame in (instants, naive, naive.astype({"ds": "str"})):
        panel = panel_of(frame, freq=freq, timezone=zone)
        np.testing.assert_array_equal(panel.frame["y"], np.arange(len(local)))
        np.testing.assert_array_equal(panel.frame["ds"], local.tz_localize(None))
        assert to_user_time(panel.frame["ds"], freq=freq, timezone=zone).tolist() == local.tolist()


@pytest.mark.parametrize("zone", ZONES)
def test_local_hours_have_one_row_too_few_in_spring_and_two_unclear_ones_in_autumn(zone: str) -> None:
    instants = pd.date_range("2024-01-01", "2024-12-31", freq="h", tz="UTC")
    naive = instants.tz_convert(zone).tz_localize(None)
    panel = panel_of(pd.DataFrame({"ds": naive, "y": np.arange(len(naive), dtype=float)}), freq="h", timezone=zone)
    assert panel.audit["repairs"]["zone-dst"]["count"] == 2
    assert panel.audit["missing"] == 2
    assert panel.audit["steps"] == len(instants)


@pytest.mark.parametrize("freq", ["6h", "12h", "3h"])
def test_steps_that_a_clock_change_moves_off_the_grid_are_told_with_their_mend(freq: str) -> None:
    local = pd.date_range("2024-01-01", "2024-12-31", freq=freq)
    frame = pd.DataFrame({"ds": local.astype(str), "y": np.arange(len(local), dtype=float)})
    strict = LENIENT.model_copy(update={"off_grid": "error"})
    told = r"does not fit data.freq .*clock changes of data.timezone .*set data.timezone to null and give local times"
    with pytest.raises(DataError, match=told):
        panel_of(frame, strict, freq=freq, timezone="Europe/Berlin")
    assert len(panel_of(frame, strict, freq=freq).frame) == len(local)
    late = pd.to_timedelta(7 * (np.arange(len(local)) % 5 == 4), unit="min")
    other = frame.assign(ds=(local + late).astype(str))
    with pytest.raises(DataError, match="does not fit data.freq") as caught:
        panel_of(other, strict, freq=freq, timezone="Europe/Berlin")
    assert "clock changes" not in str(caught.value)


def test_a_part_of_the_data_may_lack_steps_anywhere_but_not_be_of_another_frequency() -> None:
    days = np.cumsum([0, 2, 3, 2, 5, 2, 2, 3, 4, 2, 7])  # of a series that sells on few days
    frame = pd.DataFrame({"ds": pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D"), "y": 1.0 + days})
    with pytest.raises(DataError, match="no two rows are one step"):
        panel_of(frame)
    panel = panel_of(frame, whole=False)
    assert panel.audit["steps"] == days[-1] + 1
    assert panel.frame["y"].notna().sum() == len(days)
    sparse = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=20, freq="3D"), "y": np.arange(20.0)})
    for whole in (True, False):
        with pytest.raises(DataError, match=r"no two rows are one step .*looks like '3D'"):
            panel_of(sparse, whole=whole)


def test_a_wrong_year_is_told_whichever_other_series_stand_beside_it() -> None:
    days = pd.date_range("2024-01-01", periods=400)
    names = [f"shop {number:02}" for number in range(21)]
    frame = pd.concat([pd.DataFrame({"unique_id": name, "ds": days, "y": np.arange(400.0)}) for name in names])
    wrong = pd.DataFrame({"unique_id": "shop 07", "ds": [pd.Timestamp("2204-02-05")], "y": [1.0]})
    for rows in (frame, frame[frame["unique_id"] == "shop 07"]):
        with pytest.raises(DataError, match=r"gap-huge\].* 'shop 07' .* before 2204-02-05 00:00:00: 65,"):
            panel_of(pd.concat([rows, wrong]))


def test_many_series_of_few_rows_far_apart_are_too_much_together() -> None:
    days = pd.to_datetime(["2024-01-01", "2024-01-02", "2026-01-01"] * 50)
    frame = pd.DataFrame({"unique_id": np.repeat(np.arange(50), 3), "ds": days, "y": np.arange(150.0)})
    assert panel_of(frame[:3]).audit["steps"] == 732
    with pytest.raises(DataError, match=r"gap-huge\].* before 2026-01-01 00:00:00: 729"):
        panel_of(frame)


def test_gaps_as_wide_as_whole_numbers_can_be_are_told() -> None:
    times = ["-999999999999999999", "999999999999999999"] * 5
    frame = pd.DataFrame({"unique_id": np.repeat(list("abcde"), 2), "ds": times, "y": np.arange(10.0)})
    with pytest.raises(DataError, match=r"gap-huge\].* 'a' .*: 1,999,999,999,999,999,997"):
        panel_of(frame, freq=1)


@pytest.mark.parametrize("word", ["now", "today", "NOW", "Today"])
@pytest.mark.parametrize("time_format", [None, "%Y-%m-%d"])
def test_a_word_for_the_present_is_no_timestamp(word: str, time_format: str | None) -> None:
    strict = LENIENT.model_copy(update={"bad_time": "error"})
    with pytest.raises(DataError, match=rf"time-unparseable.*{word}"):
        panel_of(pd.DataFrame({"ds": ["2024-01-01", word], "y": [1.0, 2.0]}), strict, time_format=time_format)


HOURS = st.sampled_from(["", "5", "05", "5:0", "5:00", "05:00", "0500", "5:00:00", "05:00:00.5", "050000"])
OFFSETS = st.sampled_from(
    ["", "Z", "z", " Z", "+2", "+02", "-0230", "-02:30", "+2:30", "+02:0", "-0", " +02:00", "+", "-"]
)


@given(st.sampled_from(["2024-01-02", "2024-1-2", "20240102", "2024/01/02"]), st.sampled_from("T "), HOURS, OFFSETS)
def test_a_text_names_a_zone_where_pandas_finds_one(date: str, blank: str, hour: str, offset: str) -> None:
    text = f"{date}{blank}{hour}{offset}"
    read = read_times([pd.Series([text])], time_format=None, timezone="UTC", frequency=parse_frequency("h"))
    pandas_own = pd.to_datetime(pd.Series([text.strip()]), format="ISO8601", errors="coerce")
    assert (read.state[0] == OK) == pandas_own.notna()[0]
    if read.state[0] == OK:
        assert (read.zone[0] == AWARE) == (pandas_own.dt.tz is not None)


@pytest.mark.parametrize(
    ("freq", "times"),
    [
        ("D", ["2024-06-01 0:00+02:00", "2024-06-02 0:00+02:00", "2024-06-03 00:00+02:00"]),
        ("D", ["2024-06-01 00:00+2", "2024-06-02 0:00+2", "2024-06-03 00:00+02"]),
        ("h", ["2024-05-31 22:00Z", "2024-05-31 23:00Z", "2024-06-01 0:00Z", "2024-06-01 1:00Z"]),
    ],
)
def test_hours_and_offsets_of_a_single_digit_keep_their_zone(freq: str, times: list[str]) -> None:
    frame = pd.DataFrame({"ds": times, "y": np.arange(len(times), dtype=float)})
    panel = panel_of(frame, freq=freq, timezone="Europe/Berlin")
    start = "2024-06-01" if freq == "D" else "2024-05-31 22:00"
    assert panel.frame["ds"].tolist() == pd.date_range(start, periods=len(times), freq=freq).tolist()
    with pytest.raises(DataError, match=r"\[zone-missing\] frame, row 1"):
        panel_of(frame, freq=freq)


@pytest.mark.parametrize(
    ("time_format", "times"),
    [
        ("%Y-%m-01", ["2024-01-01", "2024-02-01"]),
        ("%d/%m-24 %Y", ["01/01-24 2024", "01/02-24 2024"]),
        ("%Y-%m-%d %H-00-00", ["2024-01-01 00-00-00", "2024-02-01 00-00-00"]),
        ("%Y-%m-%d 00:00:00", ["2024-01-01 00:00:00", "2024-02-01 00:00:00"]),
        ("%Y-%m-%d %H:%M%z", ["2024-01-01 00:00+01:00", "2024-01-31 23:00Z"]),
        ("%Y-%m-%d %H:%M %Z", ["2023-12-31 23:00 UTC", "2024-01-31 23:00 GMT"]),
    ],
)
def test_a_format_may_have_text_that_is_no_zone_and_a_zone_that_is_read(time_format: str, times: list[str]) -> None:
    frame = pd.DataFrame({"ds": times, "y": [1.0, 2.0]})
    panel = panel_of(frame, freq="MS", timezone="Europe/Berlin", time_format=time_format)
    assert panel.frame["ds"].tolist() == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-02-01")]


def test_a_midnight_that_a_clock_change_skips_is_a_day_like_others() -> None:
    # Clocks in Beirut went from 2022-03-27 00:00 to 01:00.
    days = pd.Series(["2022-03-26", "2022-03-27", "2022-03-28"])
    panel = panel_of(pd.DataFrame({"ds": days, "y": [1.0, 2.0, 3.0]}), freq="D", timezone="Asia/Beirut")
    shown = to_user_time(panel.frame["ds"], freq="D", timezone="Asia/Beirut")
    assert [f"{stamp:%d %H}" for stamp in shown] == ["26 00", "27 01", "28 00"]


# Zones, and days of theirs that begin at 01:00.
MIDNIGHTS = [
    ("Africa/Cairo", "2024-04-26"),
    ("America/Santiago", "2025-09-07"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("Asia/Beirut", "2025-03-30"),
    ("Atlantic/Azores", "2025-03-30"),
]


@pytest.mark.parametrize(("zone", "day"), MIDNIGHTS)
@pytest.mark.parametrize("freq", ["D", "7D", "W-{weekday}"])
@pytest.mark.parametrize("before", [0, 1, 9])
def test_the_times_that_are_shown_are_read_as_the_grid_that_they_are_of(
    zone: str, day: str, freq: str, before: int
) -> None:
    freq = freq.format(weekday=f"{pd.Timestamp(day):%a}".upper())
    start = pd.date_range(end=day, periods=before + 1, freq=freq)[0]
    ds = pd.Series(pd.date_range(start, periods=10, freq=freq, unit="us"))
    shown = to_user_time(ds, freq=freq, timezone=zone)
    assert shown[before].hour == 1
    strict = LENIENT.model_copy(update=dict.fromkeys(("bad_time", "gaps", "off_grid"), "error"))
    for written in (shown, shown.dt.tz_convert("UTC"), shown.astype(str)):
        frame = pd.DataFrame({"ds": written, "y": np.arange(10.0)})
        panel = panel_of(frame, strict, freq=freq, timezone=zone)
        assert panel.frame["ds"].tolist() == ds.tolist()
        ended = panel_of(frame, strict, freq=freq, timezone=zone, end=day)
        assert len(ended.frame) == before + 1


def test_the_end_of_a_clock_change_is_its_own_time_in_a_series_that_keeps_that_time() -> None:
    days = pd.date_range("2024-04-24", periods=5)  # the third begins at 01:00
    local = days.append(days + pd.Timedelta("1h")).tz_localize("Africa/Cairo", nonexistent="shift_forward")
    frame = pd.DataFrame({"unique_id": ["a"] * 5 + ["b"] * 5, "ds": local, "y": np.arange(10.0)})
    panel = panel_of(frame, LENIENT.model_copy(update={"off_grid": "error"}), timezone="Africa/Cairo")
    assert panel.frame["ds"].dt.hour.tolist() == [0] * 5 + [1] * 5
    assert panel.frame["y"].tolist() == list(range(10))


@pytest.mark.parametrize(("zone", "end"), [(None, "2024-01-01 05:00"), ("Australia/Melbourne", "2024-01-01 16:00")])
def test_the_end_is_in_the_users_time(zone: str | None, end: str) -> None:
    stamps = pd.date_range("2024-01-01", periods=10, freq="h", tz=None if zone is None else "UTC")
    panel = panel_of(pd.DataFrame({"ds": stamps, "y": np.arange(10.0)}), freq="h", timezone=zone, end=end)
    assert panel.frame["y"].tolist() == [0, 1, 2, 3, 4, 5]


@given(st.sampled_from(FREQUENCIES), st.integers(1, 30), st.lists(st.integers(0, 4000), min_size=1, max_size=4))
def test_future_times_are_the_steps_of_pandas_own_ranges(freq: str, horizon: int, days: list[int]) -> None:
    starts = [
        pd.date_range(pd.Timestamp("2015-01-01") + pd.Timedelta(day, "D"), periods=1, freq=freq)[0] for day in days
    ]
    times = future_times(pd.Series(starts), freq=freq, horizon=horizon)
    assert times.dtype == np.dtype("datetime64[us]")
    for row, start in zip(times, starts, strict=True):
        np.testing.assert_array_equal(row, pd.date_range(start, periods=horizon + 1, freq=freq)[1:])
        np.testing.assert_array_equal(future_times(start, freq=freq, horizon=horizon), row)


def test_future_times_keep_the_phase_of_their_series() -> None:
    last = np.asarray(["2024-01-31T23:50", "2024-01-31T23:35"], dtype="datetime64[us]")
    expected = [["2024-02-01T00:20", "2024-02-01T00:50"], ["2024-02-01T00:05", "2024-02-01T00:35"]]
    np.testing.assert_array_equal(future_times(last, freq="30min", horizon=2), np.asarray(expected, "datetime64[us]"))
    closing = np.datetime64("2024-01-05T16:00")
    expected = ["2024-01-08T16:00", "2024-01-09T16:00"]
    np.testing.assert_array_equal(future_times(closing, freq="B", horizon=2), np.asarray(expected, "datetime64[us]"))


def test_future_times_of_whole_numbers_and_of_nothing() -> None:
    np.testing.assert_array_equal(future_times([3, 10], freq=4, horizon=2), [[7, 11], [14, 18]])
    assert future_times([], freq="MS", horizon=3).shape == (0, 3)


@pytest.mark.parametrize("minute", [0, 5, 59])
def test_equal_steps_start_at_each_series_own_first_stamp(minute: int) -> None:
    stamps = [f"2024-01-01 {hour:02}:{minute:02}" for hour in range(3)]
    frame = pd.DataFrame(
        {"unique_id": ["a"] * 3 + ["b"] * 2, "ds": [*stamps, "2024-01-01 07:30", "2024-01-01 08:30"], "y": 1.0}
    )
    panel = panel_of(frame, freq="h")
    assert [f"{stamp:%H:%M}" for stamp in panel.frame["ds"]] == [f"0{hour}:{minute:02}" for hour in range(3)] + [
        "07:30",
        "08:30",
    ]


def test_values_may_be_text_and_columns_typed_or_not() -> None:
    typed = pd.DataFrame({"ds": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]), "y": [1.5, np.nan, -3]})
    versions = [
        typed,
        typed.astype({"ds": "datetime64[ns]", "y": "Float64"}),
        typed.assign(ds=typed["ds"].dt.date),
        typed.astype(object),
        pd.DataFrame({"ds": typed["ds"].astype(str), "y": ["1.5", None, "-3"]}),
        pd.DataFrame({"ds": typed["ds"].astype(str), "y": [1.5, "NA", "-3"]}),
        typed.astype({"ds": "category"}).assign(other="ignored").set_index(pd.Index([7, 7, 7])),
    ]
    for frame in versions:
        before = frame.copy(deep=True)
        panel = panel_of(frame)
        np.testing.assert_array_equal(panel.frame["y"], [1.5, np.nan, -3])
        assert panel.frame["ds"].tolist() == typed["ds"].tolist()
        pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("named", "given_names"),
    [
        (
            {"id_col": "shop", "time_col": ("day",), "target_col": ("sales",), "time_format": "%d.%m.%Y"},
            ["unique_id", "ds", "y"],
        ),
        ({"time_col": ("day",), "target_col": ("sales",)}, ["unique_id", "ds", "y"]),
        ({"time_col": ("day",), "target_col": ("a", "b")}, ["unique_id", "ds", "y"]),
    ],
)
def test_a_frame_may_use_the_long_frame_names_instead_of_the_users(
    named: dict[str, Any], given_names: list[str]
) -> None:
    frame = pd.DataFrame([["s", "2024-01-01", 1.0], ["s", "2024-01-02", 2.0]], columns=given_names)
    panel = build_panel(frame, columns=columns(**named), repair=LENIENT, min_history=1, end=None)
    assert panel.frame["unique_id"].tolist() == ["s", "s"]
    assert panel.frame["y"].tolist() == [1, 2]


@pytest.mark.parametrize("named", ["shop", "day", "sales"])
def test_a_frame_that_has_one_of_the_users_names_may_not_have_long_frame_names_for_the_others(named: str) -> None:
    frame = pd.DataFrame([["s", "2024-01-01", 1.0, "x"]], columns=["unique_id", "ds", "y", named])
    users = columns(id_col="shop", time_col=("day",), target_col=("sales",))
    absent = ", ".join(repr(name) for name in ("shop", "day", "sales") if name != named)
    with pytest.raises(DataError, match=rf"\[column-missing\] frame: no column {absent}. Found: 'unique_id', "):
        build_panel(frame, columns=users, repair=LENIENT, min_history=1, end=None)


def test_a_long_frame_may_share_names_with_the_users() -> None:
    frame = pd.DataFrame([["s", "2024-01-01", 1.0], ["s", "2024-01-02", 2.0]], columns=["unique_id", "ds", "y"])
    users = columns(id_col="shop", time_col=("ds",), target_col=("sales",))
    panel = build_panel(frame, columns=users, repair=LENIENT, min_history=1, end=None)
    assert panel.frame["unique_id"].tolist() == ["s", "s"]


def test_one_series_needs_no_id_and_is_named_after_its_target() -> None:
    frame = pd.DataFrame({"ds": ["2024-01-01", "2024-01-02"], "y": [1.0, 2.0]})
    named = columns(time_col=("day",), target_col=("sales",))
    panel = build_panel(frame, columns=named, repair=LENIENT, min_history=1, end=None)
    assert panel.frame["unique_id"].unique().tolist() == ["sales"]


@pytest.mark.parametrize("named", [{"id_col": "shop", "target_col": ("sales",)}, {"target_col": ("a", "b")}])
def test_several_series_need_an_id(named: dict[str, Any]) -> None:
    frame = pd.DataFrame({"ds": ["2024-01-01"], "y": [1.0]})
    with pytest.raises(DataError, match=r"\[column-missing\] frame: no column 'unique_id'. Found: 'ds', 'y'"):
        build_panel(frame, columns=columns(time_col=("day",), **named), repair=LENIENT, min_history=1, end=None)


def test_an_error_about_a_frame_names_its_row() -> None:
    frame = pd.DataFrame({"ds": ["2024-01-01", "2024-01-02"], "y": [1.0, np.inf]}, index=[5, 3])
    with pytest.raises(DataError, match=r"\[value-infinite\] frame, row 2, column 'y': infinite. Received: 'inf'"):
        panel_of(frame, LENIENT.model_copy(update={"infinite": "error"}))


def test_an_empty_frame_is_an_error() -> None:
    with pytest.raises(DataError, match=r"\[panel-empty\] frame: no rows"):
        panel_of(pd.DataFrame({"ds": [], "y": []}))


@pytest.mark.parametrize("ids", [[1, 2], [1.0, 2.0], ["1", "2"], [1, "2"], pd.Categorical([1, 2])])
def test_ids_are_text_and_whole_numbers_have_no_fraction(ids: Any) -> None:
    frame = pd.DataFrame({"unique_id": ids, "ds": ["2024-01-01"] * 2, "y": [1.0, 2.0]})
    assert panel_of(frame).frame["unique_id"].tolist() == ["1", "2"]


@pytest.mark.parametrize("ids", [["a", None], ["a", ""], [1.0, np.nan], pd.Categorical(["a", None])])
def test_a_row_without_an_id_is_an_error(ids: Any) -> None:
    frame = pd.DataFrame({"unique_id": ids, "ds": ["2024-01-01"] * 2, "y": [1.0, 2.0]})
    with pytest.raises(DataError, match=r"\[id-null\] frame, row 2, column 'unique_id'"):
        panel_of(frame)


def test_series_are_sorted_by_the_text_of_their_ids() -> None:
    names = ["b", "a", "B", "10", "9", "\xe9"]
    frame = pd.DataFrame({"unique_id": names, "ds": "2024-01-01", "y": 1.0})
    assert panel_of(frame).frame["unique_id"].tolist() == sorted(names)


def test_wide_frames_are_like_their_melted_form() -> None:
    wide = pd.DataFrame(
        {"k": ["p", "p", "q"], "t": ["2024-01-01", "2024-01-02", "2024-01-01"], "a": [1, 2, 3.0], "b": ["4", "x", "6"]}
    )
    melted = wide.melt(["k", "t"], ["a", "b"], "name", "y")
    melted = pd.DataFrame({"unique_id": melted["k"] + "/" + melted["name"], "ds": melted["t"], "y": melted["y"]})
    one = panel_of(wide, id_col="k", time_col=("t",), target_col=("a", "b"))
    other = panel_of(melted)
    pd.testing.assert_frame_equal(one.frame, other.frame)
    for key in ("rows", "series", "repairs", "per_series"):
        assert one.audit[key] == other.audit[key]


def test_rows_of_a_wide_frame_that_are_dropped_count_for_each_of_its_series() -> None:
    wide = pd.DataFrame({"t": ["2024-01-01", None, "2024-01-02"], "a": [1.0, 2, 3], "b": [4.0, 5, 6]})
    panel = panel_of(wide, time_col=("t",), target_col=("a", "b"))
    assert panel.audit["repairs"]["time-null"] == {"policy": "data.repair.null_time: drop", "count": 2, "series": 2}
    assert panel.audit["rows"] == {"read": 6, "after_end": 0, "used": 4}


def test_a_minority_off_the_grid_is_dropped_though_it_comes_first() -> None:
    hours = [f"2024-01-01 {hour:02}:00" for hour in range(1, 9)]
    frame = pd.DataFrame({"ds": ["2024-01-01 00:05", "2024-01-01 00:06", *hours], "y": np.arange(10.0)})
    panel = panel_of(frame, freq="h")
    assert panel.audit["repairs"]["freq-mismatch"]["count"] == 2
    assert panel.frame["y"].tolist() == list(range(2, 10))


def test_columns_come_back_from_json_and_from_params() -> None:
    named = columns(id_col="k", time_col=("a", "b"), time_format="%Y %m", timezone="UTC", target_col=("v",), freq="MS")
    assert Columns.from_json(json.loads(json.dumps(named.to_json()))) == named
    data = load_params(Path(__file__).parents[1] / "params.yaml").data
    assert Columns.from_params(data).freq == data.freq
    tsf = Columns.from_params(data.model_copy(update={"format": "tsf", "time_col": None, "target_col": None}))
    assert (tsf.id_col, tsf.time_col, tsf.target_col) == ("unique_id", ("ds",), ("y",))


def test_the_audit_is_plain_json() -> None:
    frame = pd.DataFrame({"ds": ["2024-01-01", "x", "2024-01-04"], "y": [1.0, 2.0, 3.0]})
    audit = panel_of(frame).audit
    assert json.loads(json.dumps(audit, allow_nan=False)) == audit


ODD = (
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.booleans()
    | st.datetimes()
    | st.dates()
    | st.decimals(allow_nan=False)
    | st.timedeltas()
    | st.binary(max_size=3)
    | st.sampled_from([pd.NaT, pd.NA, [1], 1j, pd.Timestamp("2024-01-01", tz="UTC")])
)
STAMPS = st.sampled_from(["2024-01-01", "2024-01-02", "2024-01-01T00:00Z", "9999-12-31 23:59", "0001-01-01", "-1"])


@given(
    st.lists(st.tuples(ODD | st.just("a"), STAMPS | ODD, ODD), max_size=5),
    st.sampled_from(["D", "h", "MS", 1, "B", "W-SAT", "2QE"]),
    st.sampled_from([None, *ZONES]),
    st.sampled_from([None, object]),
)
def test_odd_cells_give_a_panel_or_one_line(
    rows: list[tuple[Any, Any, Any]], freq: str | int, zone: str | None, dtype: Any
) -> None:
    frame = pd.DataFrame(rows, columns=["unique_id", "ds", "y"], dtype=dtype)
    try:
        panel = panel_of(frame, freq=freq, timezone=zone)
        text = f"{panel.audit['steps']} steps"
        said = f"{len(panel.frame)} steps"
    except DataError as error:
        text, said = str(error), " ".join(str(error).split())
    assert text == said
    assert len(text.splitlines()) == 1


def test_min_history_counts_from_the_first_value_to_the_last() -> None:
    days = pd.date_range("2024-01-01", periods=30)
    wide = pd.DataFrame({"day": days, "old": np.arange(30.0), "new": [np.nan] * 25 + [1.0, np.nan, 2.0, 3.0, np.nan]})
    named = columns(time_col=("day",), target_col=("old", "new"))
    dropping = LENIENT.model_copy(update={"short": "drop"})
    strict = LENIENT.model_copy(update={"short": "error"})
    for shortest, kept in ((4, ["new", "old"]), (5, ["old"])):
        panel = build_panel(wide, columns=named, repair=dropping, min_history=shortest, end=None)
        assert panel.frame["unique_id"].unique().tolist() == kept
    with pytest.raises(DataError, match=r"\[series-short\] .*'new'.*4 steps from its first value to its last"):
        build_panel(wide, columns=named, repair=strict, min_history=5, end=None)


@pytest.mark.parametrize(
    ("time_format", "given"),
    [
        ("%m%d%Y", [1092024, 1102024, 10112024]),
        ("%d%m%y", [90124, 100124, 111024]),
        ("%H%M", [0, 5, 100]),
        ("%H%M%S", [0, 130, 10000]),
    ],
)
@pytest.mark.parametrize("kind", ["int64", "float64", "object"])
def test_whole_numbers_have_the_leading_zeros_of_their_format(kind: str, time_format: str, given: list[int]) -> None:
    width = len(pd.Timestamp("2000-01-01").strftime(time_format))
    texts = pd.Series([str(number).zfill(width) for number in given])
    expected = pd.to_datetime(texts, format=time_format)
    read = read_times(
        [pd.Series(given, dtype=kind)], time_format=time_format, timezone=None, frequency=parse_frequency("s")
    )
    assert (read.state == OK).all()
    assert pd.DatetimeIndex(read.grid.view("datetime64[us]")).equals(pd.DatetimeIndex(expected).as_unit("us"))


def test_leading_zeros_come_back_in_a_column_beside_another() -> None:
    both = [pd.Series(["2024-01-01"] * 3), pd.Series([0, 100, 1300])]
    read = read_times(both, time_format="%Y-%m-%d %H%M", timezone=None, frequency=parse_frequency("h"))
    assert pd.DatetimeIndex(read.grid.view("datetime64[us]")).hour.tolist() == [0, 1, 13]


def test_a_year_of_two_digits_is_none_of_four() -> None:
    read = read_times([pd.Series([24])], time_format="%Y", timezone=None, frequency=parse_frequency("YS"))
    assert (read.state != OK).all()


def test_no_frequency_is_suggested_that_fits_few_of_the_times() -> None:
    monthly = pd.date_range("2020-01-15", periods=24, freq="MS") + pd.Timedelta(14, "D")
    rng = np.random.default_rng(0)
    jitter = pd.date_range("2024-01-01", periods=50, freq="5min") + pd.to_timedelta(rng.integers(-9, 9, 50), "s")
    for times in (monthly, jitter):
        with pytest.raises(DataError, match=r"\[freq-mismatch\]") as told:
            panel_of(pd.DataFrame({"ds": times, "y": np.arange(float(len(times)))}), freq="W-SUN")
        assert "looks like" not in str(told.value)


def test_days_of_utc_are_told_from_those_of_a_zone() -> None:
    days = pd.date_range("2024-01-01", periods=300, tz="UTC")
    frame = pd.DataFrame({"ds": days, "y": np.arange(300.0)})
    with pytest.raises(DataError, match=r"freq-mismatch.*data.timezone 'Europe/Berlin', though .* UTC; set it to UTC"):
        panel_of(frame, repair=LENIENT.model_copy(update={"off_grid": "error"}), freq="D", timezone="Europe/Berlin")
    assert len(panel_of(frame, freq="D", timezone="UTC").frame) == 300
