"""What ingest and window take of a large panel: `python -m benchmarks.panel`, results in results/panel.json.

A daily panel of 20,000 series x 500 steps is made up, written as CSV, and goes through the pipeline's own stages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.accuracy import RESULTS, made
from benchmarks.benchmark import PARAMS, YAML_12, Json, read_yaml
from pipeline.errors import GatecastError
from pipeline.metrics import rounded
from pipeline.stages import run_stage
from pipeline.storage import write_json

STAGES = ("ingest", "window")
ROOT = PARAMS.parent


@dataclass(frozen=True)
class Panel:
    """A panel that is made up.

    Attributes:
        series: how many.
        steps: of each, in days.
        season_length: in steps.
    """

    series: int = 20_000
    steps: int = 500
    season_length: int = 7

    def write(self, path: Path) -> None:
        """Writes it as CSV: a season and noise around a level, with two decimals."""
        steps = np.arange(self.steps)
        season = 10 * np.sin(2 * np.pi * steps / self.season_length)
        noise = np.random.default_rng(0).normal(0, 3, (self.series, self.steps))
        days = pd.date_range("2020-01-01", periods=self.steps, freq="D").strftime("%Y-%m-%d")
        frame = pd.DataFrame(
            {
                "shop": np.repeat([f"s{i:05d}" for i in range(self.series)], self.steps),
                "day": np.tile(days, self.series),
                "sold": (100 + season + noise).ravel().round(2),
            }
        )
        path.parent.mkdir(parents=True)
        frame.to_csv(path, index=False)

    def params(self, path: Path) -> Json:
        """The committed params.yaml with the facts of the panel."""
        params = read_yaml(PARAMS)
        season = self.season_length
        params["data"] |= {"path": path.as_posix(), "id_col": "shop", "time_col": "day", "target_col": "sold"}
        params["data"] |= {"freq": "D", "min_history": 8 * season}
        params["window"] |= {"context_length": 8 * season, "horizon": 2 * season, "min_context": 4 * season}
        params["window"] |= {"val_size": 4 * season, "test_size": 4 * season}
        params["evaluate"]["season_length"] = season
        return params


def measure(panel: Panel, folder: Path) -> Json:
    """Runs the stages in a folder.

    Returns:
        The panel, the size of its file, and by stage the wall time and the most memory that its process held.

    Raises:
        GatecastError: a stage has failed.
    """
    file = Path("data/raw/panel.csv")
    panel.write(folder / file)
    with (folder / "params.yaml").open("w", encoding="utf-8") as params:
        YAML_12.dump(panel.params(file), params)
    found = {stage: run(stage, folder) for stage in STAGES}
    return {"panel": asdict(panel), "csv_mb": (folder / file).stat().st_size / 1e6, "stages": found}


def run(stage: str, folder: Path) -> Json:
    """Runs a stage in a process of its own; its seconds, and its peak memory in MiB.

    Raises:
        GatecastError: it has failed.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", f"pipeline.stages.{stage}"]
    child = subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})
    _, status, usage = os.wait4(child.pid, 0)  # tells of this process alone what it took
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise GatecastError(f"{folder}: stage {stage} has failed; it says above why")
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": time.perf_counter() - start, "peak_mib": usage.ru_maxrss * unit / 2**20}


def main() -> None:
    with TemporaryDirectory() as folder:
        found = measure(Panel(), Path(folder))
    for stage, took in found["stages"].items():
        print(f"{stage}: {took['seconds']:.0f} s, {took['peak_mib'] / 1024:.1f} GiB")
    seconds = sum(took["seconds"] for took in found["stages"].values())
    write_json({**rounded({**found, "took_s": seconds}), **made()}, RESULTS / "panel.json")


if __name__ == "__main__":
    run_stage(main)
