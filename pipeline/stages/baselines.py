"""Stage baselines: data/windows/fit and data/windows/test -> models/evaluation/baselines.*."""

from pathlib import Path

from threadpoolctl import threadpool_limits

from pipeline.baselines import evaluate_baselines
from pipeline.evaluation import save_evaluation
from pipeline.params import load_params
from pipeline.stages import run_stage
from pipeline.windows import load_fit, load_test


def main() -> None:
    params = load_params()
    fit, test = load_fit(Path("data/windows/fit")), load_test(Path("data/windows/test"))
    with threadpool_limits(params.compute.threads):  # the last bits of a sum of products depend on it
        evaluation = evaluate_baselines(
            fit,
            test,
            quantiles=params.quantiles,
            alphas=params.baselines.ridge_alphas,
            season_length=params.evaluate.season_length,
        )
    save_evaluation(evaluation, Path("models/evaluation"), name="baselines")


if __name__ == "__main__":
    run_stage(main)
