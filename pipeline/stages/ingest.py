"""Stage ingest: the user's files -> data/series."""

import logging
from pathlib import Path

from pipeline.params import load_params
from pipeline.series import Columns, build_panel, save_panel
from pipeline.sources import read_source
from pipeline.stages import run_stage


def main() -> None:
    params = load_params()
    panel = build_panel(
        read_source(params.data),
        columns=Columns.from_params(params.data),
        repair=params.data.repair,
        min_history=params.data.min_history,
        end=params.data.end,
    )
    save_panel(panel, Path("data/series"))
    audit = panel.audit
    repairs = ", ".join(f"{code} {repair['count']:,}" for code, repair in audit["repairs"].items()) or "none"
    logging.getLogger(__name__).info(
        "ingest: %s series, %s steps, %s missing; repairs: %s",
        f"{audit['series']['used']:,}",
        f"{audit['steps']:,}",
        f"{audit['missing']:,}",
        repairs,
    )


if __name__ == "__main__":
    run_stage(main)
