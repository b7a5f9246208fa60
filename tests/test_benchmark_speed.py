"""The benchmark of training steps: what is asked of whom, what is made of the answers, and what the page says."""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.benchmark import PARAMS, load_benchmark, read_yaml
from benchmarks.speed import __main__ as command
from benchmarks.speed import pipeline, running
from benchmarks.speed.catalogue import (
    AGAINST_BARE,
    CELLS,
    COPIED,
    EPOCH_WINDOWS,
    PRODUCT,
    SHAPES,
    THREADS,
    Group,
    Setup,
    Shape,
    Timing,
    groups,
)
from benchmarks.speed.figures import (
    backward_ms,
    figure,
    input_share,
    optimizer_ms,
    python_us,
    share_of_peak,
    slower,
    targets,
    times,
)
from benchmarks.speed.page import render_page, render_run
from benchmarks.speed.pipeline import read_stages
from benchmarks.speed.process import Measure, Pair
from benchmarks.speed.results import FOUND, PAGE, RUN, beside_other_kinds, write_page
from benchmarks.speed.running import Plan, Process, started, time_group
from benchmarks.speed.synthetic import QUANTILES, build_fit, build_spec
from pipeline.errors import GatecastError

ROOT = Path(__file__).parents[1]
PLAIN = Shape(
    "small",
    context_length=20,
    segment_length=6,
    horizon=8,
    series=2,
    length=120,
    held_out=20,
    choices={"identity": "embedding", "units": 16},
)
LINEAR = {"location": "mean", "linear": "ridge", "transform": "log1p", "units": 16}
COPYING = {"head": "copy", "calendar": "auto", "units": 16}
SMALL = {
    "plain": PLAIN,
    "linear": replace(PLAIN, series=1, choices=LINEAR),
    "covariates": replace(PLAIN, series=1, freq="30min", covariates=2, choices=COPYING, torch=False),
}
STEP = {"whole": 0.0101, "bare": 0.01, "forward": 0.004, "gradient": 0.009, "keras": 0.02, "torch": 0.03}
STEP |= {"gather": 0.0001, "draw": 2e-6, "call": 8e-6, AGAINST_BARE: 1.01, COPIED: 1.02}
MACHINE = {"cpu": "a processor", "cores": 2, "memory_gib": 24.0, "python": "3.11.7", "tensorflow": "2.21.0"}
FACTS = {
    "ours": {
        "trace_seconds": 1.5,
        "peak_memory_mib": 650.0,
        "multiply_accumulates": 10**6,
        "inputs": 1440,
        "parameters": 123456,
        "batch": 64,
    },
    "torch": {"peak_memory_mib": 320.0, "version": "2.13.0"},
}


def timed(group: Group, *rounds: dict[str, float]) -> dict[str, Any]:
    """What `time_group` gives of a group: 10 ms for all that its rounds do not say otherwise."""
    known = STEP if group.name.startswith("step") else {}
    seconds = {name: [{**known, **one}.get(name, 0.01) for one in rounds or ({},)] for name in group.timings}
    return {"facts": {name: FACTS.get(name, {}) for name in group.setups}, "seconds": seconds}


def results_of(*names: str, **rounds: dict[str, float]) -> dict[str, Any]:
    """Results of the named groups, of all where none is named; what some rounds of the first one took."""
    found = {group.name: timed(group) for group in groups() if not names or group.name in names}
    if rounds:
        first = next(group for group in groups() if group.name == names[0])
        found[names[0]] = timed(first, *rounds.values())
    return {"rounds": 1, "seconds": 1.0, "groups": found, "machine": MACHINE, "commit": "abc", "date": "2026-01-01"}


def test_every_figure_is_asked_of_a_process_that_has_it() -> None:
    names = [group.name for group in groups()]
    assert len(set(names)) == len(names)
    assert {f"step/{shape}/{cell}/{threads}" for shape in SHAPES for cell in CELLS for threads in THREADS} < set(names)
    for group in groups():
        assert all(
            timing.measure in group.setups[name].measures
            for timing in group.timings.values()
            for name in timing.processes
        )
        assert {name for timing in group.timings.values() for name in timing.processes} == set(group.setups)
        writers = [setup.torch for setup in group.setups.values() if setup.exchange]
        assert writers in ([], [False, True])  # what is read was written before


