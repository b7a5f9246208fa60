"""Measurements, one file each: what is finished is not done again."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from threading import Lock

from benchmarks.accuracy import (
    LOOKS,
    ROOT,
    check_finished,
    commit,
    is_current,
    made,
    prepare,
    record_look,
    run_benchmark,
    run_stages,
)
from benchmarks.benchmark import PARAMS, Benchmark, Json, load_benchmark, read_yaml
from benchmarks.measuring import load_evaluated, measure, predict
from benchmarks.peers.catalogue import OURS, SETTINGS, Field, Job, model_of, ours_on
from benchmarks.peers.environments import HERE, make_environment, requirements_of, variables
from benchmarks.peers.exchange import METRICS, Panel, load_panel, read_answer, save_data, save_specification, specify
from benchmarks.walltime import SECONDS
from pipeline.errors import GatecastError
from pipeline.metrics import rounded
from pipeline.params import load_params
from pipeline.storage import read_json, sha256_of, write_json
from pipeline.windows import load_test

PIPELINE = ROOT / "dvc.yaml"  # whose deps are the modules that a stage imports
WINDOWS = ("ingest", "window")
OUR_STAGES = (*WINDOWS, "tune", "train", "evaluate")
QUICK_WINDOWS = 3  # of each series
QUICK_SECONDS = 5
QUICK_TRIALS = 2
Budgets = Mapping[str, Mapping[str, int]]  # seconds by cell, then by whose they are
_PREPARING = Lock()  # windows, data and environments are made once, for all that is measured side by side
_RUNNING: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Bench:
    """Where and how measurements are made.

    Attributes:
        works: the folder of benchmarks, with one for each data set.
        environments: the folder of the peers' environments.
        threads: of a peer's process.
        together: how many are measured side by side, each with its share of the threads, where no clock ends training.
        quick: a few steps and windows, to see that all of it runs; its measurements are never kept.
        measure_only: our networks are those that an earlier run left.
    """

    works: Path
    environments: Path
    threads: int
    together: int = 1
    quick: bool = False
    measure_only: bool = False

    @property
    def folder(self) -> Path:
        """For measurements, and what goes to and fro."""
        return self.works / "peers" / ("quick" if self.quick else "full")

    def path(self, job: Job) -> Path:
        """The file of a measurement."""
        return self.folder / "measurements" / f"{_file_name(job)}.json"

    def kept(self, job: Job) -> Json | None:
        """A measurement, if there is one."""
        path = self.path(job)
        return read_json(path) if path.exists() else None

    def search(self, job: Job, specification: Json) -> Path:
        """The file of a search, which all seeds share."""
        folder, any_seed = self.folder / "searches", replace(job, seed=0)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{_file_name(any_seed)}--{key_of({**specification, 'seed': 0}, job.peer)}.db"

    def panel(self, field: Field) -> Panel:
        """The rows and windows of a data set; a few windows where it is to be quick."""
        with _PREPARING:
            panel = _panel(self.works, field.benchmark.name, field.calendar)
        return panel.last(QUICK_WINDOWS) if self.quick else panel


def measure_ours(field: Field, bench: Bench) -> Json:
    """Our pipeline, run or taken as it was left: its errors on the test part, and wall time by stage.

    Returns:
        `figures` by cell, of the `ensemble` and of each seed; `baselines`; `hparams` that the search has found;
        `seconds` of each stage; and `predict_seconds` of each cell's ensemble, all of whose networks forecast.
    """
    benchmark, works = field.benchmark, bench.works
    if bench.measure_only:
        check_finished(benchmark, works)
    else:
        run_benchmark(benchmark, works)
    work = works / benchmark.name
    taken = seconds_of(work)
    found = measure(work, "test")
    note_look(benchmark, found["figures"])
    windows = load_test(work / "data/windows/test").windows
    seconds = {}
    for cell in found["figures"]:
        forecaster = load_evaluated(work, cell)
        start = time.perf_counter()
        predict(forecaster, windows, ("forecast",))
        seconds[cell] = round(time.perf_counter() - start, 3)
    return {
        "figures": {
            cell: {name: {metric: one[metric] for metric in METRICS} for name, one in forecasts.items()}
            for cell, forecasts in found["figures"].items()
        },
        "baselines": {name: {metric: one[metric] for metric in METRICS} for name, one in found["baselines"].items()},
        "hparams": {
            cell: read_json(work / f"models/tuned/{cell}.json")["best"]["hparams"] for cell in found["figures"]
        },
        "seconds": taken,
        "predict_seconds": seconds,
        "threads": load_params(work / "params.yaml").compute.threads,
        "key": key_of_ours(benchmark.name),
        **made(),
    }


def seconds_of(work: Path) -> dict[str, float]:
    """The wall time of each of our stages.

    Raises:
        GatecastError: that of a search or of networks is not known.
    """
    seconds: dict[str, float] = read_json(work / SECONDS)
    stages = [f"{stage}@{cell}" for cell in load_params(work / "params.yaml").cells for stage in ("tune", "train")]
    if unknown := [stage for stage in stages if stage not in seconds]:
        raise GatecastError(
            f"{work}: nobody knows how long {', '.join(unknown)} took, because what an earlier run of other params "
            "left was gone on with; remove the folder and run again"
        )
    return seconds


@lru_cache
def key_of_ours(name: str, stages: tuple[str, ...] = OUR_STAGES) -> str:
    """What stages give on a data set depends on: the params, the data, and the modules that they import."""
    benchmark, known = load_benchmark(name), read_yaml(PIPELINE)["stages"]
    modules = {dep for stage in stages for dep in known[stage]["deps"] if dep.startswith("pipeline/")}
    sources = {module: sha256_of(ROOT / module) for module in modules}
    return _digest([benchmark.params(read_yaml(PARAMS)), benchmark.source.sha256, sources])


def note_look(benchmark: Benchmark, figures: Json) -> None:
    """Writes a look at the test part down, and says that the table of looks is to be updated."""
    today = datetime.now(UTC).date().isoformat()
    if record_look({"name": benchmark.name, "commit": commit(), "date": today, "figures": figures}, LOOKS):
        print(f"a look at the test part of {benchmark.name} was noted; update its table: python -m benchmarks.readme")


def budgets_of(ours: Json) -> Budgets:
    """Wall time of ours that training of others can be given, in seconds.

    Args:
        ours: as `measure_ours` gave it.

    Returns:
        By cell that of one `network`, which is its share of the stage that trains them all on the whole machine; and
        that of the `pipeline`, the search and all networks.
    """
    found = {}
    for cell, forecasts in ours["figures"].items():
        train = ours["seconds"][f"train@{cell}"]
        whole = train + ours["seconds"][f"tune@{cell}"]
        found[cell] = {"network": round(train / (len(forecasts) - 1)), "pipeline": round(whole)}
    return found


def budget_of(job: Job, ours: Json | None, *, quick: bool) -> int | None:
    """Seconds that a measurement may train; None for as long as it takes.

    Raises:
        GatecastError: they are ours, which are not measured yet.
    """
    whose = SETTINGS[job.setting].budget
    if whose is None:
        return None
    if quick:
        return QUICK_SECONDS
    if ours is None:
        raise GatecastError(
            f"{job.name}: training is given the wall time of ours, which is not measured yet; "
            f"run with --only '{job.field}/{OURS}/*' first"
        )
    return budgets_of(ours)[model_of(job).cell][whose]


def measure_peer(job: Job, field: Field, bench: Bench, *, ours: Json | None) -> Json:
    """One measurement of a peer; what is kept of it, where it was made as it would be now.

    Args:
        job: which.
        field: its data set.
        bench: where and how.
        ours: our measurement on the set, whose wall time others may be given.

    Returns:
        `figures`, seconds of fitting and of predicting, how many such runs went on `together`, and what else its
        script tells.

    Raises:
        GatecastError: its script has failed, or its forecasts are not what they have to be.
    """
    panel = bench.panel(field)
    told = specification_of(job, field, bench, ours=ours)
    key = key_of(told, job.peer)
    if (found := bench.kept(job)) is not None and found["key"] == key:
        return found
    folder, data = bench.folder / "running" / _file_name(job), bench.folder / f"{job.field}-{panel.windows}.npz"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with _PREPARING:
        python = make_environment(job.peer, bench.environments)
        save_data(panel, data)
    if told["search"] is not None:
        told = {**told, "search": {**told["search"], "storage": str(bench.search(job, told))}}
    environment = variables(bench.threads, searches=told["search"] is not None)
    run_script(python, job.peer, save_specification(told, folder, data), environment)
    answer = read_answer(folder, panel, drawn=told["samples"] is not None)
    shutil.rmtree(folder)
    at_once = {"threads": bench.threads, "together": bench.together}
    result: Json = {**asdict(job), "key": key, **rounded(answer), **at_once, **made()}
    if not bench.quick:
        write_json(result, bench.path(job))
    return result


def specification_of(job: Job, field: Field, bench: Bench, *, ours: Json | None) -> Json:
    """All that a peer's script is told of a measurement but where its files are."""
    seconds = budget_of(job, ours, quick=bench.quick)
    instructions = model_of(job).instruct(field, job.setting, seconds)
    if bench.quick and instructions["search"] is not None:
        instructions["search"] |= {"trials": QUICK_TRIALS, "input_sizes": [field.horizon]}
    return specify(instructions, bench.panel(field), seed=job.seed, threads=bench.threads, quick=bench.quick)


