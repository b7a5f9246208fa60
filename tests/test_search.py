from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from panels import SEASON, WINDOW, save

from pipeline.errors import GatecastError
from pipeline.executor import WorkerDiedError
from pipeline.params import EvaluateParams, IntRange, SearchSpace, TuneParams, load_params
from pipeline.progress import Progress
from pipeline.search import Ledger, Outcome, Proposal, Row, fit_space, hparams_of, search, summarise, trial_seed
from pipeline.stages import tune
from pipeline.storage import read_json

ROOT = Path(__file__).parents[1]
COMMITTED = load_params(ROOT / "params.yaml").tune
SPACE = COMMITTED.space["gru"]
ALGORITHMS = ["local", "random", "bayesian", "hyperband"]


class Killed(BaseException):
    """Stands for a kill at this moment."""


class Lab:
    """Runs trials with a made-up score, and can be killed before its n-th outcome."""

    def __init__(self, *, dies_at: int | None = None, failing: Sequence[str] = (), backwards: int = 0) -> None:
        self.ran: list[str] = []
        self.rounds: list[int] = []
        self._dies_at, self._failing, self._backwards = dies_at, failing, backwards

    def run_round(self, proposals: Sequence[Proposal]) -> Iterator[tuple[int, Outcome]]:
        self.rounds.append(len(proposals))
        order = list(enumerate(proposals))
        for i, proposal in reversed(order) if self._backwards else order:
            if self._dies_at is not None and len(self.ran) >= self._dies_at:
                raise Killed
            self.ran.append(proposal.trial)
            if proposal.trial in self._failing:
                yield i, Outcome(None, 0, None, "ValueError: no")
            else:
                values = proposal.values
                score = values["units"] * values["learning_rate"] + proposal.seed * 1e-12
                yield i, Outcome(score, 7, 5, windows=7 * 640)


def tune_params(algorithm: str = "random", **changes: Any) -> TuneParams:
    return COMMITTED.model_copy(update={"algorithm": algorithm, "max_trials": 8, **changes})


def run(params: TuneParams, lab: Lab, path: Path, space: SearchSpace = SPACE) -> list[Row]:
    return search(params, space, run_round=lab.run_round, ledger=Ledger(path))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_search_killed_anywhere_ends_with_the_ledger_of_an_undisturbed_one(algorithm: str, tmp_path: Path) -> None:
    params = tune_params(algorithm)
    undisturbed = run(params, Lab(), tmp_path / "undisturbed")
    for moment in range(0, 8, 3):
        path = tmp_path / f"killed-{moment}"
        with pytest.raises(Killed):
            run(params, Lab(dies_at=moment, backwards=moment % 2), path)
        second = Lab(backwards=1)
        assert run(params, second, path) == undisturbed
        assert len(second.ran) == sum(row["status"] == "completed" for row in undisturbed) - moment


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_budget_is_counted_in_completed_trials(algorithm: str, tmp_path: Path) -> None:
    rows = run(tune_params(algorithm), Lab(failing=["0000", "0002"]), tmp_path / "ledger")
    statuses = [row["status"] for row in rows]
    assert statuses.count("completed") == 8
    assert statuses.count("failed") == 2
    assert [row["trial"] for row in rows] == sorted(row["trial"] for row in rows)


@pytest.mark.parametrize(
    ("algorithm", "rounds"),
    [("local", [8, 2, 2, 1]), ("random", [13]), ("bayesian", [8, 2, 2, 1]), ("hyperband", [2, 2, 2, 2])],
)
def test_trials_wait_for_others_only_where_results_have_a_say_in_them(
    algorithm: str, rounds: list[int], tmp_path: Path
) -> None:
    lab = Lab()
    run(tune_params(algorithm, max_trials=sum(rounds)), lab, tmp_path / "ledger")
    assert lab.rounds == rounds


@pytest.mark.parametrize(("algorithm", "drawn"), [("local", 8), ("random", 14), ("bayesian", 8)])
def test_what_is_drawn_at_random_is_the_same_however_many_run_side_by_side(
    algorithm: str, drawn: int, tmp_path: Path
) -> None:
    found = [
        run(tune_params(algorithm, max_trials=14, parallel=parallel), Lab(), tmp_path / f"{parallel}")[:drawn]
        for parallel in (1, 2, 3, 5)
    ]
    assert all(rows == found[0] for rows in found)


def test_progress_goes_on_from_the_best_of_earlier_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="pipeline.progress")
    progress = Progress("tune@gru", "trial", total=4, scores=[0.3, None, 0.2])
    progress.step("0003", score=0.25, note="9 epochs")
    first, last = caplog.messages
    assert first == "tune@gru: 4 trials, 3 of them finished before"
    assert "0003 (4 of 4)  val_loss 0.25000  best 0.20000" in last


