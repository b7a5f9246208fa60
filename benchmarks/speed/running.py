"""Processes that are asked in turn how long a step takes, round after round."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.accuracy import ROOT
from benchmarks.peers.environments import make_environment, variables
from benchmarks.speed.catalogue import LAYER, Group, Setup, Timing
from pipeline.errors import GatecastError

TORCH_IN = "neuralforecast"  # the environment of a peer that holds PyTorch
TORCH_SCRIPT = Path(__file__).with_name("torch_run.py")
CLOSE = 1e-4  # the same network: its forecast to the spread, its loss to the loss

Json = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How groups are timed.

    Attributes:
        rounds: in each every figure is measured once.
        seconds: that steps are taken for, for a figure, at least.
        work: folder for what goes between processes.
        environments: folder of the peers' environments.
    """

    rounds: int
    seconds: float
    work: Path
    environments: Path


class Process:
    """A process that has built what its setup says.

    Args:
        name: what it is called in an error.
        running: the process.
        log: file of what it says on its standard error.
    """

    def __init__(self, name: str, running: subprocess.Popen[str], log: Path) -> None:
        self._name, self._running, self._log = name, running, log

    def ask(self, measure: str, seconds: float) -> None:
        """Asks for the seconds of a step."""
        assert self._running.stdin is not None
        try:
            print(json.dumps({"measure": measure, "seconds": seconds}), file=self._running.stdin, flush=True)
        except BrokenPipeError:
            self.answer()  # which says why

    def answer(self) -> Any:
        """What the process tells next.

        Raises:
            GatecastError: it has ended.
        """
        assert self._running.stdout is not None
        line = self._running.stdout.readline()
        if not line:
            told = " ".join(self._log.read_text(encoding="utf-8", errors="replace").split())[-500:]
            raise GatecastError(f"{self._name} has ended: {told or 'it said nothing'}; {self._log} has all of it")
        return json.loads(line)


@contextmanager
def started(name: str, command: list[str], environment: Mapping[str, str] | None, log: Path) -> Iterator[Process]:
    """A process, which is ended with the block."""
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as running,
    ):
        try:
            yield Process(name, running, log)
        finally:
            running.kill()


def time_group(group: Group, plan: Plan) -> Json:
    """Times a group: every figure once in each round, in another order each time.

    Returns:
        `facts` by process, and `seconds` of a step by figure, a list of one value for each round; `whole / bare` is a
        ratio of them.

    Raises:
        GatecastError: a process ends early, or PyTorch's network is not ours.
    """
    plan.work.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, list[float]] = {name: [] for name in group.timings}
    with ExitStack() as stack:
        processes, facts = {}, {}
        for name, setup in group.setups.items():
            processes[name] = stack.enter_context(_start(f"{group.name} ({name})", setup, plan))
            if setup.exchange:  # the next one reads what this one writes
                facts[name] = processes[name].answer()
        facts |= {name: process.answer() for name, process in processes.items() if name not in facts}
        _check(group.name, facts)
        names = list(group.timings)
        for number in range(plan.rounds):
            first = number % len(names)
            for name in [*names[first:], *names[:first]]:
                seconds[name].append(_time(group.timings[name], processes, plan.seconds))
    return {"facts": facts, "seconds": seconds}


def _time(timing: Timing, processes: Mapping[str, Process], seconds: float) -> float:
    """Seconds of a step; of processes side by side the mean time between the ends of any two steps."""
    asked = [processes[name] for name in timing.processes]
    for process in asked:
        process.ask(timing.measure, timing.share * seconds)
    return 1 / sum(1 / float(process.answer()) for process in asked)


def _start(name: str, setup: Setup, plan: Plan) -> Any:
    log = plan.work / f"{name.replace('/', '-')}.log"
    if setup.torch:
        python = make_environment(TORCH_IN, plan.environments)
        told = {**asdict(setup), "layer": asdict(LAYER)}
        command = [str(python), str(TORCH_SCRIPT), json.dumps(told), str(plan.work)]
        return started(name, command, variables(setup.threads), log)
    command = [sys.executable, "-m", "benchmarks.speed.process", json.dumps(asdict(setup)), str(plan.work)]
    return started(name, command, None, log)


def _check(group: str, facts: Mapping[str, Json]) -> None:
    for quantity, difference in facts.get("torch", {}).get("differences", {}).items():
        if not difference <= CLOSE:
            raise GatecastError(
                f"{group}: with the same weights the {quantity} of PyTorch's network is not ours; it differs by "
                f"{difference:.3g}, more than {CLOSE:g}. torch_run.py has to follow network.py"
            )
