"""Stage train@{cell}: the tuned network, once per seed, and the bundle of them all -> models/trained/{cell}/."""

from pathlib import Path

from pipeline.hparams import Hparams
from pipeline.params import load_params
from pipeline.stages import run_stage
from pipeline.storage import read_json, write_json
from pipeline.trained import train_seeds
from pipeline.windows import load_fit

FIT = Path("data/windows/fit")


def main(cell: str) -> None:
    params = load_params()
    fit = load_fit(FIT)
    spec = fit.spec(cell, params.quantiles, Hparams(**read_json(Path(f"models/tuned/{cell}.json"))["best"]["hparams"]))
    timings = train_seeds(
        spec,
        params,
        fit,
        source=FIT,
        out=Path(f"models/trained/{cell}"),
        stage=f"train@{cell}",
        kept_as=f"train-{cell}",
    )
    write_json(timings, Path(f"models/timings/train-{cell}.json"))


if __name__ == "__main__":
    run_stage(main)
