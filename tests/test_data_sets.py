"""The whole pipeline on cuts of public data sets, as a user runs it: params.yaml, the stages, `gatecast forecast`.

What is expected of each data set is worked out with pandas alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline import worker
from pipeline.cli import app
from pipeline.errors import GatecastError
from pipeline.forecaster import Forecaster
from pipeline.intervals import forecast_columns
from pipeline.storage import read_json, sha256_of
from pipeline.windows import load_fit, split_missing

ROOT = Path(__file__).parents[1]
YAML_12 = YAML(typ="safe", pure=True)
BUDGET: dict[str, Any] = {  # a search and a training that take seconds
    "tune.max_trials": 2,
    "tune.parallel": 1,
    "tune.max_epochs": 2,
    "train.seeds": [1],
    "train.parallel": 1,
    "train.max_epochs": 2,
    "cells": ["gru"],
}
MELBOURNE = "Australia/Melbourne"


@dataclass(frozen=True)
class DataSet:
    """A public data set.

    Attributes:
        file: where it lies among them.
        rows: which of its rows of data are taken.
        changes: what its user changes in params.yaml, by dotted key.
        space: what its user changes in the search space of each cell.
        read: its series, read by pandas alone: regular grids in the time of the forecasts, missing values NaN.
    """

    file: str
    rows: slice
    changes: Mapping[str, Any]
    space: Mapping[str, Any]
    read: Callable[[Path], dict[str, pd.Series[float]]]


def read_csv(path: Path, times: Callable[[pd.DataFrame], Any], values: Sequence[str], freq: str) -> dict[str, Any]:
    frame = pd.read_csv(path)
    frame.index = pd.DatetimeIndex(times(frame))
    grid = pd.date_range(frame.index[0], frame.index[-1], freq=freq)
    return {name: frame[name].reindex(grid).astype(float) for name in values}


def read_tsf(path: Path) -> dict[str, Any]:
    parts = [line.split(":") for line in path.read_text("latin-1").split("@data\n")[1].splitlines()]
    return {
        name: pd.Series(
            list(map(float, values.split(","))), pd.date_range(start[:10], periods=values.count(",") + 1, freq="MS")
        )
        for name, start, values in parts
    }


def lengths(context_length: int, horizon: int, held_out: int) -> dict[str, int]:
    both = {"window.val_size": held_out, "window.test_size": held_out}
    context = dict.fromkeys(("window.context_length", "window.min_context", "data.min_history"), context_length)
    return {"window.horizon": horizon, **both, **context}


ETT = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
DATA_SETS = {
    "co2": DataSet(
        "co2.csv",
        slice(-800, None),
        {"train.seeds": [1, 2]},
        {},
        lambda path: read_csv(path, lambda f: f["week"], ["co2"], "W-SAT"),
    ),
    "air_passengers": DataSet(
        "AirPassengers.csv",
        slice(None),
        lengths(36, 12, 24)
        | {"data.time_col": "Month", "data.time_format": "%Y-%m", "data.target_col": "#Passengers", "data.freq": "MS"}
        | {"evaluate.season_length": 12, "cells": ["lstm", "gru"], "train.seeds": [1, 2]},
        {"segment_length": [6], "transform": ["log1p"]},
        lambda path: read_csv(path, lambda f: pd.to_datetime(f["Month"], format="%Y-%m"), ["#Passengers"], "MS"),
    ),
    "ett_h1": DataSet(
        "ETTh1.csv",
        slice(400),
        lengths(48, 24, 48)
        | {"data.time_col": "date", "data.target_col": ETT, "data.freq": "h", "evaluate.season_length": 24},
        {"segment_length": [12], "location": ["mean"]},
        lambda path: read_csv(path, lambda f: f["date"], ETT, "h"),
    ),
    "vic_elec": DataSet(
        "vic_elec.csv",
        slice(3770, 4370),  # ends in the evening before the clocks go back
        lengths(96, 48, 96)
        | {"data.time_col": "Time", "data.timezone": MELBOURNE, "data.target_col": "Demand", "data.freq": "30min"}
        | {"evaluate.season_length": 48, "cells": ["lstm"]},
        {"segment_length": [16]},
        lambda path: read_csv(path, lambda f: pd.to_datetime(f["Time"]).dt.tz_convert(MELBOURNE), ["Demand"], "30min"),
    ),
    "bike_sharing": DataSet(
        "bike_sharing_hour.csv",
        slice(900),
        lengths(48, 24, 72)
        | {"data.time_col": ["dteday", "hr"], "data.time_format": "%Y-%m-%d %H", "data.target_col": "cnt"}
        | {"data.freq": "h", "evaluate.season_length": 24},
        {"segment_length": [7], "transform": ["log1p"]},
        lambda path: read_csv(
            path, lambda f: pd.to_datetime(f["dteday"]) + pd.to_timedelta(f["hr"], "h"), ["cnt"], "h"
        ),
    ),
    "tourism": DataSet(
        "monash/tourism_monthly_dataset.tsf",
        slice(25, None, 30),  # of 91 to 333 months; the shortest is too short to train on
        lengths(36, 12, 24)
        | {"data.format": "tsf", "data.freq": "MS", "evaluate.season_length": 12, "cells": ["lstm"]},
        {"segment_length": [6]},
        read_tsf,
    ),
}


@dataclass(frozen=True)
class Project:
    """A folder in which the pipeline has run; it is the current one.

    Attributes:
        data: the data set.
        params: what params.yaml says.
        source: the cut that is forecast.
    """

    data: DataSet
    params: dict[str, Any]
    source: Path

    @property
    def cells(self) -> list[str]:
        return list(self.params["cells"])

    @cached_property
    def series(self) -> dict[str, pd.Series[float]]:
        return self.data.read(self.source)


class InlinePool:
    """Stands for the pool of processes."""

    def map(self, task: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        for number, call in enumerate(calls):
            yield number, task(*call)


@contextmanager
def inline_pool(
    processes: int, *, initializer: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[InlinePool]:
    """In this process TensorFlow may have been set up already, for other threads; so only the data is loaded."""
    worker._fit = load_fit(arguments[0])
    yield InlinePool()


def run(stage: str, *arguments: str) -> None:
    """Runs a stage's main in the current folder."""
    module = import_module(f"pipeline.stages.{stage}")
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(module, "workers"):
            patch.setattr(module, "workers", inline_pool)
        module.main(*arguments)


