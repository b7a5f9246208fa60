"""Trainings that take a second, in the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from random_networks import REPAIR
from shops import COLUMNS, params_of

from pipeline.params import Params, StaticParams, TrainParams

SEEDS = (1, 2)
RULE: dict[str, Any] = {"max_epochs": 5, "windows_per_epoch": 128}


def params(refit: Any) -> Params:
    """Those of the shops, with a training that takes a second."""
    base = params_of()
    columns = {"id_col": "shop", "time_col": ("hour",), "timezone": COLUMNS.timezone, "target_col": ("sold",)}
    columns |= {"freq": "h", "past_covariates": ("price",), "future_covariates": ("promo",), "repair": REPAIR}
    static = StaticParams(categorical=("town", "kind"), numeric=("area",))
    training = TrainParams(seeds=SEEDS, parallel=1, patience=5, refit=refit, require_cudnn=False, **RULE)
    data = base.data.model_copy(update=columns | {"static_covariates": static})
    return base.model_copy(update={"data": data, "train": training})


def train_here(
    stage: str,
    calls: Mapping[int, tuple[Any, ...]],
    *,
    function: Callable[..., dict[str, Any]],
    initializer: Callable[..., None],
    arguments: tuple[Any, ...],
    **_: Any,
) -> list[dict[str, Any]]:
    """`train_members` without processes of its own."""
    initializer(*arguments)
    return [function(*call) for call in calls.values()]
