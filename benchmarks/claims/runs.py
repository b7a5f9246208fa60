"""What is measured in one go: a network trained on a task, or the cost of a few updates; and what it gave."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.claims.tasks import CONTEXT, Task

PEEPHOLE = "peephole"  # the LSTM cell that the claims have beside those of `CELLS`
COST_LENGTH, COST_FEATURES, COST_BATCH = 96, 7, 128
PACE = 70e-6  # seconds of one recurrent step of an update with 32 units; only the estimate of the end depends on it
STEPS = {"spikes": 2}  # of a sequence, in units of `Task.length`


@dataclass(frozen=True)
class Run:
    """A network to be trained with Adam.

    Attributes:
        task: what on.
        cell: key of `CELLS`, or `peephole`.
        units: of its one recurrent layer.
        rate: of learning, constant.
        seed: of the weights, the training examples and their order.
        batch: examples of an update.
        updates: the most there are.
        every: updates between two looks at the validation examples.
        patience: looks without a better one, after which training stops.
        enough: error on validation, in units of the naive one, at which training stops.
        clip: `global` norm of the gradient, or the norm of `each` variable's; at most 1.
    """

    task: Task
    cell: str
    units: int
    rate: float
    seed: int
    batch: int
    updates: int
    every: int
    patience: int
    enough: float = 0.0
    clip: str = "global"

    def expected_seconds(self) -> float:
        """About how long it takes, for the estimate of the end."""
        length = self.task.length * STEPS.get(self.task.name, 1) or CONTEXT
        return 5 + PACE * length * self.updates * math.sqrt(self.batch / 64)


@dataclass(frozen=True)
class Outcome:
    """What a run gave; losses are mean squared errors.

    Attributes:
        error: on the test examples at the best look, in units of the naive error.
        best: validation loss of that look.
        best_update: its number of updates.
        updates: how many there were.
        train: [L] mean loss of the updates before each look.
        val: [L] validation loss of each look.
        naive: mean squared error on validation, or training where there is none, of the naive forecast.
        solved: whether `enough` was reached.
        parameters: of the recurrent layer.
        seconds: all of it took.
    """

    error: float
    best: float
    best_update: int
    updates: int
    train: list[float]
    val: list[float]
    naive: float
    solved: bool
    parameters: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class CostRun:
    """A few updates of a network, timed in a process of their own.

    Attributes:
        cell: key of `CELLS`.
        units: of its one recurrent layer.
        updates: timed, after three others.
        seed: of the repetition.
    """

    cell: str
    units: int
    updates: int
    seed: int

    def expected_seconds(self) -> float:
        """About how long it takes, for the estimate of the end."""
        return 8 + self.updates * COST_LENGTH * PACE * (1 + self.units / 64)


@dataclass(frozen=True)
class Cost:
    """What a few updates cost.

    Attributes:
        seconds_per_update: the median.
        peak_mib: most memory of the process at any time.
        growth_mib: of it, what came with the network and its training.
        seconds: all of it took.
    """

    seconds_per_update: float
    peak_mib: float
    growth_mib: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def parameters(cell: str, inputs: int, units: int, *, biases: int) -> int:
    """The parameters of a gated recurrent layer.

    Args:
        cell: `lstm`, of three gates and a candidate, or `gru`, of two and one.
        inputs: values of a step.
        units: of the state.
        biases: vectors for each gate; Keras has one for the LSTM and two for the GRU (`reset_after`, as cuDNN).
    """
    return {"lstm": 4, "gru": 3}[cell] * units * (units + inputs + biases)