def run_all(cells: Sequence[str]) -> None:
    run("ingest")
    run("window")
    for cell in cells:
        for stage in ("tune", "train", "evaluate"):
            run(stage, cell)
    run("baselines")
    run("compare")


def head_and_rows(path: Path) -> tuple[list[bytes], list[bytes]]:
    """The lines of a file before its data, and those of its data."""
    lines = path.read_bytes().splitlines(keepends=True)
    start = 1 + ([line.strip() for line in lines].index(b"@data") if path.suffix == ".tsf" else 0)
    return lines[:start], lines[start:]


def without_last_steps(source: Path, target: Path, count: int) -> None:
    """Copies a file without the last steps of every series."""
    head, rows = head_and_rows(source)
    by_row = [b",".join(row.split(b",")[:-count]) + b"\n" for row in rows]
    target.write_bytes(b"".join([*head, *(by_row if source.suffix == ".tsf" else rows[:-count])]))


def write_params(data: DataSet, path: str) -> dict[str, Any]:
    """Writes the committed params.yaml with a user's changes to the current folder."""
    params: dict[str, Any] = YAML_12.load((ROOT / "params.yaml").read_text())
    for key, value in {**BUDGET, "data.path": path, **data.changes}.items():
        *sections, name = key.split(".")
        section = params
        for part in sections:
            section = section[part]
        assert name in section, key
        section[name] = value
    for space in params["tune"]["space"].values():
        space.update({"units": [8], "layers": [1], "calendar": ["none"], **data.space})
    with Path("params.yaml").open("w") as file:
        YAML_12.dump(params, file)
    return params


@pytest.fixture(scope="module")
def finished() -> dict[str, Project]:
    """What has run already."""
    return {}


