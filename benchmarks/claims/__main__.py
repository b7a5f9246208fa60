"""Puts claims on LSTM and GRU to the test, and writes CLAIMS.md.

    python -m benchmarks.claims                    all of them; a run that was stopped goes on
    python -m benchmarks.claims lengths noise      some of them
    python -m benchmarks.claims --seeds 3          fewer networks, wider intervals; with more seeds later it goes on
    python -m benchmarks.claims --quick            tiny networks, to see that it runs; nothing is written down
    python -m benchmarks.claims --page             the page alone, from results/claims.json

ETTm1 comes from the folder that GATECAST_DATA names, or is downloaded. Two processes of one thread each work side by
side, but for costs, which are measured alone: leave the machine to them. Finished runs are kept in --work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from benchmarks.accuracy import RESULTS, made
from benchmarks.benchmark import HERE, Json
from benchmarks.claims.catalogue import CLAIMS
from benchmarks.claims.judging import Result
from benchmarks.claims.laboratory import Rehearsal, Workshop
from benchmarks.claims.measures import QUICK, TOY_FULL_STEPS, Plan
from benchmarks.claims.page import render_page, render_result
from benchmarks.pages import read_results, save_page
from pipeline.errors import GatecastError
from pipeline.metrics import rounded
from pipeline.storage import read_json, write_json

FOUND = RESULTS / "claims.json"
PAGE = HERE / "CLAIMS.md"
LEAST_SEEDS = 3
FULL = {"CPU": Plan(), "GPU": Plan(toy_steps=TOY_FULL_STEPS)}


def main() -> None:
    """Measures claims, and writes the results and the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claims", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CLAIMS))
    parser.add_argument("--quick", action="store_true", help="tiny networks; figures are printed, and mean nothing")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    parser.add_argument("--seeds", type=int, default=len(Plan.seeds), help="of each figure, at least 3; by default 5")
    parser.add_argument("--toy-steps", type=int, help="of a sequence; by default 20000 on a GPU and 1000 on a CPU")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/.work"))
    args = parser.parse_args()
    try:
        if not args.page:
            names = known_names(args.names)
            measure_claims(names, args.work.resolve(), args.seeds, quick=args.quick, toy_steps=args.toy_steps)
    except GatecastError as error:
        sys.exit(f"error: {error}")
    if not args.quick:
        write_page(FOUND, PAGE)


def known_names(names: Sequence[str]) -> list[str]:
    """The claims asked for; all where none is.

    Raises:
        GatecastError: there is no claim of a name.
    """
    unknown = [name for name in names if name not in CLAIMS]
    if unknown:
        raise GatecastError(f"there is no claim of this name. Received: {unknown[0]}; take of {', '.join(CLAIMS)}")
    return list(names or CLAIMS)


def measure_claims(names: Sequence[str], works: Path, seeds: int, *, quick: bool, toy_steps: int | None) -> None:
    """Measures claims one after the other; each result is printed and, unless quick, written down at once.

    Args:
        names: of the claims.
        works: the folder of benchmarks, for finished runs and with the searches.
        seeds: of each figure.
        quick: tiny networks, whose results are not written down.
        toy_steps: of a sequence of the toy experiment; None for what the machine can do.

    Raises:
        GatecastError: there are fewer than three seeds.
    """
    if seeds < LEAST_SEEDS:
        raise GatecastError(f"--seeds: an interval takes some. Received: {seeds}; give {LEAST_SEEDS} or more")
    folder = works / "claims"
    device = Workshop(folder, works, Rehearsal()).device()
    plan = QUICK if quick else replace(FULL[device], seeds=tuple(range(1, seeds + 1)))
    plan = plan if toy_steps is None else replace(plan, toy_steps=toy_steps)
    rehearsal = rehearse(names, plan)
    seconds = timedelta(seconds=round(rehearsal.expected_seconds()))
    print(f"claims: {len(names)} of them on a {device}, {len(rehearsal.runs)} networks, about {seconds} from scratch")
    workshop = Workshop(folder, works, rehearsal)
    for name in names:
        print(f"{name}: {CLAIMS[name].words}", flush=True)
        result = CLAIMS[name].measure(workshop, plan)
        print(render_result(result), flush=True)
        if not quick:
            record(name, result, device, FOUND)


def rehearse(names: Sequence[str], plan: Plan) -> Rehearsal:
    """All runs that claims ask for, as far as they do not depend on what is found; the number of them does not."""
    rehearsal = Rehearsal()
    for name in names:
        CLAIMS[name].measure(rehearsal, plan)
    return rehearsal


def record(name: str, result: Result, device: str, path: Path) -> None:
    """Writes a result beside those that are there, with what it was made on."""
    known: Json = read_json(path) if path.exists() else {}
    known[name] = {"result": rounded(result.to_json()), **made()}
    known[name]["machine"]["device"] = device
    write_json({claim: known[claim] for claim in CLAIMS if claim in known}, path)


def write_page(results: Path, page: Path) -> None:
    """Writes the page from the results."""
    save_page(render_page(read_results(results, "python -m benchmarks.claims")), page)


if __name__ == "__main__":
    main()
