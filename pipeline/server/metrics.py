"""What Prometheus is told of the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WINDOWS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one app.

    Attributes:
        requests: answered, by protocol and status.
        seconds: to answer, by protocol.
        inside: POST requests that are being answered now, the queue's included.
        batch: windows per call of a graph.
        version: that is served, by model.
        reloads: new versions, by model and outcome: `switched` or `refused`.
        broken: the newest version where that was refused, by model; 0 where it is served.
        values: observed values of history, by model.
        outside: those that lie outside of what the model was trained on, by model and bound: `min`, `p01`, `p99`,
            `max`. Where inputs are like the training data, a hundredth lies below p01.
    """

    def __init__(self) -> None:
        self._all = everything = CollectorRegistry()
        self.requests = Counter("gatecast_requests", "Requests answered.", ["protocol", "status"], registry=everything)
        self.seconds = Histogram(
            "gatecast_request_seconds", "Time to answer a request.", ["protocol"], buckets=_SECONDS, registry=everything
        )
        self.inside = 0
        Gauge(
            "gatecast_requests_in_progress", "Requests being answered, the queue's included.", registry=everything
        ).set_function(lambda: self.inside)
        self.batch = Histogram(
            "gatecast_batch_windows", "Windows per call of a graph.", buckets=_WINDOWS, registry=everything
        )
        self.version = Gauge(
            "gatecast_model_version", "The version that is served.", ["model", "cell"], registry=everything
        )
        self.reloads = Counter(
            "gatecast_reloads", "New versions, switched to or refused.", ["model", "outcome"], registry=everything
        )
        self.broken = Gauge(
            "gatecast_broken_version",
            "The newest version, if it was refused; 0 if not.",
            ["model"],
            registry=everything,
        )
        self.values = Counter("gatecast_input_values", "Observed values of history.", ["model"], registry=everything)
        self.outside = Counter(
            "gatecast_input_values_outside",
            "Those outside of the training data's range.",
            ["model", "bound"],
            registry=everything,
        )

    def inputs_of(self, model: str, meta: Mapping[str, Any]) -> Callable[[Mapping[str, NDArray[Any]]], None]:
        """Makes what counts how far inputs are from what a model was trained on.

        Args:
            model: its name.
            meta: its bundle's, of which `value_range` counts.

        Returns:
            A function of the inputs of the graph.
        """
        limits = meta.get("value_range", {}).items()
        values = self.values.labels(model)
        bounds = [(self.outside.labels(model, bound), bound in {"min", "p01"}, limit) for bound, limit in limits]

        def observe(inputs: Mapping[str, NDArray[Any]]) -> None:
            seen = inputs["history"][inputs["observed"] > 0]
            values.inc(len(seen))
            for outside, is_lower, limit in bounds:
                outside.inc(int(np.count_nonzero(seen < limit if is_lower else seen > limit)))

        return observe

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._all)
