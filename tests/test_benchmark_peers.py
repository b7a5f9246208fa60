"""The peers' benchmark: what is planned, what a peer is told and gives back, what is kept, and what the page says."""

from __future__ import annotations

import ast
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from benchmarks import walltime
from benchmarks.accuracy import ROOT
from benchmarks.benchmark import PARAMS, YAML_12, load_benchmark, read_yaml
from benchmarks.peers import __main__ as command
from benchmarks.peers import runs
from benchmarks.peers.catalogue import (
    MODELS,
    OURS,
    SEEDS,
    SETTINGS,
    TUNED_HOURS,
    Field,
    Job,
    chosen,
    fields,
    jobs,
    ours_on,
)
from benchmarks.peers.comparing import contrasts, groups, mean_sd, took
from benchmarks.peers.environments import HERE, KEEPING_MEMORY, make_environment, requirements_of, torch_for_cpu
from benchmarks.peers.estimates import expected_seconds
from benchmarks.peers.exchange import METRICS, Panel, figures, load_panel, read_answer, save_data, specify
from benchmarks.peers.page import render_page, render_plan
from benchmarks.peers.runs import Bench, budgets_of, finished, key_of_ours, measure_peer, note_look, seconds_of
from benchmarks.peers.summary import render_beside
from benchmarks.readme import replace_results
from benchmarks.walltime import ATTEMPTS, SECONDS, forget, run_timed
from pipeline.clock import calendar_features
from pipeline.covariates import Known
from pipeline.errors import GatecastError
from pipeline.params import WindowParams
from pipeline.splits import save_windows
from pipeline.storage import read_json, write_json

SET = "vic-elec"
WINDOW = WindowParams(context_length=24, horizon=6, val_size=18, test_size=18, step_size=1, stride=1, min_context=24)
STEPS, WINDOWS = 150, 13
MACHINE = {"cpu": "chip", "cores": 2, "memory_gib": 4.0, "python": "3.11.7", "tensorflow": "2.21.0"}
MADE = {"machine": MACHINE, "commit": "abc", "date": "2026-11-21"}
LSTM = Job(SET, "neuralforecast", "lstm", "documentation", 1)
NAMED = {(model.peer, model.name): model for model in MODELS}

Variables = Mapping[str, str]
Script = Callable[[Path, str, Path, Variables], None]
SCRIPT: Script = runs.run_script
PAIRED = ("documentation", "equal-network", "tuned-short")


def folder_of(folder: Path, *, steps: tuple[int, int] = (STEPS, STEPS), refit: str = "fit", gap: bool = False) -> Path:
    """A benchmark's folder after ingest and window: two series with a covariate."""
    params = load_benchmark(SET).params(read_yaml(PARAMS))
    params["data"] |= {"future_covariates": ["warmth"], "freq": "h", "timezone": None}
    params |= {"window": WINDOW.model_dump(), "evaluate": {"season_length": 12}}
    params["train"]["refit"] = refit
    with (folder / "params.yaml").open("w") as file:
        YAML_12.dump(params, file)
    rng = np.random.default_rng(3)
    series = [10 * k + np.sin(np.arange(n) * np.pi / 6) + rng.standard_normal(n) for k, n in enumerate(steps, 1)]
    if gap:
        series[0][40] = np.nan
    times = [np.datetime64("2024-01-01", "us") + np.arange(n) * np.timedelta64(1, "h") for n in steps]
    warmth = [rng.standard_normal((n, 1)) for n in steps]
    save_windows(
        ["a", "b"],
        series,
        times,
        WINDOW,
        season_length=12,
        meta={"freq": "h", "timezone": None},
        folder=folder / "data/windows",
        known=Known(past=("warmth",), future=("warmth",), values=warmth),
    )
    return folder


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    return load_panel(folder_of(tmp_path_factory.mktemp("work")), ("day_sin1", "week_cos1"))


def truth(panel: Panel) -> np.ndarray:
    """What comes [S, W, H]."""
    return panel.part.windows.targets().reshape(len(panel.y), panel.windows, -1)


def answer(folder: Path, panel: Panel, *, error: float = 0.5, spoilt: float = 0.0, points: bool = False) -> Path:
    """What a script writes: forecasts that are all too high by `error`, and those of predict, by `spoilt` more."""
    forecast = np.repeat((truth(panel) + error)[..., None], 1 if points else len(panel.part.quantiles), -1)
    checked = np.stack([forecast[place] for place in panel.checked()]) + spoilt
    np.savez(folder / "forecast.npz", forecast=forecast, checked=checked)
    told = {"fit_seconds": 20.0, "predict_seconds": 2.0, "steps": 9, "input_size": 24, "versions": {"torch": "2"}}
    (folder / "told.json").write_text(json.dumps(told))
    return folder


def ours(*, lstm: float = 0.2, train: float = 50.0) -> dict[str, Any]:
    """Our measurement: five networks of each cell, whose errors are about `lstm`, and .1 higher those of the GRU."""
    cells = {"lstm": lstm, "gru": lstm + 0.1}
    return {
        "figures": {
            cell: {
                name: dict.fromkeys(METRICS, level * (1 + 0.01 * k))
                for k, name in enumerate(["ensemble", "11", "12", "13", "14", "15"])
            }
            for cell, level in cells.items()
        },
        "baselines": {"ridge": dict.fromkeys(METRICS, 0.5)},
        "seconds": {f"{stage}@{cell}": s for cell in cells for stage, s in (("tune", 300.0), ("train", train))},
        "hparams": {
            "lstm": {"calendar": "auto", "identity": "embedding"},
            "gru": {"calendar": "none", "identity": "none"},
        },
        "predict_seconds": dict.fromkeys(cells, 1.5),
        "threads": 1,
        **MADE,
    }


