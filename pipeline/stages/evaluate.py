"""Stage evaluate: data/windows/test and a cell's bundle -> models/evaluation/{cell}.*."""

from pathlib import Path

from pipeline.evaluation import evaluate_forecaster, save_evaluation
from pipeline.forecaster import Forecaster
from pipeline.params import load_params
from pipeline.stages import run_stage
from pipeline.windows import load_test


def main(cell: str) -> None:
    params = load_params()
    forecaster = Forecaster.load(Path("models/trained") / cell)
    test = load_test(Path("data/windows/test"))
    evaluation = evaluate_forecaster(forecaster, test, season_length=params.evaluate.season_length)
    save_evaluation(evaluation, Path("models/evaluation"), name=cell)


if __name__ == "__main__":
    run_stage(main)
