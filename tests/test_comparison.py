from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.readme import replace_results, update_readme
from pipeline.comparison import (
    Comparison,
    curves_table,
    load_comparison,
    load_training_seconds,
    render_results,
    results_table,
    save_comparison,
    steps_table,
    views_table,
    with_training_time,
)
from pipeline.cost import describe_cost, multiply_accumulates
from pipeline.decision import decide, describe
from pipeline.errors import GatecastError
from pipeline.hparams import Hparams, NetworkSpec
from pipeline.losses import METRICS, save_losses
from pipeline.params import ServeParams, load_params
from pipeline.stages import compare as stage
from pipeline.storage import read_json, sha256_of, write_json
from pipeline.tables import align_rows, render_table

AUDIT = {
    "series": {"read": 3, "used": 2},
    "steps": 400,
    "missing": 5,
    "rows": {"read": 401, "used": 400},
    "repairs": {"duplicate_rows": 1},
    "per_series": {"a": {"steps": 200}},
    "columns": {"freq": "D"},
}


def figures(mase: float | None, **changes: Any) -> dict[str, Any]:
    size = mase or 1.0
    return {
        **{"mae": 2 * size, "rmse": 3 * size, "smape": 4 * size, "mase": mase, "rmsse": mase},
        **{"scaled_crps": size / 10, "coverage_80": 0.79, "width_80": size, "series_without_scale": 0},
        **changes,
    }


def write_cell(
    models: Path, cell: str, *, validation: float | None, test: float, seeds: tuple[int, ...] = (11, 12)
) -> None:
    """What the stages before leave of a cell; its networks are .1 worse than the ensemble, and .1 per seed."""
    per_seed = {str(seed): figures(test + 0.1 * number) for number, seed in enumerate(seeds, start=1)}
    networks = [{"seed": int(seed), **found} for seed, found in per_seed.items()]
    write_json({**figures(test), "per_seed": networks}, models / "evaluation" / f"{cell}.json")
    details = {
        "seeds_mean": figures(float(np.mean([entry["mase"] for entry in per_seed.values()]))),
        "seeds_sd": figures(0.05),
        **{"n_series": 2, "n_cutoffs": 16, "n_windows": 32},
    }
    write_json(details, models / "evaluation" / f"{cell}-details.json")
    lines = {"ensemble": test, **{seed: entry["mase"] for seed, entry in per_seed.items()}}
    steps = [(name, step, mase * step) for name, mase in lines.items() for step in (1, 2, 3)]
    write_steps(models / "evaluation" / f"{cell}-steps.csv", steps)
    write_losses(models / "evaluation", cell, {"ensemble": test, **{s: e["mase"] for s, e in per_seed.items()}})
    bundle = {"seeds": list(seeds), "parameters": 1234, **spec_of(cell).to_json()}
    write_json(bundle, models / "trained" / cell / "forecaster.json")
    write_json(figures(validation), models / "trained" / cell / "validation.json")
    curves = [f"{seed},{epoch},0.5,{0.6 / epoch},0.01\n" for seed in seeds for epoch in (1, 2)]
    (models / "trained" / cell / "curves.csv").write_text("seed,epoch,loss,val_loss,learning_rate\n" + "".join(curves))
    write_json(tuned(cell), models / "tuned" / f"{cell}.json")
    write_json({"seconds": 61.25}, models / "timings" / f"train-{cell}.json")


def spec_of(cell: str, units: int = 16) -> NetworkSpec:
    """A network of three steps ahead."""
    hparams = Hparams(
        **{"segment_length": 3, "units": units, "layers": 1, "dropout": 0.1, "learning_rate": 1e-3, "batch_size": 64},
        **{"context_used": 12, "location": "last", "transform": "none", "head": "plain", "linear": "none"},
        **{"calendar": "none", "identity": "none"},
    )
    return NetworkSpec(cell, 12, 3, (0.1, 0.5, 0.9), hparams)


def tuned(cell: str, completed: int = 7) -> dict[str, Any]:
    """The result of a search with one failed trial."""
    scores = [0.6 - 0.01 * number for number in range(completed)]
    trials = [{"status": "completed", "score": score, "epochs": 5, "windows": 100} for score in scores]
    return {
        "cell": cell,
        "algorithm": "local",
        "budget": {"requested": completed, "completed": completed, "failed": 1, "duplicate": 0},
        "epoch_rule": {"max_epochs": 10, "patience": 4, "windows_per_epoch": 8192},
        "space": {"units": [16]},
        "trials": [*trials, {"status": "failed", "score": None, "epochs": 0, "windows": 0}],
    }


