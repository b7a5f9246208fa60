"""One model in service: a version of a forecaster, in memory and warm."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.forecaster import Forecaster
from pipeline.server.batching import Batcher, forecast_together
from pipeline.server.limits import Limits
from pipeline.server.metrics import Metrics
from pipeline.server.versions import verify_files


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
        BundleError: a file is missing or altered, or the bundle cannot be read.
        GatecastError: its graph does not work.
    """
    verify_files(folder)
    forecaster = Forecaster.load(folder, threads=threads)
    spec = forecaster.spec
    beside = {"future": np.zeros((1, spec.horizon, len(spec.inputs.future)))}
    ones = np.ones((1, spec.context_length))
    for result in forecast_together(forecaster, [forecaster.check_arrays(ones, ones, **beside)]):
        if isinstance(result, Exception):
            raise result
    return forecaster
