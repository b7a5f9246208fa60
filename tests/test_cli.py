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

from pipeline.bundle import save_bundle
from pipeline.cli import app
from pipeline.comparison import digest_bundles
from pipeline.forecaster import Forecaster
from pipeline.hparams import Inputs
from pipeline.series import Columns
from pipeline.storage import sha256_of

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


@pytest.mark.parametrize(
    ("options", "mend"),
    [
        ([], "is --delimiter ';'?; name the columns as those of the training data, or unique_id, ds, y"),
        (["--delimiter", ";"], "then set --decimal to ','"),
        (["--encoding", "utf-16"], "set --encoding to the file's encoding"),
        (["--encoding", "utf-9"], "--encoding: Python knows no such text encoding"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_mended_by_options(options: list[str], mend: str, project: Path) -> None:
    pd.read_csv("history.csv").to_csv("german.csv", sep=";", decimal=",", index=False)
    result = run("forecast", "german.csv", "out.csv", *options)
    assert_one_line(result, mend)
    assert not any(part in result.stderr for part in ("data.", "params.yaml"))


def test_nixtlas_columns_are_read_too(project: Path) -> None:
    history = pd.read_csv("history.csv").rename(columns={"meter": "unique_id", "when": "ds", "load": "y"})
    history.to_csv("long.csv", index=False)
    run("forecast", "history.csv", "expected.csv")
    assert run("forecast", "long.csv", "out.csv").exit_code == 0
    assert (project / "out.csv").read_bytes() == (project / "expected.csv").read_bytes()


def test_series_that_have_ended_are_skipped_where_that_is_asked_for(project: Path) -> None:
    history = pd.read_csv("history.csv")
    history.loc[history["meter"].eq("a") & (history.groupby("meter").cumcount() >= 30 - C), "load"] = np.nan
    history.to_csv("ended.csv", index=False)
    refused = run("forecast", "ended.csv", "forecast.csv")
    assert_one_line(refused, "series 'a' at ", f"the {C} steps up", "out with --skip-empty")
    result = run("forecast", "ended.csv", "forecast.csv", "--skip-empty")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "ended.csv: 1 series without a value in what the forecast sees are left out: 'a'\n"
    assert result.stdout == f"forecast.csv: 1 series, {H} steps each, by gru\n"
    expected = Forecaster.load("models/trained/gru").forecast(history[history["meter"] == "b"])
    written = pd.read_csv("forecast.csv", parse_dates=["ds", "cutoff"])
    pd.testing.assert_frame_equal(written, expected, check_dtype=False, check_exact=True)
    history[history["meter"] == "a"].to_csv("ended.csv", index=False)
    assert "--skip-empty" not in run("forecast", "ended.csv", "other.csv", "--skip-empty").stderr
    assert not Path("other.csv").exists()


def test_best_needs_a_comparison(project: Path) -> None:
    verdict = project / "models/comparison/verdict.json"
    for content in ("", "[]", "{}"):
        verdict.write_text(content)
        assert_one_line(run("forecast", "history.csv", "out.csv"), "verdict.json", "served", "--cell")
        best = run("forecast", "history.csv", "out.csv", "--cell", "best")
        assert_one_line(best, "verdict.json", "best_on_validation", "--cell")
    verdict.unlink()
    assert_one_line(run("forecast", "history.csv", "out.csv"), "verdict.json not found; run `dvc repro` first")
    verdict.mkdir()
    assert_one_line(run("forecast", "history.csv", "out.csv"), "verdict.json cannot be read: Is a directory;", "--cell")
    assert run("forecast", "history.csv", "out.csv", "--cell", "lstm").exit_code == 0


def test_without_a_cell_what_params_serve_is_served(project: Path) -> None:
    verdict = project / "models/comparison/verdict.json"
    verdict.write_text('{"best_on_validation": "gru", "served": "lstm"}')
    assert "by lstm" in run("forecast", "history.csv", "out.csv").stdout
    assert "by gru" in run("forecast", "history.csv", "out.csv", "--cell", "best").stdout


def test_what_an_earlier_run_left_is_taken_only_where_its_folder_is_named(project: Path) -> None:
    verdict = {"best_on_validation": "gru", "served": "gru", "models": ["gru", "ridge"]}
    (project / "models/comparison/verdict.json").write_text(json.dumps(verdict))
    assert "by gru" in run("forecast", "history.csv", "out.csv").stdout
    told = "models/trained/lstm was left by an earlier run with other cells; add lstm to cells and run `dvc repro`"
    assert_one_line(run("forecast", "history.csv", "out.csv", "--cell", "lstm"), told, "by --models models/trained")
    assert_one_line(run("publish", "--to", "out", "--cell", "lstm"), told)
    assert not Path("out").exists()
    named = run("forecast", "history.csv", "out.csv", "--cell", "lstm", "--models", "models/trained")
    assert named.stdout.endswith("by lstm\n")


def test_a_model_that_was_trained_after_the_last_comparison_is_told_of(project: Path) -> None:
    path, trained = project / "models/comparison/verdict.json", project / "models/trained"
    verdict = {"best_on_validation": "gru", "served": "gru", "models": ["gru", "lstm", "ridge"]}
    path.write_text(json.dumps({**verdict, "bundles": digest_bundles(trained, verdict["models"])}))
    for command in (("forecast", "history.csv", "out.csv"), ("publish", "--to", "out")):
        assert "after the last comparison" not in run(*command, "--cell", "lstm").output
    (trained / "lstm/forecaster.json").write_text((trained / "lstm/forecaster.json").read_text() + "\n")
    told = "models/trained/lstm: trained after the last comparison, not evaluated by it; `dvc repro` ends the run"
    for command in (("forecast", "history.csv", "out.csv"), ("publish", "--to", "out")):
        assert told in run(*command, "--cell", "lstm").stderr
        assert "after the last comparison" not in run(*command, "--cell", "gru").stderr


def test_a_bundle_may_be_named_itself(project: Path) -> None:
    (project / "models/comparison/verdict.json").unlink()  # which is then not asked
    result = run("forecast", "history.csv", "out.csv", "--models", "models/trained/lstm")
    assert result.stdout.endswith("by lstm\n")
    assert run("publish", "--to", "out", "--models", "models/trained/lstm", "--cell", "lstm").exit_code == 0
    wrong = run("forecast", "history.csv", "out.csv", "--models", "models/trained/lstm", "--cell", "gru")
    assert_one_line(wrong, "--cell: models/trained/lstm is a model of lstm. Received: gru; leave --cell out")


@pytest.mark.parametrize("folder", ["nowhere", "models", "history.csv"])
def test_a_folder_without_models_is_told_as_such(folder: str, project: Path) -> None:
    result = run("forecast", "history.csv", "out.csv", "--models", folder)
    assert_one_line(result, f"--models: {folder} holds no bundle; name a bundle, or a folder such as models/trained")


def test_the_comparison_and_the_models_may_lie_elsewhere(project: Path) -> None:
    (project / "models").rename(project / "elsewhere")
    options = ["--models", "elsewhere/trained", "--comparison", "elsewhere/comparison"]
    assert run("forecast", "history.csv", "out.csv", *options).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["history.csv", "out.csv", "--cell", "rnn"], ["models/trained has no cell rnn. Trained: gru, lstm"]),
        (["absent.csv", "out.csv"], ["[file-missing] absent.csv: no such file or folder; name a file that is there"]),
        (["blank.csv", "out.csv"], ["[file-empty] blank.csv: nothing in it but blank lines; bring a file with rows"]),
        (["zoned.csv", "out.csv"], ["zone-missing", "the training data has none", "; give the times without a zone"]),
        (["history.csv", "out.xlsx"], ["OUTPUT ends with one of .csv,", "Received: 'out.xlsx'", "as CSV"]),
        (["history.xlsx", "out.csv"], ["INPUT ends with one of .csv,", "Received: 'history.xlsx'", "as CSV"]),
        (["history.dat", "out.csv"], ["INPUT ends with one of .csv,", "Received: 'history.dat'; rename it"]),
        (["sheet.csv", "out.csv"], ["[file-binary]", "a spreadsheet or an archive (save it as CSV), no text"]),
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
    (project / "blank.csv").write_bytes(b"\xef\xbb\xbf\n")
    (project / "sheet.csv").write_bytes(b"PK\x03\x04\x14\0\x06\0")
    (project / "zoned.csv").write_text("meter,when,load\na,2024-01-01T00:00Z,1\n")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert_one_line(run("forecast", *arguments), *parts)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_a_bad_value_is_named_by_file_and_line(project: Path) -> None:
    lines = (project / "history.csv").read_text().splitlines()
    lines[16] = "b,2024-01-01 15:00:00,much"
    (project / "history.csv").write_text("\n".join(lines))
    assert_one_line(run("forecast", "history.csv", "out.csv"), "[value-text] history.csv, line 17", "'much'")


def test_a_tsf_file_has_no_covariates(project: Path) -> None:
    columns = Columns("meter", ("when",), None, None, ("load",), "h", future_covariates=("holiday",))
    spec = build_spec("gru", context_length=C, horizon=H)
    meta = {"columns": columns.to_json(), "repair": REPAIR.model_dump()}
    folder = project / "models/trained/gru"
    save_bundle(folder, spec=spec, members=[random_weights(spec, 1)], calibration=None, meta=meta)
    result = run("forecast", "history.tsf", "out.csv")
    assert_one_line(result, "no covariates", "needs holiday. Received: 'history.tsf'")


SHOPS = Columns("meter", ("when",), None, None, ("load",), "h", ("price",), ("open",), ("town",), ())
BESIDE = Inputs(("price", "open"), ("open",), (0.5, 0.5), (2.0, 1.0), ("town",), (2,))


@pytest.fixture
def shops(project: Path) -> Path:
    """The same folder, where gru takes covariates, and history.csv and future.csv have them."""
    spec = build_spec("gru", context_length=C, horizon=H, inputs=BESIDE)
    meta = {"columns": SHOPS.to_json(), "repair": REPAIR.model_dump()}
    meta["vocabularies"] = {"town": ["Bonn", "Ulm"]}
    members = [random_weights(spec, 1)]
    save_bundle(project / "models/trained/gru", spec=spec, members=members, calibration=None, meta=meta)
    rng = np.random.default_rng(1)
    history = pd.read_csv(project / "history.csv").assign(town=np.repeat(["Ulm", "Rome"], 30))
    history["price"], history["open"] = rng.random(60).round(3), rng.random(60) < 0.5
    history.to_csv(project / "history.csv", index=False)
    ds = pd.date_range("2024-01-01", periods=45, freq="h")[28:]
    future = pd.DataFrame({"meter": np.repeat(["a", "b"], 17), "when": [*ds, *ds], "open": rng.random(34) < 0.5})
    future.assign(comment="none").to_csv(project / "future.csv", index=False)
    return project


def test_covariates_known_ahead_come_from_a_file_of_their_own(shops: Path) -> None:
    result = run("forecast", "history.csv", "out.csv", "--future", "future.csv")
    assert result.exit_code == 0, result.stderr
    history, future = pd.read_csv("history.csv"), pd.read_csv("future.csv")
    expected = Forecaster.load("models/trained/gru").forecast(history, future=future)
    written = pd.read_csv("out.csv", parse_dates=["ds", "cutoff"])
    pd.testing.assert_frame_equal(written, expected, check_dtype=False, check_exact=True)
    future.assign(open=~future["open"]).to_csv("other.csv", index=False)
    assert run("forecast", "history.csv", "other-out.csv", "--future", "other.csv").exit_code == 0
    assert (shops / "other-out.csv").read_bytes() != (shops / "out.csv").read_bytes()


def test_a_series_that_is_skipped_needs_no_future(shops: Path) -> None:
    history, future = pd.read_csv("history.csv"), pd.read_csv("future.csv")
    history.loc[history["meter"] == "b", "load"] = np.nan
    history.to_csv("ended.csv", index=False)
    future[future["meter"] == "a"].to_csv("of_a.csv", index=False)
    assert run("forecast", "ended.csv", "out.csv", "--future", "of_a.csv", "--skip-empty").exit_code == 0
    expected = Forecaster.load("models/trained/gru").forecast(history[history["meter"] == "a"], future=future)
    written = pd.read_csv("out.csv", parse_dates=["ds", "cutoff"])
    pd.testing.assert_frame_equal(written, expected, check_dtype=False, check_exact=True)


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst", ".parquet"])
def test_every_format_of_the_future_is_read_alike(ending: str, shops: Path) -> None:
    future = pd.read_csv("future.csv", parse_dates=["when"])
    if ending == ".parquet":
        future.to_parquet("future.parquet")
    else:
        future.to_csv(f"future{ending}", index=False)
    assert run("forecast", "history.csv", "expected.csv", "--future", "future.csv").exit_code == 0
    result = run("forecast", "history.csv", "out.csv", "--future", f"future{ending}")
    assert result.exit_code == 0, result.stderr
    assert (shops / "out.csv").read_bytes() == (shops / "expected.csv").read_bytes()


def test_the_options_of_text_hold_for_both_files(shops: Path) -> None:
    run("forecast", "history.csv", "expected.csv", "--future", "future.csv")
    for name in ("history", "future"):
        frame = pd.read_csv(f"{name}.csv").rename(columns={"meter": "unique_id", "when": "ds", "load": "y"})
        frame.to_csv(f"german-{name}.csv", sep=";", decimal=",", index=False, encoding="utf-16")
    options = ["--delimiter", ";", "--decimal", ",", "--encoding", "utf-16"]
    result = run("forecast", "german-history.csv", "out.csv", "--future", "german-future.csv", *options)
    assert result.exit_code == 0, result.stderr
    assert (shops / "out.csv").read_bytes() == (shops / "expected.csv").read_bytes()


def test_the_future_of_one_series_needs_no_id(shops: Path) -> None:
    history, future = pd.read_csv("history.csv"), pd.read_csv("future.csv")
    history[history["meter"] == "b"].to_csv("one.csv", index=False)
    future[future["meter"] == "b"].drop(columns="meter").to_csv("one-future.csv", index=False)
    run("forecast", "history.csv", "both.csv", "--future", "future.csv")
    assert run("forecast", "one.csv", "out.csv", "--future", "one-future.csv").exit_code == 0
    both = pd.read_csv("both.csv").query("unique_id == 'b'").reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_csv("out.csv"), both, rtol=1e-6)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("a,2024-01-02 06:00:00,perhaps,none", ["[value-text] future.csv, line 4, column 'open'", "'perhaps'"]),
        ("a,soon,True,none", ["[time-unparseable] future.csv, line 4, column 'when'", "'soon'"]),
        ("a,2024-01-02 06:00:00,,none", ["[future-missing] future.csv, series 'a' at 2024-01-02 06:00", "'open'"]),
        ("a,2024-01-02 06:00:00,True", ["[row-ragged] future.csv, line 4"]),
        ("c,2024-01-02 06:00:00,True,none", ["[future-missing] future.csv, series 'a' at 2024-01-02 06:00", "no row"]),
    ],
)
def test_a_mistake_in_the_future_is_named_by_file_line_and_column(line: str, parts: list[str], shops: Path) -> None:
    lines = (shops / "future.csv").read_text().splitlines()
    lines[3] = line
    (shops / "future.csv").write_text("\n".join(lines))
    assert_one_line(run("forecast", "history.csv", "out.csv", "--future", "future.csv"), *parts)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["out.csv"], ["--future: the forecaster takes open over the horizon. Received: nothing; name a file"]),
        (["out.csv", "--future", "absent.csv"], ["[file-missing] absent.csv"]),
        (["out.csv", "--future", "future.tsf"], ["--future ends with one of .csv,", "Received: 'future.tsf'"]),
        (["future.csv", "--future", "future.csv"], ["OUTPUT future.csv would replace --future"]),
        (["out.csv", "--future", "nameless.csv"], ["[column-missing] nameless.csv: no column 'meter'", "'shop'"]),
    ],
)
def test_mistakes_about_the_future_end_with_one_line(arguments: list[str], parts: list[str], shops: Path) -> None:
    pd.read_csv("future.csv").rename(columns={"meter": "shop"}).to_csv("nameless.csv", index=False)
    assert_one_line(run("forecast", "history.csv", *arguments), *parts)


