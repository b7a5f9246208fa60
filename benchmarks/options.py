"""What each choice of the search space is worth on validation: the tuned network with one choice changed at a time.

    python -m benchmarks.options m4-hourly hospital      after `python -m benchmarks.accuracy` of the same names
    python -m benchmarks.options --page                  writes OPTIONS.md from results/options.json alone

Figures go to results/options.json, and the page OPTIONS.md is made of them. The test part is not read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.accuracy import check_finished, made
from benchmarks.benchmark import HERE, Json, load_benchmark, names
from benchmarks.pages import save_page
from pipeline import worker
from pipeline.errors import GatecastError
from pipeline.executor import workers
from pipeline.hparams import Hparams
from pipeline.metrics import rounded, score
from pipeline.params import Params, load_params
from pipeline.storage import read_json, write_json
from pipeline.tables import align_rows
from pipeline.windows import FitSet, load_fit

SEEDS = (1, 2)
EPOCHS, PATIENCE = 20, 6
TUNED = "as tuned"
CELL = "gru"
RESULTS = HERE / "results" / "options.json"
LEFT_OUT = HERE / "results" / "left_out.json"
PAGE = HERE / "OPTIONS.md"


def main() -> None:
    """Measures the choices on some data sets, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--only", nargs="*", help="choices to measure, such as head=copy; all by default")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/.work"))
    parser.add_argument("--page", action="store_true", help="write the page alone")
    args = parser.parse_args()
    results: Json = read_json(RESULTS) if RESULTS.exists() else {}
    try:
        for name in args.names:
            check_finished(load_benchmark(name), args.work.resolve())
            measured = measure_options(args.work.resolve() / name, CELL, args.only)
            results[name] = {**with_earlier(measured, results.get(name)), **made()}
            write_json(results, RESULTS)
    except GatecastError as error:
        sys.exit(f"error: {error}")
    save_page(render_page(results, read_json(LEFT_OUT)), PAGE)


def with_earlier(measured: Json, earlier: Json | None) -> Json:
    """What was measured, with what was measured earlier of other choices of the same tuned network."""
    same = ("cell", "tuned", "seeds")
    if earlier is None or any(earlier[key] != measured[key] for key in same):
        return measured
    return measured | {"options": {**earlier["options"], **measured["options"]}}


def measure_options(work: Path, cell: str, only: list[str] | None) -> Json:
    """Trains the tuned network, and each of its neighbours, with the same seeds.

    Returns:
        The tuned hyperparameters; and by choice the validation loss and MASE, each a mean over the seeds.
    """
    params, fit = load_params(work / "params.yaml"), load_fit(work / "data/windows/fit")
    tuned = Hparams(**read_json(work / f"models/tuned/{cell}.json")["best"]["hparams"])
    chosen = {
        name: hparams
        for name, hparams in neighbours(tuned, fit, params.evaluate.season_length)
        if only is None or name in {*only, TUNED}
    }
    calls = [(cell, params, hparams, seed) for hparams in chosen.values() for seed in SEEDS]
    found: dict[int, Any] = {}
    with workers(2, initializer=worker.prepare, arguments=(work / "data/windows/fit", params.compute.threads)) as pool:
        for i, result in pool.map(train_one, calls):
            if isinstance(result, Exception):
                raise GatecastError(f"{work.name}: {result}") from result
            found[i] = result
    means = {
        name: {key: fmean(found[len(SEEDS) * place + i][key] for i in range(len(SEEDS))) for key in ("loss", "mase")}
        for place, name in enumerate(chosen)
    }
    return {"cell": cell, "tuned": tuned.to_json(), "seeds": list(SEEDS), "options": rounded(means)}


