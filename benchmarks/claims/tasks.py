"""What the networks of the claims are trained on: generated problems of memory, generated processes, and ETTm1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.benchmark import Source

Array = NDArray[np.float32]
Pair = tuple[Array, Array]  # inputs [N, T, F] and targets [N, K], or [N, T, 1] where every step has one

HELD_OUT = 1024  # examples of validation, and twice as many of test
CONTEXT, HORIZON = 48, 12  # of the forecasting problems, in steps
SYMBOLS = 2  # values to be copied
MACKEY_GLASS_DELAY = 30
MACKEY_GLASS_EVERY = 3  # of its steps one is seen
MACKEY_GLASS_HELD_OUT = (5_000, 10_000)  # steps of validation and test
WAVE_PERIODS = (50, 12)  # steps
ETTM1_ROWS = (34_560, 46_080, 57_600)  # ends of training, validation and test: 12, 4 and 4 months of 30 days
ETTM1 = Source(
    url="https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTm1.csv",
    member=None,
    sha256="6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e",
    path="ETTm1.csv",
    licence="CC BY-ND 4.0",
)


@dataclass(frozen=True)
class Task:
    """A problem.

    Attributes:
        name: key of `TASKS`.
        examples: for training.
        length: steps of an example; of `spikes` the delay between the two; 0 where the problem has its own.
        noise: standard deviation of what is added; of `mackey_glass` in standard deviations of the process.
    """

    name: str
    examples: int
    length: int = 0
    noise: float = 0.0


@dataclass(frozen=True)
class Examples:
    """The examples of a task.

    Attributes:
        train: inputs and targets.
        val: decides when the best was reached; None where the training loss does.
        test: gives the error.
        naive: mean squared error on `test` of the forecast that has learned nothing; the unit of errors.
    """

    train: Pair
    val: Pair | None
    test: Pair
    naive: float


def load_examples(task: Task, seed: int, ettm1: Path | None) -> Examples:
    """The examples of a task; those for training depend on the seed, those held out do not.

    Args:
        task: the problem.
        seed: of the training examples.
        ettm1: the file, for the task of that name.
    """
    if task.name == "waves":
        train = waves(task.examples, task.length, np.random.default_rng(seed))
        return Examples(train, None, train, float(np.mean(train[1] ** 2)))
    if task.name == "ettm1":
        assert ettm1 is not None
        return _forecasting(_ettm1_parts(ettm1), task, seed)
    if task.name == "mackey_glass":
        return _forecasting(_mackey_glass_parts(task), task, seed)
    generate = GENERATORS[task.name]
    train = generate(task, task.examples, np.random.default_rng(seed))
    val = generate(task, HELD_OUT, np.random.default_rng([0, 1]))
    test = generate(task, 2 * HELD_OUT, np.random.default_rng([0, 2]))
    return Examples(train, val, test, float(np.mean((test[1] - train[1].mean(axis=0)) ** 2)))


def adding(count: int, length: int, rng: np.random.Generator) -> Pair:
    """The adding problem: the sum of the two marked values, one in each half of the sequence.

    After Hochreiter and Schmidhuber (1997), in the form of Le, Jaitly and Hinton (arXiv 1504.00941).

    Args:
        count: examples N.
        length: steps T.
        rng: what draws them.

    Returns:
        Inputs [N, T, 2], uniform values on [0, 1) and marks; targets [N, 1].
    """
    x = np.zeros((count, length, 2), np.float32)
    x[:, :, 0] = rng.random((count, length), np.float32)
    rows, half = np.arange(count), length // 2
    for place in (rng.integers(0, half, count), rng.integers(half, length, count)):
        x[rows, place, 1] = 1
    return x, (x[:, :, 0] * x[:, :, 1]).sum(axis=1, keepdims=True)


def delayed_copy(count: int, length: int, noise: float, rng: np.random.Generator) -> Pair:
    """A few values somewhere in a sequence of noise, asked for at its end.

    Values that always came first would be out of reach of any gradient over a hundred steps: neither cell would learn
    anything.

    Args:
        count: examples N.
        length: steps T.
        noise: standard deviation of what is no value.
        rng: what draws them.

    Returns:
        Inputs [N, T, 2], values uniform on [-1, 1) or noise, and 1 beside the values; targets [N, SYMBOLS].
    """
    x = np.zeros((count, length, 2), np.float32)
    x[:, :, 0] = noise * rng.standard_normal((count, length), np.float32)
    values = rng.uniform(-1, 1, (count, SYMBOLS)).astype(np.float32)
    rows = np.arange(count)[:, None]
    steps = rng.integers(0, length - SYMBOLS + 1, (count, 1)) + np.arange(SYMBOLS)
    x[rows, steps, 0] = values
    x[rows, steps, 1] = 1
    return x, values


def spikes(count: int, delay: int, rng: np.random.Generator) -> Pair:
    """Two spikes, `delay` or `delay + 1` steps apart, to be told from each other.

    After the spike delays of Gers, Schraudolph and Schmidhuber (2002).

    Returns:
        Inputs [N, 2 * delay + 1, 1]; targets [N, 1], 1 where the delay is the longer one.
    """
    length, rows = 2 * delay + 1, np.arange(count)
    x = np.zeros((count, length, 1), np.float32)
    longer = rng.integers(0, 2, count)
    first = rng.integers(0, delay, count)
    x[rows, first] = 1
    x[rows, first + delay + longer] = 1
    return x, longer[:, None].astype(np.float32)


def mackey_glass(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A Mackey-Glass process, every third step of its Euler approximation, in standard deviations of its beginning.

    x(t+1) = .9 x(t) + .2 x(t-30) / (1 + x(t-30)^10), from Mackey and Glass (1977), where it is chaotic. A longer
    realisation goes on from a shorter one of the same generator.
    """
    burn_in = 10 * MACKEY_GLASS_DELAY
    values = list(1.2 + 0.1 * rng.standard_normal(MACKEY_GLASS_DELAY + 1))
    for _ in range(burn_in + MACKEY_GLASS_EVERY * length):
        past = values[-1 - MACKEY_GLASS_DELAY]
        values.append(0.9 * values[-1] + 0.2 * past / (1 + past**10))
    seen = np.array(values[-MACKEY_GLASS_EVERY * length :: MACKEY_GLASS_EVERY])
    beginning = seen[: MACKEY_GLASS_HELD_OUT[0]]
    standard: NDArray[np.float64] = (seen - beginning.mean()) / beginning.std()
    return standard


