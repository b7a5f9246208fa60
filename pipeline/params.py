"""The schema of params.yaml: frozen, complete, no hidden defaults; a bad value gives one clear line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.cells import CELLS
from pipeline.errors import ParamsError

SERVED_BASELINE = "ridge"  # the one that has a bundle

_RESERVED = ("unique_id", "ds", "y", "cutoff")  # columns of the panel and of forecasts

T = TypeVar("T")
RangeT = TypeVar("RangeT", "IntRange", "FloatRange")


def _one_or_several(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) != len(values):
        raise ValueError("values repeat")
    return values


def _known_model_or_best(name: str) -> str:
    known = (*CELLS, SERVED_BASELINE)
    if name != "best" and name not in known:
        raise ValueError(f"best, or one of {', '.join(known)}")
    return name


def _known_cell(name: str) -> str:
    if name not in CELLS:
        raise ValueError(f"a cell is one of {', '.join(CELLS)}")
    return name


ColumnNames = Annotated[tuple[str, ...], BeforeValidator(_one_or_several), Len(1), AfterValidator(_distinct)]
MaybeColumnNames = Annotated[tuple[str, ...], BeforeValidator(_one_or_several)]
CellName = Annotated[str, AfterValidator(_known_cell)]
Steps = Annotated[int, Ge(1), Lt(2**31)]
Seed = Annotated[int, Ge(1), Lt(2**31)]  # Keras Tuner takes a seed of 0 for "draw one"
Frequency = Annotated[
    Annotated[str, Len(1), Tag("alias")] | Annotated[Steps, Tag("whole")],
    Discriminator(lambda value: "whole" if isinstance(value, int) else "alias"),
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class RepairParams(_Section):
    """What to do with input that is not clean."""

    duplicate_rows: Literal["drop", "error"]
    conflicting_rows: Literal["error", "first", "last", "mean"]
    null_time: Literal["error", "drop"]
    bad_time: Literal["error", "drop"]
    off_grid: Literal["error", "drop"]
    bad_value: Literal["error", "missing"]
    infinite: Literal["error", "missing"]
    gaps: Literal["missing", "error"]
    constant: Literal["keep", "drop", "error"]
    short: Literal["error", "drop"]


class StaticParams(_Section):
    """Columns with one value per series."""

    categorical: MaybeColumnNames
    numeric: MaybeColumnNames


def read_tab(value: object) -> object:
    r"""A tab where it is written as '\t' is shown, which YAML takes for two characters unless in double quotes."""
    return "\t" if value == r"\t" else value


def _static_params(value: object) -> object:
    return StaticParams.model_validate(value) if isinstance(value, dict) else value


class DataParams(_Section):
    """Where the data is and what its columns mean."""

    path: Annotated[str, Len(1)]
    pattern: Annotated[str, Len(1)]
    format: Literal["csv", "parquet", "tsf"]
    delimiter: Annotated[str, BeforeValidator(read_tab), Len(1, 1)]
    decimal: Annotated[str, Len(1, 1)]
    encoding: str
    id_col: str | None
    time_col: ColumnNames | None
    time_format: str | None
    timezone: str | None
    target_col: ColumnNames | None
    past_covariates: MaybeColumnNames
    future_covariates: MaybeColumnNames
    static_covariates: Annotated[StaticParams, BeforeValidator(_static_params)]
    freq: Frequency
    end: str | int | None
    min_history: Steps
    repair: RepairParams

    @model_validator(mode="after")
    def _columns_named(self) -> Self:
        for name in ("time_col", "target_col"):
            if self.format != "tsf" and getattr(self, name) is None:
                raise ValueError(f"{name} is null; name a column (in quotes where it has a # or a :, such as '#sold')")
        return self

    @model_validator(mode="after")
    def _covariates_named(self) -> Self:
        lists = {
            "past_covariates": self.past_covariates,
            "future_covariates": self.future_covariates,
            "static_covariates.categorical": self.static_covariates.categorical,
            "static_covariates.numeric": self.static_covariates.numeric,
        }
        taken = dict.fromkeys(_RESERVED, "a name of the panel or of forecasts")
        taken |= dict.fromkeys(self.target_col or (), "a target_col") | dict.fromkeys(self.time_col or (), "a time_col")
        taken |= {} if self.id_col is None else {self.id_col: "the id_col"}
        for key, names in lists.items():
            if names and self.format == "tsf":
                raise ValueError(f"{key} names {names[0]}, but a .tsf file has no covariates; make it []")
            for name in names:
                if name in taken:
                    raise ValueError(f"{key} names {name}, which is {taken[name]} already; take it out or rename it")
                taken[name] = f"in {key}"
        return self


class WindowParams(_Section):
    """Cutoffs and splits, in steps from each series' end."""

    context_length: Steps
    horizon: Steps
    val_size: Steps
    test_size: Steps
    step_size: Steps
    stride: Steps
    min_context: Steps

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if self.min_context > self.context_length:
            raise ValueError(
                f"min_context {self.min_context} is longer than context_length {self.context_length}; lower it"
            )
        for name in ("val_size", "test_size"):
            if getattr(self, name) < self.horizon:
                raise ValueError(f"{name} {getattr(self, name)} is shorter than horizon {self.horizon}; raise it")
        return self


