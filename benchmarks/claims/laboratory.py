"""Where runs are made: two processes side by side, finished work kept on the disk, and when it will end."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from benchmarks.benchmark import load_benchmark, names
from benchmarks.claims import training
from benchmarks.claims.runs import Cost, CostRun, Outcome, Run
from benchmarks.claims.tasks import ETTM1
from benchmarks.sources import find_source
from pipeline.errors import GatecastError
from pipeline.executor import workers
from pipeline.storage import read_json, sha256_of, write_json

PROCESSES = 2
CODE = ("networks", "runs", "tasks", "training")  # what the figures of a run come from
PACKAGES = ("tensorflow", "keras", "numpy")

Ledgers = dict[str, dict[str, list[dict[str, Any]]]]  # by data set and cell the rows of its search


class Laboratory(Protocol):
    """What a claim is measured with."""

    def train(self, runs: Sequence[Run]) -> list[Outcome]:
        """The outcomes of runs, in their order."""

    def cost(self, runs: Sequence[CostRun]) -> list[Cost]:
        """The costs of runs, in their order, each measured alone."""

    def ledgers(self) -> Ledgers:
        """The searches that benchmarks have left."""


class Rehearsal:
    """A laboratory that trains nothing and remembers what it was asked for."""

    def __init__(self) -> None:
        self.runs: dict[Run, Outcome] = {}
        self.costs: dict[CostRun, Cost] = {}

    def train(self, runs: Sequence[Run]) -> list[Outcome]:
        """Made-up outcomes, a little better with a higher seed."""
        for run in runs:
            looks = [1.0 / (1 + i + 0.1 * run.seed) for i in range(20)]
            self.runs[run] = Outcome(
                error=looks[-1], best=looks[-1], best_update=run.updates, updates=run.updates, train=looks, val=looks,
                naive=1.0, solved=False, parameters=1, seconds=run.expected_seconds(),
            )  # fmt: skip
        return [self.runs[run] for run in runs]

    def cost(self, runs: Sequence[CostRun]) -> list[Cost]:
        """Made-up costs."""
        for run in runs:
            self.costs[run] = Cost(1.0 + 0.01 * run.seed, 2.0, 1.0 + 0.01 * run.seed, run.expected_seconds())
        return [self.costs[run] for run in runs]

    def ledgers(self) -> Ledgers:
        """None."""
        return {}

    def expected_seconds(self) -> float:
        """About how long all of it takes."""
        trained = sum(run.expected_seconds() for run in self.runs) / PROCESSES
        return trained + sum(run.expected_seconds() for run in self.costs)


class Tally:
    """A laboratory that hands on what it is asked for, and remembers what every run took.

    Args:
        lab: where runs are made.

    Attributes:
        spent: seconds of one core by run; a name that begins with `cost` is of one that was measured alone.
    """

    def __init__(self, lab: Laboratory) -> None:
        self._lab = lab
        self.spent: dict[str, float] = {}

    def train(self, runs: Sequence[Run]) -> list[Outcome]:
        """The outcomes of runs, in their order."""
        outcomes = self._lab.train(runs)
        self._note("run", runs, outcomes)
        return outcomes

    def cost(self, runs: Sequence[CostRun]) -> list[Cost]:
        """The costs of runs, in their order."""
        costs = self._lab.cost(runs)
        self._note("cost", runs, costs)
        return costs

    def ledgers(self) -> Ledgers:
        """The searches that benchmarks have left."""
        return self._lab.ledgers()

    def _note(self, kind: str, runs: Sequence[Any], outcomes: Sequence[Any]) -> None:
        for run, outcome in zip(runs, outcomes, strict=True):
            key = hashlib.sha256(json.dumps(asdict(run), sort_keys=True).encode()).hexdigest()[:12]
            self.spent[f"{kind}-{key}"] = round(outcome.seconds, 2)


def time_of(spent: Mapping[str, float]) -> tuple[float, float]:
    """Seconds of one core, and seconds in which two do the same: costs are measured one by one."""
    alone = sum(seconds for run, seconds in spent.items() if run.startswith("cost"))
    total = sum(spent.values())
    return total, alone + (total - alone) / PROCESSES


class Workshop:
    """A laboratory of processes with one thread each; what is finished is not done again.

    Args:
        folder: for finished work.
        works: the folder of benchmarks, whose searches are looked at.
        rehearsal: all that will be asked for, as far as it can be known.
    """

    def __init__(self, folder: Path, works: Path, rehearsal: Rehearsal) -> None:
        code = {name: sha256_of(Path(__file__).with_name(f"{name}.py")) for name in CODE}
        versions = {name: version(name) for name in PACKAGES}
        self._made_with = json.dumps([code, versions], sort_keys=True)
        self._folder, self._works = folder, works
        self._expected = self._elapsed = 0.0
        self._left = sum(
            run.expected_seconds() / processes
            for runs, processes in ((rehearsal.runs, PROCESSES), (rehearsal.costs, 1))
            for run in runs
            if not self._path(run).exists()
        )

    def train(self, runs: Sequence[Run]) -> list[Outcome]:
        """Trains the networks that are not finished yet, the longest first, two at a time."""

        def todo(missing: Sequence[Run]) -> None:
            ettm1 = find_source(ETTM1) if any(run.task.name == "ettm1" for run in missing) else None
            with workers(PROCESSES, initializer=training.prepare, arguments=(ettm1,)) as pool:
                self._collect(missing, pool.map(training.train_one, [(run,) for run in missing]), PROCESSES)

        return [Outcome(**value) for value in self._finish(runs, todo)]

    def cost(self, runs: Sequence[CostRun]) -> list[Cost]:
        """Measures costs one by one, each in a process that has done nothing before."""

        def todo(missing: Sequence[CostRun]) -> None:
            for run in missing:
                with workers(1, initializer=training.prepare, arguments=(None,)) as pool:
                    self._collect([run], pool.map(training.cost_one, [(run,)]), 1)

        return [Cost(**value) for value in self._finish(runs, todo)]

    def ledgers(self) -> Ledgers:
        """The searches in the folders of benchmarks, without those that a run has not finished."""
        return read_ledgers(self._works)

    def device(self) -> str:
        """What networks are trained on here: `GPU` or `CPU`."""
        with workers(1, initializer=training.prepare, arguments=(None,)) as pool:
            ((_, found),) = pool.map(training.device, [()])
        if isinstance(found, Exception):
            raise GatecastError(f"TensorFlow cannot be loaded. Received: {found}; install what constraints.txt names")
        return str(found)

    def _finish(self, runs: Sequence[Any], todo: Callable[[Sequence[Any]], None]) -> list[dict[str, Any]]:
        """The outcomes of runs, after those that are not on the disk yet were made."""
        missing = [run for run in dict.fromkeys(runs) if not self._path(run).exists()]
        missing.sort(key=lambda run: -run.expected_seconds())
        if missing:
            todo(missing)
        return [read_json(self._path(run)) for run in runs]

    def _collect(self, runs: Sequence[Any], ended: Any, processes: int) -> None:
        """Writes down what ends, and says how far it is."""
        start = time.monotonic()
        before = self._elapsed
        for done, (place, outcome) in enumerate(ended, 1):
            run = runs[place]
            if isinstance(outcome, Exception):
                raise GatecastError(f"claims: {run} has failed: {type(outcome).__name__}: {outcome}") from outcome
            write_json(outcome.to_json(), self._path(run))
            self._elapsed = before + time.monotonic() - start
            self._expected += run.expected_seconds() / processes
            print(f"  {done} of {len(runs)}  {describe(run)}  {outcome.seconds:.0f} s  ETA {self._eta()}", flush=True)

    def _eta(self) -> timedelta:
        """When all will be finished, from how long that took which is."""
        left = max(self._left - self._expected, 0.0)
        return timedelta(seconds=round(left * self._elapsed / self._expected))

    def _path(self, run: Any) -> Path:
        key = json.dumps([type(run).__name__, asdict(run), self._made_with], sort_keys=True)
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.json"


def read_ledgers(works: Path) -> Ledgers:
    """The rows of all searches below a folder, by data set and cell.

    Args:
        works: with a folder for each data set, as `benchmarks.accuracy` leaves them.
    """
    found: Ledgers = {}
    for path in sorted(works.glob("*/models/tuned/*.json")):
        found.setdefault(path.parents[2].name, {})[path.stem] = read_json(path)["trials"]
    return found


def of_distinct_data(found: Ledgers) -> Ledgers:
    """The searches, of those on one and the same file the first.

    Args:
        found: by data set; one that is no benchmark is taken to have data of its own.
    """
    kept: dict[str, str] = {}
    for name in found:
        kept.setdefault(load_benchmark(name).source.sha256 if name in names() else name, name)
    return {name: found[name] for name in kept.values()}


def describe(run: Run | CostRun) -> str:
    """A run in a few words."""
    if isinstance(run, CostRun):
        return f"cost of {run.cell} {run.units}, repetition {run.seed}"
    task = run.task
    facts = [f"{task.length} steps" if task.length else f"{task.examples} examples"]
    facts += [f"noise {task.noise:g}"] if task.noise else []
    return f"{task.name} ({', '.join(facts)}) {run.cell} {run.units}, rate {run.rate:g}, seed {run.seed}"