def test_the_default_shape_is_that_of_the_default_run() -> None:
    params, shape = read_yaml(PARAMS), SHAPES["default"]
    window = params["window"]
    assert (window["context_length"], window["horizon"]) == (shape.context_length, shape.horizon)
    assert window["val_size"] == window["test_size"] == shape.held_out
    assert params["evaluate"]["season_length"] == shape.segment_length
    assert params["train"]["windows_per_epoch"] == EPOCH_WINDOWS
    assert list(QUANTILES) == params["quantiles"]
    assert (ROOT / "data/raw/co2.csv").read_text().count("\n") - 1 == shape.length


def test_the_networks_of_the_default_shape_are_some_that_its_search_can_find() -> None:
    space, season = read_yaml(PARAMS)["tune"]["space"], SHAPES["default"].segment_length
    for cell in CELLS:
        found = SHAPES["default"].hparams(cell)
        for name in ("units", "batch_size", "location", "transform", "head", "linear", "calendar", "identity"):
            assert found[name] in space[cell][name]
        assert "season" in space[cell]["segment_length"]
        assert found["segment_length"] == season


def test_a_shape_with_covariates_is_that_of_its_data_set_and_has_no_network_of_pytorch() -> None:
    shape, benchmark = SHAPES["vic-elec"], load_benchmark("vic-elec")
    window, data = benchmark.window, benchmark.data
    assert (shape.context_length, shape.horizon, shape.held_out) == (
        window.context_length,
        window.horizon,
        window.test_size,
    )
    assert (shape.freq, shape.covariates) == (data["freq"], len(data["future_covariates"]))
    for group in groups():
        if group.name.startswith("step/"):
            of = SHAPES[group.name.split("/")[1]]
            assert ("torch" in group.setups) == ("torch" in group.timings) == of.torch
            assert bool(group.setups["ours"].exchange) == of.torch


def test_parts_add_up_to_the_step_on_one_batch() -> None:
    assert 1000 * STEP["forward"] + backward_ms(STEP) + optimizer_ms(STEP) == pytest.approx(1000 * STEP["bare"])
    assert input_share(STEP) == pytest.approx(100 * 0.000102 / 0.0101)
    assert slower(AGAINST_BARE)(STEP) == pytest.approx(1.0)
    assert python_us(STEP) == pytest.approx(10.0)


def test_a_ratio_is_that_of_each_round() -> None:
    rounds = {"a": {"torch": 0.03}, "b": {"torch": 0.04, "bare": 0.04}, "c": {"bare": 0.02}}
    group = results_of("step/default/gru/1", **rounds)["groups"]["step/default/gru/1"]
    found = figure(group, times("torch", "bare"))
    assert (found.low, found.median, found.high) == pytest.approx((1.0, 1.5, 3.0))


def test_the_share_of_the_peak_is_that_of_three_passes_of_products() -> None:
    results = results_of("step/default/gru/1", "product/1")
    group = results["groups"]["step/default/gru/1"]
    results["groups"]["product/1"]["seconds"]["product"] = [2e-9 * PRODUCT**3 / 100]  # 100 GFLOP/s
    flops = 3 * 2 * 10**6 * 64
    assert share_of_peak(results, group, 1) == pytest.approx(100 * flops / 0.0101 / 100e9)
    assert share_of_peak(results, group, 2) is None


def test_a_promise_is_held_against_the_worst_of_a_shape() -> None:
    assert all(target.met for target in targets(results_of()))
    assert len(targets(results_of())) == 2 * len(SHAPES)
    results = results_of()
    results["groups"]["step/etth1-720/lstm/2"]["seconds"] |= {AGAINST_BARE: [1.04], "gather": [0.000505 - 2e-6]}
    missed = {target.words: target.figure for target in targets(results) if not target.met}
    where = "ETTh1, horizon 720 (most: LSTM, 2 threads)"
    assert missed == pytest.approx(
        {f"input, part of the step: {where}": 5.0, f"slower than the bare network by: {where}": 4.0}
    )