def run(job: Job, *, level: float, fit: float = 100.0, points: bool = False) -> dict[str, Any]:
    """A measurement of a peer."""
    found: dict[str, float | None] = dict.fromkeys(METRICS, level * (1 + 0.01 * job.seed))
    return {
        "field": job.field, "peer": job.peer, "model": job.model, "setting": job.setting, "seed": job.seed,
        "figures": found | ({"scaled_crps": None} if points else {}), "fit_seconds": fit, "predict_seconds": 3.0,
        "steps": 1000, "input_size": 144, "versions": {"torch": "2.13.0"}, "threads": 2, **MADE,
    }  # fmt: skip


def runs_of(levels: dict[str, float], *, setting: str = "documentation", fit: float = 100.0) -> list[dict[str, Any]]:
    """Measurements of NeuralForecast's models, with all seeds."""
    return [
        run(Job(SET, "neuralforecast", model, setting, seed), level=level, fit=fit)
        for model, level in levels.items()
        for seed in SEEDS
    ]


# What is planned


def test_the_plan_has_every_setting_of_every_model_with_every_seed_once() -> None:
    plan = list(jobs(fields()))
    assert max(Counter(job.name for job in plan).values()) == 1
    assert len(plan) == len(fields()) * (1 + len(SEEDS) * sum(len(model.settings) for model in MODELS))
    for peer in ("neuralforecast", "darts"):
        assert {model.cell for model in MODELS if model.peer == peer} == {"lstm", "gru", "linear"}
        assert {model.cell for model in MODELS if model.peer == peer and "equal-network" in model.settings} == {
            "lstm",
            "gru",
        }


def test_ours_comes_first_and_the_search_that_takes_days_last() -> None:
    plan = list(jobs(fields()))
    assert [job.peer for job in plan[: len(fields()) + 1]] == [OURS, OURS, "neuralforecast"]
    searches = [place for place, job in enumerate(plan) if job.setting == "tuned" and job.peer != OURS]
    assert searches == list(range(len(plan) - len(searches), len(plan)))
    assert {plan[place].peer for place in searches} == {"neuralforecast"}


def test_measurements_are_chosen_by_patterns_of_their_names() -> None:
    plan = list(jobs(fields()))
    some = chosen(plan, ["etth1-96/*/documentation/1", f"*/{OURS}/*"])
    assert {job.field for job in some if job.peer != OURS} == {"etth1-96"}
    assert len(some) == len(MODELS) + len(fields())
    assert [job for job in plan if job not in chosen(plan, None)] == [
        job for job in plan if (job.peer, job.setting) == ("neuralforecast", "tuned")
    ]
    with pytest.raises(GatecastError, match=r"Received: etth2/\*; names are as etth1-96/gatecast/pipeline/tuned/0"):
        chosen(plan, ["etth2/*"])


def test_our_context_is_asked_for_in_that_setting_alone() -> None:
    for field in fields().values():
        for model in MODELS:
            told = {s: model.instruct(field, s, None)["arguments"] for s in ("documentation", "context")}
            key = "input_size" if model.peer == "neuralforecast" else "input_chunk_length"
            assert told["context"][key] == field.context
            assert told["documentation"].get(key, field.default_context) == field.default_context == 3 * field.horizon


def test_neuralforecasts_recurrent_models_are_left_to_their_defaults() -> None:
    told = NAMED["neuralforecast", "lstm"].instruct(fields()["etth1-96"], "documentation", None)
    assert told["arguments"] == {}
    assert told["covariates"] is None
    assert told["search"] is None


def test_temperature_holidays_and_the_calendar_are_told_to_all_that_can_take_them() -> None:
    field = fields()[SET]
    ours, _ = calendar_features(np.array(["2012-01-01"], "datetime64[us]"), freq="30min", timezone=None)
    assert field.columns == ("Temperature", "Holiday", *ours)
    assert {model.title for model in MODELS if model.instruct(field, "documentation", None)["covariates"] is None} == {
        "NeuralForecast NLinear"
    }


def test_the_searches_have_as_many_trials_as_ours_and_the_short_one_our_input_for_its_longest() -> None:
    field = fields()["etth1-96"]
    whole, short = (NAMED["neuralforecast", "gru"].instruct(field, s, None)["search"] for s in ("tuned", "tuned-short"))
    assert whole == {"trials": read_yaml(PARAMS)["tune"]["max_trials"], "input_sizes": None}
    assert short == {"trials": whole["trials"], "input_sizes": [-96, 384, field.context]}


def test_what_trains_for_a_given_time_is_stopped_by_nothing_else() -> None:
    field = fields()[SET]
    assert NAMED["neuralforecast", "lstm"].instruct(field, "equal-network", 60)["arguments"]["max_steps"] >= 10**9
    told = NAMED["darts", "block-gru"].instruct(field, "equal-network", 60)
    assert (told["max_seconds"], told["early_stopping"]) == (60, None)
    assert NAMED["darts", "block-gru"].instruct(field, "documentation", None)["early_stopping"] is not None


def test_the_best_weights_are_kept_wherever_training_has_time_for_a_look_at_the_validation_part() -> None:
    field = fields()["etth1-96"]
    kept = {
        (model.peer, setting): model.instruct(field, setting, None)["keep_best"]
        for model in MODELS
        for setting in model.settings
    }
    assert {key for key, best in kept.items() if best} == {
        *(("darts", setting) for setting in ("documentation", "equal-network", "equal-pipeline", "context")),
        ("neuralforecast", "equal-pipeline"),
    }


def test_the_time_that_is_given_is_a_networks_share_of_our_stage_or_the_whole_pipeline() -> None:
    assert budgets_of(ours(train=50.0))["lstm"] == {"network": 10, "pipeline": 350}


