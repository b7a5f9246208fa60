"""The environments of the contenders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from benchmarks import environments

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements"
OURS = "gatecast"
_INSTALLED = ("pyproject.toml", "README.md", "LICENSE", "pipeline")  # what it takes to install this project
_COMPILED = "--compile-bytecode"  # or the first start is slower than those after it


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
    python = environments.make_environment(works / name, requirements_of(name), _COMPILED)
    if name == OURS:
        source = works / "source"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        for part in _INSTALLED:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, source / part)
        environments.install(python, _COMPILED, "--no-deps", "--reinstall", str(source))
    return works / name


def variables(environment: Path) -> Mapping[str, str]:
    """What a process of an environment finds in its own: nothing of ours, and bytecode kept."""
    return environments.variables() | {"PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"}
