"""KServe's time-series protocol (kserve/kserve #4615)."""

from __future__ import annotations

import math
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from pipeline.errors import GatecastError
from pipeline.server.bodies import Json, read_body
from pipeline.server.core import Core, described
from pipeline.server.limits import Limits, horizon_of
from pipeline.server.models import Model
from pipeline.server.ready import Ready
from pipeline.server.request_errors import RequestError, echo, request_error_of

if TYPE_CHECKING:  # pandas is loaded with the first series
    import pandas as pd

    from pipeline.forecaster import Forecaster

KIND = "univariate_time_series"
LAST_YEAR = 9999
_TYPES = {401: "AuthenticationError", 404: "NotFoundError", 429: "RateLimitError", 504: "TimeoutError"}
# The protocol's letters, by what pandas calls them before a dash and whatever number.
_LETTERS = {
    "s": "S", "min": "T", "h": "H", "D": "D", "B": "D", "W": "W", "MS": "M", "ME": "M", "QS": "Q", "QE": "Q",
    "YS": "Y", "YE": "Y",
}  # fmt: skip
_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII)


class SeriesInput(BaseModel):
    """A series of a request."""

    type: str = KIND
    name: str | None = None
    series: list[float | None] = Field(fail_fast=True, description="null where nothing was observed")
    frequency: str | None = Field(None, description="S, T, H, D, W, M, Q or Y; or as the model was trained")
    start_timestamp: str | int | None = Field(None, description="ISO 8601, of the first value")


class Options(BaseModel):
    """What is asked for."""

    horizon: int | None = None
    quantiles: list[float] | None = Field(None, fail_fast=True, description="of those there are; all if left out")


class TimeSeriesRequest(BaseModel):
    """The body of a request."""

    model: str | None = None
    inputs: list[SeriesInput] = Field(fail_fast=True)
    options: Options = Options()


def render(error: RequestError) -> Json:
    """A request error in the shape of this protocol."""
    status = 400 if error.status == 422 else error.status
    kind = _TYPES.get(status, "BadRequestError" if status < 500 else "InternalServerError")
    told = {"code": str(status), "message": error.message, "param": error.field, "type": kind}
    return Json({"error": told}, status, error.headers)


def routes(core: Core) -> APIRouter:
    """The path of this protocol.

    Args:
        core: with the models.
    """
    router = APIRouter(prefix="/v1/timeseries", tags=["KServe time series"])

    @router.post("/forecast", **described("Forecast", 400, 404, body=TimeSeriesRequest))
    async def forecast(request: Request) -> Json:
        raw = await request.body()
        model, body, ready = await core.in_thread(_prepare, raw, core)
        quantiles = await core.forecast(model, ready.inputs, field="inputs")
        outputs = await core.in_thread(_outputs, body, ready, quantiles, model)
        return Json(
            {
                "id": uuid.uuid4().hex,
                "created_at": int(time.time()),
                "status": "completed",
                "model": model.name,
                "outputs": outputs,
            }
        )

    return router


def _prepare(raw: bytes, core: Core) -> tuple[Model, TimeSeriesRequest, Ready]:
    body = read_body(raw, TimeSeriesRequest)
    model = core.registry.find(body.model)
    spec = model.forecaster.spec
    horizon_of(body.options.horizon, spec.horizon, "options.horizon")
    _quantiles(body, model)
    if not body.inputs:
        raise RequestError(422, "inputs: a series is needed. Received: none", code="body-invalid", field="inputs")
    core.limits.check_series(len(body.inputs), "inputs")
    core.limits.check_points(sum(len(one.series) for one in body.inputs), "inputs")
    _check_covariates(model)
    names = _names(body)
    _check_inputs(body, names, core.limits)
    times = [_times(one, model, f"inputs[{place}]") for place, one in enumerate(body.inputs)]
    try:
        return model, body, _prepare_series(names, times, [one.series for one in body.inputs], model.forecaster)
    except GatecastError as error:
        raise request_error_of(error, field="inputs") from None


def _prepare_series(
    names: list[str], times: list[Any], series: list[list[float | None]], forecaster: Forecaster
) -> Ready:
    import numpy as np
    import pandas as pd

    from pipeline.columns import Columns
    from pipeline.server.clean import clean_rows, clean_series

    table = {
        "unique_id": [name for name, values in zip(names, series, strict=True) for _ in values],
        "ds": [word for stamps in times for word in _words(stamps)],
        "y": [value for values in series for value in values],
    }
    rows = clean_rows(table, Columns.from_json(forecaster.meta["columns"]))
    if rows is not None:
        return clean_series(rows, forecaster) or Ready.of(forecaster.prepare_panel(rows.panel()))
    parts = [
        pd.DataFrame({"unique_id": name, "ds": stamps, "y": np.array(values, np.float64)})
        for name, stamps, values in zip(names, times, series, strict=True)
    ]
    return Ready.of(forecaster.prepare(pd.concat(parts, ignore_index=True)))


