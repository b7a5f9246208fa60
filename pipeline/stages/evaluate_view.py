"""Stage evaluate_view@{view}-{cell}: a fair view's network and its losses -> models/evaluation/view-*."""

from pathlib import Path

from pipeline.cost import describe_cost
from pipeline.evaluation import evaluate_forecaster
from pipeline.forecaster import Forecaster
from pipeline.losses import save_losses
from pipeline.params import load_params
from pipeline.stages import run_stage
from pipeline.storage import write_json
from pipeline.windows import load_test


def main(view: str, cell: str) -> None:
    params = load_params()
    forecaster = Forecaster.load(Path("models/views") / view / cell)
    test = load_test(Path("data/windows/test"))
    evaluation = evaluate_forecaster(forecaster, test, season_length=params.evaluate.season_length)
    write_json(describe_cost(forecaster.spec), Path(f"models/evaluation/view-{view}-{cell}.json"))
    save_losses(evaluation.losses, Path(f"models/evaluation/view-{view}-{cell}-losses.parquet"))


if __name__ == "__main__":
    run_stage(main)
