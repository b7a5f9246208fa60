"""Writes benchmarks/README.md, every figure beside the command that makes it: `python -m benchmarks.overview`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.accuracy import RESULTS
from benchmarks.benchmark import HERE, Benchmark, Json, load_benchmark, names
from benchmarks.claims.catalogue import CLAIMS
from benchmarks.options import TUNED
from benchmarks.pages import save_page
from benchmarks.report import TITLES
from benchmarks.serving.figures import targets
from benchmarks.speed.figures import targets as speed_targets
from benchmarks.speed.page import times_as_fast
from pipeline.stages import run_stage
from pipeline.storage import read_json
from pipeline.tables import UNKNOWN, align_rows

PAGE = HERE / "README.md"
INTRODUCTION = """\
# Benchmarks

Every figure with the command that makes it and, where it was taken in one run, how long that took on the machine that
the results name. Commands are run in the root of the repository after
`pip install -c constraints.txt -e '.[benchmarks]'`; data is downloaded, or taken from the folder that `GATECAST_DATA`
names. Results are kept in `results/`, work in `.work/`, where a run that was stopped goes on. Servers, training steps
and peers are measured in environments of their own, which `uv` makes; what is served is what `dvc repro` left, and
choices are measured on finished runs of `benchmarks.accuracy`. This page is written by `python -m benchmarks.overview`.
"""
ACCURACY = """\
## Accuracy on public data

Ensembles on the test part. Params are those of the repository with the facts of `sets/NAME.yaml`. Each look at a test
part is a line of `test_looks.jsonl`; without `--split test` the figures are of the validation part. ETTh1 and ETTm1
take at every horizon what was tuned at 96 steps, in a time that is counted there.
"""
OTHERS = """\
## Everything else
"""


@dataclass(frozen=True)
class Measured:
    """A benchmark that is not of accuracy.

    Attributes:
        command: what makes it.
        file: of its results.
        page: with all figures.
        headline: the figure that says most, of the results.
    """

    command: str
    file: str
    page: str
    headline: Callable[[Json], str]


def write_overview(results: Path, page: Path) -> None:
    """Writes the page.

    Args:
        results: the folder of results.
        page: to write.
    """
    save_page(render_overview(_read_all(results)), page)


def render_overview(results: Mapping[str, Json]) -> str:
    """The page of all results by the name of their file; what has none is shown as not measured."""
    accuracy = [["data set", "figure", "LSTM", "GRU", "command", "took"]]
    accuracy += [_accuracy_row(load_benchmark(name), results.get(name)) for name in names()]
    others = [["what", "figure", "command", "took"]]
    for what, measured in OTHER.items():
        found = results.get(measured.file)
        link = f"[{what}]({measured.page})" if found else what
        figure = measured.headline(found) if found else "not measured yet"
        others.append([link, figure, f"`{measured.command}`", _took(found.get("took_s") if found else None)])
    return "\n".join([INTRODUCTION, ACCURACY, align_rows(accuracy), OTHERS, align_rows(others)])


def _accuracy_row(benchmark: Benchmark, found: Json | None) -> list[str]:
    command = f"`python -m benchmarks.accuracy {benchmark.name} --split test`"
    metric = benchmark.metrics[0]
    if found is None:
        return [benchmark.title, TITLES[metric], UNKNOWN, UNKNOWN, command, UNKNOWN]
    cells = [f"{found['figures'][cell]['ensemble'][metric]:.3f}" for cell in ("lstm", "gru")]
    return [benchmark.title, TITLES[metric], *cells, command, _took(sum(found["seconds"].values()))]


def _serving(found: Json) -> str:
    held = targets(found)
    return f"{sum(target.met for target in held)} of {len(held)} promises kept"


def _significance(found: Json) -> str:
    worst = max(row["null"]["decides"] for row in found["rows"] if row["allowed"])
    return f"a difference found where there is none: {100 * worst:.1f} % at most, at 5 %"


def _claims(found: Json) -> str:
    return f"{len(found)} of {len(CLAIMS)} claims measured"


def _options(found: Json) -> str:
    choices = sum(len(of_set["options"].keys() - {TUNED}) for of_set in found.values())
    return f"{choices} choices on {len(found)} data sets"


def _peers(found: Json) -> str:
    return f"{sum(len(of_set['runs']) for of_set in found.values())} runs of peers on {len(found)} data sets"


def _training(found: Json) -> str:
    held = speed_targets(found)
    return f"{sum(target.met for target in held)} of {len(held)} promises kept"


def _default_run(found: Json) -> str:
    return f"{times_as_fast(found):.2f} times as fast as {found['before']['commit']}"


def _panel(found: Json) -> str:
    panel, stages = found["panel"], found["stages"].values()
    seconds, most = sum(stage["seconds"] for stage in stages), max(stage["peak_mib"] for stage in stages)
    return f"{panel['series']:,} series x {panel['steps']:,} steps: {seconds:.0f} s, {most / 1024:.1f} GiB"


OTHER = {
    "servers beside each other": Measured(
        "python -m benchmarks.serve; python -m benchmarks.serve --soak 10", "serve", "SERVING.md", _serving
    ),
    "how often a test is wrong": Measured(
        "python -m benchmarks.significance", "significance", "SIGNIFICANCE.md", _significance
    ),
    "what is said of LSTM and GRU": Measured("python -m benchmarks.claims --seeds 3", "claims", "CLAIMS.md", _claims),
    "what each choice of the search space is worth": Measured(
        "python -m benchmarks.options NAME...", "options", "OPTIONS.md", _options
    ),
    "where the time of a training step goes": Measured(
        "python -m benchmarks.speed --rounds 4", "training", "TRAINING.md", _training
    ),
    "the default run beside an earlier commit's": Measured(
        "python -m benchmarks.speed.pipeline COMMIT", "pipeline", "TRAINING.md", _default_run
    ),
    "ingest and window of a large panel": Measured("python -m benchmarks.panel", "panel", "results/panel.json", _panel),
    "NeuralForecast and Darts on the same windows": Measured("python -m benchmarks.peers", "peers", "PEERS.md", _peers),
}


def _read_all(results: Path) -> dict[str, Json]:
    return {file.stem: read_json(file) for file in sorted(results.glob("*.json"))}


def _took(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else str(timedelta(seconds=round(seconds)))


def main() -> None:
    write_overview(RESULTS, PAGE)


if __name__ == "__main__":
    run_stage(main)