def write_losses(folder: Path, name: str, levels: dict[str, float]) -> None:
    """Losses of 16 cutoffs of two series around a level per forecast, and along the horizon."""
    shocks = 1 + 0.2 * np.random.default_rng(len(name)).standard_normal(32)
    frames = []
    for forecast, level in levels.items():
        frame = pd.DataFrame({"forecast": forecast, "unique_id": np.repeat(["a", "b"], 16)})
        frame["cutoff"] = np.tile(np.datetime64("2020-01-01") + np.arange(16), 2)
        frames.append(frame.assign(steps=3, **dict.fromkeys(METRICS, level * shocks)))
    save_losses(pd.concat(frames), folder / f"{name}-losses.parquet")
    cutoffs = np.repeat(np.datetime64("2020-01-01") + np.arange(16), 3)
    horizon = pd.DataFrame({"cutoff": cutoffs, "step": np.tile([1, 2, 3], 16)})
    rng = np.random.default_rng(0)
    save_losses(horizon.assign(**{m: rng.random(48) for m in METRICS}), folder / f"{name}-horizon.parquet")


def write_view(models: Path, view: str, cell: str, *, units: int, test: float) -> None:
    """What the stages of a fair view leave."""
    folder = models / "evaluation"
    write_losses(folder, f"view-{view}-{cell}", {"ensemble": test, "11": test, "12": test})
    write_json(describe_cost(spec_of(cell, units)), folder / f"view-{view}-{cell}.json")


def write_steps(path: Path, rows: list[tuple[str, int, float]]) -> None:
    pd.DataFrame(rows, columns=["forecast", "step", "mase"]).to_csv(path, index=False)


def write_models(models: Path) -> Path:
    """Two cells, of which lstm is best on validation and gru on test, and baselines, of which ridge is best."""
    write_cell(models, "lstm", validation=0.5, test=0.6)
    write_cell(models, "gru", validation=0.55, test=0.48)
    errors = {"seasonal_naive": (1.4, 1.3), "seasonal_drift": (0.7, 0.55), "ridge": (0.52, 0.5)}
    for name, (_, test) in errors.items():
        write_json(figures(test), models / "evaluation" / f"{name}.json")
    validation = {name: figures(found) for name, (found, _) in errors.items()}
    write_json({"validation": validation, "ridge_alpha": 1.0}, models / "evaluation" / "baselines-details.json")
    write_losses(models / "evaluation", "baselines", {name: test for name, (_, test) in errors.items()})
    steps = [(name, step, test * step) for name, (_, test) in errors.items() for step in (1, 2, 3)]
    write_steps(models / "evaluation" / "baselines-steps.csv", steps)
    return models


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write_models(tmp_path / "models")


def load(models: Path, *cells: str, metric: str = "mase", views: tuple[str, ...] = ()) -> Comparison:
    return load_comparison(models, cells=cells or ("gru", "lstm"), metric=metric, views=views)


def verdict_of(comparison: Comparison, *, served: str = "best") -> dict[str, Any]:
    return decide(comparison, served=served, audit=AUDIT, rope=0.01, step_size=1, independent_series=False)


def test_the_best_on_validation_is_decided_without_the_test_part(models: Path) -> None:
    assert verdict_of(load(models))["best_on_validation"] == "lstm"
    write_cell(models, "lstm", validation=0.5, test=99.0)
    assert verdict_of(load(models))["best_on_validation"] == "lstm"
    write_cell(models, "lstm", validation=0.56, test=0.01)
    assert verdict_of(load(models))["best_on_validation"] == "gru"


def test_of_equal_cells_the_first_in_params_is_best(models: Path) -> None:
    write_cell(models, "lstm", validation=0.55, test=0.1)
    assert load(models, "gru", "lstm").ranked[0].name == "gru"
    assert load(models, "lstm", "gru").ranked[0].name == "lstm"


def test_the_metric_of_params_decides(models: Path) -> None:
    write_json(figures(0.9, rmsse=0.1), models / "trained" / "gru" / "validation.json")
    assert load(models, metric="mase").ranked[0].name == "lstm"
    assert load(models, metric="rmsse").ranked[0].name == "gru"