def test_a_future_that_a_model_does_not_take_is_not_read(shops: Path) -> None:
    (shops / "any.csv").write_text("no such columns\n")
    given = run("forecast", "history.csv", "out.csv", "--future", "any.csv", "--cell", "lstm")
    assert given.exit_code == 0, given.output
    assert given.stderr == "any.csv: not read, as lstm takes no covariates over the horizon\n"
    assert run("forecast", "history.csv", "without.csv", "--cell", "lstm").stderr == ""
    assert Path("out.csv").read_bytes() == Path("without.csv").read_bytes()


def test_a_history_without_the_covariates_is_told_of_them(shops: Path) -> None:
    pd.read_csv("history.csv").drop(columns="price").to_csv("bare.csv", index=False)
    result = run("forecast", "bare.csv", "out.csv", "--future", "future.csv")
    assert_one_line(result, "[column-missing] bare.csv: no column 'price'")


def test_a_model_of_one_series_forecasts_the_many_that_a_file_names(project: Path) -> None:
    columns = Columns(None, ("ds",), None, None, ("y",), "h")
    spec = build_spec("gru", context_length=C, horizon=H)
    meta = {"columns": columns.to_json(), "repair": REPAIR.model_dump()}
    run("forecast", "history.csv", "expected.csv")
    save_bundle(
        project / "models/trained/gru", spec=spec, members=[random_weights(spec, 1)], calibration=None, meta=meta
    )
    history = pd.read_csv("history.csv").rename(columns={"meter": "unique_id", "when": "ds", "load": "y"})
    history.to_csv("long.csv", index=False)
    result = run("forecast", "long.csv", "out.csv")
    assert result.exit_code == 0, result.stderr
    assert (project / "out.csv").read_bytes() == (project / "expected.csv").read_bytes()