def _check_range(self: RangeT) -> RangeT:
    if self.min >= self.max:
        raise ValueError(f"min {self.min} is not below max {self.max}")
    if self.sampling == "log" and self.min <= 0:
        raise ValueError(f"min {self.min} is not positive, as sampling: log needs")
    if self.sampling == "log" and self.step is not None and self.step <= 1:
        raise ValueError(f"step {self.step} is not above 1, as with sampling: log, where it is a factor")
    return self


def _ends_are(words: str, holds: Callable[[float], bool]) -> AfterValidator:
    """Checks the ends of a range as its choices would be checked."""

    def check(found: RangeT) -> RangeT:
        for name, end in (("min", found.min), ("max", found.max)):
            if not holds(end):
                raise ValueError(f"{name} {end} is not {words}")
        return found

    return AfterValidator(check)


_CLOSEST = 1e-5  # intervals are named by their percent in six digits


def _symmetric(quantiles: tuple[float, ...]) -> tuple[float, ...]:
    if 0.5 not in quantiles:
        raise ValueError("0.5, the median, is needed")
    if any(a >= b for a, b in pairwise(quantiles)):
        raise ValueError("quantiles ascend")
    if any(abs(a + b - 1) > 1e-9 for a, b in zip(quantiles, reversed(quantiles), strict=True)):
        raise ValueError("quantiles are symmetric around 0.5, so that pairs of them make intervals")
    if any(b - a < _CLOSEST for a, b in pairwise(quantiles)):
        raise ValueError(f"quantiles are at least {_CLOSEST:g} apart, so that intervals have names of their own")
    return quantiles


class IntRange(_Section):
    """A range of a whole-numbered hyperparameter, both ends included."""

    min: int
    max: int
    step: Annotated[int, Ge(1)] | None = None
    sampling: Literal["linear", "log"] = "linear"

    _ordered = model_validator(mode="after")(_check_range)


class FloatRange(_Section):
    """A range of a real hyperparameter, both ends included."""

    min: float
    max: float
    step: Annotated[float, Gt(0)] | None = None
    sampling: Literal["linear", "log"] = "linear"

    _ordered = model_validator(mode="after")(_check_range)


def _range_or_choices(value: object) -> str:
    return "range" if isinstance(value, dict | IntRange | FloatRange) else "choices"