@pytest.fixture(params=DATA_SETS)
def project(
    request: pytest.FixtureRequest,
    finished: dict[str, Project],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """The current folder, in which the pipeline has run on the data set that the parameter names."""
    name = request.param
    if name not in finished:
        data = DATA_SETS[name]
        source = (ROOT / "data/raw" if name == "co2" else request.getfixturevalue("real_data")) / data.file
        head, rows = head_and_rows(source)
        cut = tmp_path_factory.mktemp(name) / source.name
        cut.write_bytes(b"".join(head + rows[data.rows]))
        monkeypatch.chdir(cut.parent)
        params = write_params(data, cut.name)
        run_all(params["cells"])
        finished[name] = Project(data, params, cut)
    monkeypatch.chdir(finished[name].source.parent)
    return finished[name]


def test_ingest_counts_what_pandas_counts(project: Project) -> None:
    audit = read_json(Path("data/series/audit.json"))
    series = project.series
    missing = {name: int(y.isna().sum()) for name, y in series.items()}
    assert {name: (s["steps"], s["missing"]) for name, s in audit["per_series"].items()} == {
        name: (len(y), missing[name]) for name, y in series.items()
    }
    gaps = {name: s["repairs"].get("gap", 0) for name, s in audit["per_series"].items()}
    # The CO2 file has a row without a value where others have no row.
    assert gaps == (dict.fromkeys(series, 0) if project.source.name == "co2.csv" else missing)
    assert set(audit["repairs"]) == ({"gap"} if any(gaps.values()) else set())


def windows_of(y: pd.Series[float], window: Mapping[str, int]) -> Iterator[tuple[pd.Series[float], pd.Series[float]]]:
    """Context and target of every cutoff of the test part with something observed in both."""
    for first in range(len(y) - window["test_size"], len(y) - window["horizon"] + 1):
        context = y.iloc[max(first - window["context_length"], 0) : first]
        target = y.iloc[first : first + window["horizon"]]
        if context.notna().any() and target.notna().any():
            yield context, target


def microseconds(times: Any) -> Any:
    """Timestamps in the unit in which evaluation writes them, in the zone of the data."""
    return pd.DatetimeIndex(times).as_unit("us")


def test_every_cutoff_of_the_test_part_is_forecast_step_by_step(project: Project) -> None:
    expected = [
        {"unique_id": name, "ds": ds, "cutoff": context.index[-1], "y": y}
        for name in sorted(project.series)
        for context, target in windows_of(project.series[name], project.params["window"])
        for ds, y in target.items()
    ]
    table = pd.DataFrame(expected).assign(
        ds=lambda t: microseconds(t["ds"]),
        cutoff=lambda t: microseconds(t["cutoff"]),
        unique_id=lambda t: t["unique_id"].astype("str"),
    )
    for name in [*project.cells, "baselines"]:
        found = pd.read_parquet(f"models/evaluation/{name}.parquet")
        pd.testing.assert_frame_equal(found[list(table)].astype({"unique_id": "str"}), table)
        details = read_json(Path(f"models/evaluation/{name}-details.json"))
        assert details["n_series"] == len(project.series)
        assert details["n_windows"] == len(table) // project.params["window"]["horizon"]


def test_all_errors_are_finite_numbers(project: Project) -> None:
    def leaves(value: Any) -> Iterator[Any]:
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item) if isinstance(item, dict | list) else [item]

    models = [*project.cells, "seasonal_naive", "seasonal_drift", "ridge"]
    files = [f"models/evaluation/{name}.json" for name in models]
    files += [f"models/evaluation/{name}-details.json" for name in [*project.cells, "baselines"]]
    files += [f"models/trained/{cell}/validation.json" for cell in project.cells]
    for file in files:
        content = read_json(Path(file))
        # A single network of a cell has no spread over seeds, and says so.
        if "seeds_sd" in content and len(project.params["train"]["seeds"]) == 1:
            assert set(content.pop("seeds_sd").values()) == {None}
        figures = list(leaves(content))
        assert len(figures) >= 8
        assert all(isinstance(figure, int | float) and np.isfinite(figure) for figure in figures), file


def test_quantiles_of_every_forecast_ascend(project: Project) -> None:
    quantiles = project.params["quantiles"]
    models = {cell: cell for cell in project.cells} | dict.fromkeys(
        ("seasonal_naive", "seasonal_drift", "ridge"), "baselines"
    )
    for model, file in models.items():
        found = pd.read_parquet(f"models/evaluation/{file}.parquet")
        columns = [name for name, _ in sorted(forecast_columns(model, quantiles), key=lambda column: column[1])]
        assert len(columns) == len(quantiles)
        assert (np.diff(found[columns].to_numpy(), axis=1) >= 0).all(), model


def test_the_comparison_names_what_was_run(project: Project) -> None:
    verdict = read_json(Path("models/comparison/verdict.json"))
    validation = {cell: read_json(Path(f"models/trained/{cell}/validation.json"))["mase"] for cell in project.cells}
    assert verdict["best_on_validation"] == min(validation, key=validation.__getitem__)
    assert verdict["seeds"] == project.params["train"]["seeds"]
    assert verdict["n_series"] == len(project.series)
    assert set(pd.read_csv("models/comparison/table.csv")["model"]) >= {*project.cells, "ridge"}


