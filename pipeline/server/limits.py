"""What one request may ask for, and what the server holds at a time: all limits in one place."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.server.request_errors import RequestError


@dataclass(frozen=True)
class Limits:
    """Limits of the server. A horizon has one more: that of the model.

    Attributes:
        body_bytes: of a request.
        series: of a request (windows, in protocols of tensors).
        points: values of history in a request, of all series together.
        name_length: characters of a series' name, which CSV repeats in each row of its forecast.
        deadline_s: from the end of a request's headers to its answer.
        requests: that are answered at a time, those that wait included; more are told to come again.
        retry_after_s: when.
        batch_windows: that go through the graph in one call.
        drain_s: from SIGTERM to the end, for requests that are being answered.
        poll_s: between two looks at the folder of published models.
    """

    body_bytes: int = 8_000_000
    series: int = 256
    points: int = 100_000
    name_length: int = 1_000
    deadline_s: float = 30.0
    requests: int = 256
    retry_after_s: int = 1
    batch_windows: int = 64
    drain_s: int = 30
    poll_s: float = 1.0

    def check_series(self, count: int, field: str) -> None:
        """Refuses more series than a request may have, with `limit-series`."""
        self._check(count, self.series, "series", field)

    def check_points(self, count: int, field: str) -> None:
        """Refuses more values than a request may have, with `limit-points`."""
        self._check(count, self.points, "points", field)

    def check_name(self, length: int, field: str) -> None:
        """Refuses a longer name than a series may have, with `limit-name`."""
        if length > self.name_length:
            told = (
                f"{field}: a series' name has at most {self.name_length:,} characters. Received: {length:,}; shorten it"
            )
            raise RequestError(422, told, code="limit-name", field=field)

    def _check(self, count: int, most: int, what: str, field: str) -> None:
        if count > most:
            told = f"{field}: at most {most:,} {what} in a request. Received: {count:,}; send several requests"
            raise RequestError(422, told, code=f"limit-{what}", field=field)


def horizon_of(asked: int | None, longest: int, field: str) -> int:
    """The steps that are asked for.

    Args:
        asked: None for all.
        longest: the horizon of the model.
        field: that asks.

    Raises:
        RequestError: `limit-horizon`.
    """
    if asked is None:
        return longest
    if 1 <= asked <= longest:
        return asked
    told = f"{field}: the model forecasts 1 to {longest} steps. Received: {asked}"
    raise RequestError(
        422, f"{told}; ask for fewer, or train with a longer window.horizon", code="limit-horizon", field=field
    )
