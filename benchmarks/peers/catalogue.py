"""Who is measured on what: data sets, the models of the peers, and the settings that each is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache

import numpy as np

from benchmarks.benchmark import PARAMS, Benchmark, Json, load_benchmark, read_yaml
from pipeline.clock import calendar_features
from pipeline.errors import GatecastError

SEEDS = (1, 2, 3)
OURS = "gatecast"
CELLS = {"lstm": "LSTM", "gru": "GRU", "linear": "linear"}
ENDLESS = 10**9  # steps, where the clock stops training
TUNED_HOURS = 80  # that the search in the library's whole space takes on all data sets, as `estimates` has it
SHORT = 4  # horizons: the longest of the library's own inputs in the shortened search


@dataclass(frozen=True)
class Field:
    """A data set of the comparison.

    Attributes:
        benchmark: as in `sets/`.
        series: how many there are.
        train_rows: steps of each before the validation part.
        calendar: features that the peers are told too, all of ours, because our search may choose to tell them.
        samples: paths of a forecast that Darts' RNNModel draws step by step; None where that takes too long, and it
            is left to its default, which forecasts points.
    """

    benchmark: Benchmark
    series: int
    train_rows: int
    calendar: tuple[str, ...] = ()
    samples: int | None = None

    @property
    def horizon(self) -> int:
        """In steps."""
        return self.benchmark.window.horizon

    @property
    def context(self) -> int:
        """That of our networks, in steps."""
        return self.benchmark.window.context_length

    @property
    def default_context(self) -> int:
        """What NeuralForecast's recurrent models take by themselves; models without a default are given it too."""
        return 3 * self.horizon

    @property
    def test_windows(self) -> int:
        """Of each series."""
        return self.benchmark.window.test_size - self.horizon + 1

    @property
    def val_windows(self) -> int:
        """Of each series."""
        return self.benchmark.window.val_size - self.horizon + 1

    @property
    def columns(self) -> tuple[str, ...]:
        """Covariates that are known ahead."""
        return (*self.benchmark.data.get("future_covariates", ()), *self.calendar)


@dataclass(frozen=True)
class Model:
    """A model of a peer.

    Attributes:
        peer: the library; also the name of its requirements and its script.
        name: short.
        title: for tables.
        cell: `lstm`, `gru` or `linear`: which of ours it is compared with.
        settings: those that it can be measured in.
        instruct: what its script is told, given the field, the setting and the seconds of training, where it has any.
    """

    peer: str
    name: str
    title: str
    cell: str
    settings: tuple[str, ...]
    instruct: Callable[[Field, str, int | None], Json]


@dataclass(frozen=True)
class Setting:
    """What a model is given.

    Attributes:
        title: for the page.
        words: what it means.
        budget: whose wall time of ours limits training: of one `network`, or of the whole `pipeline`.
        searches: with a search that its seeds share.
        asked_for: measured only where a pattern names it.
    """

    title: str
    words: str
    budget: str | None = None
    searches: bool = False
    asked_for: bool = False


