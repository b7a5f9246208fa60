"""How far the formats of a forecaster are from each other, on windows of the data and on what is made of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ensemble import PARITY
from pipeline.errors import BundleError
from pipeline.export.runtimes import Arrays, Run
from pipeline.hparams import NetworkSpec
from pipeline.windows import Floats, Windows

WINDOWS = 32  # of each kind
OFFSET = 1e6  # standard deviations of the window
MISSING = 0.3  # of the steps
BATCHES = (1, 64)  # windows forecast at once when latencies are measured
WARM_UP, REPEATS = 1, 30  # calls at most
ENOUGH_S = 0.25  # after which no more calls are measured
# Which output of which format is compared with which. What Keras says of each seed is what the ONNX graph says of it;
# what the graph makes of all of them, calibrated, is the forecast.
COMPARED = (
    ("onnx", "keras", "members"),
    ("saved_model", "keras", "members"),
    ("saved_model", "onnx", "forecast"),
    ("litert", "onnx", "forecast"),
)


@dataclass(frozen=True)
class Difference:
    """How far a format is from another.

    Attributes:
        format: that is compared.
        reference: that it is compared with.
        output: that is compared.
        windows: their kind.
        error: the largest difference, relative to the larger of the value and the window's standard deviation.
        error_of_std: the same relative to the standard deviation alone; None where the windows have none.
    """

    format: str
    reference: str
    output: str
    windows: str
    error: float
    error_of_std: float | None

    def to_json(self) -> dict[str, Any]:
        """The difference as a JSON object."""
        return asdict(self)


def examples(windows: Windows, spec: NetworkSpec) -> dict[str, dict[str, NDArray[Any]]]:
    """Inputs by kind, NaN in `history` where nothing is observed.

    `validation` is the data as it is; `missing` lacks three steps in ten, all steps in its first window, all but the
    last one in its second; `short` has no more than the last eighth; `offset` lies a million standard deviations away.

    Args:
        windows: of the data.
        spec: the network's.
    """
    plain = windows.inputs(spec, np.linspace(0, len(windows) - 1, WINDOWS).astype(np.int64))
    shape, steps = plain["observed"].shape, np.arange(spec.context_length)
    some = np.random.default_rng(0).random(shape) >= MISSING
    some[0], some[1] = False, steps == steps[-1]
    late = np.broadcast_to(steps >= steps[-1] - spec.context_length // 8, shape)
    everything = np.ones(shape, np.bool_)
    far = plain["history"] + OFFSET * deviations(plain)[:, None]
    made = {
        "validation": (plain["history"], everything),
        "missing": (plain["history"], some),
        "short": (plain["history"], late),
        "offset": (far, everything),
    }
    return {name: plain | _observed(history, plain["observed"], seen) for name, (history, seen) in made.items()}


def deviations(inputs: Arrays) -> Floats:
    """The standard deviation [N] of what is observed of each window; 0 where that is nothing."""
    seen = inputs["observed"] > 0
    counts = np.maximum(seen.sum(axis=1), 1)
    values = np.where(seen, inputs["history"], 0.0)
    means = values.sum(axis=1) / counts
    squares = np.where(seen, values - means[:, None], 0.0) ** 2
    return np.asarray(np.sqrt(squares.sum(axis=1) / counts), np.float64)


def differences(runs: Mapping[str, Run], inputs: Mapping[str, Arrays]) -> list[Difference]:
    """Compares all formats.

    Args:
        runs: by the name of the format: `keras`, `onnx`, `saved_model`, `litert`.
        inputs: by the kind of the windows.
    """
    found = []
    for kind, arrays in inputs.items():
        outputs = {name: run(arrays) for name, run in runs.items()}
        deviation = deviations(arrays)[:, None, None]
        for name, reference, output in COMPARED:
            value, expected = outputs[name][output], outputs[reference][output]
            apart = np.abs(value - expected)
            size = np.maximum(np.abs(expected), deviation)
            varies = np.broadcast_to(deviation > 0, apart.shape)
            of_std = (apart / np.where(deviation > 0, deviation, 1.0))[varies]
            error = float(np.max(apart / np.where(size > 0, size, 1.0)))
            found.append(Difference(name, reference, output, kind, error, float(of_std.max()) if of_std.size else None))
    return found


def check(found: Sequence[Difference]) -> None:
    """Refuses an export that does not forecast what the bundle does.

    Raises:
        BundleError: a difference is above 1e-5.
    """
    worst = max(found, key=lambda each: np.nan_to_num(each.error, nan=np.inf))
    if not worst.error <= PARITY:
        raise BundleError(
            f"{worst.format} differs from {worst.reference} in {worst.output} on windows of kind {worst.windows}: at "
            f"most {PARITY:g} of the larger of the value and the window's standard deviation is allowed. Received: "
            f"{worst.error:.2e}; serve the bundle itself"
        )


def latencies_ms(run: Run, inputs: Arrays, batches: Sequence[int]) -> dict[str, float]:
    """Milliseconds of one call, the median of several, by the number of windows in it."""
    rows = np.arange(len(inputs["history"]))
    return {
        str(batch): round(_median_ms(run, {name: value[np.resize(rows, batch)] for name, value in inputs.items()}), 3)
        for batch in batches
    }


def _median_ms(run: Run, inputs: Arrays) -> float:
    taken: list[float] = []
    while len(taken) <= WARM_UP or (len(taken) < WARM_UP + REPEATS and sum(taken) < 1000 * ENOUGH_S):
        start = time.perf_counter()
        run(inputs)
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken[WARM_UP:])


def _observed(history: Floats, observed: NDArray[Any], seen: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    left = (observed > 0) & seen
    return {"history": np.where(left, history, np.nan), "observed": left.astype(np.float32)}
