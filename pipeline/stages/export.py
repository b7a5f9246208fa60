"""Stage export@{cell}: the networks of models/trained in the formats of other runtimes -> models/export/{cell}/."""

import logging
from pathlib import Path

from pipeline.params import load_params
from pipeline.quiet import load_tensorflow
from pipeline.stages import run_stage
from pipeline.windows import load_fit


def main(cell: str) -> None:
    params = load_params()
    load_tensorflow(params.compute.threads)
    logging.getLogger("absl").setLevel(logging.WARNING)  # it tells of names in the graph that nobody sees
    from pipeline.export.building import export_bundle

    fit = load_fit(Path("data/windows/fit"))
    export_bundle(Path("models/trained") / cell, fit.val, Path("models/export") / cell)


if __name__ == "__main__":
    run_stage(main)
