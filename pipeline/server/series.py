"""What a model reads in a table, and a table made up for it: what a client needs that draws a history."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pipeline.errors import GatecastError
from pipeline.server.bodies import Csv, Json, read_body
from pipeline.server.core import Core, described
from pipeline.server.limits import Limits
from pipeline.server.models import Model
from pipeline.server.request_errors import request_error_of
from pipeline.server.uploads import HISTORY_FILE, TABLE, TEXT_FIELDS, Form, read_request

if TYPE_CHECKING:  # pandas is loaded with the first table
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.forecaster import Forecaster

_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "history": HISTORY_FILE,
        "model": {"type": "string"},
        "version": {"type": "string"},
        **TEXT_FIELDS,
    },
    "required": ["history"],
}
_MOST = 5_000  # steps of an example
_YEARS = 300  # that it spans at most


class SeriesRequest(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="that reads the table; the default one if left out")
    version: str | int | None = Field(None, description="that has to read; the one that is served if left out")
    history: Any = Field(json_schema_extra=TABLE, description="as for /v1/forecast")


def routes(core: Core) -> APIRouter:
    """The paths.

    Args:
        core: with the models.
    """
    router = APIRouter(prefix="/v1", tags=["Gatecast"])
    told = described("What a model reads in a table: series on a regular grid", 400, 404, 422, body=SeriesRequest)
    told["openapi_extra"]["requestBody"]["content"]["multipart/form-data"] = {"schema": _FORM}

    @router.post("/series", **told)
    async def series(request: Request) -> Response:
        body = await read_request(request, ("history",))
        return Json(await core.in_thread(_read_form if isinstance(body, Form) else _read_json, body, core))

    examples = WeakKeyDictionary[Model, bytes]()

    def example_of(model: Model) -> bytes:
        """It is always the same, and kept, as a queue of requests that write it would hold up forecasts."""
        if model not in examples:
            examples[model] = write_example(model.forecaster).encode()
        return examples[model]

    told = described("A table made up for a model, as it takes it", 404)

    @router.get("/models/{name}/example", **told, response_class=Csv)
    async def example(request: Request) -> Csv:
        model = core.find(request)
        return Csv(examples.get(model) or await core.in_thread(example_of, model))

    return router


def _read_form(form: Any, core: Core) -> dict[str, Any]:
    form.check_fields(_FORM["properties"])
    model = core.registry.find(form.fields.get("model") or None, form.fields.get("version") or None)
    return _answer(model, form.read_history(model.forecaster.meta, core.limits), core.limits)


def _read_json(raw: Any, core: Core) -> dict[str, Any]:
    from pipeline.columns import Columns, find_history_layout
    from pipeline.server.tables import check_size, frame_of, read_table

    body = read_body(raw, SeriesRequest)
    model = core.registry.find(body.model, None if body.version is None else str(body.version))
    columns = Columns.from_json(model.forecaster.meta["columns"])
    history = read_table(body.history, "history", columns=columns, find=find_history_layout, limits=core.limits)
    check_size(history, columns, "history", core.limits)
    return _answer(model, frame_of(history, "history"), core.limits)


def _answer(model: Model, frame: Any, limits: Limits) -> dict[str, Any]:
    from pipeline.server.tables import show_panel

    try:
        # The very reading that a forecast begins with.
        panel = model.forecaster.read_panel(frame, most_steps=limits.points)
    except GatecastError as error:
        raise request_error_of(error, field="history") from None
    return {
        "model": model.name,
        "version": str(model.version),
        "freq": panel.freq,
        "series": show_panel(panel),
    }


def write_example(forecaster: Forecaster) -> str:
    """A series that is made up, long enough to forecast it from several cutoffs.

    Args:
        forecaster: that is to take it.

    Returns:
        CSV with the columns of the training data where that names one series, one time and one target, else with
        Nixtla's; values lie in the range of the training data.
    """
    import numpy as np
    import pandas as pd

    from pipeline.columns import Columns

    spec, meta = forecaster.spec, forecaster.meta
    columns = Columns.from_json(meta["columns"])
    times = _times(columns.freq, columns.timezone, min(2 * spec.context_length + 4 * spec.horizon, _MOST))
    count = len(times)
    steps = np.arange(count)
    season = meta.get("season_length") or 1
    wave = np.sin(2 * math.pi * steps / (season if season > 1 else 12))
    noise = np.random.default_rng(4).standard_normal(count)
    known = meta.get("value_range") or {"p01": 0.0, "p99": 100.0}
    shape = 0.3 + 0.35 * steps / count + 0.12 * wave + 0.015 * noise  # between 0 and 1
    time, target = columns.time_col or ("ds",), columns.target_col or ("y",)
    own = columns.time_format is None and len(time) == len(target) == 1
    id_col = columns.id_col if own else "unique_id"
    time_col, target_col = (time[0], target[0]) if own else ("ds", "y")
    table: dict[str, Any] = {} if id_col is None else {id_col: "example"}
    table[time_col] = times
    table[target_col] = known["p01"] + (known["p99"] - known["p01"]) * shape
    inputs = spec.inputs
    scaled = dict(zip(inputs.past, zip(inputs.past_location, inputs.past_scale, strict=True), strict=False))
    for name in columns.past_covariates + columns.future_covariates:
        location, scale = scaled.get(name, (0.0, 1.0))
        table[name] = _flags(wave, location) if _is_flag(location, scale) else location + scale * wave
    for name in columns.static_categorical:
        table[name] = next(iter(meta.get("vocabularies", {}).get(name, [])), "example")
    for name in columns.static_numeric:
        table[name] = dict(zip(inputs.numeric, inputs.numeric_location, strict=False)).get(name, 0.0)
    # As many digits as tell the values apart, where they are large and close together.
    size, width = max(abs(known["p01"]), abs(known["p99"])), known["p99"] - known["p01"]
    digits = min(5 + math.ceil(math.log10(size / width)), 15) if 0 < width < size else 5
    return pd.DataFrame(table, index=steps).to_csv(index=False, float_format=f"%.{digits}g", lineterminator="\n")


def _is_flag(location: float, scale: float) -> bool:
    """Whether a covariate is 0 and 1, of which the standard deviation is that of these shares."""
    return 0 < location < 1 and math.isclose(scale**2, location * (1 - location), rel_tol=1e-6)


def _flags(wave: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """1 at the highest places of a wave, as often as in the training data, and 0 elsewhere."""
    import numpy as np

    return (wave >= np.quantile(wave, 1 - share)).astype(np.int64)


def _times(freq: str | int, timezone: str | None, most: int) -> list[Any]:
    """Steps up to the beginning of 2024, as many as the calendar has."""
    import numpy as np
    import pandas as pd

    from pipeline.frequency import DAY_US, parse_frequency
    from pipeline.timestamps import to_user_time

    if isinstance(freq, int):
        return (freq * np.arange(most)).tolist()
    frequency = parse_frequency(freq)
    count = min(most, int(_YEARS * 365 * DAY_US / frequency.typical_step()))
    by_clock = frequency.keeps_wall_time  # a step may fall on a local time that a clock change skips
    times = pd.date_range(end="2024-01-01", periods=count, freq=freq, tz=None if by_clock else timezone)
    if by_clock:
        times = pd.DatetimeIndex(to_user_time(pd.Series(times), freq=freq, timezone=timezone))
    days = timezone is None and bool((times == times.normalize()).all())
    return [time.date().isoformat() if days else time.isoformat() for time in times]
