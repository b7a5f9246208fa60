"""Stage train_view@{view}: every cell's network in a fair view, trained as stage train does -> models/views/{view}/."""

from pathlib import Path

from pipeline.hparams import Hparams
from pipeline.params import load_params
from pipeline.stages import run_stage
from pipeline.storage import read_json, replacing, write_json
from pipeline.trained import train_seeds
from pipeline.views import reference_cell, view_spec
from pipeline.windows import load_fit

FIT = Path("data/windows/fit")


def main(view: str) -> None:
    params = load_params()
    fit = load_fit(FIT)
    found = {cell: read_json(Path(f"models/tuned/{cell}.json")) for cell in params.cells}
    tuned = {cell: fit.spec(cell, params.quantiles, Hparams(**f["best"]["hparams"])) for cell, f in found.items()}
    specs = {cell: view_spec(view, cell, tuned, reference=reference_cell(found)) for cell in params.cells}
    with replacing(Path(f"models/views/{view}")) as out:
        out.mkdir()
        timings = {
            cell: train_seeds(
                spec,
                params,
                fit,
                source=FIT,
                out=out / cell,
                stage=f"train_view@{view}: {cell}",
                # A network that stage train has trained is taken from there.
                kept_as=f"train-{cell}" if spec == tuned[cell] else f"view-{view}-{cell}",
            )
            for cell, spec in specs.items()
        }
    write_json(timings, Path(f"models/timings/view-{view}.json"))


if __name__ == "__main__":
    run_stage(main)
