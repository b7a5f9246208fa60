"""The hyperparameter search: Keras Tuner proposes, workers try, a ledger remembers every trial."""

from __future__ import annotations

import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import GatecastError
from pipeline.hparams import Hparams
from pipeline.params import FloatRange, IntRange, SearchSpace, TuneParams
from pipeline.quiet import loading
from pipeline.storage import replacing

if TYPE_CHECKING:
    import keras_tuner

OBJECTIVE = "val_loss"
ATTEMPTS_PER_TRIAL = 4  # proposals, failed and duplicate ones included, before the search gives up
_COLLISIONS = 1000  # random draws in a row that were tried before, after which a space counts as exhausted; not 20
UNBOUNDED = 9999  # the budget is counted here, in completed trials; four digits number the trials

Row = dict[str, Any]
RunRound = Callable[[Sequence["Proposal"]], Iterator[tuple[int, "Outcome"]]]


@dataclass(frozen=True)
class Proposal:
    """One trial to run: hyperparameters, the seed of its network and the most epochs it may take."""

    trial: str
    values: Mapping[str, Any]
    seed: int
    max_epochs: int


@dataclass(frozen=True)
class Outcome:
    """What a trial gave: its score with the epochs run and the training windows seen in them, or why it failed."""

    score: float | None
    epochs: int
    best_epoch: int | None
    error: str | None = None
    windows: int = 0


def search(params: TuneParams, space: SearchSpace, *, run_round: RunRound, ledger: Ledger) -> list[Row]:
    """Searches until the budget of completed trials is spent; what the ledger has is not run again.

    Args:
        params: algorithm, budget, seed and trials side by side.
        space: of one cell.
        run_round: runs the trials of a round and yields each one's place in it and outcome, in any order.
        ledger: of earlier rows; every new outcome is appended to it at once.

    Returns:
        A row for every trial in the order they were proposed: completed, failed and duplicate ones.
    """
    done = ledger.rows()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        oracle, drawn = _oracle(params, space, folder)
        while (left := params.max_trials - (completed := len(_completed(rows)))) > 0:
            if len(rows) >= ATTEMPTS_PER_TRIAL * params.max_trials:
                break
            # Trials that no result has a say in wait for none, so that no process does.
            trials = _propose(oracle, min(max(params.parallel, drawn - completed), left))
            if not trials:
                break
            fresh = _round(trials, rows, done, params, run_round=run_round, ledger=ledger)
            for trial, row in zip(trials, fresh, strict=True):
                _tell(oracle, trial, row)
            rows += fresh
    return rows


def _completed(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["status"] == "completed"]


def summarise(
    cell: str, rows: Sequence[Row], params: TuneParams, space: SearchSpace, *, context_length: int
) -> dict[str, Any]:
    """The result of a search: best hyperparameters, the budget spent, and the whole ledger.

    Raises:
        GatecastError: no trial completed.
    """
    completed = _completed(rows)
    if not completed:
        reason = next((row["error"] for row in rows if row["error"]), "no trial was proposed")
        raise GatecastError(f"tune@{cell}: none of {len(rows)} trials completed; the first one: {reason}")
    best = min(completed, key=lambda row: (row["score"], row["trial"]))
    return {
        "cell": cell,
        "algorithm": params.algorithm,
        "objective": OBJECTIVE,
        "budget": {"requested": params.max_trials}
        | {status: sum(row["status"] == status for row in rows) for status in ("completed", "failed", "duplicate")}
        | {spent: sum(row[spent] for row in rows) for spent in ("epochs", "windows")},
        "epoch_rule": params.model_dump(include={"max_epochs", "patience", "windows_per_epoch"}),
        "space": space.model_dump(mode="json"),
        "best": {
            "trial": best["trial"],
            "score": best["score"],
            "hparams": hparams_of(best["values"], context_length).to_json(),
        },
        "trials": list(rows),
    }