def test_the_verdict_says_what_was_decided_and_what_it_rests_on(models: Path) -> None:
    verdict = verdict_of(load(models))
    rests_on = {
        "schema": 2,
        "verdict": "undecided",
        "cell": None,
        "recommended": "lstm",
        "best_on_validation": "lstm",
        "served": "lstm",
        "metric": "mase",
        "rope": 0.01,
        "pair": ["lstm", "gru"],
        "n_cutoffs": 16,
        "n_series": 2,
        "horizons_worth": pytest.approx(16 / 3),
        "seeds": [11, 12],
    }
    assert {key: verdict[key] for key in rests_on} == rests_on
    assert verdict["audit"] == {key: AUDIT[key] for key in ("series", "steps", "missing", "rows", "repairs")}
    assert verdict["baseline"] == {
        **{"name": "ridge", "validation": 0.52, "test": 0.5, "beats_best_cell_on_validation": False},
        "differences": {"lstm": None, "gru": None},
    }
    assert verdict["budget"]["equal"] is True
    assert verdict["budget"]["cells"]["gru"] == {
        **{"requested": 7, "completed": 7, "failed": 1, "duplicate": 0, "epochs": 35, "windows": 700}
    }


def test_searches_of_unequal_budget_are_refused(models: Path) -> None:
    write_json(tuned("gru", completed=3), models / "tuned" / "gru.json")
    verdict = verdict_of(load(models))
    assert (verdict["verdict"], verdict["budget"]["equal"]) == ("undecided", False)
    assert "completed trials: gru 3, lstm 7" in verdict["words"]


def test_views_are_shown_beside_the_tuned_networks(models: Path) -> None:
    for cell, units in (("lstm", 13), ("gru", 16)):
        write_view(models, "equal_parameters", cell, units=units, test=0.5)
    views = verdict_of(load(models, views=("equal_parameters",)))["views"]
    assert list(views) == ["tuned", "equal_parameters"]
    network = views["equal_parameters"]["cells"]["lstm"]
    assert (network["units"], network["recurrent_steps"], network["segment_length"]) == (13, 5, 3)
    assert network["multiply_accumulates"] == multiply_accumulates(spec_of("lstm", 13))
    assert views["tuned"]["cells"]["gru"]["error"] == pytest.approx(0.63, rel=0.2)


def test_the_recurrent_steps_of_every_view_are_in_a_table(models: Path) -> None:
    for cell in ("lstm", "gru"):
        write_view(models, "equal_units", cell, units=24, test=0.5)
    table = views_table(verdict_of(load(models, views=("equal_units",)))["views"])
    assert list(table["view"] + " " + table["model"]) == [
        *("tuned gru", "tuned lstm", "equal_units gru", "equal_units lstm")
    ]
    assert table["recurrent_steps"].tolist() == [5] * 4
    assert table["units"].tolist() == [16, 16, 24, 24]


def test_the_search_table_and_both_spaces_are_written(models: Path, tmp_path: Path) -> None:
    comparison = load(models)
    save_comparison(comparison, verdict_of(comparison), tmp_path / "out")
    search = pd.read_csv(tmp_path / "out/search.csv")
    assert list(search) == ["model", "trials", "expected_best", "lo", "hi"]
    assert search.groupby("model")["expected_best"].apply(lambda best: best.is_monotonic_decreasing).all()
    assert read_json(tmp_path / "out/spaces.json") == {"gru": {"units": [16]}, "lstm": {"units": [16]}}


def test_a_cell_named_in_serve_is_served_whatever_is_best(models: Path) -> None:
    verdict = verdict_of(load(models), served="gru")
    assert (verdict["served"], verdict["best_on_validation"]) == ("gru", "lstm")


def test_a_single_cell_differs_from_nothing(models: Path) -> None:
    verdict = verdict_of(load(models, "gru"))
    assert (verdict["best_on_validation"], verdict["relative_difference"]) == ("gru", None)
    assert verdict["baseline"]["beats_best_cell_on_validation"] is True


def test_only_the_cells_of_params_are_read(models: Path) -> None:
    (models / "evaluation" / "lstm.json").write_text("left over from before")
    assert list(results_table(load(models, "gru"))["model"]) == ["gru", "seasonal_naive", "seasonal_drift", "ridge"]


