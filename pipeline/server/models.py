"""One model in service: a version of a forecaster, in memory and warm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from pipeline.bundle import DESCRIPTION
from pipeline.errors import BundleError, GatecastError
from pipeline.forecaster import Forecaster
from pipeline.hparams import NetworkSpec
from pipeline.params import DataParams
from pipeline.server.batching import Batcher, forecast_together
from pipeline.server.limits import Limits
from pipeline.server.metrics import Metrics
from pipeline.server.request_errors import echo
from pipeline.server.versions import verify_files

# What section data of params.yaml says beside the columns and the repairs, which a bundle has.
_FILE = {
    "path": "history",
    "pattern": "*",
    "format": "csv",
    "delimiter": ",",
    "decimal": ".",
    "encoding": "utf-8",
    "end": None,
    "min_history": 1,
}


class _Description(BaseModel):
    """What a forecaster.json has that may be used; other keys are left alone."""

    model_config = ConfigDict(strict=True)

    columns: dict[str, Any]
    repair: dict[str, Any]
    vocabularies: dict[str, list[str]] = {}
    season_length: int | None = None
    training_range: dict[Literal["start", "end"], str] = Field({}, min_length=2)
    value_range: dict[Literal["min", "p01", "p99", "max"], FiniteFloat] = Field({}, min_length=4)


class Model:
    """A version of a model.

    Args:
        name: of the model.
        version: from 1.
        forecaster: loaded.
        executor: of threads, in which graphs work.
        limits: of the server.
        metrics: that are told of inputs and batches.

    Attributes:
        name: as given.
        version: as given.
        forecaster: as given.
    """

    def __init__(
        self,
        name: str,
        version: int,
        forecaster: Forecaster,
        *,
        executor: Executor,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self.name, self.version, self.forecaster = name, version, forecaster
        self._observe = metrics.inputs_of(name, forecaster.meta)
        self._batcher = Batcher(
            forecaster,
            executor=executor,
            most_windows=limits.batch_windows,
            observe=metrics.batch.observe,
            inside=lambda: metrics.inside,
        )

    async def forecast(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Forecasts windows together with those of concurrent requests; see `Batcher.forecast`."""
        self._observe(inputs)
        return await self._batcher.forecast(inputs)


def load_forecaster(folder: Path, *, threads: int) -> Forecaster:
    """Loads a bundle of which every file is what it was, and runs it once, so that no request has to wait for that.

    Args:
        folder: the bundle.
        threads: used within one call.

    Returns:
        The forecaster, wholly in memory.

    Raises:
        BundleError: a file is missing or altered, what it says of itself cannot be used, or its graph does not work.
        GatecastError: its graph has no forecast of a series of ones.
    """
    verify_files(folder)
    try:
        forecaster = Forecaster.load(folder, threads=threads)
        _check_meta(forecaster.meta, forecaster.spec)
        _run_once(forecaster)
    except GatecastError:
        raise
    except ValidationError as error:
        raise BundleError(f"{folder / DESCRIPTION}, {_first_of(error)}; publish the bundle again") from None
    except Exception as error:  # there is no end to what a graph or a number that is none may raise
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise BundleError(f"{folder} cannot be served: {cause}; publish the bundle again") from error
    return forecaster


def _check_meta(meta: Mapping[str, Any], spec: NetworkSpec) -> None:
    """Checks what requests rely on in forecaster.json, beside the network's own part."""
    described = _Description.model_validate_json(json.dumps(meta))
    DataParams.model_validate_json(json.dumps({**_FILE, **described.columns, "repair": described.repair}))
    unknown = [name for name in spec.inputs.categorical if name not in described.vocabularies]
    if unknown:
        raise ValueError(f"vocabularies has no {unknown[0]}")


def _run_once(forecaster: Forecaster) -> None:
    spec = forecaster.spec
    beside = {"future": np.zeros((1, spec.horizon, len(spec.inputs.future)))}
    ones = np.ones((1, spec.context_length))
    (result,) = forecast_together(forecaster, [forecaster.check_arrays(ones, ones, **beside)])
    if isinstance(result, Exception):
        raise result


def _first_of(error: ValidationError) -> str:
    """Where the first bad value is, and what is wrong with it."""
    first = error.errors(include_url=False)[0]
    told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return told if first["type"] == "missing" else f"{told}. Received: {echo(first['input'])}"
