"""Windows gathered inside the graph that trains on them: none is kept in memory, and none passes through Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.covariates import Covariates
from pipeline.hparams import Inputs, NetworkSpec
from pipeline.network import scaled
from pipeline.windows import Windows

RUN = 24  # steps that are copied at once
LAID_OUT = 2**25  # bytes that a table may take so that it is gathered in fewer pieces


class Batch(NamedTuple):
    """Windows of one batch.

    Attributes:
        series: [N] numbers of their series.
        history: [N, C] values up to the cutoffs; NaN is missing.
        target: [N, H] values after them.
        beside: the other inputs, as `SegmentNetwork.beside` gives them.
    """

    series: Any
    history: Any
    target: Any
    beside: dict[str, Any]


Gather = Callable[[Any, Any], Batch]  # of positions [N] and of the numbers [N] of their series


def gather_windows(spec: NetworkSpec, windows: Windows, series_count: int) -> Gather:
    """A function, to be traced, that gathers windows by their positions [N] and the numbers [N] of their series.

    Args:
        spec: the network that is trained on them.
        windows: they hold every series once; what overlaps is copied batch by batch. Other windows of the same values
            are gathered by the same function.
        series_count: of the panel.
    """
    context, horizon = spec.context_length, spec.horizon
    values = runs_of(windows.values, context + horizon)
    covariates_of = _covariates(spec.inputs, windows.covariates)
    statics_of = _statics(spec.inputs, windows.covariates, series_count)

    def gather(positions: Any, series: Any) -> Batch:
        first = positions - context
        window = values(first)
        beside = statics_of(series)
        if covariates_of is not None:
            # Apart: to cut one piece in two would copy both parts once more.
            beside["past"] = covariates_of(first[:, None] + tf.range(context, dtype=first.dtype))
            known = covariates_of(positions[:, None] + tf.range(horizon, dtype=first.dtype))
            beside["future"] = known[:, :, len(spec.inputs.past) - len(spec.inputs.future) :]
        return Batch(series, window[:, :context], window[:, context : context + horizon], beside)

    return gather


def runs_of(values: NDArray[Any], length: int) -> Callable[[Any], Any]:
    """A function of first places [N] that gathers `length` values from each, or a few more.

    Gathering takes its time by the piece, however short. So, where memory allows it, beside each value lie those that
    follow it, and one piece is a run of them.

    Args:
        values: [T] of all series.
        length: in steps; no more than lie between a first place and the end.
    """
    longest = int(np.clip(LAID_OUT // max(values.nbytes, 1), 1, RUN))
    pieces = -(-length // longest)
    run = -(-length // pieces)
    runs = tf.constant(sliding_window_view(np.pad(values, (0, run - 1)), run))
    offsets = tf.range(0, pieces * run, run, dtype=tf.int64)
    return lambda first: tf.reshape(tf.gather(runs, first[:, None] + offsets), (-1, pieces * run))


def _covariates(wanted: Inputs, covariates: Covariates) -> Callable[[Any], Any] | None:
    """A function of the places [N, L] of steps: their covariates, and their calendar, as the network is told them.

    They are scaled once, before training. What the calendar tells is laid out step by step where it fits, and else
    gathered by the moments, of which a panel's series share most.
    """
    if not wanted.past:
        return None
    own = covariates.values.shape[1]
    table = np.asarray(scaled(covariates.values, wanted.past_location[:own], wanted.past_scale[:own]))
    if len(wanted.past) == own:
        return _rows_of(table)
    _, features, moments = covariates.calendar
    features = np.asarray(scaled(features, wanted.past_location[own:], wanted.past_scale[own:]))
    if len(moments) * features.shape[1] * features.itemsize <= LAID_OUT:
        return _rows_of(np.concatenate([table, features[moments]], axis=1))
    own_of, moment_of, features_of = _rows_of(table), _rows_of(moments), _rows_of(features)
    return lambda steps: tf.concat([own_of(steps), features_of(moment_of(steps))], axis=2)


def _statics(wanted: Inputs, covariates: Covariates, series_count: int) -> Callable[[Any], dict[str, Any]]:
    """A function of the numbers [N] of series: what the network is told of each, by the name of the input."""
    tables = {}
    if wanted.categorical:
        tables["static_cat"] = _rows_of(covariates.categories(np.arange(series_count), wanted))
    if wanted.numeric:
        tables["static_num"] = _rows_of(scaled(covariates.numbers, wanted.numeric_location, wanted.numeric_scale))
    return lambda series: {name: rows_of(series) for name, rows_of in tables.items()}


def _rows_of(table: Any) -> Callable[[Any], Any]:
    """A function of places in a table that gathers its rows there."""
    kept = tf.constant(table)
    return lambda places: tf.gather(kept, places)
