"""Measures `gatecast serve` beside other ways to serve the same model, and writes SERVING.md.

    python -m benchmarks.serve                        all servers, in rounds
    python -m benchmarks.serve --only oip keras       some of them, printed and not written down
    python -m benchmarks.serve --soak 10              minutes of full load instead, written beside what is there
    python -m benchmarks.serve --page                 the page alone, from results/serve.json

Needs `dvc repro` before, uv, and a package index for the environments of the others, which are kept in --work. Leave
the machine to it: clients and servers share its cores.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.accuracy import RESULTS, made
from benchmarks.benchmark import HERE
from benchmarks.pages import save_page
from benchmarks.serving.contenders import ANSWER_BYTES, CONTENDERS
from benchmarks.serving.environments import OURS, requirements_of
from benchmarks.serving.figures import MANY
from benchmarks.serving.measuring import Plan, measure
from benchmarks.serving.page import render_page
from benchmarks.serving.soak import soak
from pipeline.bundle import load_bundle
from pipeline.cli import decided_cell
from pipeline.errors import GatecastError
from pipeline.metrics import rounded
from pipeline.params import SERVED_BASELINE
from pipeline.storage import read_json, write_json

FOUND = RESULTS / "serve.json"
PAGE = HERE / "SERVING.md"
CLIENTS = (1, 8, MANY)


def main() -> None:
    """Measures, and writes the results and the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), metavar="NAME", help=", ".join(CONTENDERS))
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    parser.add_argument("--models", type=Path, default=Path("models/trained"))
    parser.add_argument("--cell", help="whose model is asked first; else what serve.cell says")
    parser.add_argument("--data", type=Path, default=Path("data/raw/co2.csv"))
    parser.add_argument("--work", type=Path, default=Path("benchmarks/.work/serving"))
    parser.add_argument("--results", type=Path, default=FOUND, help="a page of another name is written beside")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped too
    page = PAGE if args.results == FOUND else args.results.with_suffix(".md")
    try:
        if not args.page:
            models = args.models.resolve()
            cell = asked_cell(models, args.cell or decided_cell(models.parent / "comparison", "served"))
            plan = Plan(models, cell, args.data.resolve(), args.work.resolve(), CLIENTS, args.seconds, args.rounds)
            if args.soak is not None:
                record({"soak": {**soak(plan, args.soak), **made()}}, args.results)
            elif args.only:
                measure(plan, args.only)
            else:
                start = time.monotonic()
                measured = measure(plan, list(CONTENDERS))
                took = {"took_s": round(time.monotonic() - start)}
                record({**describe(plan), **measured, **took, **made()}, args.results)
        if not args.only:
            write_page(args.results, page)
    except GatecastError as error:
        sys.exit(f"error: {error}")


def asked_cell(models: Path, first: str) -> str:
    """The cell whose model is asked: the first whose network takes the history alone, as all that is sent is one.

    Args:
        models: folder of bundles.
        first: is asked if it can be.

    Raises:
        GatecastError: there is none.
    """
    told = {}
    found = [first, *sorted(folder.name for folder in models.iterdir() if folder.is_dir())]
    # Of ridge there is no Keras network, which the others serve.
    for cell in dict.fromkeys(name for name in found if name != SERVED_BASELINE):
        spec = load_bundle(models / cell).spec
        told[cell] = list(spec.inputs.shapes(spec.context_length, spec.horizon))
        if not told[cell]:
            return cell
    takes = "; ".join(f"{cell} takes {', '.join(names)} too" for cell, names in told.items())
    raise GatecastError(f"{models}: none takes the history alone, and requests hold nothing else. Received: {takes}")


def describe(plan: Plan) -> dict[str, Any]:
    """What was asked, of what."""
    environments = [OURS, *sorted({contender.environment for contender in CONTENDERS.values()} - {OURS})]
    wanted = {"fastapi", "uvicorn", "onnxruntime"}
    return {
        "cell": plan.cell,
        "clients": list(plan.clients),
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "answer_bytes": ANSWER_BYTES,
        "versions": {name: pins_of(name, wanted if name == OURS else None) for name in environments},
    }


def pins_of(name: str, wanted: set[str] | None) -> list[str]:
    """The packages of an environment with their versions, as its requirements have them; all where none is named."""
    lines = [line.partition(";")[0].strip() for line in requirements_of(name).read_text(encoding="utf-8").splitlines()]
    pins = [line.replace("==", " ") for line in lines if "==" in line and not line.startswith("#")]
    return pins if wanted is None else [pin for pin in pins if pin.partition(" ")[0] in wanted]


def record(found: Mapping[str, Any], path: Path) -> None:
    """Writes results beside those that are there."""
    known: dict[str, Any] = read_json(path) if path.exists() else {}
    write_json({**known, **rounded(found)}, path)


def write_page(results: Path, page: Path) -> None:
    """Writes the page from the results.

    Raises:
        GatecastError: the servers have not been measured yet.
    """
    found = read_json(results) if results.exists() else {}
    if "contenders" not in found:
        raise GatecastError(f"{results} has no figures of servers; run python -m benchmarks.serve")
    save_page(render_page(found), page)


if __name__ == "__main__":
    main()
