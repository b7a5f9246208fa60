from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.executor import WorkerDiedError, Workers, workers


def nothing() -> None:
    """An initializer."""


def double(value: int) -> int:
    return 2 * value


def die_or_double(value: int) -> int:
    if value == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * value


def fail_or_double(value: int) -> int:
    if value == 13:
        raise ValueError("unlucky")
    return 2 * value


def test_results_come_with_the_number_of_their_call() -> None:
    with workers(2, initializer=nothing, arguments=()) as pool:
        assert dict(pool.map(double, [(i,) for i in range(5)])) == {i: 2 * i for i in range(5)}


def test_an_exception_is_a_result_and_the_others_go_on() -> None:
    with workers(2, initializer=nothing, arguments=()) as pool:
        results = dict(pool.map(fail_or_double, [(1,), (13,), (3,)]))
    assert isinstance(results[1], ValueError)
    assert (results[0], results[2]) == (2, 6)


def test_a_process_that_dies_takes_no_other_call_down_with_it() -> None:
    with workers(2, initializer=nothing, arguments=()) as pool:
        results = dict(pool.map(die_or_double, [(1,), (13,), (3,), (4,)]))
        assert isinstance(results[1], WorkerDiedError)
        assert (results[0], results[2], results[3]) == (2, 6, 8)
        assert dict(pool.map(double, [(7,)])) == {0: 14}


def kill_one(pool: Workers) -> None:
    """Kills a process that has nothing to do, and waits until the pool knows."""
    next(iter(pool._pool._processes.values())).kill()
    deadline = time.monotonic() + 60
    while not pool._pool._broken and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_process_that_dies_idle_costs_no_call() -> None:
    with workers(2, initializer=nothing, arguments=()) as pool:
        assert dict(pool.map(double, [(1,)])) == {0: 2}
        kill_one(pool)
        assert dict(pool.map(double, [(i,) for i in range(4)])) == {i: 2 * i for i in range(4)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_processes_that_cannot_be_prepared_give_no_traceback() -> None:
    with workers(1, initializer=os.chdir, arguments=("absent",)) as pool:
        results = dict(pool.map(double, [(1,), (2,)]))
    assert [type(result) for result in results.values()] == [WorkerDiedError, WorkerDiedError]


PARENT = """
import signal

from pipeline.executor import workers
from pipeline.stages import run_stage
from tests.test_executor import linger, nothing


def main():
    with workers(2, initializer=nothing, arguments=()) as pool:
        list(pool.map(linger, [("{folder}/a",), ("{folder}/b",)]))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit that it is ignored
    run_stage(main)
"""


def linger(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(120)


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def start_parent(folder: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """Starts a process with two busy workers, and gives it with their ids."""
    script = folder / "parent.py"
    script.write_text(PARENT.format(folder=folder))
    parent = subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    files = [folder / name for name in ("a", "b")]
    deadline = time.monotonic() + 60
    while not all(file.exists() and file.read_text() for file in files) and time.monotonic() < deadline:
        time.sleep(0.05)
    return parent, [int(file.read_text()) for file in files]


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent, pids = start_parent(tmp_path)
    assert all(alive(pid) for pid in pids)
    parent.kill()
    parent.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)


def test_an_interrupt_ends_parent_and_processes_at_once_with_one_line(tmp_path: Path) -> None:
    parent, _ = start_parent(tmp_path)
    os.killpg(parent.pid, signal.SIGINT)  # what Ctrl-C on a terminal does
    try:
        _, told = parent.communicate(timeout=30)
    finally:
        parent.kill()
        parent.communicate()
    assert parent.returncode == 130
    assert told.startswith("interrupted; `dvc repro` goes on where this was\n")
    assert "Traceback" not in told