def fit_space(
    space: SearchSpace, *, season_length: int, longest: int, lowest: float, series_count: int, calendar: bool
) -> SearchSpace:
    """A space with what one data set leaves of its choices.

    Args:
        space: of one cell, as params.yaml has it.
        season_length: in steps; what `season` stands for in `segment_length`.
        longest: the longest segment that makes sense, the longer of context and horizon.
        lowest: the lowest value observed; `log1p` is no choice where it is negative.
        series_count: of a single series an `embedding` says nothing, and is no choice.
        calendar: whether the frequency shows any; where it does not, `auto` is no choice.

    Returns:
        The space with segment lengths in steps.

    Raises:
        GatecastError: nothing is left of a choice.
    """
    update: dict[str, Any] = {}
    if not isinstance(space.segment_length, IntRange):
        steps = [_in_steps(choice, season_length) for choice in space.segment_length]
        update["segment_length"] = tuple(dict.fromkeys(length for length in steps if length <= longest))
        if not update["segment_length"]:
            raise GatecastError(
                f"tune.space: every segment_length is longer than both window.context_length and window.horizon, "
                f"{longest}. Received: {steps} (evaluate.season_length {season_length}); add a shorter one"
            )
    if lowest < 0:
        update["transform"] = tuple(choice for choice in space.transform if choice != "log1p")
        if not update["transform"]:
            raise GatecastError(
                f"tune.space: transform log1p needs values that are never negative. Received: {lowest:g} in the fit "
                "part; add none to the transform choices"
            )
    if series_count == 1:
        update["identity"] = ("none",)
    if not calendar:
        update["calendar"] = ("none",)
    return space.model_copy(update=update)


def _in_steps(choice: int | str, season_length: int) -> int:
    """A segment length in steps: as it is, or a part or multiple of a season."""
    if isinstance(choice, int):
        return choice
    times, _, parts = choice.partition("season")
    return max(1, round(season_length * int(times.rstrip("*") or 1) / int(parts.lstrip("/") or 1)))


def hparams_of(values: Mapping[str, Any], context_length: int) -> Hparams:
    """The hyperparameters of a trial: without what a Hyperband search adds for itself, lengths in steps."""
    own = {name: value for name, value in values.items() if not name.startswith("tuner/")}
    used = max(1, round(own.pop("context_share") * context_length))
    return Hparams(**own, context_used=used)


class Ledger:
    """Rows of finished trials in a file that a kill at any moment leaves readable.

    Args:
        path: a file of JSON lines.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> dict[str, Row]:
        """The finished trials by id; a line that a kill cut short is left out."""
        if not self._path.exists():
            return {}
        text = self._path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            with replacing(self._path) as beside:
                beside.write_text(whole, encoding="utf-8")
        return {row["trial"]: row for row in map(json.loads, whole.splitlines())}

    def append(self, row: Row) -> None:
        """Adds a row, on the disk when this returns."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _round(
    trials: Sequence[keras_tuner.engine.trial.Trial],
    earlier: Sequence[Row],
    done: Mapping[str, Row],
    params: TuneParams,
    *,
    run_round: RunRound,
    ledger: Ledger,
) -> list[Row]:
    """The rows of one round's trials, from the ledger, from an equal earlier trial, or by running them."""
    scores = {_key(row["values"]): row for row in _completed(earlier)}
    rows: list[Row | None] = [None] * len(trials)
    to_run: list[tuple[int, Proposal]] = []
    for i, trial in enumerate(trials):
        values = dict(trial.hyperparameters.values)
        epochs = int(values.get("tuner/epochs", params.max_epochs))
        proposal = Proposal(trial.trial_id, values, trial_seed(params.seed, trial.trial_id), epochs)
        kept = done.get(trial.trial_id)
        if kept is not None and kept["values"] == values:
            rows[i] = kept
        elif (twin := scores.get(_key(values))) is not None:
            rows[i] = _row(proposal, Outcome(twin["score"], 0, None), "duplicate")
        else:
            to_run.append((i, proposal))
    for place, outcome in run_round([proposal for _, proposal in to_run]) if to_run else ():
        i, proposal = to_run[place]
        row = _row(proposal, outcome, "completed" if outcome.score is not None else "failed")
        ledger.append(row)
        rows[i] = row
    return [row for row in rows if row is not None]


