"""The benchmark of a large panel, with a small one."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.overview import OTHER
from benchmarks.panel import STAGES, Panel, measure, run
from pipeline.errors import GatecastError
from pipeline.windows import load_fit


def test_a_panel_goes_through_the_stages_and_tells_what_they_took(tmp_path: Path) -> None:
    found = measure(Panel(series=12, steps=140), tmp_path)
    assert found["csv_mb"] == (tmp_path / "data/raw/panel.csv").stat().st_size / 1e6
    for stage in STAGES:
        assert found["stages"][stage]["seconds"] > 0.1
        assert 20 < found["stages"][stage]["peak_mib"] < 4096
    fit = load_fit(tmp_path / "data/windows/fit")
    assert (len(fit.ids), fit.meta["horizon"]) == (12, 14)
    assert np.nanmean(fit.train.values) == pytest.approx(100, abs=1)
    assert OTHER["ingest and window of a large panel"].headline(found).startswith("12 series x 140 steps: ")


def test_a_stage_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(GatecastError, match="stage window has failed"):
        run("window", tmp_path)
