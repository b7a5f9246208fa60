"""The series of a request on their way into the graph, and what a response says of them beside its forecast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.forecaster import Prepared
from pipeline.hparams import NetworkSpec

if TYPE_CHECKING:  # pandas is loaded with the first table
    import pandas as pd

Stamps = list[Any]  # timestamps as responses have them: whole numbers, or ISO 8601


@dataclass(frozen=True)
class Ready:
    """Series, N of them.

    Attributes:
        spec: of the network.
        inputs: of its graph, one window per series.
        ids: their names.
        times: gives the H timestamps after each of them [N * H], and the last one that each has [N].
        frame: gives the forecast frame of the graph's output [N, H, Q].
    """

    spec: NetworkSpec
    inputs: Mapping[str, NDArray[Any]]
    ids: list[str]
    times: Callable[[], tuple[Stamps, Stamps]]
    frame: Callable[[NDArray[np.float64]], pd.DataFrame]

    @classmethod
    def of(cls, prepared: Prepared) -> Ready:
        """What the forecaster itself has prepared."""

        def times() -> tuple[Stamps, Stamps]:
            following, last = prepared.times()
            return show_stamps(following), show_stamps(last)

        return cls(prepared.spec, prepared.inputs, prepared.contexts.ids, times, prepared.frame)


def show_stamps(times: pd.Series[Any] | NDArray[Any]) -> Stamps:
    """Timestamps as responses have them."""
    if times.dtype.kind == "i":
        return list(times.tolist())
    if times.dtype == "datetime64[us]":
        moments = np.asarray(times)
        if not (moments.view(np.int64) % 1_000_000).any():
            return list(np.datetime_as_string(moments, unit="s").tolist())
    import pandas as pd

    return [time.isoformat() for time in pd.Series(times)]