def test_a_failed_trial_is_drawn_again_before_results_have_a_say(tmp_path: Path) -> None:
    lab = Lab(failing=["0001", "0006", "0008"])
    assert len(run(tune_params("local", max_trials=12, parallel=1), lab, tmp_path / "ledger")) == 15
    assert lab.rounds == [8, 2, 1, 1, 1, 1, 1]


def test_a_local_search_varies_two_hyperparameters_of_the_best_once_some_are_drawn(tmp_path: Path) -> None:
    rows = run(tune_params("local", max_trials=20, parallel=1), Lab(), tmp_path / "local")
    drawn = run(tune_params("random", max_trials=8, parallel=1), Lab(), tmp_path / "random")
    assert [row["values"] for row in rows[:8]] == [row["values"] for row in drawn]
    for number in range(8, 20):
        best = min(rows[:number], key=lambda row: row["score"])["values"]
        changed = {name for name, value in rows[number]["values"].items() if value != best[name]}
        assert 1 <= len(changed) <= 2  # a step in a range may end where it began
    scores = [row["score"] for row in rows]
    assert sum(scores[8:]) / 12 < 0.5 * sum(scores[:8]) / 8


def test_the_steps_of_a_local_search_stay_inside_the_space(tmp_path: Path) -> None:
    space = SPACE.model_copy(update={"units": IntRange(min=5, max=9, step=2), "dropout": (0.0, 0.5)})
    for row in run(tune_params("local", max_trials=40), Lab(), tmp_path / "ledger", space):
        assert row["values"]["units"] in {5, 7, 9}
        assert row["values"]["dropout"] in {0.0, 0.5}
        assert SPACE.learning_rate.min <= row["values"]["learning_rate"] <= SPACE.learning_rate.max  # type: ignore[union-attr]


@pytest.mark.parametrize("algorithm", ["local", "random"])
def test_more_trials_go_on_from_the_earlier_ones(algorithm: str, tmp_path: Path) -> None:
    eight = run(tune_params(algorithm), Lab(), tmp_path / "ledger")
    lab = Lab()
    twelve = run(tune_params(algorithm, max_trials=12), lab, tmp_path / "ledger")
    assert [r["values"] for r in twelve[:8]] == [r["values"] for r in eight]
    assert len(lab.ran) == 4


def test_an_exhausted_space_ends_the_search_without_repeating_itself(tmp_path: Path) -> None:
    one = {name: [getattr(SPACE, name)[0]] for name in ("segment_length", "units", "layers", "batch_size")}
    narrow = SearchSpace.model_validate_json(
        json.dumps(
            one
            | {"dropout": [0.0], "learning_rate": [0.001, 0.002], "context_share": [1.0]}
            | {"location": ["last"], "transform": ["none"], "head": ["plain"], "linear": ["none"]}
            | {"calendar": ["none"], "identity": ["none"]}
        )
    )
    for algorithm in ("random", "bayesian"):
        lab = Lab()
        rows = run(tune_params(algorithm), lab, tmp_path / algorithm, narrow)
        assert len(lab.ran) == 2
        assert {row["status"] for row in rows} <= {"completed", "duplicate"}
        budget = summarise("gru", rows, tune_params(), narrow, context_length=104)["budget"]
        assert budget["completed"] == 2
        assert budget["requested"] == 8
        assert (budget["epochs"], budget["windows"]) == (14, 14 * 640)
        spent = {(row["epochs"], row["windows"]) for row in rows if row["status"] == "duplicate"}
        assert spent <= {(0, 0)}


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    rows = run(tune_params(), Lab(), path)
    text = path.read_text()
    path.write_text(text[: text.rfind("{") + 20])
    lab = Lab()
    assert run(tune_params(), lab, path) == rows
    assert len(lab.ran) == 1


