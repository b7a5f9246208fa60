"""Stage baselines: data/windows/fit and data/windows/test -> models/evaluation/, models/trained/ridge/."""

from pathlib import Path

from threadpoolctl import threadpool_limits

from pipeline.baselines import choose_linear_map, evaluate_baselines, spread_on_validation
from pipeline.evaluation import save_evaluation
from pipeline.linear_bundle import save_linear_map
from pipeline.params import SERVED_BASELINE, load_params
from pipeline.stages import run_stage
from pipeline.windows import load_fit, load_test

FIT, TEST = Path("data/windows/fit"), Path("data/windows/test")


def main() -> None:
    params = load_params()
    fit, test, season_length = load_fit(FIT), load_test(TEST), params.evaluate.season_length
    with threadpool_limits(params.compute.threads):  # the last bits of a sum of products depend on it
        ridge = choose_linear_map(fit, alphas=params.baselines.ridge_alphas, season_length=season_length)
        evaluation = evaluate_baselines(fit, test, ridge=ridge, quantiles=params.quantiles, season_length=season_length)
        offsets, _ = spread_on_validation(fit, ridge.forecast, params.quantiles)
    save_evaluation(evaluation, Path("models/evaluation"), name="baselines")
    save_linear_map(Path("models/trained") / SERVED_BASELINE, ridge, offsets, fit=fit, params=params, source=FIT)


if __name__ == "__main__":
    run_stage(main)
