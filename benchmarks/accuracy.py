"""Runs the pipeline's own stages on public data sets and prints their errors beside published figures.

    python -m benchmarks.accuracy etth1-96                 validation figures
    python -m benchmarks.accuracy etth1-96 --split test    test figures; the look is written to test_looks.jsonl
    python -m benchmarks.accuracy etth1-96 --split test --verdict    the pipeline's verdict on LSTM and GRU, too

The params are the committed params.yaml with the facts of sets/NAME.yaml. The data comes from the folder that
GATECAST_DATA names, or is downloaded. Work goes to --work, where a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.benchmark import HERE, PARAMS, YAML_12, Benchmark, Json, load_benchmark, names, read_yaml
from benchmarks.measuring import measure
from benchmarks.report import render_differences, render_mean, render_result
from benchmarks.sources import find_source
from benchmarks.summaries import COVARIATES, ETTH1, mean_figures, relative_differences
from benchmarks.walltime import SECONDS, forget, run_timed
from pipeline.errors import GatecastError
from pipeline.params import load_params
from pipeline.storage import read_json, write_json

ROOT = Path(__file__).parents[1]
RESULTS = HERE / "results"
LOOKS = HERE / "test_looks.jsonl"
VERDICT = ("metric", "verdict", "cell", "recommended", "pair", "relative_difference", "ci", "assumes", "words")
MADE_BY = ("pipeline", "params.yaml", "benchmarks/sets", "benchmarks/*.py")  # what figures depend on


def main() -> None:
    """Runs benchmarks and prints their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=names(), metavar="NAME", help=", ".join(names()))
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument(
        "--measure-only", action="store_true", help="of the networks that an earlier run left in --work"
    )
    parser.add_argument("--verdict", action="store_true", help="evaluate and compare the cells; it takes the test part")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/.work"))
    args = parser.parse_args()
    if args.verdict and args.split != "test":
        parser.error("--verdict reads the test part; add --split test")
    works = args.work.resolve()
    try:
        for benchmark in map(load_benchmark, args.names):
            if args.measure_only:
                check_finished(benchmark, works)
            else:
                run_benchmark(benchmark, works)
            result = measure_benchmark(benchmark, works, args.split, judged=args.verdict)
            print(render_result(result, benchmark), flush=True)
        for text in summaries(args.names, works, args.split):
            print(text)
    except GatecastError as error:
        sys.exit(f"error: {error}")


def measure_benchmark(benchmark: Benchmark, works: Path, split: str, *, judged: bool = False) -> Json:
    """Measures what a run left, and writes it down: a test figure with the look at the test part, to be committed.

    Args:
        benchmark: whose networks are there.
        works: the folder of benchmarks.
        split: `val` or `test`.
        judged: whether the pipeline's own stages judge the cells on the test part, too.
    """
    work = works / benchmark.name
    params = load_params(work / "params.yaml")
    result = {
        "name": benchmark.name,
        "split": split,
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "refit": params.train.refit,
        "tuned_on": benchmark.tuned_on,
        "seconds": read_json(work / SECONDS),
        **measure(work, split),
    }
    if judged:
        result["verdict"] = judge(work, params.cells)
    if split == "test":
        record_look(result, LOOKS)
        write_json({**result, "machine": machine()}, RESULTS / f"{benchmark.name}.json")
    else:
        write_json(result, work / "val.json")
    return result


def judge(work: Path, cells: Sequence[str]) -> Json:
    """Evaluates and compares the cells by the pipeline's own stages; what the verdict says, in short."""
    run_stages([*(("evaluate", cell) for cell in cells), ("baselines",), ("compare",)], work)
    verdict = read_json(work / "models/comparison/verdict.json")
    return {key: verdict[key] for key in VERDICT}


def run_benchmark(benchmark: Benchmark, works: Path) -> None:
    """Runs ingest, window, tune and train in the benchmark's folder, or takes what was tuned on another."""
    work = prepare(benchmark, works)
    cells = load_params(work / "params.yaml").cells
    run_stages([("ingest",), ("window",)], work)
    if benchmark.tuned_on is None:
        run_stages([("tune", cell) for cell in cells], work)
    else:
        take_tuned(load_benchmark(benchmark.tuned_on), works, work, cells)
    run_stages([("train", cell) for cell in cells], work)


def take_tuned(other: Benchmark, works: Path, work: Path, cells: Sequence[str]) -> None:
    """Copies the hyperparameters tuned on another benchmark, which is tuned first where it is not yet."""
    tuned = [works / other.name / "models/tuned" / f"{cell}.json" for cell in cells]
    if not (is_current(other, works) and all(file.exists() for file in tuned)):
        run_stages([("ingest",), ("window",), *(("tune", cell) for cell in cells)], prepare(other, works))
    (work / "models/tuned").mkdir(parents=True, exist_ok=True)
    for file in tuned:
        shutil.copyfile(file, work / "models/tuned" / file.name)


