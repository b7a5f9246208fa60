"""Environments apart from this one, made once by uv and kept while their requirements stay what they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import GatecastError


def make_environment(folder: Path, requirements: Path, *options: str) -> Path:
    """Makes an environment, or takes the one that is there.

    Args:
        folder: of the environment.
        requirements: the file that lists what it holds.
        options: of `uv pip install`.

    Returns:
        Its Python.

    Raises:
        GatecastError: there is no uv, or something cannot be installed.
    """
    wanted, python = requirements.read_text(encoding="utf-8"), folder / "bin/python"
    made = folder / "requirements.txt"  # written last, so that what is half made is made again
    uv = find_uv()
    if not made.exists() or made.read_text(encoding="utf-8") != wanted:
        _run([uv, "venv", "-q", "--clear", "-p", sys.executable, str(folder)])
        install(python, "-r", str(requirements), *options)
        made.write_text(wanted, encoding="utf-8")
    return python


def install(python: Path, *arguments: str) -> None:
    """Installs into an environment; the arguments are those of `uv pip install`.

    Raises:
        GatecastError: there is no uv, or something cannot be installed.
    """
    _run([find_uv(), "pip", "install", "-q", "-p", str(python), *arguments])


def find_uv() -> str:
    """The command.

    Raises:
        GatecastError: there is none.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise GatecastError("uv is needed to make the environments of others. Received: no such command")
    return uv


def variables() -> dict[str, str]:
    """What a process of another environment finds in its own: nothing of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        told = " ".join(done.stderr.split())[-500:]
        raise GatecastError(f"{' '.join(command[:4])} … has failed: {told}; mend the requirements, or try again")
