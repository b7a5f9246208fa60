"""Times the default run of two commits, stage by stage, each from nothing; writes its part of TRAINING.md.

    python -m benchmarks.speed.pipeline OLD                   a commit before, and what is committed now
    python -m benchmarks.speed.pipeline OLD NEW --rounds 3    any two, several times in turn

Each is cloned into a folder of its own with an empty cache, and `dvc repro` is run there in the environment of this
command; the folders are removed. One run takes some minutes. Leave the machine to it.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.accuracy import ROOT, made
from benchmarks.benchmark import Json
from benchmarks.environments import variables
from benchmarks.speed.page import WHOLE, render_run
from benchmarks.speed.results import FOUND, PAGE, RUN, beside_other_kinds, write_page
from pipeline.errors import GatecastError
from pipeline.metrics import rounded
from pipeline.storage import write_json

REPRO = (sys.executable, "-m", "dvc", "repro")
_RUNNING = re.compile(r"Running stage '([^']+)'")
_NOT_RUN = re.compile(r"Stage '([^']+)' (didn't change|is cached)")
_LAST = 20  # lines that are shown of a run that has failed

Seconds = dict[str, float]


def main() -> None:
    """Times both commits, and writes the results and the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", help="the commit before")
    parser.add_argument("new", nargs="?", default="HEAD", help="the commit now; by default the current one")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that processes are stopped and folders removed
    try:
        commits = {"before": resolve(args.old), "now": resolve(args.new)}
        start = time.monotonic()
        found = {**measure(commits, args.rounds), **made()}
        file = FOUND.with_name(RUN)
        run = beside_other_kinds(rounded({**found, "took_s": round(time.monotonic() - start)}), file)
        write_json(run, file)
        print(render_run(run))
        if FOUND.exists():
            write_page(FOUND, PAGE)
    except GatecastError as error:
        sys.exit(f"error: {error}")


def measure(commits: Json, rounds: int) -> Json:
    """Times commits in turn, the other one first in every second round.

    Args:
        commits: by what they are called.
        rounds: how often each is timed.

    Returns:
        `rounds`, and of each commit its hash and the `seconds` of each stage, one value for each round.
    """
    found: Json = {name: {"commit": commit, "seconds": []} for name, commit in commits.items()}
    for number in range(rounds):
        for name in list(found)[:: 1 if number % 2 == 0 else -1]:
            seconds = time_commit(found[name]["commit"])
            found[name]["seconds"].append(seconds)
            took = timedelta(seconds=round(seconds[WHOLE]))
            print(f"round {number + 1} of {rounds}, {name} ({found[name]['commit']}): {took}", flush=True)
    return {"rounds": rounds, **found}


def time_commit(commit: str) -> Seconds:
    """The wall time of each stage of a commit's default run, which finds nothing that was made before."""
    with TemporaryDirectory(prefix="gatecast-") as folder:
        clone = Path(folder) / "clone"
        _git("clone", "-q", "--no-checkout", str(ROOT), str(clone))
        _git("-C", str(clone), "checkout", "-q", "--detach", commit)
        return time_stages(REPRO, clone, alone(Path(folder)))


def alone(folder: Path) -> dict[str, str]:
    """Variables of a process that finds this environment, but no settings, caches or sources from elsewhere."""
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",  # a line is timed when it comes
        "DVC_NO_ANALYTICS": "1",
    }
    for name in ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "DVC_SITE_CACHE_DIR"):
        (folder / name).mkdir(exist_ok=True)
        own[name] = str(folder / name)
    return variables() | own


def time_stages(command: Iterable[str], folder: Path, environment: dict[str, str]) -> Seconds:
    """The wall time of each stage, by what the command prints, and of the `WHOLE`.

    Raises:
        GatecastError: it has failed, or has not run every stage.
    """
    last: deque[str] = deque(maxlen=_LAST)
    start = time.perf_counter()
    with subprocess.Popen(
        list(command),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        try:
            seconds = read_stages(_kept(running.stdout, last), time.perf_counter)
        except BaseException:
            os.killpg(running.pid, signal.SIGTERM)  # and its stage
            raise
    if running.returncode or not seconds:
        raise GatecastError(f"dvc repro has ended with exit code {running.returncode}: {' '.join(last)[-800:]}")
    return {**seconds, WHOLE: time.perf_counter() - start}


def read_stages(lines: Iterable[str], clock: Callable[[], float]) -> Seconds:
    """The wall time between the lines by which DVC says that it runs a stage; the last one ends with the lines.

    Raises:
        GatecastError: a stage is not run.
    """
    begun: list[tuple[str, float]] = []
    for line in lines:
        # Without a final training each cell has the same note, which DVC then takes from the cell before.
        if (skipped := _NOT_RUN.search(line)) and not (begun and skipped[1].startswith("final@")):
            raise GatecastError(f"stage {skipped[1]} was not run: the clone is not clean. Received: {line.strip()}")
        if running := _RUNNING.search(line):
            begun.append((running[1], clock()))
    ends = [*(moment for _, moment in begun[1:]), clock()]
    return {stage: end - moment for (stage, moment), end in zip(begun, ends, strict=True)} if begun else {}


def _kept(lines: Iterable[str], last: deque[str]) -> Iterator[str]:
    """The lines, of which the last ones are kept."""
    for line in lines:
        last.append(line.strip())
        yield line


def resolve(commit: str) -> str:
    """The short hash of a commit.

    Raises:
        GatecastError: there is none.
    """
    return _git("-C", str(ROOT), "rev-parse", "--short", "--verify", f"{commit}^{{commit}}")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        told = " ".join(done.stderr.split())[-300:]
        raise GatecastError(f"git {arguments[0] if arguments[0] != '-C' else arguments[2]} has failed: {told}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
