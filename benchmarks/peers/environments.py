"""The environment of a peer, made once by uv and kept while its requirements stay what they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import GatecastError

HERE = Path(__file__).parent


def requirements_of(peer: str) -> Path:
    """The file that pins what the environment of a peer holds."""
    return HERE / "requirements" / f"{peer}.txt"


def make_environment(peer: str, folder: Path) -> Path:
    """Makes an environment, or takes the one that is there.

    Args:
        peer: a library.
        folder: of all environments.

    Returns:
        Its Python.

    Raises:
        GatecastError: there is no uv, or something cannot be installed.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise GatecastError("uv is needed to make the environments of the peers. Received: no such command")
    wanted, place = requirements_of(peer).read_text(encoding="utf-8"), folder / peer
    python, made = place / "bin/python", place / "requirements.txt"  # the latter is written last
    if not made.exists() or made.read_text(encoding="utf-8") != wanted:
        _run([uv, "venv", "-q", "--clear", "-p", sys.executable, str(place)])
        _run([uv, "pip", "install", "-q", "-p", str(python), "-r", str(requirements_of(peer)), *torch_for_cpu()])
        made.write_text(wanted, encoding="utf-8")
    return python


def torch_for_cpu(environment: Mapping[str, str] = os.environ) -> list[str]:
    """What makes uv install PyTorch without CUDA: from the folder of wheels that pip knows of, else from its makers."""
    if "UV_TORCH_BACKEND" in environment or "UV_FIND_LINKS" in environment:
        return []
    folders = environment.get("PIP_FIND_LINKS", "").split()
    return [word for folder in folders for word in ("--find-links", folder)] or ["--torch-backend", "cpu"]


def variables(threads: int) -> dict[str, str]:
    """What a process of a peer finds in its own environment: nothing of ours, and its number of threads."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        told = " ".join(done.stderr.split())[-500:]
        raise GatecastError(f"{' '.join(command[:4])} … has failed: {told}; mend the requirements, or try again")
