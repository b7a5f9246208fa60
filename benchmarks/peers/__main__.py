"""Measures the LSTM and GRU of other libraries beside ours, on the same windows and in the same run; writes PEERS.md.

    python -m benchmarks.peers --list                        what there is to measure, and about how long it takes
    python -m benchmarks.peers                               all of it; a run that was stopped goes on
    python -m benchmarks.peers --only 'etth1-96/*/documentation/*' 'etth1-96/gatecast/*'
    python -m benchmarks.peers --quick --only '*/1'          a few steps, to see that it runs; nothing is written down
    python -m benchmarks.peers --page                        the page alone, from results/peers.json

Needs uv, and a package index for the environments of the peers. Data comes from the folder that GATECAST_DATA names, or
is downloaded. Leave the machine to it: a peer that trains as long as ours has all cores for itself, and so has ours; of
the others --together are measured side by side, as our networks are trained. What is finished is kept in --work, each
measurement in a file of its own, and made again once what it depends on has changed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from pathlib import Path

from benchmarks.accuracy import RESULTS
from benchmarks.benchmark import HERE, Json
from benchmarks.pages import read_results, save_page
from benchmarks.peers.catalogue import OURS, SETTINGS, Field, Job, chosen, fields, jobs, ours_on
from benchmarks.peers.estimates import expected_seconds
from benchmarks.peers.page import render_page, render_plan, render_run
from benchmarks.peers.runs import Bench, Budgets, budgets_of, finished, measure_ours, measure_peer, stop_scripts
from pipeline.errors import GatecastError
from pipeline.metrics import rounded
from pipeline.storage import read_json, write_json

FOUND = RESULTS / "peers.json"
PAGE = HERE / "PEERS.md"


def main() -> None:
    """Measures, and writes the results and the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help="of SET/PEER/MODEL/SETTING/SEED")
    parser.add_argument("--list", action="store_true", help="what would be measured, and about how long it takes")
    parser.add_argument("--quick", action="store_true", help="a few steps of the peers; figures mean nothing")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    parser.add_argument("--measure-only", action="store_true", help="our networks are those that are in --work")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="for peers; by default all cores")
    parser.add_argument("--together", type=int, default=2, help="how many peers share them where no clock is set")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/.work"))
    parser.add_argument("--environments", type=Path, help="folder of the peers' environments; by default in --work")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the peer's process is stopped too
    works = args.work.resolve()
    environments = (args.environments or works / "peers/environments").resolve()
    bench = Bench(works, environments, args.threads, args.together, args.quick, args.measure_only)
    try:
        if args.page:
            write_page(FOUND, PAGE)
            return
        plan = chosen(list(jobs(fields())), args.only)
        if args.list:
            print(list_plan(plan, bench))
        else:
            run_plan(plan, bench)
    except GatecastError as error:
        sys.exit(f"error: {error}")


def list_plan(plan: Sequence[Job], bench: Bench) -> str:
    """What there is to measure, and about how long it takes."""
    known = fields()
    budgets = {name: known_budgets(name, bench) for name in known}
    return render_plan(
        [
            (job, finished(job, known[job.field], bench), expected_seconds(job, known[job.field], budgets[job.field]))
            for job in plan
        ]
    )


def known_budgets(name: str, bench: Bench) -> Budgets | None:
    """The wall time of ours: as it was measured here, or else as it is written down."""
    found = finished(ours_on(name), fields()[name], bench)
    if found is None and (path := RESULTS / f"{name}.json").exists():
        found = read_json(path)
    return None if found is None else budgets_of(found)


def run_plan(plan: Sequence[Job], bench: Bench) -> None:
    """Makes measurements; one that fails is told of, and the others go on.

    Raises:
        GatecastError: some have failed.
    """
    known, failed = fields(), []
    plan = [job for job in plan if not (bench.quick and job.peer == OURS)]

    def run(job: Job, beside: Bench) -> str:
        start = time.monotonic()
        result = run_job(job, known[job.field], beside)
        return f"{timedelta(seconds=round(time.monotonic() - start))}  {render_run(result)}"

    with closing(run_in_turns(plan, bench, run)) as ended:
        for number, (job, told) in enumerate(ended, 1):
            if isinstance(told, GatecastError):
                failed.append(job.name)
                print(f"{number}/{len(plan)} {job.name} has failed: {told}", flush=True)
                continue
            print(f"{number}/{len(plan)} {job.name} {told}", flush=True)
            if not bench.quick:
                write_json(collect(jobs(known), known, bench), FOUND)
                write_page(FOUND, PAGE)
    if failed:
        raise GatecastError(f"{len(failed)} of {len(plan)} measurements have failed: {', '.join(failed)}")


def run_in_turns(
    plan: Sequence[Job], bench: Bench, run: Callable[[Job, Bench], str]
) -> Generator[tuple[Job, str | GatecastError]]:
    """Runs measurements, side by side those that may be; gives each with what it tells, as it ends."""
    for turn, group in groupby(plan, turn_of):
        some = list(group)
        together = 1 if turn is None else max(1, min(bench.together, bench.threads))
        beside = replace(bench, threads=bench.threads // together, together=together)
        if together == 1:
            for job in some:
                yield job, _told(run, job, beside)
            continue
        with ThreadPoolExecutor(together) as pool:
            try:
                running = {pool.submit(_told, run, job, beside): job for job in some}
                for ended in as_completed(running):
                    yield running[ended], ended.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                while not all(future.done() for future in running):  # one may be about to start
                    stop_scripts()
                    time.sleep(0.1)
                raise


def turn_of(job: Job) -> Hashable | None:
    """What has to be the same of measurements side by side; None where one has the machine for itself.

    Seeds that share a search come one after the other: the first makes it.
    """
    if job.peer == OURS or SETTINGS[job.setting].budget is not None:
        return None
    return (job.setting, job.seed) if SETTINGS[job.setting].searches else "free"


def _told(run: Callable[[Job, Bench], str], job: Job, bench: Bench) -> str | GatecastError:
    try:
        return run(job, bench)
    except GatecastError as error:
        return error


def run_job(job: Job, field: Field, bench: Bench) -> Json:
    """One measurement, or what is kept of it."""
    if job.peer != OURS:
        return measure_peer(job, field, bench, ours=finished(ours_on(job.field), field, bench))
    if (found := finished(job, field, bench)) is None:
        found = rounded(measure_ours(field, bench))
        write_json(found, bench.path(job))
    return dict(found)


def collect(plan: Iterable[Job], known: Mapping[str, Field], bench: Bench) -> Json:
    """All measurements that are finished: by data set ours, and the runs of the peers in the order of the plan."""
    results: Json = {}
    for job in plan:
        if (found := finished(job, known[job.field], bench)) is not None:
            of_set = results.setdefault(job.field, {"ours": None, "runs": []})
            if job.peer == OURS:
                of_set["ours"] = found
            else:
                of_set["runs"].append(found)
    return results


def write_page(results: Path, page: Path) -> None:
    """Writes the page from the results.

    Raises:
        GatecastError: nothing has been measured yet.
    """
    save_page(render_page(read_results(results, "python -m benchmarks.peers"), fields()), page)


if __name__ == "__main__":
    main()