def test_a_row_of_other_values_is_not_taken_for_the_trial(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    rows = run(tune_params(), Lab(), path)
    path.write_text(path.read_text().replace('"batch_size": 64', '"batch_size": 65'))
    assert run(tune_params(), Lab(), path) == rows


def test_a_trial_is_seeded_by_its_id_alone() -> None:
    assert trial_seed(1, "03") == trial_seed(1, "0003")
    seeds = {trial_seed(s, str(t)) for s in (1, 2) for t in range(50)}
    assert len(seeds) == 100
    assert min(seeds) >= 1
    assert max(seeds) < 2**31


def test_the_summary_names_the_best_completed_trial_and_its_lengths_in_steps(tmp_path: Path) -> None:
    rows = run(tune_params(), Lab(failing=["0001"]), tmp_path / "ledger")
    summary = summarise("gru", rows, tune_params(), SPACE, context_length=104)
    best = min((r for r in rows if r["status"] == "completed"), key=lambda r: r["score"])
    assert summary["best"]["trial"] == best["trial"]
    assert summary["best"]["hparams"]["context_used"] == round(104 * best["values"]["context_share"])
    counts = {"requested": 8, "completed": 8, "failed": 1, "duplicate": 0}
    assert summary["budget"] == counts | {"epochs": 8 * 7, "windows": 8 * 7 * 640}
    assert summary["trials"] == rows
    assert "seconds" not in json.dumps(summary)


def test_a_failed_trial_has_seen_no_windows_as_far_as_the_ledger_knows(tmp_path: Path) -> None:
    rows = run(tune_params(), Lab(failing=["0001"]), tmp_path / "ledger")
    assert {row["status"]: (row["epochs"], row["windows"]) for row in rows} == {
        "completed": (7, 7 * 640),
        "failed": (0, 0),
    }


def test_hparams_leave_out_what_hyperband_adds() -> None:
    values = run_values() | {"tuner/epochs": 3, "tuner/bracket": 1}
    assert hparams_of(values, 104) == hparams_of(run_values(), 104)


def run_values() -> dict[str, Any]:
    plain = {"segment_length": 13, "units": 32, "layers": 1, "dropout": 0.0, "learning_rate": 0.01, "batch_size": 64}
    paths = {"head": "plain", "linear": "none", "calendar": "none", "identity": "none"}
    return plain | {"context_share": 0.5, "location": "last", "transform": "none"} | paths


def test_a_search_in_which_nothing_completes_is_an_error_with_the_first_reason(tmp_path: Path) -> None:
    lab = Lab(failing=[f"{i:04d}" for i in range(40)])
    rows = run(tune_params(max_trials=2), lab, tmp_path / "ledger")
    with pytest.raises(GatecastError, match="none of .* trials completed.*ValueError: no"):
        summarise("gru", rows, tune_params(), SPACE, context_length=104)


class Pool:
    """Workers whose second call gives an exception."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def map(self, _: Any, calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
        for i, call in enumerate(calls):
            yield i, self._error if i else Outcome(0.5, 1, 1, windows=len(call))


@pytest.mark.parametrize(
    "error", [WorkerDiedError("killed"), MemoryError("no more"), OSError("no space left"), ImportError("libcudnn")]
)
def test_what_the_machine_does_to_a_trial_is_never_remembered_of_it(error: Exception, tmp_path: Path) -> None:
    params, ledger = load_params(ROOT / "params.yaml"), Ledger(tmp_path / "ledger")
    trials = partial(
        tune.run_round, Pool(error), cell="gru", params=params, progress=Progress("tune", "trial", total=2)
    )
    with pytest.raises(GatecastError, match=r"tune@gru: trial 0001 could not be run: .*run again"):
        search(params.tune, SPACE, run_round=trials, ledger=ledger)
    assert list(ledger.rows()) == ["0000"]
    diverged, other = partial(trials.func, Pool(ValueError("no")), **trials.keywords), Ledger(tmp_path / "other")
    search(params.tune.model_copy(update={"max_trials": 2}), SPACE, run_round=diverged, ledger=other)
    assert other.rows()["0001"]["status"] == "failed"


def fitted(
    season_length: int = 24,
    longest: int = 336,
    *,
    lowest: float = 0.0,
    series: int = 3,
    clock: bool = True,
    **choices: Any,
) -> SearchSpace:
    space = SPACE.model_copy(update=choices)
    return fit_space(
        space, season_length=season_length, longest=longest, lowest=lowest, series_count=series, calendar=clock
    )


@pytest.mark.parametrize(
    ("season_length", "choices", "steps"),
    [
        (24, ("season/2", "season", "2*season"), (12, 24, 48)),
        (24, (1, "season/3", 5), (1, 8, 5)),
        (7, ("season/2", "season/3", "season/9"), (4, 2, 1)),
        (24, (12, "season/2", 24, "season"), (12, 24)),
        (2, ("season/2", "season/9", 1), (1,)),
        (1, ("season", "season/2", "9*season"), (1, 9)),
        (336, ("season", "2*season"), (336,)),
        (24, (337, 336), (336,)),
    ],
)
def test_segment_lengths_in_parts_of_a_season_become_steps_once_each(
    season_length: int, choices: tuple[Any, ...], steps: tuple[int, ...]
) -> None:
    assert fitted(season_length, segment_length=choices).segment_length == steps


def test_a_fitted_space_is_searched_and_leaves_all_else_as_it_was(tmp_path: Path) -> None:
    space = fitted(segment_length=("season/2", "season"))
    assert space.model_copy(update={"segment_length": SPACE.segment_length}) == SPACE
    lengths = {row["values"]["segment_length"] for row in run(tune_params(), Lab(), tmp_path / "ledger", space)}
    assert lengths == {12, 24}


def test_a_range_of_segment_lengths_stays_a_range() -> None:
    assert fitted(segment_length=IntRange(min=1, max=9)).segment_length == IntRange(min=1, max=9)


def test_logarithms_are_no_choice_where_a_value_is_negative() -> None:
    assert fitted(lowest=0.0, transform=("none", "log1p")).transform == ("none", "log1p")
    assert fitted(lowest=-1e-9, transform=("none", "log1p")).transform == ("none",)
    assert fitted(lowest=-1.0, transform=("none",)).transform == ("none",)
    with pytest.raises(GatecastError, match=r"log1p needs values .* never negative. Received: -2.5 in the fit part"):
        fitted(lowest=-2.5, transform=("log1p",))


@pytest.mark.parametrize("choices", [("none", "embedding"), ("embedding",), ("none",)])
def test_a_single_series_is_not_told_by_its_name(choices: tuple[str, ...]) -> None:
    assert fitted(series=1, identity=choices).identity == ("none",)
    assert fitted(series=2, identity=choices).identity == choices


@pytest.mark.parametrize("choices", [("none", "auto"), ("auto",), ("none",)])
def test_a_frequency_without_a_calendar_leaves_no_choice_of_it(choices: tuple[str, ...]) -> None:
    assert fitted(clock=False, calendar=choices).calendar == ("none",)
    assert fitted(calendar=choices).calendar == choices


def test_segments_that_are_all_too_long_are_told_with_their_lengths() -> None:
    told = (
        r"every segment_length is longer .*, 40. Received: \[48, 96\] \(evaluate.season_length 48\); add a shorter one"
    )
    with pytest.raises(GatecastError, match=told):
        fitted(48, 40, segment_length=("season", "2*season"))


@pytest.mark.parametrize("choice", ["season/1", "season/10", "1*season", "season*2", "half", "season/0", ""])
def test_other_words_for_segment_lengths_are_refused(choice: str) -> None:
    with pytest.raises(ValueError, match="segment_length"):
        SearchSpace.model_validate_json(json.dumps(SPACE.model_dump(mode="json") | {"segment_length": [choice]}))


@pytest.mark.parametrize(("lowest", "transforms"), [(-1.0, {"none"}), (0.0, {"none", "log1p"})])
def test_the_stage_searches_what_the_data_leaves_of_the_space(
    lowest: float, transforms: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    series = [np.concatenate([[lowest], np.arange(1.0, 90.0) % 7])]
    save(series, Path("data/windows"))
    base = load_params(ROOT / "params.yaml")
    tuning = base.tune.model_copy(update={"max_trials": 12, "algorithm": "random"})
    params = base.model_copy(
        update={"tune": tuning, "window": WINDOW, "evaluate": EvaluateParams(season_length=SEASON)}
    )
    lab = Lab()

    class Processes:
        def map(self, _: Any, calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, Outcome]]:
            assert [(call[0], call[1], *call[3:]) for call in calls] == [
                ("gru", params.quantiles, tuning.patience, tuning.windows_per_epoch)
            ] * len(calls)
            return lab.run_round([call[2] for call in calls])

    monkeypatch.setattr(tune, "workers", lambda *_, **__: nullcontext(Processes()))
    monkeypatch.setattr(tune, "load_params", lambda: params)
    tune.main("gru")
    found = read_json(Path("models/tuned/gru.json"))
    assert {row["values"]["transform"] for row in found["trials"]} == transforms
    assert {row["values"]["identity"] for row in found["trials"]} == {"none"}  # of a single series
    assert {row["values"]["segment_length"] for row in found["trials"]} == {SEASON}
    assert found["best"]["score"] == min(row["score"] for row in found["trials"])


def test_hyperband_goes_on_until_the_budget_is_spent(tmp_path: Path) -> None:
    rows = run(tune_params("hyperband", max_trials=12, max_epochs=2), Lab(failing=["0001"]), tmp_path / "ledger")
    assert [row["status"] for row in rows].count("completed") == 12


@pytest.mark.parametrize("algorithm", ["local", "random"])
def test_a_small_space_is_searched_whole(algorithm: str, tmp_path: Path) -> None:
    choices = {name: getattr(SPACE, name) for name in type(SPACE).model_fields}
    small = {name: choice[:1] for name, choice in choices.items() if isinstance(choice, list)}
    rates = {"learning_rate": [0.001, 0.003, 0.01], "units": [16, 32], "dropout": [0.0, 0.1], "layers": [1, 2]}
    space = SPACE.model_copy(update={**small, **rates})
    rows = run(tune_params(algorithm, max_trials=24), Lab(), tmp_path / "ledger", space)
    assert len(rows) == 24
    assert len({json.dumps(row["values"], sort_keys=True) for row in rows}) == 24