def test_the_page_shows_promises_figures_and_where_they_were_made() -> None:
    results = results_of(
        "step/default/gru/1", a={}, b={"whole": 0.0104, AGAINST_BARE: 1.04}, c={"whole": 0.0201, AGAINST_BARE: 1.05}
    )
    for name in ("step/etth1-96/lstm/2", "step/vic-elec/gru/1", "layer/lstm/2", "variant/etth1-96/gru"):
        results["groups"] |= results_of(name)["groups"]
    results["groups"]["variant/etth1-96/gru"]["seconds"]["side by side"] = [0.004]
    page = render_page(results)
    lines = [re.sub(r" +", " ", line) for line in page.splitlines()]
    assert "| input, part of the step: the default run (most: GRU, 1 thread) | 3.0 % | 0.98 % | yes |" in lines
    assert (
        "| slower than the bare network by: the default run (most: GRU, 1 thread) | 3.0 % | 4.00 % | **no** |" in lines
    )
    assert any(line.startswith("| the default run, GRU, 1 thread | 10.4 (10.1 to 20.1) | 10.0 (") for line in lines)
    assert "| ETTh1, horizon 96, LSTM, 2 threads | 64 | 1,440 | 123,456 | 1.50 | 650 | 320 |" in lines
    assert "| Victoria's electricity, GRU, 1 thread | 64 | 1,440 | 123,456 | 1.50 | 650 | - |" in lines
    assert next(line for line in lines if line.startswith("| the default run, GRU")).endswith("| 2.00 (2.00 to 2.00) |")
    assert any(line.startswith("| Victoria's electricity, GRU, 1 thread | 10.0") and "| - |" in line for line in lines)
    assert "| one step for each call of the graph | whole | 6,400 (6,400 to 6,400) |" in lines
    assert "| two processes, one thread each | whole | 16,000 (16,000 to 16,000) |" in lines
    assert any(line.startswith("| LSTM-64, 2 threads | 10.0 (10.0 to 10.0) |") for line in lines)
    for told in ("a processor, 2 cores", "PyTorch 2.13.0", "abc", "It is not used"):
        assert told in page.replace("\n", " ")


def test_what_another_kind_of_processor_has_kept_stays_beside(tmp_path: Path) -> None:
    def of(cpu: str, commit: str) -> dict[str, Any]:
        return {**results_of("step/default/gru/1"), "machine": {**MACHINE, "cpu": cpu}, "commit": commit}

    file = tmp_path / "training.json"
    for cpu, commit in (("A", "first"), ("B", "second"), ("C", "third"), ("A", "last")):
        file.write_text(json.dumps(beside_other_kinds(of(cpu, commit), file)))
    found = json.loads(file.read_text())
    assert [kind["commit"] for kind in (found, *found["elsewhere"])] == ["last", "third", "second"]
    page = render_page(found)
    assert re.findall(r"^On (.), 2 cores; 2026-01-01, (.*):$", page, re.MULTILINE) == [
        ("A", "last"),
        ("C", "third"),
        ("B", "second"),
    ]
    assert page.count("| slower than the bare network by: the default run") == 3
    assert "| the default run, GRU, 1 thread |" in re.sub(
        " +", " ", page.split("those of the first of these machines")[1]
    )


def test_what_was_left_out_is_no_part_of_the_page() -> None:
    page = render_page(results_of("layer/gru/2"))
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == ["A recurrent layer alone", "Where and how"]


ANSWERING = """
import json, sys
print(json.dumps(json.loads(sys.argv[1])), flush=True)
for line in sys.stdin:
    print(sys.argv[2], file=sys.stderr, flush=True)
    if sys.argv[2] == "0":
        raise SystemExit("out of memory")
    print(sys.argv[2], flush=True)
"""


def answering(folder: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], seconds: dict[str, str]) -> Plan:
    """Processes that tell the given facts, and by name the given seconds; the asking of each is noted in `asked`."""

    def start(name: str, setup: Setup, plan: Plan) -> AbstractContextManager[Process]:
        own = re.search(r"\((.*)\)", name)
        assert own
        script = [sys.executable, "-c", ANSWERING, json.dumps(told.get(own[1], {})), seconds[own[1]]]
        return started(name, script, None, folder / f"{own[1]}.log")

    monkeypatch.setattr(running, "_start", start)
    return Plan(rounds=3, seconds=0.1, work=folder, environments=folder)


