"""Shops with covariates of every kind, from a raw frame through ingest and stage window, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from random_networks import REPAIR

from pipeline.hparams import Hparams, NetworkSpec
from pipeline.lineage import describe_data
from pipeline.params import EvaluateParams, Params, WindowParams, load_params
from pipeline.series import Columns, Panel, build_panel, save_panel
from pipeline.stages import window as stage
from pipeline.windows import FitSet, TestSet, load_fit, load_test

ZONE = "Europe/Berlin"  # clocks go forward on 31 March 2024, inside the data
COLUMNS = Columns("shop", ("hour",), None, ZONE, ("sold",), "h", ("price",), ("promo",), ("town", "kind"), ("area",))
WINDOW = WindowParams(context_length=24, horizon=6, val_size=18, test_size=18, step_size=1, stride=1, min_context=12)
QUANTILES = (0.1, 0.5, 0.9)
HPARAMS = Hparams(4, 8, 1, 0.1, 0.02, 16, 22, "last", "none", "plain", "none", "auto", "embedding")
# By name: the first hour, the hours, the town, the kind and the area of each shop.
SHOPS: dict[str, tuple[int, int, Any, Any, Any]] = {
    "a": (0, 140, "Ulm", "big", 40),
    "b": (25, 120, "Bonn", None, 70.5),
    "c": (10, 95, "Ulm", "small", None),
    "d": (60, 40, "Rome", "big", 9000),  # some steps before the validation part, but too few for a window
}


@dataclass(frozen=True)
class Project:
    """What stage window made of a frame."""

    folder: Path
    frame: pd.DataFrame
    fit: FitSet
    test: TestSet

    def spec(self, cell: str = "gru", **changes: Any) -> NetworkSpec:
        return self.fit.spec(cell, QUANTILES, replace(HPARAMS, **changes))

    def meta(self, columns: Columns = COLUMNS) -> dict[str, Any]:
        described = describe_data(self.fit.train, self.fit.ids, self.fit.meta)
        return {"columns": columns.to_json(), "repair": REPAIR.model_dump(), **described}


def shop_frame(seed: int = 0) -> pd.DataFrame:
    """Raw rows in the shops' columns: every shop starts and ends on its own, and values of all kinds are missing."""
    rng = np.random.default_rng(seed)
    parts = []
    for name, (start, steps, town, kind, area) in SHOPS.items():
        hours = pd.date_range("2024-03-29 00:00", periods=start + steps, freq="h", tz=ZONE)[start:]
        promo = rng.random(steps) < 0.3
        sold = 20 + 5 * promo + np.sin(np.arange(steps) * np.pi / 12) + rng.standard_normal(steps)
        price = rng.uniform(1, 3, steps)
        sold[rng.random(steps) < 0.05] = np.nan
        price[rng.random(steps) < 0.1] = np.nan
        part = {"shop": name, "hour": hours, "sold": sold, "price": price, "promo": promo.astype(float)}
        parts.append(pd.DataFrame({**part, "town": town, "kind": kind, "area": area}).astype({"town": object}))
    frame = pd.concat(parts, ignore_index=True)
    return frame.sample(frac=1, random_state=1).reset_index(drop=True)


def panel_of(frame: pd.DataFrame, columns: Columns = COLUMNS) -> Panel:
    return build_panel(frame, columns=columns, repair=REPAIR, min_history=1, end=None)


def params_of() -> Params:
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    changes = {"window": WINDOW, "quantiles": QUANTILES, "evaluate": EvaluateParams(season_length=12)}
    return params.model_copy(update=changes)


def build_project(folder: Path, frame: pd.DataFrame, columns: Columns = COLUMNS) -> Project:
    """Runs ingest's panel and stage window in a folder."""
    save_panel(panel_of(frame, columns), folder / "data/series")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(stage, "load_params", params_of)
        stage.main()
    return Project(folder, frame, load_fit(folder / "data/windows/fit"), load_test(folder / "data/windows/test"))