def finished(job: Job, field: Field, bench: Bench) -> Json | None:
    """A measurement that was made as it would be now; None where there is none."""
    found = bench.kept(job)
    if found is None:
        return None
    if job.peer == OURS:
        return found if found.get("key") == key_of_ours(job.field) else None
    ours = finished(ours_on(job.field), field, bench)
    if SETTINGS[job.setting].budget is not None and ours is None:
        return None
    key = key_of(specification_of(job, field, bench, ours=ours), job.peer)
    return found if found["key"] == key else None


def key_of(specification: Json, peer: str) -> str:
    """What a measurement of a peer depends on; on the number of its threads where a clock ends training."""
    files = (requirements_of(peer), script_of(peer))
    told = {name: value for name, value in specification.items() if name != "threads" or specification["max_seconds"]}
    return _digest([told, *(file.read_text(encoding="utf-8") for file in files)])


def script_of(peer: str) -> Path:
    """The script that runs in the environment of a peer."""
    return HERE / f"{peer}_run.py"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]


def run_script(python: Path, peer: str, specification: Path, environment: Mapping[str, str]) -> None:
    """Runs a peer's script with variables of its own; what it prints goes into a file.

    Raises:
        GatecastError: it has failed.
    """
    folder = specification.parent
    log = folder / "log.txt"
    command = [str(python), str(script_of(peer)), str(specification)]
    with (
        log.open("wb") as file,
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl+C is for us, who kill it: a search would take it for a trial that has failed
        ) as process,
    ):
        _RUNNING.add(process)
        try:
            code = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            _RUNNING.discard(process)
    if code:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise GatecastError(f"{log}: exit code {code}. Its last line: {' '.join(last)[:300]}")


def stop_scripts() -> None:
    """Stops the peers that are running, which those who wait for them are told as a failure."""
    for process in list(_RUNNING):
        process.kill()


def windows_of(benchmark: Benchmark, works: Path) -> Path:
    """The folder of a benchmark with its rows and windows, which are made where they are not there."""
    work, key = works / benchmark.name, key_of_ours(benchmark.name, WINDOWS)
    made_by = work / "windows.json"
    if not (is_current(benchmark, works) and made_by.exists() and read_json(made_by) == key):
        run_stages([(stage,) for stage in WINDOWS], prepare(benchmark, works))
        write_json(key, made_by)
    return work


@lru_cache
def _panel(works: Path, name: str, calendar: tuple[str, ...]) -> Panel:
    return load_panel(windows_of(load_benchmark(name), works), calendar)


def _file_name(job: Job) -> str:
    return job.name.replace("/", "--")
