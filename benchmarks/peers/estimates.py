"""How long a measurement takes on two idle cores, about: so that a person can plan.

From a few steps of each model: of NeuralForecast with two threads, of Darts, whose steps are small, with one.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from benchmarks.peers.catalogue import OURS, SEEDS, SETTINGS, SHORT, Field, Job, model_of
from benchmarks.peers.runs import Budgets

# Seconds of one training step for each step of its input, with the library's batch and layers.
_PER_STEP = {
    ("neuralforecast", "lstm"): 2.5e-3,
    ("neuralforecast", "gru"): 4.1e-3,
    ("darts", "rnn-lstm"): 6e-5,
    ("darts", "rnn-gru"): 2.1e-4,
    ("darts", "block-lstm"): 5.5e-5,
    ("darts", "block-gru"): 2.1e-4,
}
_NLINEAR_STEP = {"neuralforecast": 4.1e-4, "darts": 4e-3}
_STEPS, _LINEAR_STEPS = 1000, 5000  # NeuralForecast's defaults
# When Darts stopped on Victoria's electricity: its linear model, and the recurrent ones by how their names begin.
_EPOCHS = {"nlinear": 6, "rnn": 58, "block": 11}
_BATCH = {"neuralforecast": 128, "darts": 32}
_FORWARD = 0.33  # of a training step
_DRAWING = 3  # a drawn path against a forward pass
_SMALL = 0.55  # a trial's network against the default one
_TRIAL_STEPS, _TRIALS = 750, 24
_LOOK = 100  # steps between two looks at the validation part
_OWN_SIZES = (3, 4, 16, 64)  # horizons of input in the library's search space
_OURS_S = 2400.0


def expected_seconds(job: Job, field: Field, budgets: Budgets | None) -> float:
    """About how long a measurement takes.

    Args:
        job: which.
        field: its data set.
        budgets: wall time of ours that others are given; None while it is unknown, when it is guessed.
    """
    if job.peer == OURS:
        return _OURS_S
    if job.model == "nlinear":
        return _linear(job, field)
    context = field.context if job.setting == "context" else field.default_context
    return _training(job, field, context, budgets) + _prediction(job, field, context)


def _training(job: Job, field: Field, context: int, budgets: Budgets | None) -> float:
    if job.setting.startswith("equal-"):
        whose = job.setting.removeprefix("equal-")
        guess: Mapping[str, float] = {"network": _OURS_S / 40, "pipeline": _OURS_S / 2.4}
        return float(budgets[model_of(job).cell][whose]) if budgets else guess[whose]
    step = _PER_STEP[job.peer, job.model]
    if job.peer == "darts":
        epochs = _EPOCHS[job.model.split("-")[0]]
        return epochs * field.series * field.train_rows / _BATCH["darts"] * step * (context + field.horizon)
    if SETTINGS[job.setting].searches:
        return _search(field, step, _mean_input(job.setting, field)) / len(SEEDS) + _STEPS * step * context
    return _STEPS * step * context


def _mean_input(setting: str, field: Field) -> float:
    """Of a trial, in steps."""
    own = [size * field.horizon for size in _OWN_SIZES]
    return fmean(own if setting == "tuned" else [*own[: _OWN_SIZES.index(SHORT) + 1], field.context])


def _search(field: Field, step: float, context: float) -> float:
    """All trials, each with its looks at the validation part."""
    looked = field.series * field.val_windows / _BATCH["neuralforecast"] * _FORWARD / _LOOK
    return _TRIALS * _TRIAL_STEPS * _SMALL * step * context * (1 + looked)


def _prediction(job: Job, field: Field, context: int) -> float:
    windows = field.series * field.test_windows
    step = _PER_STEP[job.peer, job.model] * _FORWARD / _BATCH[job.peer]
    drawn = _DRAWING * field.samples if field.samples and job.model.startswith("rnn-") else 1
    return windows * step * (context + field.horizon) * drawn


def _linear(job: Job, field: Field) -> float:
    context = field.context if job.setting == "context" else field.default_context
    if job.peer == "darts":
        return _EPOCHS[job.model] * field.series * field.train_rows / _BATCH["darts"] * _NLINEAR_STEP["darts"]
    return 60 + _LINEAR_STEPS * _NLINEAR_STEP["neuralforecast"] * context * (field.series / 7)