PAIR = Group(
    "pair",
    {"left": Setup("step", 1, ("whole",)), "right": Setup("step", 1, ("whole",))},
    {"one": Timing("whole", ("left",)), "both": Timing("whole", ("left", "right"))},
)


def test_every_figure_is_measured_once_a_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = answering(tmp_path, monkeypatch, {"left": {"parameters": 3}}, {"left": "0.5", "right": "0.5"})
    found = time_group(PAIR, plan)
    assert found == {
        "facts": {"left": {"parameters": 3}, "right": {}},
        "seconds": {"one": [0.5] * 3, "both": [0.25] * 3},
    }
    assert [(tmp_path / f"{name}.log").read_text().count("0.5") for name in ("left", "right")] == [6, 3]


def test_a_process_that_ends_is_told_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = answering(tmp_path, monkeypatch, {}, {"left": "0.5", "right": "0"})
    with pytest.raises(GatecastError, match=r"pair \(right\) has ended: 0 out of memory"):
        time_group(PAIR, plan)


def test_another_network_than_ours_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = replace(PAIR, setups={"torch": PAIR.setups["left"]}, timings={})
    told = {"torch": {"differences": {"forecast": 1e-7, "loss": 0.02}}}
    with pytest.raises(GatecastError, match="the loss of PyTorch's network is not ours; it differs by 0.02"):
        time_group(group, answering(tmp_path, monkeypatch, told, {"torch": "0.5"}))


def test_groups_are_chosen_by_their_names() -> None:
    assert [group.name for group in command.choose(["step/*/gru/2"])] == [f"step/{shape}/gru/2" for shape in SHAPES]
    with pytest.raises(GatecastError, match="Received: 'gpu'; --list tells what there is"):
        command.choose(["gpu", "*"])


def test_a_page_needs_figures(tmp_path: Path) -> None:
    with pytest.raises(GatecastError, match="run python -m benchmarks.speed"):
        write_page(tmp_path / "training.json", tmp_path / "page.md")


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """By shape and cell a bench of a small network, the network, and the file that PyTorch reads."""
    from benchmarks.speed.steps import Bench, fill_linear, save_exchange
    from pipeline import training

    made = {}
    for name, shape in SMALL.items():
        fit = build_fit(shape)
        for cell in CELLS:
            spec = build_spec(cell, shape, 16, fit)
            network, _, rng = training._start(spec, 1)
            for weight in network.trainable_variables:  # biases too: Keras starts them at 0 and 1
                weight.assign(0.3 * rng.standard_normal(weight.shape))
            fill_linear(network, rng)
            bench = Bench(spec, fit, training._batches(fit.train, 16, 32, rng))
            path = tmp_path_factory.mktemp("exchange") / "exchange.npz"
            save_exchange(bench, network, path)
            made[name, cell] = bench, network, path
    return made


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", ["plain", "linear"])
def test_pytorch_has_the_same_network(shape: str, cell: str, exchange: Any) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed here; the benchmark checks this itself in each run")
    from benchmarks.speed import torch_run

    found = torch_run.differences(*torch_run.load_exchange(exchange[shape, cell][2]))  # type: ignore[no-untyped-call]
    assert max(found.values()) < 1e-5