_FROM_1 = _ends_are("at least 1", lambda end: end >= 1)
PositiveInts = Annotated[
    Annotated[tuple[Annotated[int, Ge(1)], ...], Len(1), AfterValidator(_distinct), Tag("choices")]
    | Annotated[IntRange, _FROM_1, Tag("range")],
    Discriminator(_range_or_choices),
]
Fractions = Annotated[
    Annotated[tuple[Annotated[float, Ge(0), Lt(1)], ...], Len(1), AfterValidator(_distinct), Tag("choices")]
    | Annotated[FloatRange, _ends_are("from 0 to below 1", lambda end: 0 <= end < 1), Tag("range")],
    Discriminator(_range_or_choices),
]
Shares = Annotated[tuple[Annotated[float, Gt(0), Le(1)], ...], Len(1), AfterValidator(_distinct)]
Rates = Annotated[
    Annotated[tuple[Annotated[float, Gt(0)], ...], Len(1), AfterValidator(_distinct), Tag("choices")]
    | Annotated[FloatRange, _ends_are("above 0 and finite", lambda end: 0 < end < math.inf), Tag("range")],
    Discriminator(_range_or_choices),
]


SEASONAL = r"^(season|season/[2-9]|[2-9]\*season)$"
SegmentLengths = Annotated[
    Annotated[
        tuple[Annotated[int, Ge(1)] | Annotated[str, StringConstraints(pattern=SEASONAL)], ...],
        Len(1),
        AfterValidator(_distinct),
        Tag("choices"),
    ]
    | Annotated[IntRange, _FROM_1, Tag("range")],
    Discriminator(_range_or_choices),
]


class SearchSpace(_Section):
    """The hyperparameters of one cell: a list of choices each, or a range."""

    segment_length: SegmentLengths
    units: PositiveInts
    layers: PositiveInts
    dropout: Fractions
    learning_rate: Rates
    batch_size: PositiveInts
    context_share: Shares
    location: Annotated[tuple[Literal["last", "mean"], ...], Len(1), AfterValidator(_distinct)]
    transform: Annotated[tuple[Literal["none", "log1p"], ...], Len(1), AfterValidator(_distinct)]
    head: Annotated[tuple[Literal["plain", "copy"], ...], Len(1), AfterValidator(_distinct)]
    linear: Annotated[tuple[Literal["none", "ridge"], ...], Len(1), AfterValidator(_distinct)]
    calendar: Annotated[tuple[Literal["none", "auto"], ...], Len(1), AfterValidator(_distinct)]
    identity: Annotated[tuple[Literal["none", "embedding"], ...], Len(1), AfterValidator(_distinct)]


class TuneParams(_Section):
    """The hyperparameter search."""

    algorithm: Literal["local", "random", "bayesian", "hyperband"]
    max_trials: Annotated[int, Ge(1)]
    parallel: Annotated[int, Ge(1)]
    seed: Seed
    max_epochs: Annotated[int, Ge(1)]
    patience: Annotated[int, Ge(1)]
    windows_per_epoch: Annotated[int, Ge(1)] | None
    space: dict[CellName, SearchSpace]


class TrainParams(_Section):
    """The training of the networks that are served."""

    seeds: Annotated[tuple[Seed, ...], Len(1), AfterValidator(_distinct)]
    parallel: Annotated[int, Ge(1)]
    max_epochs: Annotated[int, Ge(1)]
    patience: Annotated[int, Ge(1)]
    windows_per_epoch: Annotated[int, Ge(1)] | None
    refit: Literal["none", "fit", "all"]
    require_cudnn: bool


class CalibrateParams(_Section):
    """The calibration of the intervals."""

    method: Literal["conformal", "none"]


class BaselinesParams(_Section):
    """The forecasters to beat."""

    ridge_alphas: Annotated[tuple[Annotated[float, Gt(0)], ...], Len(1), AfterValidator(_distinct)]


class EvaluateParams(_Section):
    """How errors are measured."""

    season_length: Steps


class CompareParams(_Section):
    """What decides between the cells."""

    metric: Literal["mae", "rmse", "smape", "mase", "rmsse", "scaled_crps"]
    rope: Annotated[float, Ge(0), Lt(1)]
    independent_series: bool
    views: Annotated[tuple[Literal["equal_units", "equal_parameters", "point_wise"], ...], AfterValidator(_distinct)]


