"""Stage report: all results and timings -> models/report/report.html."""

from pathlib import Path

from pipeline.params import load_params
from pipeline.report.building import build_report, save_report
from pipeline.report.sources import Sources
from pipeline.stages import run_stage

OUT = Path("models/report/report.html")


def main() -> None:
    params = load_params()
    sources = Sources(Path(), params.cells, params.compare.metric)
    save_report(build_report(sources), OUT)
    print(f"report: {OUT}")
    print(f"Verdict: {sources.verdict['words']}")


if __name__ == "__main__":
    run_stage(main)
