"""From the networks of all seeds to one served graph: calibration, and parity with Keras."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.bundle import save_bundle
from pipeline.calibration import choose_share, conformal_offsets, normalised, scale_in_units
from pipeline.errors import BundleError
from pipeline.forecaster import Forecaster
from pipeline.hparams import NetworkSpec
from pipeline.onnx_graph import build_graph
from pipeline.windows import Floats, Windows

PARITY = 1e-5  # of the larger of the value and the window's standard deviation
BLOCKS = 4  # of the validation part, each left out once to find how much calibration helps

Bools = NDArray[np.bool_]
Weights = Mapping[str, NDArray[Any]]


def save_ensemble(
    out: Path,
    spec: NetworkSpec,
    seeds: Sequence[int],
    *,
    finished: Path,
    calibration: Floats | None,
    meta: Mapping[str, Any],
    inputs: Mapping[str, NDArray[Any]],
) -> Forecaster:
    """Writes the networks of all seeds and the bundle made of them, once it is known to forecast what Keras does.

    Args:
        out: an empty folder; what lies in it already is listed in the bundle.
        spec: of every network.
        seeds: of the networks.
        finished: where each seed has its `.keras` file, its weights (`.npz`) and its forecasts of `inputs` (`.npy`).
        calibration: [H, Q] as `calibrate` gives it; None for none.
        meta: as for `save_bundle`.
        inputs: of some windows, as `Windows.inputs` gives them.

    Returns:
        The forecaster that was written.

    Raises:
        BundleError: the bundle differs from Keras.
    """
    for seed in seeds:
        shutil.copyfile(finished / f"seed-{seed}.keras", out / f"seed-{seed}.keras")
    members = [load_weights(finished / f"seed-{seed}.npz") for seed in seeds]
    keras_forecasts = np.stack([np.load(finished / f"seed-{seed}.npy") for seed in seeds])
    served = Forecaster(build_graph(spec, members, calibration), spec, meta)
    check_parity(served, keras_forecasts, inputs)
    save_bundle(out, spec=spec, members=members, calibration=calibration, meta={**meta, "seeds": list(seeds)})
    return served


def load_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Reads the weights of one network by name."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def calibrate(
    spec: NetworkSpec, members: Sequence[Weights], windows: Windows, loss_scale: Floats
) -> tuple[Floats, float]:
    """Finds the offsets that calibrate the ensemble's quantiles.

    Args:
        spec: of every member.
        members: weights by seed.
        windows: validation windows.
        loss_scale: [S] the unit of the training loss for each series, as `splits.loss_scales` gives it.

    Returns:
        Offsets [H, Q], in units of each window's scale; and the share of the conformal ones that they are, as
        `choose_share` finds it.
    """
    raw = Forecaster(build_graph(spec, members, None), spec, {})
    out = raw.predict_windows(windows, outputs=("uncalibrated", "location", "scale"))
    inside: Any = {"location": out["location"], "scale": out["scale"], "transform": spec.hparams.transform}
    target, forecast = (normalised(values, **inside) for values in (windows.targets(), out["uncalibrated"]))
    worth, folds = windows.independent(), folds_of(windows)
    weights = scale_in_units(loss_scale[windows.series], **inside)
    share = choose_share(target, forecast, spec.quantiles, weights=weights, independent=worth, folds=folds)
    return share * conformal_offsets(target, forecast, spec.quantiles, independent=worth), share


def folds_of(windows: Windows) -> list[tuple[Bools, Bools]]:
    """The windows [N] of each block, and those [N] that share no target with it.

    A block is a stretch of the time of every series whose targets are as long as those of `BLOCKS` windows side by
    side, and every so many-th one of the shorter series as a whole: in parts these would leave nothing apart.
    """
    positions, horizon = windows.positions, windows.horizon
    _, number, counts = np.unique(windows.series, return_inverse=True, return_counts=True)
    firsts = np.cumsum(counts) - counts
    rank, count = np.arange(len(windows)) - firsts[number], counts[number]
    span = positions[firsts + counts - 1] - positions[firsts]
    # Where cutoffs are further apart than a step, the last one may come before the end.
    step = np.diff(positions).min(where=np.diff(number) == 0, initial=horizon)
    long = (counts >= BLOCKS) & (span + step > (BLOCKS - 1) * horizon)
    blocks = np.where(long[number], rank * BLOCKS // count, number % BLOCKS)
    folds = []
    for block in np.unique(blocks):
        inside = blocks == block
        first, last = np.full(len(counts), positions.max() + 2 * horizon), np.full(len(counts), -2 * horizon)
        np.minimum.at(first, number[inside], positions[inside])
        np.maximum.at(last, number[inside], positions[inside])
        apart = (positions <= first[number] - horizon) | (positions >= last[number] + horizon)
        folds.append((inside, apart))
    return folds


def check_parity(forecaster: Forecaster, keras_forecasts: NDArray[Any], inputs: Mapping[str, NDArray[Any]]) -> None:
    """Refuses a bundle whose members differ from Keras, relative to max(value, window's standard deviation).

    Args:
        forecaster: the bundle.
        keras_forecasts: [K, N, H, Q] what Keras says, seed by seed.
        inputs: of N windows, as `Windows.inputs` gives them.

    Raises:
        BundleError: by more than 1e-5.
    """
    served = forecaster.predict_arrays(**inputs, outputs=("members",))["members"]
    contexts = np.where(inputs["observed"] > 0, inputs["history"], np.nan)
    size = np.maximum(np.abs(keras_forecasts), np.nanstd(contexts, axis=1)[None, :, None, None])
    error = float(np.max(np.abs(served - keras_forecasts) / np.where(size > 0, size, 1.0)))
    if not error <= PARITY:
        what = "the larger of the value and the window's standard deviation"
        raise BundleError(f"the bundle differs from Keras by {error:.2e} of {what}, at most {PARITY:g} is allowed")
