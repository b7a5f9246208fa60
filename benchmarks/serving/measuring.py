"""The rounds: every contender is started, asked by few and by many clients, weighed and stopped; then all again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.contenders import CONTENDERS, PEERS, Contender, Place
from benchmarks.serving.environments import OURS, make_environment, variables
from benchmarks.serving.load import Load, http_request, run_load
from benchmarks.serving.processes import Server, free_port, resident_mb, serving
from benchmarks.serving.windows import Window, read_windows
from pipeline.errors import GatecastError
from pipeline.forecaster import Forecaster

CLOSE = 0.05  # of the window's standard deviation: how far calibration may move the median

Json = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        models: folder of the trained models.
        cell: whose model is asked.
        data: CSV that the windows come from.
        work: folder of environments and logs.
        clients: numbers of clients.
        seconds: of a load.
        rounds: of all contenders.
    """

    models: Path
    cell: str
    data: Path
    work: Path
    clients: Sequence[int]
    seconds: float
    rounds: int

    @property
    def bundle(self) -> Path:
        """The folder of the model."""
        return self.models / self.cell

    def windows(self) -> list[Window]:
        """What servers are asked."""
        return read_windows(self.data, Forecaster.load(self.bundle).spec.context_length)


class Laboratory:
    """Starts contenders, each in its environment.

    Args:
        plan: of the measurement.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan, self.windows = plan, plan.windows()
        self._environments: dict[str, Path] = {}
        (plan.work / "logs").mkdir(parents=True, exist_ok=True)

    def environment(self, name: str) -> Path:
        """The environment of some requirements, made when it is first asked for."""
        if name not in self._environments:
            self._environments[name] = make_environment(name, self._plan.work / "environments")
        return self._environments[name]

    def prepare(self, name: str) -> None:
        """Does what has to be done once before a contender serves.

        Raises:
            GatecastError: it fails.
        """
        contender, place = CONTENDERS[name], self._place(name)
        if contender.prepare is None:
            return
        command, environment, log = contender.prepare(place), self._variables(contender, place), self._log(name)
        with log.open("wb") as output:
            done = subprocess.run(command, env=environment, stdout=output, stderr=output, check=False)
        if done.returncode:
            raise GatecastError(f"{name}: its preparation has failed; {log} says why")

    def serve(self, name: str) -> AbstractContextManager[Server]:
        """Starts a contender; its first request is that of the first window."""
        contender, place = CONTENDERS[name], self._place(name)
        request = contender.requests(self.windows[:1], place.cell)[0]
        environment = self._variables(contender, place)
        return serving(
            contender.start(place), port=place.port, request=request, variables=environment, log=self._log(name)
        )

    def load(self, name: str, server: Server, clients: int) -> Json:
        """Puts a load on a contender."""
        requests = [http_request(*request) for request in CONTENDERS[name].requests(self.windows, self._plan.cell)]
        return run_load(Load(server.port, requests, clients, self._plan.seconds)).to_json()

    def engine_ms(self) -> float:
        """The median of a bare call of the engine."""
        python = self.environment(OURS) / "bin/python"
        graph = str(self._plan.bundle / "forecaster.onnx")
        command = [str(python), str(PEERS / "engine.py"), graph, str(self._plan.seconds)]
        histories = json.dumps([window.values for window in self.windows])
        done = subprocess.run(
            command, input=histories, env=variables(python.parents[1]), stdout=subprocess.PIPE, text=True, check=True
        )
        return float(done.stdout)

    def check(self, name: str) -> None:
        """Starts a contender once, and compares what it answers with the forecaster's own forecast.

        Raises:
            GatecastError: they differ.
        """
        contender, window = CONTENDERS[name], self.windows[0]
        with self.serve(name) as server:
            if contender.median is None:
                return
            found = np.array(contender.median(json.loads(server.answer)))
        forecaster = Forecaster.load(self._plan.bundle)
        history = np.array([window.values])
        expected = forecaster.predict_arrays(history, np.ones(history.shape))["forecast"][0]
        error = float(np.max(np.abs(found - expected[:, expected.shape[1] // 2]))) / float(np.std(window.values))
        if not error <= CLOSE:
            raise GatecastError(f"{name}: its median is {error:.3g} standard deviations from the forecaster's own")

    def _log(self, name: str) -> Path:
        return self._plan.work / "logs" / f"{name}.log"

    def _place(self, name: str) -> Place:
        plan = self._plan
        environment = self.environment(CONTENDERS[name].environment)
        return Place(environment, plan.models, plan.cell, plan.work, free_port())

    def _variables(self, contender: Contender, place: Place) -> Mapping[str, str]:
        return {**variables(place.environment), **contender.variables(place)}


def measure(plan: Plan, names: Sequence[str]) -> Json:
    """Measures contenders in rounds, in another order each time.

    Args:
        plan: of the measurement.
        names: of the contenders.

    Returns:
        `engine_ms` of each round, and for each of `contenders` what `measure_once` gave, a list of each.
    """
    laboratory = Laboratory(plan)
    for name in names:
        laboratory.prepare(name)
        laboratory.check(name)
        print(f"{name}: answers as it should", flush=True)
    engine: list[float] = []
    rounds: dict[str, list[Json]] = {name: [] for name in names}
    for number in range(plan.rounds):
        engine.append(laboratory.engine_ms())
        print(f"round {number + 1} of {plan.rounds}: a bare call of the engine takes {engine[-1]:.3f} ms", flush=True)
        first = number % len(names)
        for name in [*names[first:], *names[:first]]:
            rounds[name].append(measure_once(laboratory, name, plan.clients))
    return {"engine_ms": engine, "contenders": {name: _joined(found) for name, found in rounds.items()}}


def measure_once(laboratory: Laboratory, name: str, clients: Sequence[int]) -> Json:
    """Starts a contender and puts every load on it.

    Returns:
        `started_s`, `resident_mb` (the most after any load), and `loads` by the number of clients.
    """
    loads: Json = {}
    resident = 0.0
    with laboratory.serve(name) as server:
        for count in clients:
            found = loads[str(count)] = laboratory.load(name, server, count)
            resident = max(resident, resident_mb(server.pid))
            shown = " / ".join("-" if found[key] is None else f"{found[key]:.2f} ms" for key in ("p50_ms", "p99_ms"))
            speed = found["answered"] / found["seconds"]
            told = f"  {name}, {count} clients: {speed:,.0f}/s, p50 / p99 {shown}, {found['failed'] or 'none failed'}"
            print(told, flush=True)
    print(f"  {name}: {resident:.0f} MB, first forecast after {server.started_s:.2f} s", flush=True)
    return {"started_s": server.started_s, "resident_mb": resident, "loads": loads}


def _joined(rounds: Sequence[Json]) -> Json:
    """The rounds of one contender, value by value."""
    counts = rounds[0]["loads"]
    return {
        "started_s": [found["started_s"] for found in rounds],
        "resident_mb": [found["resident_mb"] for found in rounds],
        "loads": {count: [found["loads"][count] for found in rounds] for count in counts},
    }
