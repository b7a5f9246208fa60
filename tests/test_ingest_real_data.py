"""Public data sets through ingest, against what is known of them."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.params import load_params
from pipeline.series import Columns, Panel, build_panel, load_panel, to_user_time
from pipeline.sources import read_source
from pipeline.stages.ingest import main
from pipeline.storage import sha256_of

ROOT = Path(__file__).parents[1]


def ingest(path: Path, **changes: Any) -> Panel:
    data = load_params(ROOT / "params.yaml").data.model_copy(update={"path": str(path), "min_history": 1, **changes})
    return build_panel(
        read_source(data),
        columns=Columns.from_params(data),
        repair=data.repair,
        min_history=data.min_history,
        end=data.end,
    )


def test_the_committed_co2_series_has_59_missing_weeks_among_2284() -> None:
    panel = ingest(
        ROOT / "data" / "raw" / "co2.csv", id_col=None, time_col=("week",), target_col=("co2",), freq="W-SAT"
    )
    assert (panel.audit["steps"], panel.audit["missing"]) == (2284, 59)
    assert panel.audit["repairs"] == {}


def test_the_stage_writes_the_same_bytes_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "data" / "raw").mkdir(parents=True)
    shutil.copy(ROOT / "data" / "raw" / "co2.csv", tmp_path / "data" / "raw")
    main()
    before = sha256_of(tmp_path / "data" / "series")
    main()
    assert sha256_of(tmp_path / "data" / "series") == before
    assert load_panel(tmp_path / "data" / "series").audit["series"]["used"] == 1


def test_the_seven_columns_of_etth1_become_seven_hourly_series(real_data: Path) -> None:
    names = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    panel = ingest(real_data / "ETTh1.csv", time_col=("date",), target_col=names, freq="h")
    assert panel.audit["series"] == {"read": 7, "used": 7}
    assert panel.audit["steps"] == 7 * 17420
    assert panel.audit["missing"] == 0
    with (real_data / "ETTh1.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    for name in names:
        assert panel.frame.loc[panel.frame["unique_id"] == name, "y"].iloc[-1] == float(last[name])


@pytest.mark.parametrize(("freq", "seen"), [("2h", "h"), ("30min", "h"), ("D", "h")])
def test_a_frequency_that_etth1_has_not_is_refused_with_the_one_it_has(real_data: Path, freq: str, seen: str) -> None:
    with pytest.raises(DataError, match=rf"\[freq-mismatch\].*the data looks like '{seen}'"):
        ingest(real_data / "ETTh1.csv", time_col=("date",), target_col=("OT",), freq=freq)


@pytest.mark.parametrize(
    ("zone", "first"), [("Australia/Melbourne", "2012-01-01 00:00:00+11:00"), ("UTC", "2011-12-31 13:00:00+00:00")]
)
def test_vic_elec_has_every_half_hour_in_either_zone(real_data: Path, zone: str, first: str) -> None:
    panel = ingest(real_data / "vic_elec.csv", time_col=("Time",), target_col=("Demand",), freq="30min", timezone=zone)
    assert (panel.audit["steps"], panel.audit["missing"], panel.audit["repairs"]) == (52608, 0, {})
    assert str(panel.frame["ds"].iloc[0]) == "2011-12-31 13:00:00"
    assert str(to_user_time(panel.frame["ds"], freq="30min", timezone=zone).iloc[0]) == first


def test_vic_elec_names_its_zone_so_one_must_be_set(real_data: Path) -> None:
    with pytest.raises(
        DataError, match=r"\[zone-missing\] .*vic_elec.csv, line 2, column 'Time'.*'2011-12-31T13:00:00Z'"
    ):
        ingest(real_data / "vic_elec.csv", time_col=("Time",), target_col=("Demand",), freq="30min", timezone=None)


def test_the_bike_counts_miss_165_hours(real_data: Path) -> None:
    changes: dict[str, Any] = {
        "time_col": ("dteday", "hr"),
        "time_format": "%Y-%m-%d %H",
        "target_col": ("cnt",),
        "freq": "h",
    }
    panel = ingest(real_data / "bike_sharing_hour.csv", **changes)
    assert (panel.audit["rows"]["read"], panel.audit["steps"], panel.audit["missing"]) == (17379, 17544, 165)
    assert panel.audit["repairs"]["gap"]["count"] == 165


def test_the_air_passengers_are_144_months(real_data: Path) -> None:
    changes: dict[str, Any] = {
        "time_col": ("Month",),
        "time_format": "%Y-%m",
        "target_col": ("#Passengers",),
        "freq": "MS",
    }
    panel = ingest(real_data / "AirPassengers.csv", **changes)
    assert (panel.audit["steps"], panel.audit["missing"]) == (144, 0)
    assert (str(panel.frame["ds"].iloc[-1]), panel.frame["y"].iloc[-1]) == ("1960-12-01 00:00:00", 432)


def test_the_taxi_passengers_are_10320_half_hours(real_data: Path) -> None:
    path = real_data / "taxi_new_york_passengers.csv"
    panel = ingest(path, time_col=("time",), target_col=("#Passengers",), freq="30min")
    assert (panel.audit["steps"], panel.audit["missing"]) == (10320, 0)


@pytest.mark.parametrize(
    ("name", "freq", "series", "steps"),
    [
        ("tourism_monthly", "MS", 366, 109280),
        ("tourism_quarterly", "QS", 427, 42544),
        ("hospital", "MS", 767, 767 * 84),
        ("us_births", "D", 1, 7305),
        ("m4_hourly", "h", 414, 373372),
    ],
)
def test_the_monash_sets_have_as_many_series_and_values_as_published(
    real_data: Path, name: str, freq: str, series: int, steps: int
) -> None:
    panel = ingest(real_data / "monash" / f"{name}_dataset.tsf", format="tsf", freq=freq)
    assert panel.audit["series"]["used"] == series
    assert (panel.audit["steps"], panel.audit["missing"]) == (steps, 0)


def test_the_hours_of_m4_are_those_of_the_competitions_own_files(real_data: Path) -> None:
    panel = ingest(real_data / "monash" / "m4_hourly_dataset.tsf", format="tsf", freq="h")
    train = pd.read_csv(real_data / "M4_Hourly-train.csv", index_col=0, nrows=3).to_numpy(dtype=float)
    test = pd.read_csv(real_data / "M4_Hourly-test.csv", index_col=0, nrows=3).to_numpy(dtype=float)
    for number, (before, after) in enumerate(zip(train, test, strict=True), 1):
        y = panel.frame.loc[panel.frame["unique_id"] == f"T{number}", "y"]
        np.testing.assert_array_equal(y, np.concatenate([before[~np.isnan(before)], after]))
