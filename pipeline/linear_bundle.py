"""The bundle of the ridge baseline: what is evaluated beside the networks, in the form that is served."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from pipeline.bundle import write_bundle
from pipeline.columns import Columns
from pipeline.errors import BundleError
from pipeline.forecaster import Forecaster
from pipeline.hparams import Hparams, NetworkSpec
from pipeline.lineage import describe_data, hash_of
from pipeline.linear_graph import build_linear_graph
from pipeline.linear_map import LinearMap, chunks, normalise
from pipeline.params import SERVED_BASELINE, Params
from pipeline.storage import replacing, sha256_of
from pipeline.windows import FitSet, Floats, Windows

PARITY = 1e-9  # of the window's standard deviation
ROUNDING = 1e-14  # of the value; what float64 leaves of it after some sums


def save_linear_map(
    out: Path, linear: LinearMap, offsets: Floats, *, fit: FitSet, params: Params, source: Path
) -> None:
    """Writes the bundle, once it is known to forecast what the map does.

    It takes the history alone, so its columns name no covariates.

    Args:
        out: the folder to write; what lies there is replaced.
        linear: fitted on the training part.
        offsets: [H, Q] what makes quantiles of its forecasts, in units of each window's scale.
        fit: what it was fitted on.
        params: quantiles, and what the bundle says of its data.
        source: the folder that `fit` was read from.

    Raises:
        BundleError: the bundle differs from the map.
    """
    spec = linear_spec(fit.train.context_length, fit.train.horizon, params.quantiles)
    graph = build_linear_graph(spec, linear, offsets)
    check_parity(Forecaster(graph, spec, {}), linear, offsets, fit.val)
    columns = Columns.from_params(params.data)
    own = dataclasses.replace(
        columns, past_covariates=(), future_covariates=(), static_categorical=(), static_numeric=()
    )
    with replacing(out) as beside:
        beside.mkdir()
        write_bundle(
            beside,
            graph,
            spec=spec,
            parameters=linear.weights.size + linear.intercept.size,
            calibrated=True,
            meta={
                "evaluated": True,
                "fitted_on": "train",
                "ridge_alpha": linear.alpha,
                "freq": params.data.freq,
                "columns": own.to_json(),
                "repair": params.data.repair.model_dump(),
                "season_length": linear.season_length,
                **describe_data(fit.train, fit.ids, fit.meta),
                "data_sha256": sha256_of(source),
                "params_sha256": hash_of(spec.to_json()),
                "seeds": [],
            },
        )


def linear_spec(context_length: int, horizon: int, quantiles: tuple[float, ...]) -> NetworkSpec:
    """What a bundle says of a linear map: that of a network without units, layers and training."""
    hparams = Hparams(
        segment_length=1,
        units=0,
        layers=0,
        dropout=0.0,
        learning_rate=0.0,
        batch_size=0,
        context_used=context_length,
        location="last",
        transform="none",
        head="plain",
        linear="ridge",
        calendar="none",
        identity="none",
    )
    return NetworkSpec(SERVED_BASELINE, context_length, horizon, quantiles, hparams)


def check_parity(forecaster: Forecaster, linear: LinearMap, offsets: Floats, windows: Windows) -> None:
    """Refuses a bundle that forecasts something else than the map does.

    Args:
        forecaster: the bundle.
        linear: the map.
        offsets: [H, Q] as for `save_linear_map`.
        windows: that are forecast by both.

    Raises:
        BundleError: they differ by more than 1e-9 of a window's standard deviation, and by more than rounding.
    """
    served = forecaster.predict_windows(windows)["forecast"]
    for rows in chunks(np.arange(len(windows))):
        contexts = windows.contexts(rows)
        scale = normalise(contexts)[2][:, :, None]
        expected = linear.forecast(contexts)[:, :, None] + scale * offsets
        difference, value = np.abs(served[rows] - expected), np.abs(expected)
        wrong = ~(difference <= PARITY * scale + ROUNDING * value)
        if wrong.any():
            error = np.max(difference[wrong])
            raise BundleError(f"the bundle of ridge differs from the baseline by {error:.2e}, in units of the data")