def neighbours(tuned: Hparams, fit: FitSet, season_length: int) -> Iterator[tuple[str, Hparams]]:
    """The tuned hyperparameters, and all that differ from them in one choice."""
    context = fit.train.context_length
    halves = {round(0.5 * context): 0.5, context: 1.0}
    choices: Mapping[str, Mapping[Any, Any]] = {
        "segment_length": {
            max(1, season_length // 2): "season/2", season_length: "season", 2 * season_length: "2*season"
        },
        "units": {64: 64, 128: 128, 256: 256},
        "layers": {1: 1, 2: 2},
        "dropout": {0.1: 0.1, 0.5: 0.5},
        "batch_size": {64: 64, 256: 256},
        "context_used": halves,
        "location": {"last": "last", "mean": "mean"},
        "transform": {"none": "none", **({"log1p": "log1p"} if np.nanmin(fit.train.values) >= 0 else {})},
        "head": {"plain": "plain", "copy": "copy"},
        "linear": {"none": "none", "ridge": "ridge"},
        "calendar": {"none": "none", "auto": "auto"},
        "identity": {"none": "none", **({"embedding": "embedding"} if len(fit.ids) > 1 else {})},
    }  # fmt: skip
    yield TUNED, tuned
    for name, values in choices.items():
        for value, shown in values.items():
            if getattr(tuned, name) != value:
                label = "context_share" if name == "context_used" else name
                yield f"{label}={shown}", replace(tuned, **{name: value})


def train_one(cell: str, params: Params, hparams: Hparams, seed: int) -> Json:
    """The validation loss and MASE of one network; runs in a worker."""
    import keras

    from pipeline.training import fit_network

    keras.backend.clear_session()
    fit = worker._fit  # what `prepare` loaded
    spec = fit.spec(cell, params.quantiles, hparams)
    drawn = params.train.windows_per_epoch
    trained = fit_network(spec, fit, seed=seed, max_epochs=EPOCHS, patience=PATIENCE, windows_per_epoch=drawn)
    rows = [np.arange(start, min(start + 512, len(fit.val))) for start in range(0, len(fit.val), 512)]
    forecast = np.concatenate([np.asarray(trained.network(fit.val.inputs(spec, part))) for part in rows])
    scores = score(
        fit.val,
        forecast,
        quantiles=params.quantiles,
        ids=fit.ids,
        history=fit.history,
        season_length=params.evaluate.season_length,
    )
    return {"loss": trained.val_loss, "mase": scores.overall["mase"]}


def render_page(results: Json, left_out: Json) -> str:
    """The page: for each choice the change of the validation loss against the tuned network, by data set."""
    sets = sorted(results)
    options = sorted({option for name in sets for option in results[name]["options"]} - {TUNED})
    rows = [["choice", *sets]]
    rows.append(["tuned: loss / MASE", *(_figures(results[name]["options"][TUNED]) for name in sets)])
    rows += [[f"`{option}`", *(_change(results[name]["options"], option) for name in sets)] for option in options]
    tried = [["tried", "on", "without", "with"]]
    tried += [[row["what"], row["on"], row["without"], row["with"]] for row in left_out["tried"]]
    return "\n".join(
        [
            "# What the choices of the search space are worth",
            "",
            "Made by `python -m benchmarks.options`. Each row changes one choice of the tuned GRU and trains it again.",
            "The figures are the changes of the validation loss and of the validation MASE, each a mean over two",
            "seeds. Above zero the tuned choice is the better one. Two seeds differ by up to a few percent: small",
            "changes mean nothing. Below zero the search, of few trials, has missed something. A dash is what was not",
            "measured there; some choices are none of the search space any more.",
            "",
            align_rows(rows),
            "## Tried and left out",
            "",
            *left_out["note"],
            "",
            align_rows(tried),
        ]
    )


def _figures(found: Mapping[str, float]) -> str:
    return f"{found['loss']:.4f} / {found['mase']:.3f}"


def _change(options: Mapping[str, Mapping[str, float]], option: str) -> str:
    if option not in options:
        return "-"
    changes = [100 * (options[option][key] / options[TUNED][key] - 1) for key in ("loss", "mase")]
    return " / ".join(f"{change:+.1f} %" for change in changes)


if __name__ == "__main__":
    main()