_SEARCH = (
    "NeuralForecast's `AutoLSTM` and `AutoGRU` in their own search space with as many trials as our search has; one "
    "search, whose best is trained again with each seed. Darts has no search of its own: its guide shows how to write "
    "one for another model, whose space would be ours and not Darts'."
)
SETTINGS = {
    "documentation": Setting(
        "Their documentation's settings",
        "NeuralForecast: the defaults of each class (1,000 steps; 5,000 of the linear model; an input of 3 horizons; "
        "windows scaled by the library, `robust`, which NLinear by itself does not) with its quantile loss. Darts: the "
        "defaults of each class, its `Scaler`, its quantile likelihood, and the early stopping of its guide with the "
        "best epoch kept; an input of 3 horizons, for which it has no default.",
    ),
    "equal-network": Setting(
        "Trained as long as one network of ours",
        "Their documentation's settings, but training ends after the wall time of one of our tuned networks: that of "
        "the stage that trains five of them, two at a time on one thread each, by five. Each of theirs has the machine "
        "for itself, and those of Darts that are faster on one thread leave the other idle. "
        "Darts keeps the weights of its lowest validation loss, which it takes after each epoch and when the time is "
        "over. NeuralForecast has no time for a look at the validation part: it takes fewer steps than by default, "
        "and keeps the last weights, as it does there.",
        budget="network",
    ),
    "equal-pipeline": Setting(
        "Trained as long as our whole pipeline",
        "Their documentation's settings, but one network is trained for the wall time of our whole search and of the "
        "five networks after it, and the weights of its lowest validation loss are kept: Darts looks after each epoch, "
        "NeuralForecast after every 100 steps as by default, both once more when the time is over. NeuralForecast "
        "cannot keep the best weights by itself; a callback of its trainer does it. Its searches, though they can be "
        "given a time, are none for so short a one: it is over after a few trials, and one trial with a long input "
        "fills it.",
        budget="pipeline",
    ),
    "context": Setting("With our context", "Their documentation's settings, but the input is as long as ours."),
    "tuned-short": Setting(
        "Tuned, with inputs up to ours",
        f"{_SEARCH} Of its own inputs those of more than {SHORT} horizons are left out, whose trials take hours on two "
        "cores; an input as long as ours is put in.",
        searches=True,
    ),
    "tuned": Setting(
        "Tuned, with inputs up to 64 horizons",
        f"{_SEARCH} Its own inputs are 3, 4, 16 and 64 horizons. It is no part of a plain run, because it takes about "
        f"{TUNED_HOURS} hours on two cores; `--only '*/tuned/?'` measures it.",
        searches=True,
        asked_for=True,
    ),
}
_TIMED = ("equal-network", "equal-pipeline")
_DARTS = ("documentation", *_TIMED, "context")


@dataclass(frozen=True)
class Job:
    """One measurement.

    Attributes:
        field: name of the data set.
        peer: the library, or ours.
        model: of the library; of ours `pipeline`.
        setting: key of `SETTINGS`; of ours `tuned`.
        seed: of training; of ours 0, because its seeds are those of the set.
    """

    field: str
    peer: str
    model: str
    setting: str
    seed: int

    @property
    def name(self) -> str:
        """By which it is asked for."""
        return f"{self.field}/{self.peer}/{self.model}/{self.setting}/{self.seed}"


def _neuralforecast(cls: str) -> Callable[[Field, str, int | None], Json]:
    def instruct(field: Field, setting: str, seconds: int | None) -> Json:
        arguments: Json = {"input_size": field.default_context, "scaler_type": "robust"} if cls == "NLinear" else {}
        if setting == "context":
            arguments["input_size"] = field.context
        if seconds is not None:
            arguments["max_steps"] = ENDLESS
        return {
            "model": cls,
            "arguments": arguments,
            "likelihood": "quantiles",
            "samples": None,
            "covariates": "futr_exog_list" if field.columns and cls != "NLinear" else None,
            "max_seconds": seconds,
            "keep_best": setting == "equal-pipeline",
            "search": _search(field, setting),
        }

    return instruct


def _search(field: Field, setting: str) -> Json | None:
    if not SETTINGS[setting].searches:
        return None
    # -1 times the horizon is the library's way to say 3 horizons.
    short = [-field.horizon, SHORT * field.horizon, field.context]
    return {"trials": our_trials(), "input_sizes": short if setting == "tuned-short" else None}


@lru_cache
def our_trials() -> int:
    """Those of our own search, for each cell."""
    return int(read_yaml(PARAMS)["tune"]["max_trials"])


def _darts(cls: str, cell: str | None) -> Callable[[Field, str, int | None], Json]:
    def instruct(field: Field, setting: str, seconds: int | None) -> Json:
        context = field.context if setting == "context" else field.default_context
        arguments: Json = {"input_chunk_length": context}
        if cell is not None:
            arguments["model"] = cell
        if cls == "RNNModel":
            arguments["training_length"] = context + field.horizon
        else:
            arguments["output_chunk_length"] = field.horizon
        covariates = {"BlockRNNModel": "past_covariates"}.get(cls, "future_covariates")
        return {
            "model": cls,
            "arguments": arguments,
            "likelihood": _likelihood(field, cls),
            "samples": field.samples if cls == "RNNModel" else None,
            "covariates": covariates if field.columns else None,
            # The guide's own `min_delta` is more than the whole loss of scaled data.
            "early_stopping": {"patience": 5, "min_delta": 0.0} if seconds is None else None,
            "max_seconds": seconds,
            "keep_best": True,
            "search": None,
        }

    return instruct


