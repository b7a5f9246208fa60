"""Work in spawned processes: the one place where a cluster's executor could be put in."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

PR_SET_PDEATHSIG = 1


class WorkerDiedError(RuntimeError):
    """The process that did the work ended without a result."""


class Workers:
    """A pool of spawned processes that survives the death of one of them.

    Args:
        processes: how many run side by side.
        initializer: called in each process first; has to be importable.
        arguments: of the initializer.
    """

    def __init__(
        self,
        processes: int,
        *,
        initializer: Callable[..., None],
        arguments: tuple[Any, ...],
    ) -> None:
        self._processes = processes
        self._prepare = (os.getpid(), initializer, arguments)
        self._pool = self._start()

    def map(self, task: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any | Exception]]:
        """Runs a task for each call and yields `(number of the call, result or exception)` as they end.

        When a process dies, the calls that it took down with it are run again one by one; a call that kills
        its process alone, too, gives a WorkerDiedError.
        """
        futures: dict[Future[Any], int] = {}
        lost: list[int] = []
        for number, call in enumerate(calls):
            try:
                futures[self._pool.submit(task, *call)] = number
            except BrokenProcessPool:  # of a process that died while it had nothing to do
                lost.append(number)
        while futures:
            done, _ = wait(futures, return_when=FIRST_COMPLETED)
            for future in done:
                number = futures.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    lost.append(number)
                elif isinstance(error, Exception):
                    yield number, error
                else:
                    yield number, future.result()
        if lost:
            self._restart()
        for number in sorted(lost):
            try:
                yield number, self._submit(task, calls[number]).result()
            except BrokenProcessPool:
                self._restart()
                yield number, WorkerDiedError("the process died: out of memory, or killed")
            except Exception as error:
                yield number, error

    def _submit(self, task: Callable[..., Any], call: tuple[Any, ...]) -> Future[Any]:
        """Submits to a new pool where this one is broken, which is not the call's fault."""
        try:
            return self._pool.submit(task, *call)
        except BrokenProcessPool:
            self._restart()
            return self._pool.submit(task, *call)

    def _start(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(
            self._processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_prepare,
            initargs=self._prepare,
        )
        for _ in range(self._processes):
            pool.submit(_nothing)  # starts the processes now, while the caller gets ready
        return pool

    def close(self) -> None:
        """Ends the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def abandon(self) -> None:
        """Ends the processes at once, whatever they are at, and waits for nothing."""
        for process in list(self._pool._processes.values()):
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _restart(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._start()


@contextmanager
def workers(
    processes: int,
    *,
    initializer: Callable[..., None],
    arguments: tuple[Any, ...],
) -> Iterator[Workers]:
    """A pool of processes that ends with the block."""
    pool = Workers(processes, initializer=initializer, arguments=arguments)
    try:
        yield pool
    except KeyboardInterrupt:
        pool.abandon()
        raise
    except BaseException:
        pool.close()
        raise
    else:
        pool.close()


def _prepare(parent: int, initializer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Makes a spawned process end with its parent, then initialises it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends all of them at once, without a traceback each
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    initializer(*arguments)


def _nothing() -> None:
    """The first call that a process gets."""


def _end_with(parent: int) -> None:
    """Where the kernel does not do it, and for a parent that died before it was asked to."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