def test_the_table_has_cells_and_baselines_side_by_side(models: Path) -> None:
    table = results_table(load(models)).set_index("model")
    assert list(table.index) == ["gru", "lstm", "seasonal_naive", "seasonal_drift", "ridge"]
    gru, ridge = table.loc["gru"], table.loc["ridge"]
    assert (gru["mase"], gru["mase_seeds_mean"], gru["mase_seeds_sd"]) == (0.48, pytest.approx(0.63), 0.05)
    assert (gru["parameters"], gru["trials"], gru["validation_mase"]) == (1234, 7, 0.55)
    assert (ridge["mase"], ridge["validation_mase"]) == (0.5, 0.52)
    assert table.loc["seasonal_naive":, ["mase_seeds_mean", "parameters", "trials"]].isna().all(axis=None)


def test_a_step_has_the_ensemble_in_the_band_of_its_seeds(models: Path) -> None:
    steps = steps_table(load(models)).set_index(["model", "step"])
    assert list(steps.columns) == ["mase", "lo", "hi"]
    assert steps.loc[[("gru", 2)]].to_numpy()[0] == pytest.approx([2 * 0.48, 2 * 0.58, 2 * 0.68])
    assert steps.loc[[("ridge", 3)]].to_numpy()[0] == pytest.approx([1.5, 1.5, 1.5])
    assert len(steps) == 5 * 3


def test_the_closing_line_names_the_best_cell_and_the_best_baseline(models: Path) -> None:
    assert describe(load(models)) == (
        "lstm is best on validation (mase 0.5, 9.09 % below gru's 0.55); on test its mase is 0.6, "
        "20 % above ridge's 0.5, the best baseline on validation."
    )
    assert describe(load(models, "gru")) == (
        "gru is the only cell on validation (mase 0.55); on test its mase is 0.48, "
        "4 % below ridge's 0.5, the best baseline on validation."
    )


@pytest.mark.parametrize(
    "missing",
    [
        *("evaluation/gru.json", "evaluation/gru-details.json", "evaluation/gru-steps.csv", "evaluation/ridge.json"),
        "evaluation/baselines-details.json",
        *("evaluation/baselines-steps.csv", "tuned/gru.json", "trained/gru/forecaster.json"),
        *("trained/gru/validation.json", "evaluation/gru-losses.parquet", "evaluation/gru-horizon.parquet"),
        "evaluation/baselines-losses.parquet",
    ],
)
def test_a_missing_file_is_named(models: Path, missing: str) -> None:
    (models / missing).unlink()
    with pytest.raises(GatecastError, match=rf"{re.escape(missing)} not found; run `dvc repro`"):
        load(models)


def test_a_metric_that_is_undefined_on_validation_cannot_decide(models: Path) -> None:
    write_cell(models, "gru", validation=None, test=0.5)
    with pytest.raises(GatecastError, match=r"compare\.metric: gru has no mase.*season_length apart.*set it to mae"):
        load(models)
    write_json({**figures(0.5), "scaled_crps": None}, models / "trained" / "gru" / "validation.json")
    with pytest.raises(GatecastError, match=r"gru has no scaled_crps.*all values there are 0\).*set it to mae"):
        load(models, metric="scaled_crps")
    assert load(models, metric="mae").ranked


def test_undefined_figures_on_test_are_dashes(models: Path) -> None:
    metrics = read_json(models / "evaluation" / "gru.json")
    write_json({**metrics, "mase": None}, models / "evaluation" / "gru.json")
    comparison = load(models)
    assert verdict_of(comparison)["relative_difference"] is None
    assert re.search(r"^\| gru +\| +- \|", render_table(results_table(comparison)), re.MULTILINE)


def test_training_time_is_shown_where_it_is_known(models: Path) -> None:
    (models / "timings" / "train-lstm.json").unlink()
    seconds = load_training_seconds(models / "timings", ["gru", "lstm"])
    table = with_training_time(results_table(load(models)), seconds).set_index("model")
    assert table.loc["gru", "training_s"] == 61.25
    assert table["training_s"].isna().sum() == 4


def test_the_same_comparison_is_the_same_bytes_without_seconds(models: Path, tmp_path: Path) -> None:
    for number, seconds in enumerate((61.25, 99.5)):
        write_json({"seconds": seconds}, models / "timings" / "train-gru.json")
        comparison = load(models)
        save_comparison(comparison, verdict_of(comparison), tmp_path / str(number))
    assert sha256_of(tmp_path / "0") == sha256_of(tmp_path / "1")
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == [
        *("curves.csv", "search.csv", "spaces.json", "steps.csv", "table.csv", "verdict.json")
    ]
    assert "61.25" not in "".join(path.read_text() for path in (tmp_path / "0").iterdir())