def trial_seed(seed: int, trial: str) -> int:
    """The seed of a trial's network: of its id alone, whatever ran before it."""
    return int(np.random.SeedSequence([seed, int(trial)]).generate_state(1)[0] >> 2) + 1


def _row(proposal: Proposal, outcome: Outcome, status: str) -> Row:
    return {
        "trial": proposal.trial,
        "status": status,
        "score": outcome.score,
        "epochs": outcome.epochs,
        "windows": outcome.windows,
        "best_epoch": outcome.best_epoch,
        "seed": proposal.seed,
        "values": dict(proposal.values),
        "error": outcome.error,
    }


def _key(values: Mapping[str, Any]) -> str:
    """Equal for trials that would train the same network for as long."""
    told = {k: v for k, v in values.items() if not k.startswith("tuner/") or k == "tuner/epochs"}
    return json.dumps(told, sort_keys=True)


def _oracle(params: TuneParams, space: SearchSpace, folder: str) -> tuple[keras_tuner.Oracle, int]:
    """A fresh oracle, and how many completed trials it has before results have a say in what it proposes.

    Replaying the ledger brings it to where a killed search was.
    """
    with loading():  # it loads TensorFlow
        import keras_tuner

        from pipeline.local_search import FIRST, LocalSearchOracle

    hyperparameters = _hyperparameters(space)
    common = {
        "objective": keras_tuner.Objective(OBJECTIVE, "min"),
        "hyperparameters": hyperparameters,
        "seed": params.seed,
        "max_consecutive_failed_trials": UNBOUNDED,
    }
    drawn = 0
    if params.algorithm == "hyperband":
        oracle = keras_tuner.oracles.HyperbandOracle(
            max_epochs=params.max_epochs, hyperband_iterations=UNBOUNDED, **common
        )
    elif params.algorithm == "bayesian":
        drawn = FIRST  # three for each hyperparameter, as Keras Tuner has it, are more than most searches have
        oracle = keras_tuner.oracles.BayesianOptimizationOracle(
            max_trials=UNBOUNDED, num_initial_points=drawn, **common
        )
    elif params.algorithm == "local":
        drawn = FIRST
        oracle = LocalSearchOracle(max_trials=UNBOUNDED, **common)
    else:
        drawn = UNBOUNDED
        oracle = keras_tuner.oracles.RandomSearchOracle(max_trials=UNBOUNDED, **common)
    oracle.verbose = 0
    oracle._max_collisions = _COLLISIONS
    oracle._set_project_dir(folder, "oracle")
    return oracle, drawn


def _hyperparameters(space: SearchSpace) -> keras_tuner.HyperParameters:
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    for name in type(space).model_fields:
        allowed = getattr(space, name)
        if isinstance(allowed, IntRange):
            hp.Int(name, allowed.min, allowed.max, **_range(allowed))
        elif isinstance(allowed, FloatRange):
            hp.Float(name, allowed.min, allowed.max, **_range(allowed))
        else:
            hp.Choice(name, list(allowed), ordered=not isinstance(allowed[0], str))
    return hp


def _range(allowed: IntRange | FloatRange) -> dict[str, Any]:
    step = {} if allowed.step is None else {"step": allowed.step}
    return {"sampling": allowed.sampling, **step}


def _propose(oracle: keras_tuner.Oracle, count: int) -> list[keras_tuner.engine.trial.Trial]:
    """The next trials; fewer when the oracle waits for these first, none when it has no more."""
    from sklearn.exceptions import ConvergenceWarning

    trials = []
    with warnings.catch_warnings():
        # A Bayesian search has few trials to learn from, and is told so for each.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for i in range(count):
            trial = oracle.create_trial(f"worker{i}")
            if trial.status != "RUNNING":
                break
            trials.append(trial)
    return trials


def _tell(oracle: keras_tuner.Oracle, trial: keras_tuner.engine.trial.Trial, row: Row) -> None:
    if row["score"] is None or not math.isfinite(row["score"]):
        trial.status = "FAILED"
        trial.message = row["error"]
    else:
        oracle.update_trial(trial.trial_id, {OBJECTIVE: row["score"]})
        trial.status = "COMPLETED"
    oracle.end_trial(trial)