@pytest.fixture
def final(project: Path) -> Path:
    """The same folder with a model of all data for gru, of other weights."""
    spec = build_spec("gru", context_length=C, horizon=H)
    columns = Columns("meter", ("when",), None, None, ("load",), "h")
    meta = {"columns": columns.to_json(), "repair": REPAIR.model_dump(), "evaluated": False}
    save_bundle(project / "models/final/gru", spec=spec, members=[random_weights(spec, 2)], calibration=None, meta=meta)
    (project / "models/final/lstm").mkdir()
    (project / "models/final/lstm/not-made.json").write_text("{}")
    return project


def test_the_model_of_all_data_is_taken_where_there_is_one_and_called_not_evaluated(final: Path) -> None:
    result = run("forecast", "history.csv", "out.csv")
    assert result.exit_code == 0
    assert result.stdout == f"out.csv: 2 series, {H} steps each, by gru (not evaluated)\n"
    assert result.stderr == "models/final/gru: trained on all data, not evaluated\n"
    expected = Forecaster.load("models/final/gru").forecast(pd.read_csv("history.csv"))
    written = pd.read_csv("out.csv", parse_dates=["ds", "cutoff"])
    pd.testing.assert_frame_equal(written, expected, check_dtype=False, check_exact=True)


def test_a_model_of_all_data_goes_back_to_the_trained_one_or_is_not_used(final: Path) -> None:
    description = final / "models/final/gru/forecaster.json"
    meta = json.loads(description.read_text())
    description.write_text(
        json.dumps(meta | {"trained_sha256": sha256_of(final / "models/trained/gru/forecaster.json")})
    )
    assert run("forecast", "history.csv", "out.csv").stdout.endswith("by gru (not evaluated)\n")
    description.write_text(json.dumps(meta | {"trained_sha256": 64 * "0"}))
    result = run("forecast", "history.csv", "out.csv")
    assert result.stdout.endswith("by gru\n")
    told = "models/final/gru: made of an earlier models/trained/gru, not used; `dvc repro` makes it anew\n"
    assert result.stderr == told