def prepare(benchmark: Benchmark, works: Path) -> Path:
    """Makes the benchmark's folder, with its params and its data; what other params have made of it is removed.

    Finished trials and networks are kept by the stages themselves, and go on where they still fit.
    """
    file, work = find_source(benchmark.source), works / benchmark.name
    if not is_current(benchmark, works):
        shutil.rmtree(work / "models", ignore_errors=True)
        forget(work)
        work.mkdir(parents=True, exist_ok=True)
        with (work / "params.yaml").open("w", encoding="utf-8") as params:
            YAML_12.dump(benchmark.params(read_yaml(PARAMS)), params)
    source = work / benchmark.source.path
    source.parent.mkdir(parents=True, exist_ok=True)
    source.unlink(missing_ok=True)
    source.symlink_to(file)
    return work


def is_current(benchmark: Benchmark, works: Path) -> bool:
    """Whether the benchmark's folder was made with the params of today."""
    path = works / benchmark.name / "params.yaml"
    return path.exists() and read_yaml(path) == benchmark.params(read_yaml(PARAMS))


def check_finished(benchmark: Benchmark, works: Path) -> None:
    """Refuses to measure what another benchmark, or none, has left.

    Raises:
        GatecastError: there are no networks, or they were trained with other params.
    """
    work = works / benchmark.name
    if not (work / "models/trained").exists():
        raise GatecastError(f"{work} has no trained networks; run without --measure-only")
    if not is_current(benchmark, works):
        raise GatecastError(f"{work}: these networks come from other params than today's; run without --measure-only")


def run_stages(stages: Iterable[tuple[str, ...]], work: Path) -> None:
    """Runs stages, and writes the wall time of each down.

    Raises:
        GatecastError: a stage has failed.
    """
    for stage in stages:
        command = [sys.executable, "-m", f"pipeline.stages.{stage[0]}", *stage[1:]]
        name = "@".join(stage)
        if code := run_timed(name, command, work, {**os.environ, "PYTHONPATH": str(ROOT)}):
            raise GatecastError(f"{work}: stage {name} has failed with exit code {code}; it says above why")


def summaries(chosen: Sequence[str], works: Path, split: str) -> list[str]:
    """What the benchmarks that were run say together with others, where all that it takes is there.

    The mean over the horizons of ETTh1 is written beside its parts.
    """
    texts = []
    if set(chosen) & set(ETTH1.parts) and (parts := finished(ETTH1.parts, works, split)):
        figures = mean_figures({name: part["figures"] for name, part in parts.items()}, ETTH1.metrics)
        commits = {name: part["commit"] for name, part in parts.items()}
        summary = {"name": ETTH1.name, "split": split, "commits": commits, "figures": figures}
        write_json(summary, RESULTS / "etth1.json" if split == "test" else works / "etth1-val.json")
        texts.append(render_mean(ETTH1, figures, split))
    if set(chosen) & set(COVARIATES) and (parts := finished(COVARIATES, works, split)):
        plain, covariates = (parts[name]["figures"] for name in COVARIATES)
        metrics = load_benchmark(COVARIATES[0]).metrics
        differences = {str(metric): relative_differences(plain, covariates, metric) for metric in metrics}
        texts.append(render_differences(differences, split))
    return texts


def finished(parts: Sequence[str], works: Path, split: str) -> Mapping[str, Json]:
    """The results of benchmarks by name; none where one is not there."""
    paths = {name: RESULTS / f"{name}.json" if split == "test" else works / name / "val.json" for name in parts}
    return {name: read_json(path) for name, path in paths.items()} if all(p.exists() for p in paths.values()) else {}


def record_look(result: Json, path: Path) -> bool:
    """Appends a look at a test part, and says so; one that shows figures which are known tells nothing, and is none."""
    look = {key: result[key] for key in ("name", "commit", "date", "figures")}
    known = _read_looks(path) if path.exists() else []
    if any((one["name"], one["figures"]) == (look["name"], look["figures"]) for one in known):
        return False
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(look) + "\n")
    return True


def count_looks(path: Path) -> Counter[str]:
    """How often the test part of each benchmark was looked at."""
    return Counter(look["name"] for look in _read_looks(path))


def _read_looks(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def made() -> Json:
    """When and on what figures were made, and of which commit they are."""
    return {"machine": machine(), "commit": commit(), "date": datetime.now(UTC).date().isoformat()}


def commit() -> str:
    """The commit that the figures belong to; `-dirty` where what they depend on was changed since."""
    hash_ = subprocess.run(
        ["git", "describe", "--always"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *MADE_BY], cwd=ROOT, check=False).returncode
    return f"{hash_}-dirty" if changed else hash_


def machine() -> Json:
    """What the figures were made on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "python": platform.python_version(),
        "tensorflow": version("tensorflow"),
    }


def cpu() -> str:
    """The model of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
