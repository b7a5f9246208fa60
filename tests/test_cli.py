from __future__ import annotations

import gzip
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from random_networks import REPAIR, build_spec, random_weights
from typer.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.forecaster import Forecaster, save_bundle
from pipeline.series import Columns

C, H = 20, 7


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two bundles, a verdict for gru and a history, in which the command runs."""
    columns = Columns("meter", ("when",), None, None, ("load",), "h")
    for cell in ("lstm", "gru"):
        spec = build_spec(cell, context_length=C, horizon=H)
        save_bundle(
            tmp_path / "models/trained" / cell,
            spec=spec,
            members=[random_weights(spec, 1)],
            calibration=None,
            meta={"columns": columns.to_json(), "repair": REPAIR.model_dump()},
        )
    (tmp_path / "models/comparison").mkdir()
    (tmp_path / "models/comparison/verdict.json").write_text('{"best_on_validation": "gru", "served": "gru"}')
    ds = pd.date_range("2024-01-01", periods=30, freq="h")
    load = 50 + np.random.default_rng(0).standard_normal(60).cumsum()
    history = pd.DataFrame({"meter": np.repeat(["b", "a"], 30), "when": [*ds, *ds], "load": load})
    history.to_csv(tmp_path / "history.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def assert_one_line(result: Result, *parts: str) -> None:
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert all(part in result.stderr for part in parts), result.stderr


@pytest.mark.parametrize(("cell", "chosen"), [("best", "gru"), ("gru", "gru"), ("lstm", "lstm")])
def test_a_file_is_forecast_as_a_frame_is(cell: str, chosen: str, project: Path) -> None:
    result = run("forecast", "history.csv", "out/forecast.csv", "--cell", cell)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"out/forecast.csv: 2 series, {H} steps each, by {chosen}\n"
    expected = Forecaster.load(f"models/trained/{chosen}").forecast(pd.read_csv("history.csv"))
    written = pd.read_csv("out/forecast.csv", parse_dates=["ds", "cutoff"])
    pd.testing.assert_frame_equal(written, expected, check_dtype=False, check_exact=True)
    assert [path.name for path in (project / "out").iterdir()] == ["forecast.csv"]


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst", ".parquet"])
def test_every_format_of_output_says_the_same_with_the_same_bytes(ending: str, project: Path) -> None:
    for name in ("a", "b"):
        assert run("forecast", "history.csv", f"{name}{ending}").exit_code == 0
    assert (project / f"a{ending}").read_bytes() == (project / f"b{ending}").read_bytes()
    expected = Forecaster.load("models/trained/gru").forecast(pd.read_csv("history.csv"))
    if ending == ".parquet":
        written = pd.read_parquet(f"a{ending}")
    else:
        written = pd.read_csv(f"a{ending}", parse_dates=["ds", "cutoff"])
    pd.testing.assert_frame_equal(written, expected, check_dtype=False, check_exact=True)


@pytest.mark.parametrize("ending", [".csv.gz", ".parquet", ".CSV"])
def test_every_format_of_input_is_forecast_alike(ending: str, project: Path) -> None:
    history = pd.read_csv("history.csv", parse_dates=["when"])
    if ending == ".parquet":
        history.to_parquet(f"copy{ending}")
    elif ending == ".csv.gz":
        (project / f"copy{ending}").write_bytes(gzip.compress((project / "history.csv").read_bytes()))
    else:
        history.to_csv(f"copy{ending}", index=False)
    run("forecast", "history.csv", "expected.csv")
    assert run("forecast", f"copy{ending}", "out.csv").exit_code == 0
    assert (project / "out.csv").read_bytes() == (project / "expected.csv").read_bytes()


def test_delimiter_and_decimal_point_are_options(project: Path) -> None:
    pd.read_csv("history.csv").to_csv("german.csv", sep=";", decimal=",", index=False)
    run("forecast", "history.csv", "expected.csv")
    result = run("forecast", "german.csv", "out.csv", "--delimiter", ";", "--decimal", ",")
    assert result.exit_code == 0, result.stderr
    assert (project / "out.csv").read_bytes() == (project / "expected.csv").read_bytes()


def test_nixtlas_columns_are_read_too(project: Path) -> None:
    history = pd.read_csv("history.csv").rename(columns={"meter": "unique_id", "when": "ds", "load": "y"})
    history.to_csv("long.csv", index=False)
    run("forecast", "history.csv", "expected.csv")
    assert run("forecast", "long.csv", "out.csv").exit_code == 0
    assert (project / "out.csv").read_bytes() == (project / "expected.csv").read_bytes()


def test_best_needs_a_comparison(project: Path) -> None:
    verdict = project / "models/comparison/verdict.json"
    for content in ("", "[]", "{}"):
        verdict.write_text(content)
        assert_one_line(run("forecast", "history.csv", "out.csv"), "verdict.json", "served", "--cell")
        best = run("forecast", "history.csv", "out.csv", "--cell", "best")
        assert_one_line(best, "verdict.json", "best_on_validation", "--cell")
    verdict.unlink()
    assert_one_line(run("forecast", "history.csv", "out.csv"), "verdict.json not found; run `dvc repro` first")
    assert run("forecast", "history.csv", "out.csv", "--cell", "lstm").exit_code == 0


def test_without_a_cell_what_params_serve_is_served(project: Path) -> None:
    verdict = project / "models/comparison/verdict.json"
    verdict.write_text('{"best_on_validation": "gru", "served": "lstm"}')
    assert "by lstm" in run("forecast", "history.csv", "out.csv").stdout
    assert "by gru" in run("forecast", "history.csv", "out.csv", "--cell", "best").stdout


def test_the_comparison_and_the_models_may_lie_elsewhere(project: Path) -> None:
    (project / "models").rename(project / "elsewhere")
    options = ["--models", "elsewhere/trained", "--comparison", "elsewhere/comparison"]
    assert run("forecast", "history.csv", "out.csv", *options).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["history.csv", "out.csv", "--cell", "rnn"], ["models/trained has no cell rnn. Trained: gru, lstm"]),
        (["absent.csv", "out.csv"], ["[file-missing] absent.csv"]),
        (["history.csv", "out.xlsx"], ["OUTPUT ends with one of .csv,", "Received: 'out.xlsx'"]),
        (["history.xlsx", "out.csv"], ["INPUT ends with one of .csv,", "Received: 'history.xlsx'"]),
        (["history.csv", "history.csv"], ["would replace INPUT"]),
        (["history.csv", "./models/../history.csv"], ["would replace INPUT"]),
        (["history.csv", "folder.csv"], ["OUTPUT folder.csv is a folder"]),
        (["history.csv", "history.csv/out.csv"], ["history.csv/out.csv cannot be written"]),
        (["history.csv", "out.csv", "--delimiter", ";;"], ["--delimiter is one character. Received: ';;'"]),
        (["history.csv", "out.csv", "--decimal", ""], ["--decimal is one character. Received: ''"]),
    ],
)
def test_mistakes_end_with_one_line(arguments: list[str], parts: list[str], project: Path) -> None:
    (project / "folder.csv").mkdir()
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert_one_line(run("forecast", *arguments), *parts)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_a_bad_value_is_named_by_file_and_line(project: Path) -> None:
    lines = (project / "history.csv").read_text().splitlines()
    lines[16] = "b,2024-01-01 15:00:00,much"
    (project / "history.csv").write_text("\n".join(lines))
    assert_one_line(run("forecast", "history.csv", "out.csv"), "[value-text] history.csv, line 17", "'much'")


def test_a_failed_forecast_leaves_the_earlier_one(project: Path) -> None:
    run("forecast", "history.csv", "out.csv")
    before = (project / "out.csv").read_bytes()
    meta = json.loads((project / "models/trained/gru/forecaster.json").read_text())
    meta["files"]["forecaster.onnx"] = "0" * 64
    (project / "models/trained/gru/forecaster.json").write_text(json.dumps(meta))
    assert_one_line(run("forecast", "history.csv", "out.csv"), "forecaster.onnx was altered")
    assert (project / "out.csv").read_bytes() == before


def test_the_version_is_that_of_the_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", {"gatecast": "1.2.3"}.__getitem__)
    assert run("--version").stdout == "gatecast 1.2.3\n"


def test_the_command_starts_without_loading_what_it_may_not_need() -> None:
    code = (
        "import sys, pipeline.cli;"
        "print({'numpy', 'pandas', 'onnxruntime', 'tensorflow', 'pydantic'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout == "set()\n"


def test_every_option_is_explained() -> None:
    result = CliRunner().invoke(app, ["forecast", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    for word in ("INPUT", "OUTPUT", "--cell", "--models", "--comparison", "--delimiter", "--decimal", "--threads"):
        assert word in result.stdout
