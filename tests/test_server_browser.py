"""What is served of the page at `/`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from server_models import Client, build_app, client

from pipeline.server.browser import HEADERS, PAGE_PATHS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "pipeline" / "server" / "page"


@pytest.mark.parametrize("path", sorted(PAGE_PATHS))
def test_every_file_of_the_page_is_served_without_a_key_and_under_its_policy(path: str) -> None:
    for asking in (client(), Client(build_app(key="s3cret"))):
        response = asking.get(path)
        assert response.status_code == 200
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        assert response.content == (PAGE / (path.rpartition("/")[2] or "index.html")).read_bytes()


def test_the_policy_lets_nothing_in_from_elsewhere_and_nothing_inline() -> None:
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}


def test_the_page_names_no_other_place_and_nothing_that_is_not_served() -> None:
    assert {path.name for path in PAGE.iterdir()} == {path.rpartition("/")[2] or "index.html" for path in PAGE_PATHS}
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|outerHTML|insertAdjacent|\beval\b|style=", text), path.name
    used = set(re.findall(r'(?:href|src)="([^"]+)"', (PAGE / "index.html").read_text()))
    assert {f"/{one}" for one in used} < PAGE_PATHS


def test_a_wheel_has_the_page(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipeline" / "server", tmp_path / "pipeline" / "server")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    code = "from setuptools import setup; setup()"
    subprocess.run([sys.executable, "-c", code, "-q", "build_py"], cwd=tmp_path, check=True, capture_output=True)
    built = {path.name for path in (tmp_path / "build/lib/pipeline/server/page").iterdir()}
    assert built == {path.name for path in PAGE.iterdir()}
