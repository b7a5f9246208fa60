"""Runs the pipeline's own stages on a public data set and prints its error beside published figures.

    python -m benchmarks.accuracy etth1-96                 validation figures
    python -m benchmarks.accuracy etth1-96 --split test    test figures; the look is written to test_looks.jsonl

The data lies in the folder that GATECAST_DATA names. Work goes to --work, where a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.forecaster import Forecaster
from pipeline.metrics import score
from pipeline.params import load_params
from pipeline.storage import read_json, write_json
from pipeline.windows import Floats, Windows, load_fit, load_test, split_missing

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
# For each benchmark the two metrics that its published figures are in: MSE and MAE of values z-scored with the
# training part, or MASE and sMAPE.
METRICS = {"etth1-96": ("z_mse", "z_mae"), "m4-hourly": ("mase", "smape")}
PUBLISHED = {
    "etth1-96": {
        "SegRNN, GRU-512 (context 720)": (0.351, 0.392),
        "NeuralForecast GRU-128 (context 336)": (0.467, 0.433),
    },
    "m4-hourly": {
        "best submission (Doornik)": (0.801, 8.913),
        "ES-RNN (the winner)": (0.893, 9.328),
        "seasonal naive": (1.193, 13.912),
        "Theta": (2.455, 18.138),
    },
}


def main() -> None:
    """Runs a benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(path.stem for path in (HERE / "params").glob("*.yaml")))
    parser.add_argument("--split", choices=["val", "test"], default="val")
    parser.add_argument(
        "--measure-only", action="store_true", help="of the networks that an earlier run left in --work"
    )
    parser.add_argument("--work", type=Path, default=Path("benchmarks/.work"))
    args = parser.parse_args()
    work = (args.work / args.name).resolve()
    seconds = run_stages(args.name, work) if not args.measure_only else read_json(work / "seconds.json")
    write_json(seconds, work / "seconds.json")
    figures = {cell: measure(work, cell, args.split) for cell in load_params(work / "params.yaml").cells}
    result = {"name": args.name, "split": args.split, "commit": commit(), "seconds": seconds, "figures": figures}
    if args.split == "test":
        with (HERE / "test_looks.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({key: result[key] for key in ("name", "commit", "figures")}) + "\n")
        machine = {"cpu": cpu(), "cores": os.cpu_count(), "python": platform.python_version()}
        write_json({**result, "machine": machine}, HERE / "results" / f"{args.name}.json")
    show(result)


def run_stages(name: str, work: Path) -> dict[str, float]:
    """Runs ingest, window, tune and train in `work`; gives the wall time of each."""
    data = os.environ.get("GATECAST_DATA")
    if not data:
        sys.exit("error: GATECAST_DATA names no folder of public data sets")
    work.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(HERE / "params" / f"{name}.yaml", work / "params.yaml")
    params = load_params(work / "params.yaml")
    source = work / params.data.path
    source.parent.mkdir(parents=True, exist_ok=True)
    if not source.exists():
        source.symlink_to(Path(data).resolve() / params.data.path)
    per_cell = [(stage, cell) for stage in ("tune", "train") for cell in params.cells]
    stages: list[tuple[str, ...]] = [("ingest",), ("window",), *per_cell]
    seconds = {}
    for stage in stages:
        start = time.perf_counter()
        command = [sys.executable, "-m", f"pipeline.stages.{stage[0]}", *stage[1:]]
        subprocess.run(command, cwd=work, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
        seconds["@".join(stage)] = round(time.perf_counter() - start, 1)
    return seconds


def measure(work: Path, cell: str, split: str) -> dict[str, Any]:
    """The headline metrics, and MSE and MAE of z-scored values: the ensemble's and each seed's."""
    fit, test = load_fit(work / "data/windows/fit"), load_test(work / "data/windows/test")
    windows, history = (fit.val, fit.history) if split == "val" else (test.windows, test.history)
    forecaster = Forecaster.load(work / "models/trained" / cell)
    out = forecaster.predict_arrays(*split_missing(windows.contexts()), outputs=("forecast", "members"))
    forecasts = {"ensemble": out["forecast"], **dict(zip(forecaster.meta["seeds"], out["members"], strict=True))}
    return {
        str(name): {
            **score(
                windows,
                forecast,
                quantiles=forecaster.spec.quantiles,
                ids=fit.ids,
                history=history,
                season_length=forecaster.meta["season_length"],
            ).to_json(),
            **z_scored(windows, forecast[:, :, len(forecaster.spec.quantiles) // 2], fit.loss_scale),
        }
        for name, forecast in forecasts.items()
    }


def z_scored(windows: Windows, median: Floats, scale: Floats) -> dict[str, float]:
    """Errors in standard deviations of each series' training part, averaged over all windows and steps."""
    z = (windows.targets() - median) / scale[windows.series][:, None]
    z = z[np.isfinite(z)]
    return {"z_mse": float(np.mean(z**2)), "z_mae": float(np.mean(np.abs(z)))}


def show(result: dict[str, Any]) -> None:
    """Prints the figures beside the published ones."""
    first, second = METRICS[result["name"]]
    seconds = sum(result["seconds"].values())
    print(f"{result['name']}, {result['split']}: {first} / {second}; wall time {seconds:.0f} s")
    for cell, figures in result["figures"].items():
        seeds = np.array([[f[first], f[second]] for key, f in figures.items() if key != "ensemble"])
        mean, sd, both = seeds.mean(axis=0), seeds.std(axis=0, ddof=1), figures["ensemble"]
        covered = f"80 % intervals cover {100 * both['coverage_80']:.1f} %"
        print(f"  {cell} ensemble  {both[first]:.4f} / {both[second]:.4f}  {covered}")
        print(f"  {cell} seeds     {mean[0]:.4f} ± {sd[0]:.4f} / {mean[1]:.4f} ± {sd[1]:.4f}")
    if result["split"] == "test":
        for model, (a, b) in PUBLISHED[result["name"]].items():
            print(f"  {model}  {a:.3f} / {b:.3f}")


def commit() -> str:
    """The commit that the figures belong to."""
    return subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def cpu() -> str:
    """The model of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
