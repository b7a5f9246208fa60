"""The benchmarks: params that differ in the data's facts alone, the very file that was pinned, and honest records."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import accuracy, measuring
from benchmarks.accuracy import count_looks, record_look, run_stages
from benchmarks.benchmark import PARAMS, YAML_12, Benchmark, Source, load_benchmark, names, read_yaml
from benchmarks.claims.page import render_summary
from benchmarks.measuring import Part, measure_baselines
from benchmarks.readme import accuracy_table, replace_results
from benchmarks.report import baseline_error, render_accuracy, render_result
from benchmarks.sources import find_source
from benchmarks.summaries import COVARIATES, ETTH1, mean_figures, relative_differences
from pipeline.baselines import choose_linear_map, evaluate_baselines
from pipeline.errors import GatecastError
from pipeline.params import load_params
from pipeline.storage import read_json
from pipeline.windows import FitSet, TestSet

ROOT = Path(__file__).parents[1]
CONTENT = b"a,b\n1,2\n"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no mapping, with its dotted path; an empty mapping is a value."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path, value


def changed(name: str) -> set[str]:
    """The keys of params.yaml that a benchmark changes, adds or leaves out."""
    root = read_yaml(PARAMS)
    before, after = dict(leaves(root)), dict(leaves(load_benchmark(name).params(root)))
    return {key for key in {*before, *after} if key not in before or key not in after or before[key] != after[key]}


@pytest.mark.parametrize("name", names())
def test_the_params_of_a_benchmark_are_valid(name: str, tmp_path: Path) -> None:
    benchmark = load_benchmark(name)
    with (tmp_path / "params.yaml").open("w") as file:
        YAML_12.dump(benchmark.params(read_yaml(PARAMS)), file)
    params = load_params(tmp_path / "params.yaml")
    assert params.data.path == benchmark.source.path
    assert params.window == benchmark.window
    assert params.evaluate.season_length == benchmark.season_length
    assert params.train.seeds == benchmark.seeds


@pytest.mark.parametrize("name", names())
def test_a_benchmark_changes_the_facts_of_its_data_and_nothing_else(name: str) -> None:
    facts = {key for key in changed(name) if key.startswith(("data.", "window."))}
    facts |= {"evaluate.season_length", "train.seeds"}
    if name.startswith(("etth1", "ettm1")):  # published figures are of networks that never saw the validation part
        facts |= {"train.refit"}
    if name == "vic-elec-plain":
        facts |= {f"tune.space.{cell}.calendar" for cell in read_yaml(PARAMS)["tune"]["space"]}
    assert changed(name) <= facts


def test_the_params_of_a_benchmark_leave_the_committed_ones_as_they_are() -> None:
    root = read_yaml(PARAMS)
    load_benchmark("vic-elec-plain").params(root)
    assert root == read_yaml(PARAMS)


def test_with_and_without_covariates_are_the_same_but_for_what_is_known() -> None:
    plain, covariates = (load_benchmark(name).params(read_yaml(PARAMS)) for name in COVARIATES)
    different = {key for key, value in leaves(plain) if dict(leaves(covariates)).get(key) != value}
    calendars = {key for key in different if key.endswith(".calendar")}
    assert different - calendars == {"data.future_covariates"}
    assert plain["data"]["future_covariates"] == []
    assert covariates["data"]["future_covariates"] == ["Temperature", "Holiday"]


@pytest.mark.parametrize("name", names())
def test_what_a_benchmark_is_tuned_on_is_a_benchmark_of_the_same_data_that_is_tuned_itself(name: str) -> None:
    benchmark = load_benchmark(name)
    if benchmark.tuned_on is not None:
        other = load_benchmark(benchmark.tuned_on)
        assert other.tuned_on is None
        assert other.source == benchmark.source
        assert other.window.context_length == benchmark.window.context_length


@pytest.mark.parametrize("name", names())
def test_the_pinned_file_is_the_one_in_the_folder_of_public_data(name: str, real_data: Path) -> None:
    source = load_benchmark(name).source
    listed = dict(line.split()[::-1] for line in (real_data / "SHA256SUMS").read_text().splitlines())
    assert listed[source.path] == source.sha256


def test_an_unknown_benchmark_is_named_with_the_known_ones() -> None:
    with pytest.raises(GatecastError, match="Received: etth9; take one of etth1-96, .*vic-elec"):
        load_benchmark("etth9")


def source_of(content: bytes, *, member: str | None = None, url: str = "https://example.org/files/set.csv") -> Source:
    digest = hashlib.sha256(content).hexdigest()
    return Source(url=url, member=member, sha256=digest, path="folder/set.csv", licence="CC0")


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a data set in the folder that GATECAST_DATA names; nothing can be downloaded."""
    file = tmp_path / "local" / "folder" / "set.csv"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    monkeypatch.setenv("GATECAST_DATA", str(tmp_path / "local"))
    monkeypatch.setitem(sys.modules, "pooch", None)
    return file


