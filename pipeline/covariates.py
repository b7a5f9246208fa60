"""What is known beside the target: covariates of every step and of every series, and the calendar."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.hparams import UNKNOWN, Hparams, Inputs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
IDENTITY = "unique_id"  # the categorical input that names the series
UNSEEN = 1e30  # the scale of a covariate without any value to be trained on: whatever comes is next to 0, and no noise
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*", re.ASCII)


@dataclass(frozen=True)
class Known:
    """Covariates as they are written beside the values of a panel.

    Attributes:
        past: names of the columns of `values`, those of `future` last.
        future: names of the columns that are known ahead.
        values: for each series its covariates [steps, P]; NaN is missing.
        categorical: for each static covariate that names a category, that of each series; None is missing.
        numeric: for each static covariate that is a number, that of each series; NaN is missing.
    """

    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    values: Sequence[Floats] = ()
    categorical: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    numeric: Mapping[str, Floats] = field(default_factory=dict)

    def cut(self, lengths: Sequence[int]) -> Known:
        """The same with the first steps of each series alone."""
        return replace(self, values=[v[:n] for v, n in zip(self.values, lengths, strict=True)] if self.past else ())


@dataclass(frozen=True)
class Covariates:
    """Covariates aligned with the flat values of `Windows`.

    Attributes:
        meta: as `describe` gave it: names, scaling constants, vocabularies.
        values: [T, P] covariates of every step; NaN is missing.
        ds: [T] timestamp of every step; NaT before a series' start.
        codes: [S, J] number of the category of every series, from 1; 0 is unknown.
        names: [S] number of every series among those trained on, from 1; 0 is none of them.
        numbers: [S, R] static covariates that are numbers.
        freq: as `data.freq`.
        timezone: as `data.timezone`.
    """

    meta: Mapping[str, Any]
    values: Floats
    ds: NDArray[Any]
    codes: Ints
    names: Ints
    numbers: Floats
    freq: str | int
    timezone: str | None

    @cached_property
    def calendar(self) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.int32]]:
        """Names [L] of the calendar's features, their values [U, L] at each moment, and the moment [T] of each step.

        Moment 0 is that of the steps before a series' start, where all features are 0.
        """
        from pipeline.clock import calendar_features  # and pandas, which a server has no need of before

        known = ~np.isnat(self.ds) if self.ds.dtype.kind == "M" else np.ones(len(self.ds), np.bool_)
        moments, places = np.unique(self.ds[known], return_inverse=True)
        names, features = calendar_features(moments, freq=self.freq, timezone=self.timezone)
        of_step = np.zeros(len(self.ds), np.int32)
        of_step[known] = places + 1
        return names, np.concatenate([np.zeros((1, len(names)), np.float32), features]), of_step

    def inputs(self, hparams: Hparams) -> Inputs:
        """What a network with these hyperparameters takes."""
        clock = self.calendar[0] if hparams.calendar == "auto" else ()
        return inputs_of(self.meta, hparams, clock=clock)

    def along(self, steps: Ints, inputs: Inputs) -> Floats:
        """The covariates [..., P] of steps, by their place in the flat values."""
        parts = [self.values[steps]]
        if len(inputs.past) > self.values.shape[1]:
            _, features, moments = self.calendar
            parts.append(features[moments[steps]].astype(np.float64))
        return np.concatenate(parts, axis=-1)

    def categories(self, series: Ints, inputs: Inputs) -> Ints:
        """The categories [N, J] of series by their number."""
        own = self.codes[series]
        identity = [self.names[series][:, None]] if inputs.categorical[:1] == (IDENTITY,) else []
        return np.concatenate([*identity, own], axis=1)


def inputs_of(meta: Mapping[str, Any], hparams: Hparams, *, clock: tuple[str, ...]) -> Inputs:
    """What a network takes, given what `describe` says of the covariates.

    Args:
        meta: as `describe` gave it.
        hparams: whether the network is told of the calendar and of the series.
        clock: names of the calendar's features, which are not scaled; () for none.
    """
    identity = hparams.identity == "embedding"
    vocabularies = meta["categorical"]
    return Inputs(
        past=(*meta["past"], *clock),
        future=(*meta["future"], *clock),
        past_location=(*meta["past_location"], *[0.0] * len(clock)),
        past_scale=(*meta["past_scale"], *[1.0] * len(clock)),
        categorical=(*[IDENTITY] * identity, *vocabularies),
        categories=(*[len(meta["identity"])] * identity, *map(len, vocabularies.values())),
        numeric=tuple(meta["numeric"]),
        numeric_location=tuple(meta["numeric_location"]),
        numeric_scale=tuple(meta["numeric_scale"]),
    )


def describe(
    known: Known, train_lengths: Sequence[int], ids: Sequence[str], trained_on: Sequence[int]
) -> dict[str, Any]:
    """Names, vocabularies and the constants by which covariates are scaled, all of the training part.

    Args:
        known: the covariates.
        train_lengths: steps of each series in the training part.
        ids: names of the series.
        trained_on: the series with training windows, by number. A network knows no other by its name, nor a category
            that is theirs alone: what it was not trained on would be a random vector, and so is unknown.
    """
    trained = list(trained_on)
    past, numeric = (_scaling(values) for values in _trained_on(known, train_lengths, trained))
    return {
        "past": list(known.past),
        "future": list(known.future),
        "past_location": past[0],
        "past_scale": past[1],
        "categorical": {
            name: sorted({str(words[i]) for i in trained if words[i] is not None})
            for name, words in known.categorical.items()
        },
        "identity": [ids[i] for i in trained],
        "numeric": list(known.numeric),
        "numeric_location": numeric[0],
        "numeric_scale": numeric[1],
    }


def say_nothing(known: Known, train_lengths: Sequence[int], trained_on: Sequence[int]) -> Iterator[str]:
    """In words, the numbers that teach networks nothing, as the training part has no two different values of them.

    Args:
        known: as for `describe`.
        train_lengths: as for `describe`.
        trained_on: as for `describe`.
    """
    for names, values in zip((known.past, known.numeric), _trained_on(known, train_lengths, trained_on), strict=True):
        for name, column in zip(names, values.T, strict=True):
            seen = column[np.isfinite(column)]
            if not len(seen):
                yield f"{name!r} has no value in the training part, so that networks are not told it at all"
            elif np.ptp(seen) == 0:
                where = (
                    "wherever the training part has it, which to networks is the same as a missing value; write what "
                    "it is elsewhere, such as 0"
                    if len(seen) < len(column)
                    else "all through the training part, so that it is chance what networks make of another value; "
                    "leave it out, or bring history in which it changes"
                )
                yield f"{name!r} is {seen[0]:g} {where}"


def _trained_on(known: Known, train_lengths: Sequence[int], trained_on: Sequence[int]) -> tuple[Floats, Floats]:
    """The values [n, P] over time in the training part, and those [n, M] of the series with training windows."""
    values, trained = known.cut(train_lengths).values, list(trained_on)
    return (
        np.concatenate(values) if values else np.zeros((0, len(known.past))),
        np.array([np.asarray(v)[trained] for v in known.numeric.values()]).reshape(-1, len(trained)).T,
    )


def encode(words: Sequence[str | None], vocabulary: Sequence[str]) -> Ints:
    """The number of each word in a vocabulary, from 1; 0 for what is not in it."""
    places = {word: place for place, word in enumerate(vocabulary, start=1)}
    return np.array([UNKNOWN if word is None else places.get(word, UNKNOWN) for word in words], np.int64)


def encode_history(words: Sequence[str | None], vocabulary: Sequence[str]) -> Ints:
    """As `encode`, of words that were read from another file than the vocabulary.

    Readers of files spell numbers and truths each in their own way, 7 for 007 and True for true, so a word that is not
    in the vocabulary is taken for the entry that means the same, if only one does.
    """
    unknown = {word for word in words if word is not None}.difference(vocabulary)
    spelt: dict[str | None, str] = {}
    if meanings := {word: meaning for word in unknown if (meaning := _meaning(word)) is not None}:
        alike: dict[Hashable | None, list[str]] = {}
        for word in vocabulary:
            alike.setdefault(_meaning(word), []).append(word)
        same = {word: alike.get(meaning, []) for word, meaning in meanings.items()}
        spelt = {word: found[0] for word, found in same.items() if len(found) == 1}
    return encode([spelt.get(word, word) for word in words], vocabulary)


def _meaning(word: str) -> Hashable | None:
    """What the spellings of a number, or of true or false, have in common, also where the name of a target follows."""
    if _NUMBER.fullmatch(word):
        return Decimal(word)
    if word.lower() in ("true", "false"):
        return word.lower()
    series, _, target = word.rpartition("/")
    meaning = _meaning(series) if series else None
    return None if meaning is None else (meaning, target)


def save_covariates(known: Known, meta: Mapping[str, Any], folder: Path, *, count: int) -> None:
    """Writes the covariates of `count` series into a part's folder; what they are is in the part's own meta."""
    if known.past:
        np.save(folder / "covariates.npy", np.concatenate(known.values))
    codes = [encode(words, meta["categorical"][name]) for name, words in known.categorical.items()]
    np.save(folder / "static_cat.npy", np.array(codes, np.int64).reshape(-1, count).T)
    numbers = np.array([np.asarray(v, np.float64) for v in known.numeric.values()]).reshape(-1, count).T
    np.save(folder / "static_num.npy", numbers)


def _scaling(values: Floats) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of columns [n, P]; of one without values what makes 0 of any that come later.

    A column that never changes is in units of its own size, or of 1 where that is larger: a price that has always been
    9.99 and rises to 11.99 does so by a fifth. Its computed deviation would be 0, or noise of the last bit.
    """
    seen = np.isfinite(values)
    counts = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, values, 0.0).sum(axis=0) / counts
    spread = np.sqrt(np.square(np.where(seen, values - mean, 0.0)).sum(axis=0) / counts)
    low = np.min(values, axis=0, where=seen, initial=np.inf)
    constant = low == np.max(values, axis=0, where=seen, initial=-np.inf)
    own_size = np.maximum(np.abs(low, where=constant, out=np.zeros(len(low))), 1.0)
    location, scale = np.where(constant, low, mean), np.where(constant, own_size, spread)
    return location.tolist(), np.where(seen.any(axis=0), scale, UNSEEN).tolist()