def test_the_stage_prints_the_table_with_its_training_time_and_one_closing_line(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = load_params(Path(__file__).parents[1] / "params.yaml").model_copy(
        update={"cells": ("lstm", "gru"), "serve": ServeParams(cell="gru")}
    )
    monkeypatch.chdir(models.parent)
    monkeypatch.setattr(stage, "load_params", lambda: params)
    write_json(AUDIT, Path("data/series/audit.json"))
    stage.main()
    table, views, closing = capsys.readouterr().out.split("\n\n")
    assert all(len({len(row) for row in shown.splitlines()}) == 1 for shown in (table, views))
    header, _, first, *_ = table.splitlines()
    assert header.endswith("| training_s |")
    assert first.endswith("61.25 |")
    line, verdict = closing.splitlines()
    assert line == describe(load(models, "lstm", "gru"))
    written = read_json(Path("models/comparison/verdict.json"))
    assert written["served"] == "gru"
    assert verdict == f"Verdict: {written['words']}"
    assert list(pd.read_csv("models/comparison/table.csv")["model"])[:2] == ["lstm", "gru"]


def test_a_table_is_aligned_with_text_on_the_left_and_numbers_on_the_right() -> None:
    assert align_rows([["model", "n"], ["a", "12345"]]) == "| model |     n |\n| ----- | ----: |\n| a     | 12345 |\n"
    frame = pd.DataFrame({"model": ["a"], "x": [0.123456], "n": [123456], "none": [None]})
    assert render_table(frame).splitlines()[-1] == "| a     | 0.1235 | 123456 |    - |"


def test_the_readme_shows_cells_before_baselines_with_their_committed_figures(models: Path) -> None:
    files = {path.stem: read_json(path) for path in (models / "evaluation").glob("*.json")}
    table = render_results(files)
    names = [line.split("|")[1].strip() for line in table.splitlines()]
    assert names[2:] == ["lstm", "gru", "seasonal naive", "seasonal drift", "ridge"]
    gru, ridge = table.splitlines()[3], table.splitlines()[6]
    assert [field.strip() for field in gru.split("|")[2:-1]] == ["0.480", "0.630 ± 0.050", "1.920", "0.04800", "79.0 %"]
    assert [field.strip() for field in ridge.split("|")[2:-1]] == ["0.500", "-", "2.000", "0.05000", "79.0 %"]
    left_over = {name: found for name, found in files.items() if name != "lstm-details"}
    assert "lstm" not in render_results(left_over)


def test_the_readme_changes_between_its_markers_alone(models: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    names = ("results", "claims", "accuracy", "peers")
    tables = "\n\n".join(f"<!-- {name} -->\nearlier\n<!-- /{name} -->" for name in names)
    readme.write_text(f"# Title\n\n{tables}\n\nThe end.\n", encoding="utf-8")
    update_readme(readme, evaluation=models / "evaluation")
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("# Title\n\n<!-- results -->\n| model ")
    assert "|\n<!-- /results -->\n\n<!-- claims -->\n| claim" in text
    assert "|\n<!-- /claims -->\n\n<!-- accuracy -->\n| data set" in text
    assert "<!-- /accuracy -->\n\n<!-- peers -->\n| networks" in text
    assert text.endswith("|\n<!-- /peers -->\n\nThe end.\n")
    assert "earlier" not in text
    update_readme(readme, evaluation=models / "evaluation")
    assert readme.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "text", ["none", "<!-- results -->", "<!-- /results --> <!-- results -->", 2 * "<!-- results --><!-- /results -->"]
)
def test_a_readme_without_its_two_markers_is_refused(text: str) -> None:
    with pytest.raises(GatecastError, match="needed once each"):
        replace_results(text, "table\n")


def test_learning_curves_have_a_line_per_cell_and_seed(models: Path) -> None:
    curves = curves_table(load(models))
    assert list(curves) == ["model", "seed", "epoch", "loss", "val_loss"]
    assert set(curves["model"]) == {"lstm", "gru"}
    assert not curves.duplicated(["model", "seed", "epoch"]).any()
