"""From the networks of all seeds to one served graph: calibration, and parity with Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration import conformal_offsets, normalised
from pipeline.errors import BundleError
from pipeline.forecaster import Forecaster
from pipeline.hparams import NetworkSpec
from pipeline.onnx_graph import build_graph
from pipeline.windows import Floats, Windows, split_missing

PARITY = 1e-5  # of the larger of the value and the window's standard deviation

Weights = Mapping[str, NDArray[Any]]


def load_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Reads the weights of one network by name."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def calibrate(spec: NetworkSpec, members: Sequence[Weights], windows: Windows) -> Floats:
    """Conformal offsets [H, Q] of the ensemble, in units of each window's scale.

    Args:
        spec: of every member.
        members: weights by seed.
        windows: validation windows.
    """
    raw = Forecaster.from_graph(build_graph(spec, members, None), spec, {})
    history, observed = split_missing(windows.contexts())
    out = raw.predict_arrays(history, observed, outputs=("uncalibrated", "location", "scale"))
    target, forecast = (
        normalised(values, location=out["location"], scale=out["scale"], transform=spec.hparams.transform)
        for values in (windows.targets(), out["uncalibrated"])
    )
    return conformal_offsets(target, forecast, spec.quantiles, independent=windows.independent())


def parity_error(forecaster: Forecaster, keras_forecasts: NDArray[Any], contexts: Floats) -> float:
    """Largest difference between the bundle's members and Keras, relative to max(value, window's standard deviation).

    Args:
        forecaster: the bundle.
        keras_forecasts: [K, N, H, Q] what Keras says, seed by seed.
        contexts: [N, C] the windows.

    Raises:
        BundleError: it is above 1e-5.
    """
    served = forecaster.predict_arrays(*split_missing(contexts), outputs=("members",))["members"]
    size = np.maximum(np.abs(keras_forecasts), np.nanstd(contexts, axis=1)[None, :, None, None])
    error = float(np.max(np.abs(served - keras_forecasts) / np.where(size > 0, size, 1.0)))
    if not error <= PARITY:
        raise BundleError(f"the bundle differs from Keras by {error:.2e} of the window's standard deviation")
    return error
