"""Stage tune@{cell}: the search over windows of the fit part -> models/tuned/{cell}.json."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.clock import has_calendar
from pipeline.errors import GatecastError
from pipeline.executor import WorkerDiedError, Workers, workers
from pipeline.params import Params, load_params
from pipeline.progress import Progress
from pipeline.scratch import scratch
from pipeline.search import Ledger, Outcome, Proposal, fit_space, search, summarise
from pipeline.stages import run_stage
from pipeline.storage import write_json
from pipeline.windows import load_fit
from pipeline.worker import prepare, run_trial

FIT = Path("data/windows/fit")


def main(cell: str) -> None:
    params = load_params()
    tune, fit = params.tune, load_fit(FIT)
    space = fit_space(
        tune.space[cell],
        season_length=params.evaluate.season_length,
        longest=max(fit.train.context_length, fit.train.horizon),
        lowest=float(np.nanmin(fit.train.values)),
        series_count=len(fit.ids),
        calendar=has_calendar(fit.meta["freq"]),
    )
    # More trials go on from the earlier ones, as do fewer side by side, where memory ran out.
    unbound = tune.model_dump(mode="json", exclude={"space", "max_trials", "parallel"})
    values = {
        "cell": cell,
        "tune": unbound,
        "space": space.model_dump(mode="json"),
        "quantiles": params.quantiles,
        "threads": params.compute.threads,
    }
    with scratch(f"tune-{cell}", inputs=[FIT], values=values) as folder:
        ledger = Ledger(folder / "ledger.jsonl")
        earlier = [row["score"] for row in ledger.rows().values()]
        progress = Progress(f"tune@{cell}", "trial", total=tune.max_trials, scores=earlier)
        processes = min(tune.parallel, tune.max_trials)
        with workers(processes, initializer=prepare, arguments=(FIT, params.compute.threads)) as pool:
            rows = search(
                tune,
                space,
                run_round=lambda proposals: run_round(pool, proposals, cell, params, progress),
                ledger=ledger,
            )
        write_json(
            summarise(cell, rows, tune, space, context_length=fit.train.context_length),
            Path(f"models/tuned/{cell}.json"),
        )


def run_round(
    pool: Workers, proposals: Sequence[Proposal], cell: str, params: Params, progress: Progress
) -> Iterator[tuple[int, Outcome]]:
    """Runs the trials of a round in the pool; one that raises has failed, unless that says more of the machine than of
    the trial: the ledger, by which later runs go, must not remember it then.

    Raises:
        GatecastError: a trial's process died, or the machine lacks memory, disk, a library or its GPU.
    """
    tune = params.tune
    calls: list[tuple[Any, ...]] = [
        (cell, params.quantiles, proposal, tune.patience, tune.windows_per_epoch) for proposal in proposals
    ]
    for i, result in pool.map(run_trial, calls):
        if isinstance(result, (WorkerDiedError, MemoryError, OSError, ImportError)):
            raise GatecastError(
                f"tune@{cell}: trial {proposals[i].trial} could not be run: {describe(result)}. Finished trials are "
                "kept; run again, where memory ran out with a lower tune.parallel (or with smaller networks in "
                "tune.space, which begins anew)"
            ) from result
        outcome = result if isinstance(result, Outcome) else Outcome(None, 0, None, describe(result))
        note = f"failed: {outcome.error}" if outcome.error else f"{outcome.epochs} epochs"
        progress.step(f"{proposals[i].trial}", score=outcome.score, note=note)
        yield i, outcome


def describe(error: Exception) -> str:
    """An error as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


if __name__ == "__main__":
    run_stage(main)
