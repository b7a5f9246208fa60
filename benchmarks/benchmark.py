"""A benchmark: the committed params.yaml with the facts of a public data set laid over it."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len
from pydantic import BaseModel, ConfigDict, StringConstraints
from ruamel.yaml import YAML

from pipeline.errors import GatecastError
from pipeline.params import Seed, WindowParams

HERE = Path(__file__).parent
SETS = HERE / "sets"
PARAMS = HERE.parent / "params.yaml"
YAML_12 = YAML(typ="safe", pure=True)

Json = dict[str, Any]
Metric = Literal["z_mse", "z_mae", "mase", "smape", "scaled_crps"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Source(_Section):
    """Where a data set is from.

    Attributes:
        url: of the file, or of the zip that holds it.
        member: the file inside the zip; None where the file itself is at `url`.
        sha256: of the file, unzipped.
        path: of the file in the folder that GATECAST_DATA names.
        licence: of the data.
    """

    url: str
    member: str | None
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    path: str
    licence: str


class Benchmark(_Section):
    """A file of `sets/`.

    Attributes:
        name: of the file, without its ending.
        title: for tables.
        source: where the data is from; its `path` is data.path.
        metrics: the two that the published figures are in: `z_mse` and `z_mae` are of values in standard deviations
            of each series' training part.
        published: by model its figures in these metrics, measured as here; None is unknown.
        tuned_on: another benchmark, whose tuned hyperparameters are taken; None: it is tuned itself.
        data: the keys of `data` that differ from those in params.yaml.
        window: as in params.yaml.
        season_length: evaluate.season_length.
        seeds: train.seeds.
        refit: train.refit, `none` where the published protocol trains on the training part alone; None: as params.yaml.
        without: hyperparameters that have `none` as their only choice, for every cell.
        note: the protocol in one line.
    """

    name: str
    title: str
    source: Source
    metrics: tuple[Metric, Metric]
    published: dict[str, tuple[float, float | None]]
    tuned_on: str | None
    data: Json
    window: WindowParams
    season_length: Annotated[int, Ge(1)]
    seeds: Annotated[tuple[Seed, ...], Len(2)]
    refit: Literal["none"] | None = None
    without: tuple[Literal["calendar"], ...] = ()
    note: str

    def params(self, root: Json) -> Json:
        """The params of a run.

        Args:
            root: the committed params.yaml.

        Returns:
            It with this data set's facts; what is no fact of the data set is the same for every benchmark.
        """
        params = copy.deepcopy(root)
        params["data"] = _laid_over(params["data"], {**self.data, "path": self.source.path})
        params["window"] = self.window.model_dump()
        params["evaluate"]["season_length"] = self.season_length
        params["train"]["seeds"] = list(self.seeds)
        if self.refit is not None:
            params["train"]["refit"] = self.refit
        for space in params["tune"]["space"].values():
            space.update({name: ["none"] for name in self.without})
        return params


def names() -> list[str]:
    """All benchmarks, by name."""
    return sorted((file.stem for file in SETS.glob("*.yaml")), key=natural_order)


def natural_order(name: str) -> list[tuple[int, str]]:
    """What names are sorted by, so that numbers in them stand by their size."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def load_benchmark(name: str) -> Benchmark:
    """Reads and checks a file of `sets/`.

    Raises:
        GatecastError: there is no such benchmark.
    """
    path = SETS / f"{name}.yaml"
    if not path.exists():
        raise GatecastError(f"there is no benchmark of this name. Received: {name}; take one of {', '.join(names())}")
    # Through JSON, strict means strict on types but a list is a tuple.
    return Benchmark.model_validate_json(json.dumps({**read_yaml(path), "name": name}))


def read_yaml(path: Path) -> Json:
    """Reads a YAML 1.2 file that holds a mapping."""
    reader = YAML(typ="safe", pure=True)  # of its own: one must not serve two threads
    value: Json = reader.load(path.read_text(encoding="utf-8"))
    return value


def _laid_over(below: Json, above: Json) -> Json:
    """The mapping below with the values of the one above; what is a mapping in both is laid over key by key."""
    both = {
        key: _laid_over(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
    return {**below, **both}