def _words(stamps: Any) -> list[Any]:
    """Whole seconds without a zone in ISO 8601, as tables of JSON have them; what else they are as it is."""
    import numpy as np

    if getattr(stamps, "dtype", None) != "datetime64[us]" or (stamps.asi8 % 1_000_000).any():
        return list(stamps)
    return list(np.datetime_as_string(stamps.to_numpy(), unit="s").tolist())


def _check_covariates(model: Model) -> None:
    columns = model.forecaster.meta["columns"]
    static = columns["static_covariates"]
    names = [*columns["past_covariates"], *columns["future_covariates"], *static["categorical"], *static["numeric"]]
    if names:
        told = f"model: {echo(model.name)} takes {', '.join(names)}, which this protocol has no place for"
        raise RequestError(422, f"{told}; use /v1/forecast", code="covariates-needed", field="model")


def _names(body: TimeSeriesRequest) -> list[str]:
    return [one.name or f"series-{place}" for place, one in enumerate(body.inputs)]


def _check_inputs(body: TimeSeriesRequest, names: list[str], limits: Limits) -> None:
    from pipeline.values import LARGEST

    for place, (name, one) in enumerate(zip(names, body.inputs, strict=True)):
        field = f"inputs[{place}]"
        limits.check_name(len(name), f"{field}.name")
        if one.type != KIND:
            told = f"{field}.type: {KIND} is taken. Received: {echo(one.type)}"
            raise RequestError(422, told, code="type-unknown", field=f"{field}.type")
        if not one.series:
            told = f"{field}.series: values are needed. Received: none"
            raise RequestError(422, told, code="body-invalid", field=f"{field}.series")
        for step, value in enumerate(one.series):
            if value is not None and abs(value) > LARGEST:
                told = f"{field}.series[{step}]: larger than {LARGEST:g}, which no forecast can be made of"
                code = "value-infinite" if math.isinf(value) else "value-huge"
                raise RequestError(422, f"{told}. Received: {value:g}", code=code, field=f"{field}.series")
        if not name.strip() or name in names[:place]:
            told = f"{field}.name: each series has a name of its own. Received: {echo(name)}"
            raise RequestError(422, told, code="name-twice", field=f"{field}.name")


def _times(one: SeriesInput, model: Model, field: str) -> Any:
    """The timestamps of a series, as its model wants them."""
    import pandas as pd

    from pipeline.timestamps import OUT_OF_CALENDAR

    columns = model.forecaster.meta["columns"]
    freq, zone, count = columns["freq"], columns["timezone"], len(one.series)
    _check_frequency(one.frequency, freq, f"{field}.frequency")
    if isinstance(freq, int):
        first = 0 if one.start_timestamp is None else one.start_timestamp
        if not isinstance(first, int) or abs(first) > 10**17:
            told = f"{field}.start_timestamp: a whole number is needed. Received: {echo(first)}"
            raise RequestError(422, told, code="time-unparseable", field=f"{field}.start_timestamp")
        return range(first, first + freq * count, freq)
    if one.start_timestamp is None:
        if model.forecaster.spec.hparams.calendar == "auto":
            told = f"{field}.start_timestamp: this model knows the calendar, and needs it. Received: nothing"
            raise RequestError(422, told, code="time-null", field=f"{field}.start_timestamp")
        start = pd.Timestamp("2000-01-01", tz=zone).as_unit("us")
    else:
        start = _start(one.start_timestamp, zone, f"{field}.start_timestamp")
    try:
        times = _range(start, freq, count)
    except OUT_OF_CALENDAR as error:
        told = f"{field}: {' '.join(str(error).split())}. Received: {count:,} values from {start}"
        raise RequestError(422, told, code="time-unparseable", field=f"{field}.start_timestamp") from None
    if times[-1].year > LAST_YEAR:
        told = f"{field}: times up to the year {LAST_YEAR} are known. Received: {count:,} values from {start}"
        raise RequestError(422, told, code="time-unparseable", field=f"{field}.start_timestamp")
    if one.start_timestamp is not None and times[0] != start:
        told = f"{field}.start_timestamp: a time on the model's grid, {freq}, is needed. Received: {start}"
        raise RequestError(422, told, code="freq-mismatch", field=f"{field}.start_timestamp")
    return times