def test_time_cannot_be_given_before_ours_is_measured() -> None:
    job = Job(SET, "darts", "rnn-gru", "equal-pipeline", 1)
    assert runs.budget_of(job, ours(), quick=False) == 350
    with pytest.raises(GatecastError, match="run with --only 'vic-elec/gatecast/"):
        runs.budget_of(job, None, quick=False)


def test_longer_inputs_and_searches_are_expected_to_take_longer() -> None:
    field = fields()["etth1-96"]

    def seconds(setting: str, model: str = "gru") -> float:
        return expected_seconds(Job("etth1-96", "neuralforecast", model, setting, 1), field, None)

    assert 0 < seconds("documentation") < seconds("context") < seconds("tuned-short") < seconds("tuned")
    assert seconds("documentation", "lstm") < seconds("documentation", "gru")


def test_the_hours_of_the_search_that_has_to_be_asked_for_are_those_of_the_estimates() -> None:
    known = fields()
    seconds = [
        expected_seconds(job, known[job.field], None)
        for job in jobs(known)
        if job.setting == "tuned" and job.peer != OURS
    ]
    assert sum(seconds) / 3600 == pytest.approx(TUNED_HOURS, rel=0.05)
    assert f"about {TUNED_HOURS} hours" in SETTINGS["tuned"].words
    assert {name for name, setting in SETTINGS.items() if setting.asked_for} == {"tuned"}


def test_every_measurement_has_an_estimate_and_a_line_in_the_list() -> None:
    plan = list(jobs(fields()))
    rows = [(job, None, expected_seconds(job, fields()[job.field], budgets_of(ours()))) for job in plan]
    assert min(seconds for _, _, seconds in rows) > 0
    text = render_plan(rows)
    for job in plan:
        assert f"| {job.name.rsplit('/', 1)[0]} " in text


def test_what_was_measured_with_one_seed_is_expected_of_the_others() -> None:
    first, second = (replace(LSTM, seed=seed) for seed in (1, 2))
    text = render_plan([(first, run(first, level=1, fit=3597.0), 60.0), (second, None, 60.0)])
    assert "1 of 2" in text
    assert "1:00" in text


# What a peer is given


def test_a_peer_is_given_every_row_and_the_windows_of_the_test_part(panel: Panel) -> None:
    assert panel.y.shape == (2, STEPS)
    assert panel.x.shape == (2, STEPS, 3)
    assert panel.columns == ("warmth", "day_sin1", "week_cos1")
    assert (panel.train_rows, panel.val_rows, panel.fit_rows) == (STEPS - 36, 18, STEPS - 18)
    assert panel.windows == WINDOWS
    for series in range(2):
        for window in range(WINDOWS):
            first = STEPS - 18 + window
            np.testing.assert_array_equal(truth(panel)[series, window], panel.y[series, first : first + 6])
    hours = (panel.times - panel.times.astype("datetime64[D]")) / np.timedelta64(1, "D")
    np.testing.assert_allclose(panel.x[1, :, 1], np.sin(2 * np.pi * hours), atol=1e-6)


def test_without_a_refit_peers_are_not_trained_on_the_validation_part_either(tmp_path: Path) -> None:
    panel = load_panel(folder_of(tmp_path, refit="none"), ())
    assert panel.fit_rows == panel.train_rows == STEPS - 36


def test_series_of_other_lengths_or_with_gaps_are_refused(tmp_path: Path) -> None:
    for name, options in (("short", {"steps": (STEPS, STEPS - 1)}), ("gap", {"gap": True})):
        (tmp_path / name).mkdir()
        with pytest.raises(GatecastError, match="peers are given series"):
            load_panel(folder_of(tmp_path / name, **options), ())


def test_the_last_windows_of_each_series_are_those_that_a_quick_run_forecasts(panel: Panel) -> None:
    few = panel.last(2)
    assert few.windows == 2
    np.testing.assert_array_equal(truth(few), truth(panel)[:, -2:])
    assert few.checked() == [(0, 0), (1, 1), (1, 1)]


def test_data_comes_back_from_its_file_without_pickle(panel: Panel, tmp_path: Path) -> None:
    save_data(panel, tmp_path / "data.npz")
    with np.load(tmp_path / "data.npz", allow_pickle=False) as data:
        np.testing.assert_array_equal(data["y"], panel.y)
        np.testing.assert_array_equal(data["times"], panel.times)
        np.testing.assert_array_equal(data["x"], panel.x)


def test_the_scripts_of_the_peers_know_nothing_of_this_project() -> None:
    for peer in {model.peer for model in MODELS}:
        tree = ast.parse((HERE / f"{peer}_run.py").read_text(encoding="utf-8"))
        imported = {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or "."]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert peer in imported
        assert not imported & {"pipeline", "benchmarks", "tests", "."}


def test_every_requirement_is_pinned_and_names_no_place_to_get_it() -> None:
    for peer in {model.peer for model in MODELS}:
        lines = requirements_of(peer).read_text(encoding="utf-8").splitlines()
        assert all(line.count("==") == 1 and "/" not in line and "@" not in line for line in lines)
        assert any(line.startswith(f"{peer}==") for line in lines)
        assert any(line.startswith("torch==") for line in lines)


def test_torch_comes_without_cuda_unless_the_user_has_said_otherwise() -> None:
    assert torch_for_cpu({}) == ["--torch-backend", "cpu"]
    assert torch_for_cpu({"PIP_FIND_LINKS": "/a /b"}) == ["--find-links", "/a", "--find-links", "/b"]
    assert torch_for_cpu({"UV_TORCH_BACKEND": "cu128"}) == []


def test_without_uv_it_is_said_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GatecastError, match="uv is needed"):
        make_environment("darts", tmp_path)


# What it gives back