def waves(count: int, length: int, rng: np.random.Generator) -> Pair:
    """Two sine waves whose amplitudes wander, with noise, to be forecast one step ahead.

    After Muccino, "Training Recurrent Neural Networks on Long Sequences" (2019): the amplitudes are the absolute
    coordinates of a point on the unit circle whose angle takes steps uniform on (-.01, .01); noise of variance .01.

    Returns:
        Inputs [N, T, 1], standardised, and targets [N, T, 1], the values one step later.
    """
    steps = np.arange(length + 1)
    turns = np.cumsum(rng.uniform(-0.01, 0.01, (count, length + 1)), axis=1)
    angle = rng.uniform(-np.pi, np.pi, (count, 1)) + turns
    first, second = (np.sin(2 * np.pi * steps / period) for period in WAVE_PERIODS)
    y = np.abs(np.cos(angle)) * first + np.abs(np.sin(angle)) * second + 0.1 * rng.standard_normal(angle.shape)
    z = ((y - y.mean()) / y.std()).astype(np.float32)[:, :, None]
    return z[:, :-1], z[:, 1:]


GENERATORS: dict[str, Callable[[Task, int, np.random.Generator], Pair]] = {
    "adding": lambda task, count, rng: adding(count, task.length, rng),
    "copy": lambda task, count, rng: delayed_copy(count, task.length, task.noise, rng),
    "spikes": lambda task, count, rng: spikes(count, task.length, rng),
}
TASKS = (*GENERATORS, "mackey_glass", "ettm1", "waves")


@dataclass(frozen=True)
class _Part:
    """A stretch of series: what is seen [T, S], and the truth that an error is measured against [T, S]."""

    seen: NDArray[Any]
    truth: NDArray[Any]

    def count(self) -> int:
        return (len(self.seen) - CONTEXT - HORIZON + 1) * int(self.seen.shape[1])

    def windows(self, chosen: NDArray[Any], target: NDArray[Any]) -> Pair:
        """Windows by number, as differences to the last value seen: the forecast of no change is 0."""
        start, series = np.divmod(chosen, self.seen.shape[1])
        history = self.seen[start[:, None] + np.arange(CONTEXT), series[:, None]]
        future = target[start[:, None] + CONTEXT + np.arange(HORIZON), series[:, None]]
        last = history[:, -1:]
        return (history - last).astype(np.float32)[:, :, None], (future - last).astype(np.float32)


def _forecasting(parts: tuple[_Part, _Part, _Part], task: Task, seed: int) -> Examples:
    """Windows drawn from three parts in time; the training part is drawn from without replacement by the seed."""
    train, val, test = parts
    chosen = np.random.default_rng(seed).permutation(train.count())[: task.examples]
    drawn = [
        np.random.default_rng([0, place]).choice(part.count(), share * HELD_OUT, replace=False)
        for place, part, share in ((1, val, 2), (2, test, 4))
    ]
    x, y = test.windows(drawn[1], test.truth)
    return Examples(train.windows(chosen, train.seen), val.windows(drawn[0], val.seen), (x, y), float(np.mean(y**2)))


def _mackey_glass_parts(task: Task) -> tuple[_Part, _Part, _Part]:
    """One long realisation with noise, as long as the training examples ask for; its truth is without noise."""
    rng = np.random.default_rng([0, 3])
    longest = task.examples + CONTEXT + HORIZON - 1
    # Held-out parts come first, so that they are the same whatever the number of examples.
    ends = np.cumsum([*MACKEY_GLASS_HELD_OUT, longest])
    truth = mackey_glass(int(ends[-1]), rng)[:, None]
    seen = truth + task.noise * np.random.default_rng([0, 4]).standard_normal(truth.shape)
    val, test, train = (_Part(a, b) for a, b in zip(np.split(seen, ends[:-1]), np.split(truth, ends[:-1]), strict=True))
    return train, val, test


def _ettm1_parts(path: Path) -> tuple[_Part, _Part, _Part]:
    """The seven channels, each one series, in standard deviations of its training part."""
    values = pd.read_csv(path).iloc[: ETTM1_ROWS[-1], 1:].to_numpy(np.float64)
    fit = values[: ETTM1_ROWS[0]]
    train, val, test, _ = np.split((values - fit.mean(axis=0)) / fit.std(axis=0), ETTM1_ROWS)
    return _Part(train, train), _Part(val, val), _Part(test, test)
