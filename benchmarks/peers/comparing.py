"""What the figures of a peer and ours say to each other: over seeds, which are no pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean, stdev
from typing import Any, Literal

from benchmarks.benchmark import Json
from benchmarks.claims.judging import Interval, log_ratio
from benchmarks.peers.catalogue import MODELS, Field, Model
from benchmarks.peers.exchange import METRICS
from benchmarks.peers.runs import budgets_of

Stance = Literal["lower", "higher", "open"]


@dataclass(frozen=True)
class Group:
    """The runs of one model in one setting.

    Attributes:
        model: of a peer.
        runs: one for each seed, as `measure_peer` gave them.
    """

    model: Model
    runs: tuple[Json, ...]

    def of(self, name: str) -> list[float]:
        """A metric of each run; nothing where it has none."""
        return [run["figures"][name] for run in self.runs if run["figures"][name] is not None]

    def told(self, name: str) -> list[float]:
        """What each run tells under a name."""
        return [run[name] for run in self.runs if run.get(name) is not None]

    def seconds(self, *names: str) -> list[float]:
        """Of each run, what some of its parts took together; nothing where it has none of them."""
        return [took(run, *names) for run in self.runs if any(run.get(name) is not None for name in names)]

    def is_beside(self, ours: Json) -> bool:
        """Whether each run was on the machine of ours, so that their times can be compared."""
        return all(run["machine"][part] == ours["machine"][part] for run in self.runs for part in ("cpu", "cores"))


@dataclass(frozen=True)
class Contrast:
    """A metric of ours against a peer's of the same cell.

    Attributes:
        model: of the peer.
        metric: key of the figures.
        ratio: ours to theirs, of geometric means over seeds; below 1 ours is lower.
        interval: of it, 95 %; None where a side has a single run.
    """

    model: Model
    metric: str
    ratio: float
    interval: Interval | None

    @property
    def stance(self) -> Stance:
        """Whether ours is clearly lower or higher."""
        if self.interval is None:
            return "open"
        return "lower" if self.interval[2] < 1 else "higher" if self.interval[1] > 1 else "open"


def groups(runs: Sequence[Json], setting: str) -> list[Group]:
    """The runs of a setting by model, in the order of the catalogue."""
    found = []
    for model in MODELS:
        own = [run for run in runs if (run["peer"], run["model"], run["setting"]) == (model.peer, model.name, setting)]
        if own:
            found.append(Group(model, tuple(sorted(own, key=lambda run: int(run["seed"])))))
    return found


def contrasts(ours: Json, found: Sequence[Group]) -> list[Contrast]:
    """Our single networks against those LSTM and GRU of the peers, in every metric that both have."""
    compared = []
    for group in found:
        if group.model.cell not in ours["figures"]:
            continue
        for metric in METRICS:
            theirs, own = group.of(metric), single(ours, group.model.cell, metric)
            if theirs and own:
                few = min(len(theirs), len(own)) < 2
                interval = None if few else log_ratio(own, theirs)
                compared.append(Contrast(group.model, metric, geometric_mean(own) / geometric_mean(theirs), interval))
    return compared


def counted(ours: Json, found: Sequence[Group], field: Field) -> list[Contrast]:
    """The contrasts that are counted: of MAE and MASE in the one that the set's published figures are in."""
    absolute = next(metric for metric in field.benchmark.metrics if metric in {"z_mae", "mase"})
    return [one for one in contrasts(ours, found) if one.metric in {"z_mse", absolute, "scaled_crps"}]


def beaten_by_linear(ours: Json, found: Sequence[Group]) -> list[tuple[Model, str]]:
    """The linear models, and metrics, whose mean is lower than that of our single networks of every cell."""
    return [
        (group.model, metric)
        for group in found
        for metric in METRICS
        if group.model.cell == "linear"
        and group.of(metric)
        and fmean(group.of(metric)) < min(fmean(single(ours, cell, metric)) for cell in ours["figures"])
    ]


def single(ours: Json, cell: str, metric: str) -> list[float]:
    """A metric of each of our networks."""
    return [figures[metric] for name, figures in ours["figures"][cell].items() if name != "ensemble"]


def wall(ours: Json) -> dict[str, dict[str, float]]:
    """Wall time of ours by cell: of one `network`, of all `networks`, and of the `pipeline`: search and networks."""
    return {
        cell: {**budget, "networks": float(ours["seconds"][f"train@{cell}"])}
        for cell, budget in budgets_of(ours).items()
    }


def mean_sd(values: Sequence[float], digits: int) -> str:
    """Mean and standard deviation; the mean alone of one value, `-` of none."""
    if not values:
        return "-"
    mean = f"{fmean(values):,.{digits}f}"
    return f"{mean} ± {stdev(values):,.{digits}f}" if len(values) > 1 else mean


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The least and the most; `-` of none."""
    if not values:
        return "-"
    low, high = f"{min(values):,.{digits}f}", f"{max(values):,.{digits}f}"
    return low if low == high else f"{low} to {high}"


def took(run: Json, *names: str) -> float:
    """What parts of a run took on the whole machine: its share, where runs went on side by side."""
    return float(sum(run.get(name) or 0.0 for name in names)) / int(run.get("together", 1))


def threads_of(run: Json) -> int:
    """How many threads a peer has used, which may be less than it was given."""
    return int(run["threads_used"] if "threads_used" in run else run["threads"])


def made_on(results: Mapping[str, Any]) -> list[Json]:
    """All measurements, ours too."""
    return [one for found in results.values() for one in (found["ours"], *found["runs"]) if one is not None]