@pytest.mark.parametrize("cell", CELLS)
def test_the_other_loops_are_those_of_the_same_network(cell: str, exchange: Any) -> None:
    from benchmarks.speed.steps import KerasLoop, PlainLoop

    bench, network, _ = exchange["plain", cell]
    segments = np.random.default_rng(1).normal(size=(5, bench.spec.past_segments, 12)).astype(np.float32)
    loops = [KerasLoop(bench.spec), *(PlainLoop(bench.spec, time_major=major) for major in (True, False))]
    for other in loops:
        other.set_weights(network.get_weights())
        for ours, theirs in zip(*(n._encode(segments, 0.5, True)[0] for n in (network, other)), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", SMALL)
def test_gathering_alone_reads_the_batches_of_a_step(shape: str, exchange: Any) -> None:
    from benchmarks.speed.steps import Recorder, _touched
    from pipeline import training

    bench, network, _ = exchange[shape, "gru"]
    recorder, fit = Recorder(bench.spec), bench.fit
    training._loss(recorder, bench.gather, fit.train, fit.loss_scale)(bench.rows[0], True)  # type: ignore[arg-type]
    expected = network.beside(bench.batch()[0])
    assert recorder.inputs.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(recorder.inputs[name], value)
    last = [np.ravel(value)[-1] for value in expected.values()]
    assert float(_touched(recorder.inputs.values())) == pytest.approx(sum(last), rel=1e-6)


@pytest.mark.parametrize("shape", SMALL)
def test_the_bare_network_loses_what_a_whole_step_does(shape: str, exchange: Any) -> None:
    from pipeline import training

    bench, network, _ = exchange[shape, "lstm"]
    whole = training._loss(network, bench.gather, bench.fit.train, bench.fit.loss_scale)(bench.rows[0], False)
    assert float(bench.loss(network, False)(bench.ready(network))) == pytest.approx(float(whole), rel=1e-6)


def test_a_step_is_timed_over_whole_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def run() -> None:
        clock[0] += 0.4

    assert Measure(run, 32).time(1.0) == pytest.approx(0.4 / 32)
    assert clock[0] == pytest.approx(1.2)
    assert Measure(run, 32).time(0.0) == pytest.approx(0.4 / 32)


def test_a_ratio_is_none_of_the_machine_that_slows_down_or_of_which_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = [0.0], list[str]()
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def measure(name: str, seconds: float, steps: int) -> Measure:
        def run() -> None:
            calls.append(name)
            machine = 1 + clock[0] // 50  # half as fast, then a third
            late = 1.2 if len(calls) % 2 == 0 else 1.0  # the second of two finds the caches full
            clock[0] += seconds * machine * late

        return Measure(run, steps)

    found = Pair(measure("whole", 0.4, 8), measure("bare", 0.1, 4)).time(120.0)
    assert "".join(name[0] for name in calls[:8]) == "wbbwwbbw"
    assert len(calls) % 4 == 0
    assert 2 / 1.2 <= found <= 2 * 1.2
    assert found == pytest.approx(2.0, rel=0.02)


# The default run


def run_of(now: dict[str, float], before: dict[str, float]) -> dict[str, Any]:
    """The default run of two commits, timed once."""
    told = {"machine": MACHINE, "commit": "abc", "date": "2026-01-01", "rounds": 1}
    commits = {"before": ("old", before), "now": ("new", now)}
    return told | {name: {"commit": commit, "seconds": [one]} for name, (commit, one) in commits.items()}


BEFORE = {"ingest": 2.0, "tune@gru": 100.0, "gone": 5.0, "whole": 130.0}
NOW = {"ingest": 2.0, "tune@gru": 80.0, "added": 10.0, "whole": 100.0}


def test_the_stages_of_two_commits_stand_beside_each_other() -> None:
    lines = [re.sub(r" +", " ", line) for line in render_run(run_of(NOW, BEFORE)).splitlines()]
    rows = [line for line in lines if line.startswith("|")][2:]
    assert rows == [
        "| ingest | 2.00 | 2.00 | 1.00 |",
        "| tune@gru | 100 | 80.0 | 1.25 |",
        "| added | - | 10.0 | - |",
        "| gone | 5.00 | - | - |",
        "| all of it | 130 | 100 | 1.30 |",
    ]
    assert any("1.30 times as fast as before, where 1.3 times was promised: kept." in line for line in lines)


def test_the_default_run_of_another_kind_of_processor_is_told_in_a_sentence() -> None:
    other = {**run_of({**NOW, "whole": 65.0}, BEFORE), "commit": "abc"}
    text = render_run({**run_of(NOW, BEFORE), "elsewhere": [other]})
    cpu, cores, date = other["machine"]["cpu"], other["machine"]["cores"], other["date"]
    told = f"On {cpu}, {cores} cores; {date}, abc it was 2.00 times as fast: 130 s before"
    assert f"{told} ({other['before']['commit']}), 65.0 s then." in text


def test_where_the_default_run_is_not_faster_it_is_said_what_takes_its_time() -> None:
    text = render_run(run_of({**NOW, "whole": 125.0}, BEFORE))
    assert "1.04 times as fast as before, where 1.3 times was promised: **not kept**." in text
    assert "Most of its time now takes: tune@gru 64 %, added 8 %, ingest 2 %" in text


def test_a_run_that_is_nearly_fast_enough_does_not_read_as_if_it_were() -> None:
    text = render_run(run_of({**NOW, "whole": 100.2}, BEFORE))
    assert "1.29 times as fast as before, where 1.3 times was promised: **not kept**." in text
    assert re.search(r"all of it +\| +130 \| +100 +\| +1\.29 +\|", text)


def test_the_default_run_is_a_part_of_the_page_where_it_was_timed(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(json.dumps(results_of("layer/gru/2")))
    write_page(tmp_path / "training.json", tmp_path / "page.md")
    assert "## The default run" not in (tmp_path / "page.md").read_text()
    (tmp_path / "pipeline.json").write_text(json.dumps(run_of(NOW, BEFORE)))
    write_page(tmp_path / "training.json", tmp_path / "page.md")
    assert "## The default run" in (tmp_path / "page.md").read_text()


def test_a_stage_takes_the_time_until_the_next_one_begins() -> None:
    clock = iter([1.0, 3.5, 10.0])
    lines = ["Running stage 'ingest':\n", "> python\n", "Running stage 'tune@gru':\n", "trial 1\n"]
    assert read_stages(lines, lambda: next(clock)) == {"ingest": 2.5, "tune@gru": 6.5}


@pytest.mark.parametrize("line", ["Stage 'ingest' didn't change, skipping", "Stage 'ingest' is cached - skipping run"])
def test_a_run_that_finds_something_made_before_is_refused(line: str) -> None:
    with pytest.raises(GatecastError, match="stage ingest was not run"):
        read_stages([line], time.perf_counter)


def test_a_final_training_that_is_not_asked_for_may_come_from_the_cell_before() -> None:
    clock = iter([1.0, 2.0])
    lines = ["Running stage 'final@lstm':", "Stage 'final@gru' is cached - skipping run, checking out outputs"]
    assert read_stages(lines, lambda: next(clock)) == {"final@lstm": 1.0}


def test_commits_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[str] = []

    def once(commit: str) -> dict[str, float]:
        timed.append(commit)
        return {"ingest": 1.0, "whole": float(len(timed))}

    monkeypatch.setattr(pipeline, "time_commit", once)
    found = pipeline.measure({"before": "old", "now": "new"}, 2)
    assert timed == ["old", "new", "new", "old"]
    assert [one["whole"] for one in found["before"]["seconds"]] == [1.0, 4.0]


def test_a_commit_that_is_not_there_is_one_line() -> None:
    with pytest.raises(GatecastError, match="git rev-parse has failed"):
        pipeline.resolve("no-such-commit")


STAGES = """
stages:
  first:
    cmd: sleep 0.3 && echo 1 > one.txt
    outs: [one.txt]
  second:
    cmd: cp one.txt two.txt
    deps: [one.txt]
    outs: [two.txt]
"""


def test_what_dvc_prints_is_understood(tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    (folder / "dvc.yaml").write_text(STAGES)
    found = pipeline.time_stages(pipeline.REPRO, folder, pipeline.alone(tmp_path))
    assert list(found) == ["first", "second", "whole"]
    assert found["whole"] >= found["first"] >= 0.3
    with pytest.raises(GatecastError, match="stage first was not run"):
        pipeline.time_stages(pipeline.REPRO, folder, pipeline.alone(tmp_path))


def test_a_run_that_fails_shows_what_it_said(tmp_path: Path) -> None:
    script = [sys.executable, "-c", "print(\"Running stage 'ingest':\"); raise SystemExit('no data')"]
    with pytest.raises(GatecastError, match=r"exit code 1: Running stage 'ingest': no data"):
        pipeline.time_stages(script, tmp_path, pipeline.alone(tmp_path))


@pytest.mark.skipif(not FOUND.exists(), reason="training steps have not been timed yet")
def test_the_page_is_that_of_the_committed_results() -> None:
    run = FOUND.with_name(RUN)
    told = json.loads(run.read_text()) if run.exists() else None
    assert render_page(json.loads(FOUND.read_text()), told) == PAGE.read_text()
