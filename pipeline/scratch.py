"""Finished work that survives a killed run: outside DVC, one folder per fingerprint of all that matters."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.storage import sha256_of

ROOT = Path(".scratch")
KEPT = 5  # fingerprints per stage
# What the numbers come from: the modules that a worker imports. Editing others throws no finished work away.
CODE = (
    "cells",
    "clock",
    "covariates",
    "errors",
    "frequency",
    "gathering",
    "hparams",
    "local_search",
    "network",
    "optimizer",
    "params",
    "quiet",
    "recurrence",
    "ridge",
    "search",
    "seasonal",
    "splits",
    "storage",
    "timestamps",
    "training",
    "values",
    "windows",
    "worker",
)
PACKAGES = ("tensorflow", "keras", "keras-tuner", "numpy")

log = logging.getLogger(__name__)


@contextmanager
def scratch(stage: str, *, inputs: Sequence[Path], values: Mapping[str, Any]) -> Iterator[Path]:
    """The folder in which a stage keeps finished work, held by one process at a time.

    A run that was killed may leave its stage alive; this waits until it has ended.

    Args:
        stage: name of the stage and cell, e.g. `tune-gru`.
        inputs: files and folders that the work depends on.
        values: parameters that the work depends on.

    Yields:
        A folder that is the same for the same inputs, values, code and versions, and no other.
    """
    ROOT.mkdir(exist_ok=True)
    with (ROOT / f"{stage}.lock").open("a+") as lock:
        _wait_for(lock, stage)
        folder = ROOT / stage / _fingerprint(inputs, values)
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        shutil.rmtree(ROOT / f"{stage}.gone", ignore_errors=True)
        for old in sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            # Elsewhere first, so that what a kill leaves of it is never taken for finished work.
            gone = old.rename(ROOT / f"{stage}.gone")
            shutil.rmtree(gone)
        yield folder


def _wait_for(lock: Any, stage: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        log.warning("%s: process %s, left by a killed run, still works on this; waiting for it", stage, lock.read())
        fcntl.flock(lock, fcntl.LOCK_EX)
    lock.seek(0)
    lock.truncate()
    lock.write(str(os.getpid()))
    lock.flush()


def _fingerprint(inputs: Sequence[Path], values: Mapping[str, Any]) -> str:
    parts = {
        "inputs": {path.as_posix(): sha256_of(path) for path in inputs},
        "values": values,
        "code": {name: sha256_of(Path(__file__).with_name(f"{name}.py")) for name in CODE},
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