def forecast_file(source: Path, cell: str) -> pd.DataFrame:
    """What `gatecast forecast` writes, with times as evaluation writes them."""
    result = CliRunner().invoke(app, ["forecast", str(source), f"{source}.parquet", "--cell", cell])
    assert result.exit_code == 0, result.output
    return pd.read_parquet(f"{source}.parquet")


def test_the_file_itself_is_forecast_from_the_last_context_of_each_series(project: Project, tmp_path: Path) -> None:
    source = tmp_path / project.source.name
    shutil.copy(project.source, source)
    horizon, length = (project.params["window"][name] for name in ("horizon", "context_length"))
    ids = sorted(project.series)
    contexts = np.full((len(ids), length), np.nan)
    for number, name in enumerate(ids):
        recent = project.series[name].to_numpy()[-length:]
        contexts[number, -len(recent) :] = recent
    ends = {name: y.index[-1] for name, y in project.series.items()}
    steps = {
        name: pd.date_range(ends[name], periods=horizon + 1, freq=project.params["data"]["freq"])
        for name, y in project.series.items()
    }
    for cell in project.cells:
        found = forecast_file(source, cell)
        assert list(found["unique_id"]) == [name for name in ids for _ in range(horizon)]
        assert list(found["cutoff"]) == [ends[name] for name in ids for _ in range(horizon)]
        assert list(found["ds"]) == [ds for name in ids for ds in steps[name][1:]]
        forecaster = Forecaster.load(f"models/trained/{cell}")
        # The series are known by name: by their places in alphabetical order, from 1.
        names = np.arange(1, len(ids) + 1)[:, None] if forecaster.spec.inputs.categorical else None
        expected = forecaster.predict_arrays(*split_missing(contexts), static_cat=names)["forecast"]
        scale = np.nanstd(contexts, axis=1)[:, None]
        for name, place in forecast_columns(cell, forecaster.quantiles):
            error = np.abs(found[name].to_numpy().reshape(-1, horizon) - expected[:, :, place]) / scale
            assert error.max() < 1e-5


def test_a_history_that_ends_at_a_cutoff_is_forecast_as_evaluation_forecast_it(
    project: Project, tmp_path: Path
) -> None:
    window = project.params["window"]
    source = tmp_path / project.source.name
    scale = {name: np.nanstd(y) for name, y in project.series.items()}
    for cell in project.cells:
        evaluated = pd.read_parquet(f"models/evaluation/{cell}.parquet")
        for dropped in (window["horizon"], window["test_size"] - 3):
            without_last_steps(project.source, source, dropped)
            served = forecast_file(source, cell)
            served = served.assign(ds=microseconds(served["ds"]), cutoff=microseconds(served["cutoff"]))
            both = served.merge(evaluated, on=["unique_id", "cutoff", "ds"], suffixes=("", " evaluated"))
            assert len(both) == len(served) == len(project.series) * window["horizon"]
            for name in [column for column in map(str, served) if column.startswith(cell)]:
                error = (both[name] - both[f"{name} evaluated"]).abs() / both["unique_id"].map(scale)
                assert error.max() < 1e-5


def clock_of(times: pd.Series[Any]) -> list[str]:
    """Local clock times of the night, with their offsets."""
    return [f"{time:%H:%M%z}" for time in times if time.hour in (1, 2, 3)]


@pytest.mark.parametrize("project", ["vic_elec"], indirect=True)
def test_a_forecast_across_a_clock_change_has_every_half_hour_of_the_night_once(
    project: Project, real_data: Path
) -> None:
    forecaster = Forecaster.load("models/trained/lstm")
    autumn = forecaster.forecast(pd.read_csv(project.source))["ds"]
    assert clock_of(autumn) == [
        *("01:00+1100", "01:30+1100", "02:00+1100", "02:30+1100"),
        *("02:00+1000", "02:30+1000", "03:00+1000", "03:30+1000"),
    ]
    year = pd.read_csv(real_data / project.data.file)
    spring = forecaster.forecast(year[year["Time"].between("2012-09-25", "2012-10-06T12:00:00Z")])["ds"]
    assert clock_of(spring) == ["01:00+1000", "01:30+1000", "03:00+1100", "03:30+1100"]
    for ds in (autumn, spring):
        assert str(ds.dt.tz) == MELBOURNE
        assert (ds.diff().dropna() == pd.Timedelta("30min")).all()