def _range(start: pd.Timestamp, freq: str, count: int) -> pd.DatetimeIndex:
    """`date_range`, but for most in a twentieth of the time."""
    import numpy as np
    import pandas as pd

    from pipeline.frequency import parse_frequency
    from pipeline.server.clean import next_times
    from pipeline.timestamps import to_user_time

    if start.tzinfo is None:
        first = np.array([start.to_datetime64()])
        following = next_times(first, freq, count - 1)
        if following is not None:
            return pd.DatetimeIndex(np.concatenate([first, following[0]]))
    if start.tzinfo is not None and parse_frequency(freq).keeps_wall_time:
        # By the clock, as a step may fall on a local time that a clock change skips or repeats.
        clock = pd.date_range(start.tz_localize(None), periods=count, freq=freq, unit="us")
        return pd.DatetimeIndex(to_user_time(pd.Series(clock), freq=freq, timezone=str(start.tz)))
    return pd.date_range(start, periods=count, freq=freq, unit="us")


def _start(stamp: str | int, zone: str | None, field: str) -> pd.Timestamp:
    """The first timestamp in the zone of the data; of data without a zone, the clock's as it is written."""
    import pandas as pd

    from pipeline.timestamps import OUT_OF_CALENDAR

    told = f"{field}: a timestamp of ISO 8601 is needed. Received: {echo(stamp)}"
    if not isinstance(stamp, str) or not _STAMP.fullmatch(stamp):
        raise RequestError(422, told, code="time-unparseable", field=field)
    try:
        start = pd.Timestamp(stamp).as_unit("us")
        if zone is None:
            return start.tz_localize(None)
        return start.tz_convert(zone) if start.tzinfo else _local(start, zone, field)
    except OUT_OF_CALENDAR:
        raise RequestError(422, told, code="time-unparseable", field=field) from None


def _local(start: pd.Timestamp, zone: str, field: str) -> pd.Timestamp:
    """What a clock shows, in its zone."""
    import pandas as pd

    found = start.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    if isinstance(found, pd.Timestamp):
        return found
    skipped = isinstance(start.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward"), pd.Timestamp)
    told = f"{field}: a clock change in {zone} {'skips' if skipped else 'repeats'} this local time. Received: {start}"
    raise RequestError(422, f"{told}; give it with its offset or in UTC", code="zone-dst", field=field)


def _check_frequency(given: str | None, freq: str | int, field: str) -> None:
    if given is None or isinstance(freq, int) or given == freq:
        return
    name = freq.partition("-")[0]
    letter = _LETTERS.get(name.lstrip("0123456789")) if name.lstrip("0123456789") == name else None
    if letter is None or given.upper() != letter:
        told = f"{field}: the model was trained on {freq}{f' ({letter})' if letter else ''}. Received: {echo(given)}"
        raise RequestError(422, told, code="freq-mismatch", field=field)


def _quantiles(body: TimeSeriesRequest, model: Model) -> list[float]:
    known = model.forecaster.quantiles
    asked = list(known) if body.options.quantiles is None else body.options.quantiles
    for place, level in enumerate(asked):
        field = f"options.quantiles[{place}]"
        if level not in known:
            told = f"{field}: the model has {', '.join(f'{one:g}' for one in known)}. Received: {level:g}"
            raise RequestError(422, told, code="quantile-unknown", field=field)
        if level in asked[:place]:
            told = f"{field}: each quantile is given once. Received: {level:g} again; leave it out"
            raise RequestError(422, told, code="quantile-twice", field=field)
    return asked


def _outputs(body: TimeSeriesRequest, ready: Ready, quantiles: Any, model: Model) -> list[dict[str, Any]]:
    spec, columns = model.forecaster.spec, model.forecaster.meta["columns"]
    steps = body.options.horizon or spec.horizon
    times, _ = ready.times()
    levels = _quantiles(body, model)
    rows = {name: row for row, name in enumerate(ready.ids)}
    outputs = []
    for name, one in zip(_names(body), body.inputs, strict=True):
        row = rows[name]
        content = {
            "type": KIND,
            "name": name,
            "mean_forecast": quantiles[row, :steps, len(spec.quantiles) // 2].tolist(),
            "frequency": one.frequency or str(columns["freq"]),
            "start_timestamp": _shown(times[row * spec.horizon], one.start_timestamp, columns["timezone"]),
            "quantiles": {
                f"{level:g}": quantiles[row, :steps, spec.quantiles.index(level)].tolist() for level in levels
            },
        }
        outputs.append({"type": KIND, "id": name, "status": "completed", "content": [content]})
    return outputs


def _shown(first: str | int, asked: str | int | None, zone: str | None) -> str | int | None:
    """The first timestamp of a forecast, with the offset that the history's had where the data has no zone."""
    if asked is None or isinstance(first, int):
        return None if asked is None else first
    offset = re.search(r"(Z|[+-]\d{2}:?\d{2})$", str(asked)[10:])
    return first + (offset[1] if offset and zone is None else "")