def test_the_errors_are_those_of_our_metrics(panel: Panel, tmp_path: Path) -> None:
    found = read_answer(answer(tmp_path, panel, error=0.5), panel, drawn=False)
    z = 0.5 / panel.part.deviation
    naive = [np.abs(values[12:] - values[:-12]).mean() for values in panel.part.history]
    assert found["figures"]["z_mae"] == pytest.approx(z.mean())
    assert found["figures"]["z_mse"] == pytest.approx((z**2).mean())
    assert found["figures"]["mase"] == pytest.approx(np.mean([0.5 / scale for scale in naive]))
    # All quantiles are the same and too high: their mean loss is .5 * (1 - q), and twice that is .5 on average.
    size = [np.abs(values).mean() for values in truth(panel)]
    assert found["figures"]["scaled_crps"] == pytest.approx(np.mean([0.5 / one for one in size]))
    assert (found["steps"], found["fit_seconds"], found["checked"]) == (9, 20.0, 0.0)


def test_point_forecasts_have_no_scaled_crps(panel: Panel) -> None:
    found = figures(panel.part.windows.targets()[..., None] + 0.5, panel.part)
    assert found["scaled_crps"] is None
    assert found["mase"] > 0


def test_a_perfect_forecast_has_no_error(panel: Panel) -> None:
    quantiles = np.repeat(panel.part.windows.targets()[..., None], len(panel.part.quantiles), -1)
    assert figures(quantiles, panel.part) == dict.fromkeys(METRICS, 0.0)


def test_forecasts_that_predict_does_not_give_are_refused(panel: Panel, tmp_path: Path) -> None:
    with pytest.raises(GatecastError, match="differ from those of predict"):
        read_answer(answer(tmp_path, panel, spoilt=0.01), panel, drawn=False)


def test_drawn_forecasts_may_differ_by_chance_but_not_by_more(panel: Panel, tmp_path: Path) -> None:
    answer(tmp_path, panel)
    with np.load(tmp_path / "forecast.npz") as file:
        fan = np.linspace(-2, 2, len(panel.part.quantiles))
        forecast, checked = file["forecast"] + fan, file["checked"] + fan
    np.savez(tmp_path / "forecast.npz", forecast=forecast, checked=checked + 0.1)
    assert read_answer(tmp_path, panel, drawn=True)["checked"] == pytest.approx(0.1)  # the quartiles are 1 apart
    np.savez(tmp_path / "forecast.npz", forecast=forecast, checked=checked + 0.5)
    with pytest.raises(GatecastError, match="width between the quartiles"):
        read_answer(tmp_path, panel, drawn=True)


def test_missing_windows_are_refused(panel: Panel, tmp_path: Path) -> None:
    answer(tmp_path, panel.last(WINDOWS - 1))
    with pytest.raises(GatecastError, match=r"shape \(2, 13, 6\) are needed. Received: \(2, 12, 6, 9\)"):
        read_answer(tmp_path, panel, drawn=False)


# What is kept


