"""The environment of each contender, made once by uv and kept while its requirements stay what they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import GatecastError

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements"
OURS = "gatecast"
_INSTALLED = ("pyproject.toml", "README.md", "LICENSE", "pipeline")  # what it takes to install this project


def requirements_of(name: str) -> Path:
    """The file that lists what an environment holds; ours has the slim installation."""
    return ROOT / "requirements-serve.txt" if name == OURS else REQUIREMENTS / f"{name}.txt"


def make_environment(name: str, works: Path) -> Path:
    """Makes an environment, or takes the one that is there; this project is installed into ours every time.

    Args:
        name: of its requirements.
        works: the folder of environments.

    Returns:
        Its folder.

    Raises:
        GatecastError: there is no uv, or something cannot be installed.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise GatecastError("uv is needed to make the environments of the contenders. Received: no such command")
    wanted, folder = requirements_of(name).read_text(encoding="utf-8"), works / name
    made = folder / "requirements.txt"  # written last, so that what is half made is made again
    install = [uv, "pip", "install", "-q", "--compile-bytecode", "-p", str(folder / "bin/python")]
    if not made.exists() or made.read_text(encoding="utf-8") != wanted:
        _run([uv, "venv", "-q", "--clear", "-p", sys.executable, str(folder)])
        _run([*install, "-r", str(requirements_of(name))])
        made.write_text(wanted, encoding="utf-8")
    if name == OURS:
        source = works / "source"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        for part in _INSTALLED:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, source / part)
        _run([*install, "--no-deps", "--reinstall", str(source)])
    return folder


def variables(environment: Path) -> Mapping[str, str]:
    """What a process of an environment finds in its own: nothing of ours, and bytecode kept."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {"PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        told = " ".join(done.stderr.split())[-500:]
        raise GatecastError(f"{' '.join(command[:4])} … has failed: {told}; mend the requirements, or try again")
