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
from pipeline.windows import Floats, Ints, Windows

PARITY = 1e-5  # of the larger of the value and the window's standard deviation
BLOCKS = 4  # of the validation part, each left out once to find how much calibration helps

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
    served = Forecaster.from_graph(build_graph(spec, members, calibration), spec, meta)
    parity_error(served, keras_forecasts, inputs)
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
    raw = Forecaster.from_graph(build_graph(spec, members, None), spec, {})
    out = raw.predict_windows(windows, outputs=("uncalibrated", "location", "scale"))
    inside: Any = {"location": out["location"], "scale": out["scale"], "transform": spec.hparams.transform}
    target, forecast = (normalised(values, **inside) for values in (windows.targets(), out["uncalibrated"]))
    worth, blocks = windows.independent(), blocks_of(windows)
    weights = scale_in_units(loss_scale[windows.series], **inside)
    share = choose_share(target, forecast, spec.quantiles, weights=weights, independent=worth, blocks=blocks)
    return share * conformal_offsets(target, forecast, spec.quantiles, independent=worth), share


def blocks_of(windows: Windows) -> Ints:
    """The block [N] of each window: a stretch of time, or of series with too few cutoffs for that every fourth one."""
    _, number, counts = np.unique(windows.series, return_inverse=True, return_counts=True)
    rank = np.arange(len(windows)) - (np.cumsum(counts) - counts)[number]
    count = counts[number]
    blocks: Ints = np.where(count >= BLOCKS, rank * BLOCKS // count, number % BLOCKS)
    return blocks


def parity_error(forecaster: Forecaster, keras_forecasts: NDArray[Any], inputs: Mapping[str, NDArray[Any]]) -> float:
    """Largest difference between the bundle's members and Keras, relative to max(value, window's standard deviation).

    Args:
        forecaster: the bundle.
        keras_forecasts: [K, N, H, Q] what Keras says, seed by seed.
        inputs: of N windows, as `Windows.inputs` gives them.

    Raises:
        BundleError: it is above 1e-5.
    """
    served = forecaster.predict_arrays(**inputs, outputs=("members",))["members"]
    contexts = np.where(inputs["observed"] > 0, inputs["history"], np.nan)
    size = np.maximum(np.abs(keras_forecasts), np.nanstd(contexts, axis=1)[None, :, None, None])
    error = float(np.max(np.abs(served - keras_forecasts) / np.where(size > 0, size, 1.0)))
    if not error <= PARITY:
        raise BundleError(f"the bundle differs from Keras by {error:.2e} of the window's standard deviation")
    return error
