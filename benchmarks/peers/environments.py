"""The environments of the peers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from benchmarks import environments

HERE = Path(__file__).parent
# With which glibc gives nothing back to the system: it does so after each step otherwise, and is given it anew page by
# page. An LSTM's step of 128 units over 384 hours took .95 s instead of 1.53, a GRU's 1.14 instead of 1.37.
KEEPING_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33)}


def requirements_of(peer: str) -> Path:
    """The file that pins what the environment of a peer holds."""
    return HERE / "requirements" / f"{peer}.txt"


def make_environment(peer: str, folder: Path) -> Path:
    """Makes the environment of a peer in the folder of them all, or takes the one that is there; gives its Python.

    Raises:
        GatecastError: there is no uv, or something cannot be installed.
    """
    return environments.make_environment(folder / peer, requirements_of(peer), *torch_for_cpu())


def torch_for_cpu(environment: Mapping[str, str] = os.environ) -> list[str]:
    """What makes uv install PyTorch without CUDA: from the folder of wheels that pip knows of, else from its makers."""
    if "UV_TORCH_BACKEND" in environment or "UV_FIND_LINKS" in environment:
        return []
    folders = environment.get("PIP_FIND_LINKS", "").split()
    return [word for folder in folders for word in ("--find-links", folder)] or ["--torch-backend", "cpu"]


def variables(threads: int, *, searches: bool = False) -> dict[str, str]:
    """What a process of a peer finds in its own environment: nothing of ours, and its number of threads.

    A search, which takes hours, is also told to keep the memory that it has used.
    """
    own = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
    return environments.variables() | own | (KEEPING_MEMORY if searches else {})