def _likelihood(field: Field, cls: str) -> str | None:
    """Our quantiles where they are forecast at once, the library's where paths are drawn, else none."""
    if cls == "RNNModel":
        return None if field.samples is None else "default"
    return "quantiles" if cls == "BlockRNNModel" else None  # NLinear cannot subtract the last value with one


_LINEAR = ("documentation", "context")
MODELS = (
    Model("neuralforecast", "lstm", "NeuralForecast LSTM", "lstm", tuple(SETTINGS), _neuralforecast("LSTM")),
    Model("neuralforecast", "gru", "NeuralForecast GRU", "gru", tuple(SETTINGS), _neuralforecast("GRU")),
    Model("neuralforecast", "nlinear", "NeuralForecast NLinear", "linear", _LINEAR, _neuralforecast("NLinear")),
    Model("darts", "rnn-lstm", "Darts RNNModel, LSTM", "lstm", _DARTS, _darts("RNNModel", "LSTM")),
    Model("darts", "rnn-gru", "Darts RNNModel, GRU", "gru", _DARTS, _darts("RNNModel", "GRU")),
    Model("darts", "block-lstm", "Darts BlockRNNModel, LSTM", "lstm", _DARTS, _darts("BlockRNNModel", "LSTM")),
    Model("darts", "block-gru", "Darts BlockRNNModel, GRU", "gru", _DARTS, _darts("BlockRNNModel", "GRU")),
    Model("darts", "nlinear", "Darts NLinearModel", "linear", _LINEAR, _darts("NLinearModel", None)),
)


def fields() -> dict[str, Field]:
    """The data sets, by name."""
    return {
        "etth1-96": Field(load_benchmark("etth1-96"), series=7, train_rows=8640),
        "vic-elec": _told(Field(load_benchmark("vic-elec"), series=1, train_rows=46848, samples=200)),
    }


def _told(field: Field) -> Field:
    """With all features of the calendar that our networks may be told."""
    data = field.benchmark.data
    names, _ = calendar_features(np.array([], "datetime64[us]"), freq=data["freq"], timezone=data.get("timezone"))
    return replace(field, calendar=names)


def jobs(names: Iterable[str]) -> Iterator[Job]:
    """All measurements on data sets: ours first, whose wall time others are given; what takes longest last."""
    names = list(names)
    for field in names:
        yield ours_on(field)
    for setting in SETTINGS:
        for seed in SEEDS:
            for field in names:
                for model in MODELS:
                    if setting in model.settings:
                        yield Job(field, model.peer, model.name, setting, seed)


def ours_on(field: str) -> Job:
    """Our own measurement on a data set."""
    return Job(field, OURS, "pipeline", "tuned", 0)


def chosen(plan: Sequence[Job], patterns: Sequence[str] | None) -> list[Job]:
    """The measurements whose names match one of the patterns; where there is none, all that need not be asked for.

    Raises:
        GatecastError: a pattern matches nothing.
    """
    for pattern in patterns or ():
        if not any(fnmatchcase(job.name, pattern) for job in plan):
            raise GatecastError(
                f"--only: no measurement has such a name. Received: {pattern}; names are as {plan[0].name} and "
                f"{plan[-1].name}, * stands for anything, and --list shows all"
            )
    if patterns is None:
        return [job for job in plan if job.peer == OURS or not SETTINGS[job.setting].asked_for]
    return [job for job in plan if any(fnmatchcase(job.name, one) for one in patterns)]


def model_of(job: Job) -> Model:
    """The model that a measurement is of."""
    return next(model for model in MODELS if (model.peer, model.name) == (job.peer, job.model))
