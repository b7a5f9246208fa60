"""The repository as it is committed, for tests of what a run may have changed since."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def committed(path: str) -> str:
    """A file as it is in the last commit, whatever a run has since made of it."""
    run = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip(f"no git checkout with {path}")
    return run.stdout