@pytest.fixture
def bench(tmp_path: Path, panel: Panel, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose peers answer at once; what was asked of them is in `calls`."""
    monkeypatch.setattr(runs, "_panel", lambda *_: panel)
    monkeypatch.setattr(runs, "make_environment", lambda peer, _: tmp_path / peer)
    monkeypatch.setattr(runs, "run_script", lambda _, peer, spec, variables: answer_to(spec, panel))
    monkeypatch.setattr(runs, "made", lambda: MADE)
    monkeypatch.setattr(command, "FOUND", tmp_path / "peers.json")
    monkeypatch.setattr(command, "PAGE", tmp_path / "PEERS.md")
    monkeypatch.setattr(command, "fields", lambda: {SET: field()})
    return Bench(tmp_path / "works", tmp_path / "environments", 2)


def field() -> Field:
    return fields()[SET]


def answer_to(spec: Path, panel: Panel) -> None:
    told = json.loads(spec.read_text())
    answer(Path(told["out"]), panel.last(told["windows"]))


def counting(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What scripts are told from now on."""
    told: list[dict[str, Any]] = []
    before: Script = runs.run_script

    def script(python: Path, peer: str, spec: Path, variables: Variables) -> None:
        told.append(json.loads(spec.read_text()))
        before(python, peer, spec, variables)

    monkeypatch.setattr(runs, "run_script", script)
    return told


def test_what_is_finished_is_not_done_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told = counting(monkeypatch)
    first = measure_peer(LSTM, field(), bench, ours=None)
    assert measure_peer(LSTM, field(), bench, ours=None) == first
    assert len(told) == 1
    measure_peer(replace(LSTM, seed=2), field(), bench, ours=None)
    assert [one["seed"] for one in told] == [1, 2]
    assert (told[0]["threads"], told[0]["quick"]) == (2, False)
    assert not list((bench.folder / "running").iterdir())


def test_what_was_made_otherwise_is_made_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told = counting(monkeypatch)
    job = replace(LSTM, setting="equal-network")
    measure_peer(job, field(), bench, ours=ours(train=50.0))
    measure_peer(job, field(), bench, ours=ours(train=50.0))
    measure_peer(job, field(), bench, ours=ours(train=500.0))
    measure_peer(job, field(), replace(bench, threads=1), ours=ours(train=500.0))
    assert [(one["max_seconds"], one["threads"]) for one in told] == [(10, 2), (100, 2), (100, 1)]
    monkeypatch.setattr(runs, "script_of", lambda _: PARAMS)
    measure_peer(job, field(), replace(bench, threads=1), ours=ours(train=500.0))
    assert len(told) == 4


def test_ours_is_measured_again_once_what_it_depends_on_has_changed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def measure(_: Field, __: Bench) -> dict[str, Any]:
        measured.append(key_of_ours(SET))
        return {**ours(), "key": measured[-1]}

    monkeypatch.setattr(command, "measure_ours", measure)
    job, timed = ours_on(SET), replace(LSTM, setting="equal-network")
    for _ in range(2):
        command.run_plan([job, timed], bench)
    assert len(measured) == 1
    assert finished(timed, field(), bench) is not None
    monkeypatch.setattr(runs, "key_of_ours", lambda _: "another")
    assert finished(job, field(), bench) is None
    assert finished(timed, field(), bench) is None  # nobody knows the time that it would be given
    assert command.collect([job], {SET: field()}, bench) == {}
    command.run_plan([job], bench)
    assert len(measured) == 2


def test_our_measurement_depends_on_params_and_on_the_modules_of_its_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    stages = read_yaml(runs.PIPELINE)["stages"]
    for module in {dep for stage in stages.values() for dep in stage["deps"] if dep.startswith("pipeline/")}:
        (root / module).parent.mkdir(parents=True, exist_ok=True)
        (root / module).write_text("before")
    monkeypatch.setattr(runs, "ROOT", root)
    monkeypatch.setattr(runs, "PARAMS", tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text(PARAMS.read_text())

    def key() -> str:
        key_of_ours.cache_clear()
        return key_of_ours(SET)

    try:
        first = key()
        (root / "pipeline/report/page.py").write_text("after")  # no figure comes from it
        assert key() == first
        (root / "pipeline/training.py").write_text("after")
        second = key()
        (tmp_path / "params.yaml").write_text(PARAMS.read_text().replace("max_trials: 24", "max_trials: 25"))
        assert len({first, second, key()}) == 3
    finally:
        key_of_ours.cache_clear()


def test_a_search_is_shared_by_all_seeds_and_by_nothing_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told = counting(monkeypatch)
    for job in (replace(LSTM, setting="tuned"), replace(LSTM, setting="tuned", seed=2)):
        measure_peer(job, field(), bench, ours=None)
    measure_peer(replace(LSTM, setting="tuned-short"), field(), bench, ours=None)
    files = [one["search"]["storage"] for one in told]
    assert files[0] == files[1] != files[2]


def test_a_measurement_that_fails_is_told_of_and_the_others_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before: Script = runs.run_script

    def script(python: Path, peer: str, spec: Path, variables: Variables) -> None:
        if json.loads(spec.read_text())["seed"] == 2:
            raise GatecastError("log.txt: exit code 1. Its last line: out of memory")
        before(python, peer, spec, variables)

    monkeypatch.setattr(runs, "run_script", script)
    plan = [replace(LSTM, seed=seed) for seed in SEEDS]
    with pytest.raises(GatecastError, match="1 of 3 measurements have failed: vic-elec/neuralforecast/lstm"):
        command.run_plan(plan, bench)
    assert "2/3 vic-elec/neuralforecast/lstm/documentation/2 has failed: log.txt" in capsys.readouterr().out
    kept = json.loads(command.FOUND.read_text())[SET]["runs"]
    assert [one["seed"] for one in kept] == [1, 3]
    assert "22 of 24 runs of *Their documentation's settings*" in command.PAGE.read_text()


def test_a_run_that_was_killed_loses_the_measurement_it_was_at_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = [replace(LSTM, seed=seed) for seed in SEEDS]
    told = counting(monkeypatch)
    before: Script = runs.run_script

    def killed(python: Path, peer: str, spec: Path, variables: Variables) -> None:
        if json.loads(spec.read_text())["seed"] == 3:
            raise KeyboardInterrupt
        before(python, peer, spec, variables)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runs, "run_script", killed)
        command.run_plan(plan, bench)
    command.run_plan(plan, bench)
    assert [one["seed"] for one in told] == [1, 2, 3]
    assert len(json.loads(command.FOUND.read_text())[SET]["runs"]) == 3


def test_peers_without_a_clock_are_measured_side_by_side_and_the_others_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: Script = runs.run_script
    meeting = Barrier(2)

    def script(python: Path, peer: str, spec: Path, variables: Variables) -> None:
        if variables["OMP_NUM_THREADS"] == "1":
            meeting.wait(timeout=60)  # fails unless another one runs
        before(python, peer, spec, variables)

    monkeypatch.setattr(runs, "run_script", script)
    write_json({**ours(), "key": key_of_ours(SET)}, bench.path(ours_on(SET)))
    plan = [replace(LSTM, model=model, setting=setting) for setting in PAIRED for model in ("lstm", "gru")]
    command.run_plan(plan, replace(bench, together=2))
    kept = json.loads(command.FOUND.read_text())[SET]["runs"]
    shared = {(one["setting"], one["threads"], one["together"]) for one in kept}
    assert len(kept) == 6
    assert shared == {("documentation", 1, 2), ("equal-network", 2, 1), ("tuned-short", 1, 2)}


def test_the_seeds_of_a_search_wait_for_the_one_that_makes_it() -> None:
    search = replace(LSTM, setting="tuned-short")
    assert command.turn_of(search) == command.turn_of(replace(search, model="gru"))
    assert command.turn_of(search) != command.turn_of(replace(search, seed=2))
    assert command.turn_of(LSTM) == command.turn_of(replace(LSTM, seed=2)) is not None
    assert command.turn_of(replace(LSTM, setting="equal-pipeline")) is command.turn_of(ours_on(SET)) is None


def test_how_many_ran_side_by_side_makes_no_measurement_another(bench: Bench) -> None:
    found = measure_peer(LSTM, field(), replace(bench, threads=1, together=2), ours=None)
    assert finished(LSTM, field(), bench) == found


def test_a_run_that_is_stopped_leaves_no_script_behind(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two side by side breaks the first off."""
    begun = tmp_path / "begun"
    (tmp_path / "toy_run.py").write_text(f"import time; open({str(begun)!r}, 'w').close(); time.sleep(600)")
    started: list[int] = []

    def script(_: Path, __: str, spec: Path, variables: Variables) -> None:
        seed = json.loads(spec.read_text())["seed"]
        started.append(seed)
        if seed == 1:
            SCRIPT(Path(sys.executable), "toy", spec, variables)
        while not begun.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "run_script", script)
    monkeypatch.setattr(runs, "script_of", lambda _: tmp_path / "toy_run.py")
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        command.run_plan([replace(LSTM, seed=seed) for seed in SEEDS], replace(bench, together=2))
    assert time.monotonic() - start < 60
    assert {1, 2} <= set(started)
    assert not runs._RUNNING
    assert not list(bench.folder.glob("measurements/*"))


def test_only_a_search_keeps_the_memory_that_it_has_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    def script(_: Path, __: str, spec: Path, variables: Variables) -> None:
        kept.append(KEEPING_MEMORY.items() <= variables.items())
        before(_, __, spec, variables)

    before: Script = runs.run_script
    monkeypatch.setattr(runs, "run_script", script)
    for setting in ("documentation", "tuned-short"):
        measure_peer(replace(LSTM, setting=setting), field(), bench, ours=None)
    assert kept == [False, True]


def test_a_quick_run_takes_few_windows_and_writes_nothing_down(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told = counting(monkeypatch)
    quick = replace(bench, quick=True)
    plan = [ours_on(SET), LSTM, replace(LSTM, setting="equal-pipeline"), replace(LSTM, setting="tuned")]
    command.run_plan(plan, quick)
    assert [one["windows"] for one in told] == [3, 3, 3]
    assert all(one["quick"] for one in told)
    assert told[2]["search"]["trials"] == 2
    assert not command.FOUND.exists()
    assert not list(bench.works.rglob("measurements"))


def test_figures_of_other_settings_than_todays_are_left_out_of_the_results(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    command.run_plan([LSTM], bench)
    assert len(command.collect([LSTM], {SET: field()}, bench)[SET]["runs"]) == 1
    monkeypatch.setattr(runs, "requirements_of", lambda _: PARAMS)
    assert command.collect([LSTM], {SET: field()}, bench) == {}


def test_a_script_that_fails_shows_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_run.py").write_text("import sys; print('hello'); sys.exit('no memory left')")
    monkeypatch.setattr(runs, "HERE", tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(GatecastError, match="exit code 1. Its last line: no memory left"):
        runs.run_script(Path(sys.executable), "toy", tmp_path / "out/spec.json", os.environ)


def test_what_stops_us_at_the_keyboard_does_not_reach_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_run.py").write_text("import os; open('group', 'w').write(str(os.getpgid(0)))")
    monkeypatch.setattr(runs, "HERE", tmp_path)
    (tmp_path / "out").mkdir()
    runs.run_script(Path(sys.executable), "toy", tmp_path / "out/spec.json", os.environ)
    assert int((tmp_path / "out/group").read_text()) != os.getpgid(0)


def test_only_figures_that_were_not_known_are_a_look_at_the_test_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = tmp_path / "looks.jsonl"
    monkeypatch.setattr(runs, "LOOKS", looks)
    for mase in (1.0, 0.9, 1.0, 0.9):
        note_look(load_benchmark(SET), {"lstm": {"mase": mase}})
    assert [json.loads(line)["figures"]["lstm"]["mase"] for line in looks.read_text().splitlines()] == [1.0, 0.9]
    note_look(load_benchmark("hospital"), {"lstm": {"mase": 1.0}})
    assert [json.loads(line)["name"] for line in looks.read_text().splitlines()] == [SET, SET, "hospital"]


# Wall time of ours

STAGE = """
import sys, time
from pathlib import Path
folder, seconds, code = sys.argv[1:]
if folder:
    kept = Path(".scratch/tune-gru") / folder
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "trial.json").write_text("")
    (kept / "trial.json").unlink()
time.sleep(float(seconds))
sys.exit(int(code))
"""


def stage(work: Path, folder: str, seconds: float, *, code: int = 0) -> float | None:
    """The wall time that is known once a stage has worked in a folder of its scratch."""
    arguments = [sys.executable, "-c", STAGE, folder, str(seconds), str(code)]
    assert run_timed("tune@gru", arguments, work, os.environ) == code
    known: float | None = json.loads((work / SECONDS).read_text()).get("tune@gru")
    return known


def test_the_time_of_a_stage_that_was_interrupted_is_that_of_both_runs(tmp_path: Path) -> None:
    assert stage(tmp_path, "a", 0.5, code=1) is None
    both = stage(tmp_path, "a", 0.3)
    assert both is not None
    assert both >= 0.8
    assert stage(tmp_path, "a", 0.0) == both  # all of it was finished


def assert_of_one_run(work: Path, folder: str) -> None:
    """The time of a stage is that of the run that ends here; a machine that is busy may take longer for it than before.

    Seconds are kept to a tenth.
    """
    start = time.perf_counter()
    known = stage(work, folder, 0.0)
    assert known is not None
    assert known <= time.perf_counter() - start + 0.05


def test_the_time_of_other_work_takes_the_place_of_a_longer_one(tmp_path: Path) -> None:
    slow = stage(tmp_path, "a", 1.0)
    assert slow is not None
    assert slow >= 1.0
    assert_of_one_run(tmp_path, "b")
    assert stage(tmp_path, "a", 0.0) == slow


def test_a_run_that_was_killed_leaves_the_time_that_it_had_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walltime, "BEAT_S", 0.1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(walltime, "_wait", interrupted_after(4, walltime._wait))
        stage(tmp_path, "a", 60.0)
    left = json.loads((tmp_path / ATTEMPTS).read_text())["tune@gru"]["a"]
    assert not left["finished"]
    assert left["seconds"] >= 0.3
    resumed = stage(tmp_path, "a", 0.2)
    assert resumed is not None
    assert resumed >= left["seconds"] + 0.2


def interrupted_after(times: int, wait: Callable[[Any], int | None]) -> Callable[[Any], int | None]:
    """Waits so often, then is interrupted."""
    left = [times]

    def one(running: Any) -> int | None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return wait(running)

    return one


def test_what_was_begun_with_other_params_has_a_time_that_nobody_knows(tmp_path: Path) -> None:
    for trials, known in ((2, True), (3, False)):
        (tmp_path / "params.yaml").write_text(f"tune: {{max_trials: {trials}}}\ncells: [gru]\n")
        assert (stage(tmp_path, "a", 0.0) is not None) == known
    (tmp_path / ".scratch/tune-gru/unknown").mkdir()  # left by something else
    assert stage(tmp_path, "unknown", 0.0) is None


def test_a_stage_that_keeps_nothing_takes_the_time_of_its_last_run(tmp_path: Path) -> None:
    first = stage(tmp_path, "", 0.5)
    assert first is not None
    assert first >= 0.5
    assert_of_one_run(tmp_path, "")


def test_ours_is_refused_where_its_time_is_not_known(tmp_path: Path) -> None:
    folder_of(tmp_path)
    known = {"tune@lstm": 1.0, "tune@gru": 1.0, "train@gru": 1.0}
    (tmp_path / SECONDS).write_text(json.dumps(known))
    with pytest.raises(GatecastError, match="nobody knows how long train@lstm took"):
        seconds_of(tmp_path)
    (tmp_path / SECONDS).write_text(json.dumps({**known, "train@lstm": 2.0}))
    assert seconds_of(tmp_path)["train@lstm"] == 2.0
    forget(tmp_path)
    assert not (tmp_path / SECONDS).exists()


# What the page says


def test_lower_means_a_ratio_below_one_and_clearly_an_interval_below_one() -> None:
    found = groups(runs_of({"lstm": 0.4, "gru": 0.304}), "documentation")
    stances = {(one.model.cell, one.metric): (one.ratio < 1, one.stance) for one in contrasts(ours(), found)}
    assert {stances["lstm", metric] for metric in METRICS} == {(True, "lower")}
    assert {stances["gru", metric] for metric in METRICS} == {(True, "open")}  # .309 against .310
    worse = contrasts(ours(lstm=0.8), found)
    assert {(one.ratio > 1, one.stance) for one in worse} == {(True, "higher")}


def test_a_single_run_is_never_clearly_anything() -> None:
    found = groups(runs_of({"lstm": 0.9})[:1], "documentation")
    assert {one.stance for one in contrasts(ours(), found)} == {"open"}


def test_means_have_the_standard_deviation_of_their_seeds() -> None:
    assert mean_sd([1.0, 2.0, 3.0], 2) == "2.00 ± 1.00"
    assert mean_sd([1.5], 1) == "1.5"
    assert mean_sd([], 1) == "-"


def test_the_page_says_where_ours_is_lower_and_what_took_longer() -> None:
    page = render_page({SET: {"ours": ours(), "runs": runs_of({"lstm": 0.4, "gru": 0.5}, fit=200.0)}}, fields())
    assert "ours is lower in 6 of 6 errors, all of them clearly." in page
    assert (
        "Fitting took them 200 s: longer than one network of ours (10 s) for 2 of 2, longer than our search and all "
        "networks together (350 s; the networks 50 s) for 0." in page
    )


def test_a_run_side_by_side_took_its_share_of_the_machine() -> None:
    found = [one | {"together": 2, "search_seconds": 60.0} for one in runs_of({"lstm": 0.4}, fit=200.0)]
    assert took(found[0], "fit_seconds", "search_seconds") == 130.0
    page = render_page({SET: {"ours": ours(), "runs": found}}, fields())
    assert "Fitting took them 130 s" in page
    assert "| 100 ± 0 | 1.5 ± 0.0 |" in " ".join(page.split())


def test_seconds_of_another_machine_are_not_compared_with_ours() -> None:
    other = {"machine": MACHINE | {"cpu": "faster chip"}}
    lstm, gru = runs_of({"lstm": 0.4}, fit=200.0), [one | other for one in runs_of({"gru": 0.5}, fit=9.0)]
    page = render_page({SET: {"ours": ours(), "runs": [*lstm, *gru]}}, fields())
    assert "Fitting took them 200 s: longer than one network of ours (10 s) for 1 of 1" in page
    assert "NeuralForecast GRU on another machine than ours (faster chip), so seconds are not compared" in page
    page = render_page({SET: {"ours": ours(), "runs": gru}}, fields())
    assert "ours is lower in 3 of 3 errors, all of them clearly. Fitting took them seconds of another machine" in page
    assert "All on another machine than ours (faster chip)" in page


def test_the_page_says_that_one_seed_makes_nothing_clear() -> None:
    page = render_page({SET: {"ours": ours(), "runs": [run(LSTM, level=0.4)]}}, fields())
    assert "ours is lower in 3 of 3 errors, none of them clearly, because theirs is of one seed." in page


def test_the_page_names_every_error_in_which_ours_is_not_lower() -> None:
    page = render_page({SET: {"ours": ours(), "runs": runs_of({"lstm": 0.1, "gru": 0.5})}}, fields())
    assert "ours is lower in 3 of 6 errors, all of them clearly, and not in 3, all of them clearly higher:" in page
    assert "NeuralForecast LSTM, MASE (+101.9 %)" in page


def test_where_ours_is_never_lower_the_page_calls_nothing_clear() -> None:
    page = render_page({SET: {"ours": ours(), "runs": runs_of({"lstm": 0.1})}}, fields())
    assert "ours is lower in 0 of 3 errors, and not in 3, all of them clearly higher:" in page


def test_the_page_says_what_networks_are_told_beside_values_and_covariates() -> None:
    page = render_page({SET: {"ours": ours(), "runs": []}, "etth1-96": {"ours": ours(), "runs": []}}, fields())
    told = "our search chose to tell our LSTM the calendar and which series it is; our GRU nothing. The peers are told"
    assert f"{told} the calendar, because our search may choose it." in page
    assert f"{told} nothing." in page


def test_a_linear_model_that_beats_both_our_cells_is_named() -> None:
    both = {"ours": ours(), "runs": runs_of({"lstm": 0.4, "nlinear": 0.1})}
    assert "lower than both our LSTM and our GRU: NeuralForecast NLinear, MSE" in render_page({SET: both}, fields())
    worse = {"ours": ours(), "runs": runs_of({"lstm": 0.4, "nlinear": 0.25})}
    assert "No linear model of theirs is lower than both" in render_page({SET: worse}, fields())


def test_the_tables_have_a_row_for_each_model_and_nothing_where_nothing_was_forecast() -> None:
    points = [run(Job(SET, "darts", "nlinear", "context", seed), level=0.3, points=True) for seed in SEEDS]
    page = render_page({SET: {"ours": ours(), "runs": [*runs_of({"lstm": 0.4}), *points]}}, fields())
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells]
        for cells in (row.split("|") for row in page.splitlines())
        if len(cells) > 3
    }
    assert rows["Darts NLinearModel"][3:8] == ["0.3060 ± 0.0030"] * 3 + ["-", "100 ± 0"]
    assert rows["NeuralForecast LSTM"][2] == "3"
    assert rows["LSTM, ensemble of 5"][3] == "0.2000"
    assert "### With our context" in page
    assert "### Tuned\n" not in page


def test_the_page_can_be_written_before_ours_is_there_and_says_what_is_missing() -> None:
    page = render_page({SET: {"ours": None, "runs": runs_of({"lstm": 0.4})[:2]}}, fields())
    assert "Ours was not measured in this run yet." in page
    assert "22 of 24 runs of *Their documentation's settings*, 18 of 18 runs of *Trained as long as one" in page
    assert "torch 2.13.0" in page
    assert SETTINGS["tuned"].title not in page  # which has to be asked for


def test_the_page_tells_the_trials_that_failed_and_the_threads_that_were_used() -> None:
    searched = {"search_seconds": 500.0, "trials": 24, "trials_failed": 2, "threads_used": 1}
    found = [one | searched for one in runs_of({"lstm": 0.4}, setting="tuned-short")]
    lines = render_page({SET: {"ours": ours(), "runs": found}}, fields()).splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("| NeuralForecast LSTM"))
    header, row = ([cell.strip() for cell in line.split("|")] for line in (lines[place - 2], lines[place]))
    told = dict(zip(header, row, strict=True))
    assert {told["search, s"], told["trials"], told["failed"], told["threads"]} == {"500", "24", "2", "1"}


def test_every_setting_is_explained_where_it_is_shown() -> None:
    everything = [run(job, level=0.4) for job in jobs([SET]) if job.peer != OURS]
    page = render_page({SET: {"ours": ours(), "runs": everything}}, fields())
    for setting in SETTINGS.values():
        assert f"### {setting.title}\n\n{setting.words}" in page
    assert "Not measured yet" not in page


def test_the_committed_page_is_that_of_the_committed_results() -> None:
    assert command.PAGE.read_text(encoding="utf-8").rstrip() == render_page(read_json(command.FOUND), fields()).rstrip()


def test_the_summary_goes_from_the_lowest_model_of_a_cell_to_the_highest() -> None:
    runs = [
        *runs_of({"lstm": 0.1, "gru": 0.5}, fit=200.0),
        *(run(Job(SET, "darts", "block-lstm", "documentation", seed), level=0.4, fit=90.0) for seed in SEEDS),
        *runs_of({"nlinear": 0.01}, fit=1.0),  # no network
    ]
    table = render_beside({SET: {"ours": ours(), "runs": runs}, "etth1-96": {"ours": None, "runs": []}}, fields())
    header, _, single, ensembles, theirs = (
        [part.strip() for part in row.split("|")[1:-1]] for row in table.splitlines()
    )
    assert header[1:] == ["Victoria's electricity, with covariates, MASE: LSTM", "GRU", "fit, s", "ours is lower in"]
    assert single == ["ours, single networks", "0.206", "0.309", "10", "-"]
    assert ensembles == ["ours, ensembles", "0.200", "0.300", "350", "-"]
    assert theirs[1:] == ["0.102 to 0.408", "0.510", "90 to 200", "6 of 9"]


def test_the_summary_leaves_out_seconds_of_another_machine_and_settings_without_a_network() -> None:
    other = {"machine": MACHINE | {"cpu": "faster chip"}}
    runs = [one | other for one in runs_of({"lstm": 0.4})] + runs_of({"nlinear": 0.3}, setting="context")
    rows = render_beside({SET: {"ours": ours(), "runs": runs}}, fields()).splitlines()
    assert [part.strip() for part in rows[4].split("|")[2:-1]] == ["0.408", "-", "-", "3 of 3"]
    assert len(rows) == 5


def test_the_readme_shows_the_committed_summary() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert replace_results(readme, render_beside(read_json(command.FOUND), fields()), name="peers") == readme


def test_there_is_no_page_without_figures(tmp_path: Path) -> None:
    with pytest.raises(GatecastError, match="nothing was measured yet"):
        command.write_page(tmp_path / "peers.json", tmp_path / "PEERS.md")


def test_a_specification_has_all_that_the_scripts_ask_for(panel: Panel) -> None:
    for model in MODELS:
        source = (HERE / f"{model.peer}_run.py").read_text(encoding="utf-8")
        asked = {
            node.slice.value
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id == "spec"
            and isinstance(node.slice, ast.Constant)
        }
        told = specify(model.instruct(field(), "documentation", None), panel, seed=1, threads=1, quick=False)
        assert asked <= {*told, "data", "out"}
