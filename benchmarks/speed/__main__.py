"""Times training steps, their parts, and the same network in Keras' own loop and in PyTorch; writes TRAINING.md.

    python -m benchmarks.speed                            all of it, in about twenty-five minutes
    python -m benchmarks.speed --only 'step/*/gru/2'      some of it; --list tells what there is
    python -m benchmarks.speed --quick                    a moment of each, to see that it runs
    python -m benchmarks.speed --page                     the page alone, from results/training.json
    python -m benchmarks.speed.pipeline OLD               the default run of a commit before, and of today's

Needs uv, and a package index for the environment that holds PyTorch, which is that of `python -m benchmarks.peers`.
Leave the machine to it. The page of some of it, or of a quick run, is written to --work;
figures of a quick run mean nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.accuracy import made
from benchmarks.speed.catalogue import Group, groups
from benchmarks.speed.results import FOUND, PAGE, beside_other_kinds, write_page
from benchmarks.speed.running import Json, Plan, time_group
from pipeline.errors import GatecastError
from pipeline.metrics import rounded
from pipeline.storage import write_json

QUICK_SECONDS = 0.02


def main() -> None:
    """Times, and writes the results and the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="PATTERN", default=["*"], help="of the names that --list tells")
    parser.add_argument("--list", action="store_true", help="what would be timed")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of steps, for each figure in each round")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/.work/speed"))
    parser.add_argument("--environments", type=Path, default=Path("benchmarks/.work/peers/environments"))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that processes are stopped too
    whole = not args.quick and args.only == ["*"]
    results = FOUND if whole or args.page else args.work / "training.json"
    rounds, seconds = (1, QUICK_SECONDS) if args.quick else (args.rounds, args.seconds)
    plan = Plan(rounds, seconds, args.work.resolve(), args.environments.resolve())
    try:
        chosen = choose(args.only)
        if args.list:
            print("\n".join(group.name for group in chosen))
            return
        if not args.page:
            start = time.monotonic()
            found = measure(chosen, plan)  # before the folder of the results is needed
            found = rounded({**found, "took_s": round(time.monotonic() - start)})
            write_json(beside_other_kinds(found, results), results)
        write_page(results, PAGE if results == FOUND else args.work / PAGE.name)
    except GatecastError as error:
        sys.exit(f"error: {error}")


def choose(patterns: Sequence[str]) -> list[Group]:
    """The groups whose name fits one of the patterns.

    Raises:
        GatecastError: a pattern fits none.
    """
    known = list(groups())
    for pattern in patterns:
        if not any(fnmatch(group.name, pattern) for group in known):
            raise GatecastError(f"--only names no group. Received: {pattern!r}; --list tells what there is")
    return [group for group in known if any(fnmatch(group.name, pattern) for pattern in patterns)]


def measure(chosen: Sequence[Group], plan: Plan) -> Json:
    """Times groups one after the other; says how long each has taken."""
    found: Json = {}
    for number, group in enumerate(chosen, 1):
        start = time.monotonic()
        found[group.name] = time_group(group, plan)
        took = timedelta(seconds=round(time.monotonic() - start))
        print(f"{number}/{len(chosen)} {group.name} {took}", flush=True)
    return {"rounds": plan.rounds, "seconds": plan.seconds, "groups": found, **made()}


if __name__ == "__main__":
    main()
