"""What the stages before left for the report; of a file that is missing, None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.storage import read_json

Json = Mapping[str, Any]
_TEXTS = dict.fromkeys(("forecast", "unique_id", "model"), "str")


@dataclass(frozen=True)
class Sources:
    """The folders of a project, as the report reads them.

    Attributes:
        root: the folder that holds `data` and `models`.
        cells: those compared, in the order of params.yaml; others that lie there are left over from before.
        metric: what decides.
    """

    root: Path
    cells: Sequence[str]
    metric: str

    @property
    def models(self) -> Path:
        """The folder of all results."""
        return self.root / "models"

    @property
    def verdict(self) -> Json:
        """What compare decided; empty where it has not."""
        return self.json("models/comparison/verdict.json") or {}

    @property
    def best_baseline(self) -> str | None:
        """The baseline that is best on validation."""
        name: str | None = (self.verdict.get("baseline") or {}).get("name")
        return name

    @property
    def recommended(self) -> str:
        """The cell that compare recommends; where that is a baseline, the best on validation; else the first."""
        verdict = self.verdict
        named: list[Any] = [verdict.get("recommended"), verdict.get("best_on_validation"), *self.cells]
        return str(next(cell for cell in named if cell in self.cells))

    def json(self, path: str) -> Json | None:
        """A JSON file."""
        found: Json | None = read_json(self.root / path) if (self.root / path).exists() else None
        return found

    def csv(self, path: str) -> pd.DataFrame | None:
        """A CSV file; names of series and models stay text, whatever they look like."""
        whole = self.root / path
        if not whole.exists() or not whole.stat().st_size:
            return None
        return pd.read_csv(whole, dtype=_TEXTS, keep_default_na=False, na_values=[""], lineterminator="\n")

    def parquet(self, path: str, *, columns: Sequence[str] | None = None, **only: Any) -> pd.DataFrame | None:
        """A Parquet file.

        Args:
            path: from the root.
            columns: those read; None for all.
            only: for some columns the value that rows must have; others are not read into memory.
        """
        if not (self.root / path).exists():
            return None
        filters = [(name, "==", value) for name, value in only.items()] or None
        return pd.read_parquet(self.root / path, columns=None if columns is None else list(columns), filters=filters)

    def of_cells(self, path: str) -> dict[str, Json]:
        """A JSON file of each cell that has it; `{cell}` stands for its name."""
        found = {cell: self.json(path.format(cell=cell)) for cell in self.cells}
        return {cell: value for cell, value in found.items() if value is not None}

    def tables_of_cells(self, path: str) -> dict[str, pd.DataFrame]:
        """A CSV file of each cell that has it; `{cell}` stands for its name."""
        found = {cell: self.csv(path.format(cell=cell)) for cell in self.cells}
        return {cell: value for cell, value in found.items() if value is not None}