@pytest.mark.parametrize("options", [["--models", "models/trained"], ["--cell", "lstm"]])
def test_an_evaluated_model_is_taken_where_it_is_named_or_alone(options: list[str], final: Path) -> None:
    result = run("forecast", "history.csv", "out.csv", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "not evaluated" not in result.stdout


def test_models_that_are_not_evaluated_are_called_so_wherever_they_lie(final: Path) -> None:
    (final / "models/final").rename(final / "mine")
    result = run("forecast", "history.csv", "out.csv", "--models", "mine")
    assert result.stderr == "mine/gru: trained on all data, not evaluated\n"
    assert result.stdout.endswith("by gru (not evaluated)\n")
    told = "mine has no cell lstm. Trained: gru (not evaluated); name one of them with --cell"
    assert_one_line(run("forecast", "history.csv", "out.csv", "--models", "mine", "--cell", "lstm"), told)
    (final / "mine/gru/forecaster.json").write_text("[1")
    assert_one_line(run("forecast", "history.csv", "out.csv", "--models", "mine", "--cell", "lstm"), "Trained: gru;")


def test_publishing_a_model_that_is_not_evaluated_says_so(final: Path) -> None:
    result = run("publish", "--to", "out")
    assert result.exit_code == 0
    assert result.stdout == "out/gatecast/1: published from models/final/gru (not evaluated)\n"
    assert result.stderr == "models/final/gru: trained on all data, not evaluated\n"
    result = run("publish", "--to", "out", "--cell", "lstm")
    assert (result.stdout, result.stderr) == ("out/gatecast/2: published from models/trained/lstm\n", "")


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
    for word in (
        "INPUT",
        "OUTPUT",
        "--cell",
        "--future",
        "--models",
        "--comparison",
        "--delimiter",
        "--decimal",
        "--threads",
    ):
        assert word in result.stdout