@dataclass(frozen=True)
class Edit:
    """Other values for the last rows of a CSV file of two columns, some of them missing, none negative.

    Attributes:
        rows: how many.
        seed: of the values.
        size: of the values.
    """

    rows: int
    seed: int
    size: float

    def write(self, source: Path, target: Path) -> None:
        head, rows = head_and_rows(source)
        values = self.size * np.random.default_rng(self.seed).random(self.rows)
        texts = ["" if value < 0.1 * self.size else f"{value:.3f}" for value in values]
        times = [row.split(b",")[0].decode() for row in rows[-self.rows :]]
        edited = [f"{time},{text}\n".encode() for time, text in zip(times, texts, strict=True)]
        target.write_bytes(b"".join([*head, *rows[: -self.rows], *edited]))


@pytest.fixture
def original(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project as it was; the current folder is a copy of it, to be changed."""
    shutil.copytree(project.source.parent, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return project


@pytest.mark.parametrize("project", ["co2", "air_passengers"], indirect=True)
@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.floats(0, 1), st.integers(0, 99), st.sampled_from([1.0, 1e3, 1e9]))
def test_editing_the_file_after_a_cutoff_changes_no_forecast_made_at_it_and_every_later_one(
    original: Project, share: float, seed: int, size: float
) -> None:
    rows = max(1, round(share * original.params["window"]["test_size"]))
    Edit(rows, seed, size).write(original.source, Path(original.source.name))
    run("ingest")
    run("window")
    for cell in original.cells:
        run("evaluate", cell)
    run("baselines")
    fit = Path("data/windows/fit")
    assert sha256_of(fit) == sha256_of(original.source.parent / fit)
    (series,) = original.series.values()
    last = series.index[-rows - 1]
    for name in [*original.cells, "baselines"]:
        file = Path(f"models/evaluation/{name}.parquet")
        before, after = (pd.read_parquet(path).drop(columns="y") for path in (original.source.parent / file, file))
        untouched = before[before["cutoff"] <= last]
        assert len(untouched) > 0
        pd.testing.assert_frame_equal(after[after["cutoff"] <= last], untouched, check_exact=True)
        assert len(after) == len(before)
        later = before["cutoff"] > last
        means = [frame[later].groupby("cutoff").mean(numeric_only=True) for frame in (before, after)]
        assert (means[0] != means[1]).any(axis=1).all()


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({}, ["144 steps", "test_size 208", "val_size 208", "horizon 26", "min_context 104"]),
        ({"window.val_size": 100}, ["training window", "144 steps", "val_size 100"]),
        ({"window.test_size": 100}, ["training window", "144 steps", "test_size 100"]),
        ({"window.min_context": 85}, ["params.yaml", "min_context 85", "longer than context_length"]),
        ({"window.context_length": 1_000_000}, ["window.context_length 1000000", "144 steps"]),
        (
            {"evaluate.season_length": 120},
            ["evaluate.season_length 120", "before the test part, of at most 120 steps"],
        ),
        ({"window.horizon": 25}, ["params.yaml", "val_size 24", "shorter than horizon 25"]),
        ({"window.val_size": 11}, ["params.yaml", "val_size 11", "shorter than horizon 12"]),
        ({"window.test_size": 11}, ["params.yaml", "test_size 11", "shorter than horizon 12"]),
        ({"window.context_length": 0}, ["params.yaml", "window.context_length", "Received: 0"]),
        ({"data.min_history": 145}, ["AirPassengers.csv, line 2", "144 steps", "data.min_history is 145"]),
        ({"data.freq": "W-SAT"}, ["AirPassengers.csv, line 3", "looks like 'MS'"]),
    ],
    ids=str,
)
def test_a_length_that_the_file_is_too_short_for_is_named_in_one_line(
    changes: dict[str, Any], parts: list[str], real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DATA_SETS["air_passengers"]
    committed = {key: value for key, value in data.changes.items() if changes or not key.startswith("window.")}
    monkeypatch.chdir(tmp_path)
    shutil.copy(real_data / data.file, tmp_path)
    write_params(replace(data, changes={**committed, **changes}), data.file)
    with pytest.raises(GatecastError) as caught:
        for stage in ("ingest", "window"):
            run(stage)
    assert "\n" not in str(caught.value)
    assert [part for part in parts if part not in str(caught.value)] == [], caught.value
    assert not Path("data/windows").exists()