def pooch_that(retrieve: Callable[..., Any], cache: Path) -> Any:
    return SimpleNamespace(os_cache=lambda name: cache / name, retrieve=retrieve, Unzip=lambda **_: "unzip")


def test_the_local_folder_goes_first(local: Path) -> None:
    assert find_source(source_of(CONTENT)) == local


def test_a_local_file_with_other_content_is_one_clear_error(local: Path) -> None:
    source = source_of(b"something else")
    with pytest.raises(GatecastError) as caught:
        find_source(source)
    assert "\n" not in str(caught.value)
    for part in (str(local), source.sha256, hashlib.sha256(CONTENT).hexdigest(), source.url):
        assert part in str(caught.value)


def test_without_local_file_and_pooch_the_error_names_both_ways_out(local: Path) -> None:
    local.unlink()
    with pytest.raises(GatecastError, match=r"pip install .*\[benchmarks\].*GATECAST_DATA") as caught:
        find_source(source_of(CONTENT))
    assert "\n" not in str(caught.value)


def test_without_a_network_there_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def retrieve(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.delenv("GATECAST_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "pooch", pooch_that(retrieve, tmp_path))
    with pytest.raises(GatecastError, match="set.csv cannot be downloaded.*no route to host.*GATECAST_DATA") as caught:
        find_source(source_of(CONTENT))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [CONTENT, b"changed at its source"])
def test_a_member_of_a_downloaded_zip_is_checked_as_a_local_file_is(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def retrieve(url: str, *, fname: str, path: Path, processor: str, known_hash: None) -> None:
        assert (url, fname, processor) == ("https://example.org/files/set.zip", "set.zip", "unzip")
        path.mkdir(parents=True)
        with zipfile.ZipFile(path / fname, "w") as archive:
            archive.writestr("inside.tsf", content)
        with zipfile.ZipFile(path / fname) as archive:
            archive.extractall(path)

    monkeypatch.setenv("GATECAST_DATA", str(tmp_path / "nothing here"))
    monkeypatch.setitem(sys.modules, "pooch", pooch_that(retrieve, tmp_path))
    source = source_of(CONTENT, member="inside.tsf", url="https://example.org/files/set.zip")
    if content == CONTENT:
        assert find_source(source).read_bytes() == CONTENT
    else:
        with pytest.raises(GatecastError, match="inside.tsf.*defined on a file with sha256"):
            find_source(source)


@pytest.fixture
def part(small_fit: FitSet) -> Part:
    """The validation part of the two small series."""
    return Part(small_fit.val, small_fit.history, small_fit.ids, small_fit.loss_scale, (0.1, 0.5, 0.9), 12)


def test_z_scored_errors_are_those_of_a_loop_over_the_targets(part: Part, small_fit: FitSet) -> None:
    forecast = np.random.default_rng(3).normal(size=(len(part.windows), part.windows.horizon, 3))
    errors = [
        (target - forecast[row, step, 1]) / small_fit.loss_scale[part.windows.series[row]]
        for row, targets in enumerate(part.windows.targets())
        for step, target in enumerate(targets)
        if np.isfinite(target)
    ]
    found = part.figures(np.sort(forecast, axis=2) * 0 + forecast[:, :, 1:2])
    assert found["z_mse"] == pytest.approx(np.mean(np.square(errors)))
    assert found["z_mae"] == pytest.approx(np.mean(np.abs(errors)))


def test_baselines_are_those_of_the_pipeline(small_fit: FitSet, part: Part) -> None:
    alphas = (0.1, 10.0)
    validation = TestSet(small_fit.ids, small_fit.val, small_fit.val.covariates.ds, small_fit.history, small_fit.meta)
    ridge = choose_linear_map(small_fit, alphas=alphas, season_length=12)
    expected = evaluate_baselines(small_fit, validation, ridge=ridge, quantiles=part.quantiles, season_length=12)
    found = measure_baselines(small_fit, part, alphas=alphas)
    for name, figures in found.items():
        theirs = expected.metrics[name.replace(" ", "_")]
        for metric in ("mae", "mase", "smape", "scaled_crps", "coverage_80"):
            assert figures[metric] == pytest.approx(theirs[metric], rel=1e-9), (name, metric)


def test_validation_figures_are_measured_without_the_test_part(
    small_fit: FitSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the test part was read")

    params = load_params(PARAMS)
    monkeypatch.setattr(measuring, "load_params", lambda _: params)
    monkeypatch.setattr(measuring, "load_fit", lambda _: small_fit)
    monkeypatch.setattr(measuring, "load_test", refuse)
    monkeypatch.setattr(measuring, "measure_baselines", lambda *_, **__: {})
    monkeypatch.setattr(measuring, "load_fitted", lambda work, cell: cell)
    monkeypatch.setattr(measuring, "measure_cell", lambda forecaster, part: (forecaster, part.windows))
    found = measuring.measure(tmp_path, "val")
    assert found["figures"] == {cell: (cell, small_fit.val) for cell in params.cells}


def test_looks_are_appended_and_counted_by_name(tmp_path: Path) -> None:
    path = tmp_path / "looks.jsonl"
    path.write_text('{"name": "a", "commit": "before dates", "figures": {"gru": {}}}\n')
    result = {"name": "b", "commit": "c", "date": "2026-01-31", "figures": {"gru": {}}, "seconds": {"ingest": 1.0}}
    other = {**result, "figures": {"gru": {"mase": 1.0}}}
    looks = [{**result, "name": "b"}, {**result, "name": "a"}, {**other, "name": "b"}, {**result, "name": "b"}]
    assert [record_look(look, path) for look in looks] == [True, False, True, False]  # two show what is known
    lines = path.read_text().splitlines()
    assert count_looks(path) == {"a": 1, "b": 2}
    assert lines[0] == '{"name": "a", "commit": "before dates", "figures": {"gru": {}}}'
    assert json.loads(lines[1]) == {"name": "b", "commit": "c", "date": "2026-01-31", "figures": {"gru": {}}}


@pytest.mark.parametrize("split", ["val", "test"])
def test_only_test_figures_are_committed_and_every_one_of_them_is_a_look(
    split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark, works = load_benchmark("hospital"), tmp_path / "works"
    (works / "hospital").mkdir(parents=True)
    (works / "hospital/seconds.json").write_text("{}")
    with (works / "hospital/params.yaml").open("w") as file:
        YAML_12.dump(benchmark.params(read_yaml(PARAMS)), file)
    monkeypatch.setattr(accuracy, "measure", lambda work, split: {"figures": {"gru": split}, "baselines": {}})
    monkeypatch.setattr(accuracy, "commit", lambda: "c")
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(accuracy, "LOOKS", tmp_path / "looks.jsonl")
    result = accuracy.measure_benchmark(benchmark, works, split)
    assert result["figures"] == {"gru": split}
    assert (tmp_path / "looks.jsonl").exists() == (split == "test")
    assert (tmp_path / "results/hospital.json").exists() == (split == "test")
    assert (works / "hospital/val.json").exists() == (split == "val")
    if split == "test":
        machine = json.loads((tmp_path / "results/hospital.json").read_text())["machine"]
        assert set(machine) == {"cpu", "cores", "memory_gib", "python", "tensorflow"}


@pytest.fixture
def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for work; stages only leave their names, and tuning a file for each cell."""

    def run(stages: Any, work: Path) -> None:
        for stage in stages:
            with (work / "ran.txt").open("a") as file:
                file.write("@".join(stage) + "\n")
            if stage[0] == "tune":
                (work / "models/tuned").mkdir(parents=True, exist_ok=True)
                (work / "models/tuned" / f"{stage[1]}.json").write_text(f"tuned in {work.name}")

    file = tmp_path / "ETTh1.csv"
    file.write_bytes(CONTENT)
    monkeypatch.setattr(accuracy, "find_source", lambda _: file)
    monkeypatch.setattr(accuracy, "run_stages", run)
    return tmp_path / "works"


def ran(work: Path) -> list[str]:
    return (work / "ran.txt").read_text().split()


def test_hyperparameters_come_from_the_benchmark_named_which_is_tuned_first_and_once(works: Path) -> None:
    for name in ("etth1-192", "etth1-336"):
        accuracy.run_benchmark(load_benchmark(name), works)
        assert ran(works / name) == ["ingest", "window", "train@lstm", "train@gru"]
        assert (works / name / "models/tuned/gru.json").read_text() == "tuned in etth1-96"
    assert ran(works / "etth1-96") == ["ingest", "window", "tune@lstm", "tune@gru"]


def test_a_benchmark_of_its_own_runs_all_its_stages(works: Path) -> None:
    accuracy.run_benchmark(load_benchmark("etth1-96"), works)
    assert ran(works / "etth1-96") == ["ingest", "window", "tune@lstm", "tune@gru", "train@lstm", "train@gru"]
    assert (works / "etth1-96/ETTh1.csv").read_bytes() == CONTENT


def test_what_other_params_have_made_is_neither_measured_nor_taken(works: Path) -> None:
    benchmark = load_benchmark("etth1-96")
    accuracy.run_benchmark(benchmark, works)
    work = works / "etth1-96"
    (work / "models/trained").mkdir()
    accuracy.check_finished(benchmark, works)
    text = (work / "params.yaml").read_text()
    (work / "params.yaml").write_text(text.replace("season_length: 24", "season_length: 12"))
    with pytest.raises(GatecastError, match="other params than today's; run without --measure-only"):
        accuracy.check_finished(benchmark, works)
    accuracy.prepare(benchmark, works)
    assert not (work / "models").exists()
    assert (work / "params.yaml").read_text() == text


def test_a_stage_that_fails_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GatecastError, match="stage ingest has failed with exit code 1"):
        run_stages([("ingest",)], tmp_path)


def figures(**seeds: float) -> dict[str, dict[str, float]]:
    return {name: {"z_mse": value, "z_mae": 2 * value} for name, value in seeds.items()}


def test_a_mean_over_benchmarks_is_of_the_seeds_that_all_have() -> None:
    parts = {
        "a": {"gru": figures(ensemble=1.0, s11=2.0, s12=3.0, s13=9.0), "lstm": figures(ensemble=5.0, s11=1.0)},
        "b": {"gru": figures(ensemble=2.0, s11=4.0, s12=1.0)},
    }
    assert mean_figures(parts, ("z_mse", "z_mae")) == {"gru": figures(ensemble=1.5, s11=3.0, s12=2.0)}


def test_covariates_are_compared_seed_by_seed() -> None:
    plain = {"gru": figures(ensemble=2.0, s11=1.0, s12=4.0)}
    covariates = {"gru": figures(ensemble=1.0, s11=0.5, s12=3.0)}
    found = relative_differences(plain, covariates, "z_mse")["gru"]
    assert found["ensemble"] == -0.5
    assert found["mean"] == pytest.approx((-0.5 - 0.25) / 2)
    assert found["sd"] == pytest.approx(0.25 / np.sqrt(2))


def test_the_summary_of_etth1_waits_for_all_four_horizons(tmp_path: Path) -> None:
    for place, name in enumerate(ETTH1.parts):
        assert accuracy.summaries(ETTH1.parts, tmp_path, "val") == []
        (tmp_path / name).mkdir()
        result = {"commit": "c", "figures": {"gru": figures(ensemble=place, s11=place, s12=place + 1)}}
        (tmp_path / name / "val.json").write_text(json.dumps(result))
    (text,) = accuracy.summaries(ETTH1.parts[:1], tmp_path, "val")
    assert "gru ensemble  1.5000 / 3.0000" in text
    assert "gru seeds     2.0000 ± 0.7071 / 4.0000 ± 1.4142" in text
    assert json.loads((tmp_path / "etth1-val.json").read_text())["commits"] == dict.fromkeys(ETTH1.parts, "c")
    assert accuracy.summaries(["hospital"], tmp_path, "val") == []


def a_result(split: str) -> dict[str, Any]:
    ensemble = {"mase": 0.75, "smape": 17.0, "scaled_crps": 0.04, "coverage_80": 0.8}
    uncalibrated = {"scaled_crps": 0.05, "coverage_80": 0.5}
    seeds = {"11": {"mase": 0.76, "smape": None}, "12": {"mase": 0.78, "smape": 17.5}}
    return {
        "split": split,
        "seconds": {"ingest": 1.0, "train@gru": 2.5},
        "figures": {"gru": {"ensemble": {**ensemble, "uncalibrated": uncalibrated}, **seeds}},
        "baselines": {"ridge": {"mase": 0.8, "smape": 18.0}},
    }


def test_figures_are_printed_with_what_they_have_to_beat() -> None:
    benchmark = load_benchmark("hospital")
    text = render_result(a_result("test"), benchmark)
    for line in (
        "hospital, test: mase / smape",
        "  gru ensemble  0.7500 / 17.0000",
        "  gru seeds     0.7700 ± 0.0141 / -",
        "  gru calibration: 80 % intervals cover 50.0 % -> 80.0 %, scaled CRPS 0.05000 -> 0.04000",
        "  ridge  0.8000 / 18.0000",
        "  Theta  0.7610 / -",
    ):
        assert line in text.splitlines()
    assert "Theta" not in render_result(a_result("val"), benchmark)


def test_the_table_names_the_published_model_it_stands_beside_and_counts_the_looks() -> None:
    facts: dict[str, Benchmark] = {name: load_benchmark(name) for name in ("hospital", "m4-hourly")}
    results = {"hospital": a_result("test"), "m4-hourly": {**a_result("test"), "note": "with care"}}
    table = render_accuracy(results, facts, {"m4-hourly": 3})
    rows = [[field.strip() for field in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    assert rows[2:] == [
        ["Hospital", "MASE", "-", "0.750 (0.770 ± 0.014)", "0.800", "0.761 (Theta)", "-"],
        ["Hospital", "sMAPE", "-", "17.000 (-)", "18.000", "-", "-"],
        ["M4 Hourly [1]", "MASE", "-", "0.750 (0.770 ± 0.014)", "0.800", "0.801 (best submission (Doornik))", "3"],
        ["M4 Hourly [1]", "sMAPE", "-", "17.000 (-)", "18.000", "8.913 (best submission (Doornik))", "3"],
    ]
    assert table.endswith("\n\n[1] with care.\n")


def test_the_table_says_what_covariates_change_once_both_were_measured() -> None:
    results = {name: a_result("test") for name in COVARIATES}
    for result, mase in zip(results.values(), (0.8, 0.6), strict=True):
        result["figures"] = {"gru": {"ensemble": {"mase": mase, "scaled_crps": 1.0}}}
        result["baselines"] = {}
    facts: dict[str, Benchmark] = {name: load_benchmark(name) for name in COVARIATES}
    assert "GRU -25.0 % (single" in render_accuracy(results, facts, {})
    assert "covariates change" not in render_accuracy({COVARIATES[0]: results[COVARIATES[0]]}, facts, {})


def a_verdict(**changes: Any) -> dict[str, Any]:
    found = {"metric": "mase", "verdict": "better", "cell": "gru", "recommended": "gru", "pair": ["lstm", "gru"]}
    return {**found, "relative_difference": 0.05, "ci": [0.02, 0.081], "assumes": None, "words": "So it is.", **changes}


def test_verdicts_stand_below_the_table_where_there_are_any() -> None:
    facts: dict[str, Benchmark] = {name: load_benchmark(name) for name in ("hospital", "m4-hourly")}
    results = {"hospital": {**a_result("test"), "verdict": a_verdict()}, "m4-hourly": a_result("test")}
    last = render_accuracy(results, facts, {}).splitlines()[-1]
    fields = [field.strip() for field in last.split("|")[1:-1]]
    assert fields == ["Hospital", "better: gru", "lstm / gru +5.0 % [+2.0, +8.1]", "gru"]
    undecided = a_verdict(verdict="undecided", cell=None, ci=None, recommended="seasonal_naive")
    last = render_accuracy({"hospital": {**a_result("test"), "verdict": undecided}}, facts, {}).splitlines()[-1]
    assert [field.strip() for field in last.split("|")[2:-1]] == ["undecided", "-", "seasonal naive"]
    assert "verdict" not in render_accuracy({"hospital": a_result("test")}, facts, {})
    assert "  verdict: So it is." in render_result(results["hospital"], facts["hospital"]).splitlines()


def test_a_verdict_comes_from_the_stages_of_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def run(stages: list[tuple[str, ...]], work: Path) -> None:
        asked.extend(stages)
        (work / "models/comparison").mkdir(parents=True)
        (work / "models/comparison/verdict.json").write_text(json.dumps({**a_verdict(), "schema": 2}))

    monkeypatch.setattr(accuracy, "run_stages", run)
    assert accuracy.judge(tmp_path, ["lstm", "gru"]) == a_verdict()
    assert asked == [("evaluate", "lstm"), ("evaluate", "gru"), ("baselines",), ("compare",)]


def test_the_ridge_of_a_mean_is_that_of_its_parts_and_unknown_without_one_of_them() -> None:
    results = {name: a_result("test") for name in ETTH1.parts}
    for number, result in enumerate(results.values()):
        result["baselines"] = {"ridge": {"z_mse": float(number), "z_mae": 1.0}}
    assert baseline_error(results, {ETTH1.name: ETTH1}, ETTH1.name, "z_mse") == 1.5
    del results[ETTH1.parts[0]]
    assert baseline_error(results, {ETTH1.name: ETTH1}, ETTH1.name, "z_mse") is None


def test_the_readme_shows_the_committed_accuracy() -> None:
    readme = (ROOT / "README.md").read_text()
    assert replace_results(readme, accuracy_table(accuracy.RESULTS, accuracy.LOOKS), name="accuracy") == readme


def test_the_readme_shows_what_the_claims_came_to() -> None:
    readme = (ROOT / "README.md").read_text()
    table = render_summary(read_json(accuracy.RESULTS / "claims.json"))
    assert replace_results(readme, table, name="claims") == readme
    verdicts = [row.split("|")[2].strip() for row in table.splitlines()[2:]]
    assert verdicts == re.findall(r"^## [a-z]+: (.+)$", (ROOT / "benchmarks/CLAIMS.md").read_text(), re.MULTILINE)


def test_the_table_leaves_out_what_is_no_benchmark(tmp_path: Path) -> None:
    (tmp_path / "hospital.json").write_text(json.dumps(a_result("test")))
    (tmp_path / "looks.jsonl").write_text('{"name": "hospital"}\n')
    table = accuracy_table(tmp_path, tmp_path / "looks.jsonl")
    (tmp_path / "something else.json").write_text("{}")
    assert accuracy_table(tmp_path, tmp_path / "looks.jsonl") == table
    assert "| Hospital " in table


def test_every_committed_result_is_of_a_look_at_the_test_part() -> None:
    looks = count_looks(accuracy.LOOKS)
    committed = {file.stem for file in accuracy.RESULTS.glob("*.json")} & set(names())
    assert {name for name in committed if not looks[name]} == set()


def test_files_can_be_read_by_several_threads() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read_yaml, [PARAMS] * 40))
    assert all(params == found[0] for params in found)