class ServeParams(_Section):
    """Which bundle is served."""

    cell: Annotated[str, AfterValidator(_known_model_or_best)]


class ComputeParams(_Section):
    """What the machine gives."""

    threads: Annotated[int, Ge(1), Le(256)]


class Params(_Section):
    """The whole of params.yaml."""

    cells: Annotated[tuple[CellName, ...], Len(1), AfterValidator(_distinct)]
    quantiles: Annotated[tuple[Annotated[float, Gt(0), Lt(1)], ...], AfterValidator(_symmetric)]
    data: DataParams
    window: WindowParams
    tune: TuneParams
    train: TrainParams
    calibrate: CalibrateParams
    baselines: BaselinesParams
    evaluate: EvaluateParams
    compare: CompareParams
    serve: ServeParams
    compute: ComputeParams

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        for cell in self.cells:
            if cell not in self.tune.space:
                raise ValueError(f"cells names {cell}, but tune.space has no {cell}; add its search space")
            segments = self.tune.space[cell].segment_length
            steps = () if isinstance(segments, IntRange) else [s for s in segments if isinstance(s, int)]
            longest = segments.max if isinstance(segments, IntRange) else max(steps, default=0)
            if longest > max(self.window.context_length, self.window.horizon):
                raise ValueError(
                    f"tune.space.{cell}.segment_length {longest} is longer than both window.context_length "
                    f"{self.window.context_length} and window.horizon {self.window.horizon}; make it shorter"
                )
        if self.serve.cell not in {"best", SERVED_BASELINE, *self.cells}:
            raise ValueError(f"serve.cell {self.serve.cell} is not among cells {list(self.cells)}; add it or set best")
        return self


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Reads and checks params.yaml.

    Args:
        path: the file, in YAML 1.2 as DVC reads it.

    Returns:
        The checked parameters.

    Raises:
        ParamsError: the file is missing, is no YAML or none that JSON could say, or a value is not allowed; every bad
            value is named by its path, with the value received and what is allowed.
    """
    try:
        # Through JSON, strict means strict on types but a list is a tuple.
        raw = json.dumps(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")), default=str)
    except FileNotFoundError:
        raise ParamsError(f"{path} not found; run from the folder that holds it") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    except (TypeError, ValueError, RecursionError) as error:  # such as of a list as a key, or an alias within itself
        cause = " ".join(str(error).split())
        raise ParamsError(f"{path} cannot be used: {cause}; write it as the committed params.yaml is written") from None
    try:
        return Params.model_validate_json(raw)
    except ValidationError as error:
        raise ParamsError(f"{path}: " + "; ".join(_describe(error))) from None


def _describe(error: ValidationError) -> list[str]:
    """One phrase for every bad value."""
    phrases = []
    tags = {"range", "choices", "alias", "whole"}
    items = error.errors(include_url=False)
    inner = [item["loc"] for item in items]
    for item in items:
        loc = item["loc"]
        if any(other[: len(loc)] == loc and len(other) > len(loc) for other in inner):
            continue  # the value inside is the one to mend
        where = ".".join(str(key) for key in loc if key not in tags)
        received = json.dumps(item["input"], default=str)
        allowed = item["msg"].removeprefix("Value error, ")
        if item["type"] == "missing":
            phrases.append(f"{where}: this key is missing; the committed params.yaml shows it")
        elif item["type"] == "extra_forbidden":
            phrases.append(f"{where}: unknown key; remove it or mend its name. Received: {received}")
        elif item["type"] == "too_short":
            phrases.append(f"{where}: at least one value is needed. Received: {received}")
        elif len(received) > 120:
            phrases.append(f"{where}: {allowed}" if where else allowed)
        else:
            phrases.append(f"{where}: {allowed}. Received: {received}")
    return phrases
