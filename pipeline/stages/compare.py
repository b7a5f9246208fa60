"""Stage compare: models/evaluation, models/tuned, models/trained and the audit -> models/comparison/."""

from pathlib import Path

from pipeline.comparison import (
    digest_bundles,
    load_comparison,
    load_training_seconds,
    results_table,
    save_comparison,
    views_table,
    with_training_time,
)
from pipeline.decision import decide, describe
from pipeline.params import load_params
from pipeline.stages import run_stage
from pipeline.storage import read_json
from pipeline.tables import render_table


def main() -> None:
    params = load_params()
    comparison = load_comparison(
        Path("models"), cells=params.cells, metric=params.compare.metric, views=params.compare.views
    )
    verdict = decide(
        comparison,
        served=params.serve.cell,
        audit=read_json(Path("data/series/audit.json")),
        rope=params.compare.rope,
        step_size=params.window.step_size,
        independent_series=params.compare.independent_series,
    )
    verdict["bundles"] = digest_bundles(Path("models/trained"), verdict["models"])
    save_comparison(comparison, verdict, Path("models/comparison"))
    # Seconds differ from run to run: they are shown, and written nowhere.
    seconds = load_training_seconds(Path("models/timings"), params.cells)
    print(render_table(with_training_time(results_table(comparison), seconds)))
    print(render_table(views_table(verdict["views"])))
    print(describe(comparison))
    print(f"Verdict: {verdict['words']}")


if __name__ == "__main__":
    run_stage(main)
