"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from shops import Project, build_project, shop_frame

from pipeline.params import WindowParams
from pipeline.splits import save_windows
from pipeline.windows import FitSet, load_fit

CHROMIUM = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
CHROMIUM += ["--disable-component-update", "--disable-sync"]

settings.register_profile("any machine", deadline=None, derandomize=True)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public data sets that GATECAST_DATA names."""
    folder = os.environ.get("GATECAST_DATA")
    if not folder:
        pytest.skip("GATECAST_DATA names no folder of public data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def small_fit(tmp_path_factory: pytest.TempPathFactory) -> FitSet:
    """Two noisy seasonal series with missing steps, split and windowed: context 24, horizon 6."""
    folder = tmp_path_factory.mktemp("windows")
    rng = np.random.default_rng(7)
    steps = np.arange(160)
    series = [10 * k + np.sin(steps * np.pi / 6) + 0.1 * rng.standard_normal(160) for k in (1, 2)]
    series[1][[40, 41, 90]] = np.nan
    times = [np.datetime64("2020-01-01") + steps.astype("timedelta64[D]")] * 2
    params = WindowParams(
        context_length=24, horizon=6, val_size=24, test_size=24, step_size=1, stride=1, min_context=24
    )
    save_windows(
        ["a", "b"], series, times, params, season_length=12, meta={"freq": "D", "timezone": None}, folder=folder
    )
    return load_fit(folder / "fit")


@pytest.fixture(scope="session")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Four series with covariates of every kind; see `shops.py`."""
    return build_project(tmp_path_factory.mktemp("shops"), shop_frame())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, where there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip("no Chromium here; with one installed, this test looks at a page in it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=CHROMIUM)
        yield running
        running.close()
