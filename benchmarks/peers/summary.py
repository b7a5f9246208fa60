"""The README's table of the peers beside ours, made of the results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import fmean

from benchmarks.benchmark import Json
from benchmarks.peers.catalogue import CELLS, SETTINGS, Field
from benchmarks.peers.comparing import Group, counted, groups, single, spread, wall
from benchmarks.report import TITLES
from pipeline.tables import UNKNOWN, align_rows

NETWORKS = tuple(cell for cell in CELLS if cell != "linear")


def render_beside(results: Mapping[str, Json], known: Mapping[str, Field]) -> str:
    """A row for ours and for each setting of theirs, from the lowest to the highest mean over seeds of a model.

    Args:
        results: by data set `ours` and the `runs` of the peers.
        known: the data sets by name.
    """
    sets = [(known[name], found["ours"], found["runs"]) for name, found in results.items() if found["ours"]]
    header = ["networks"]
    for field, _, _ in sets:
        first, *others = (CELLS[cell] for cell in NETWORKS)
        title = f"{field.benchmark.title}, {TITLES[field.benchmark.metrics[0]]}: {first}"
        header += [title, *others, "fit, s", "ours is lower in"]
    rows = [
        ["ours, single networks", *chain.from_iterable(_ours(field, ours) for field, ours, _ in sets)],
        ["ours, ensembles", *chain.from_iterable(_ensembles(field, ours) for field, ours, _ in sets)],
    ]
    for setting, facts in SETTINGS.items():
        found = [[one for one in groups(runs, setting) if one.model.cell in NETWORKS] for _, _, runs in sets]
        if any(found):
            theirs = (_theirs(field, ours, of_set) for (field, ours, _), of_set in zip(sets, found, strict=True))
            rows.append([f"theirs: {facts.title[0].lower()}{facts.title[1:]}", *chain.from_iterable(theirs)])
    return align_rows([header, *rows])


def _ours(field: Field, ours: Json) -> list[str]:
    """Single networks, which have no search in their seconds."""
    metric, seconds = field.benchmark.metrics[0], wall(ours)
    figures = [f"{fmean(single(ours, cell, metric)):.3f}" for cell in NETWORKS]
    return [*figures, spread([seconds[cell]["network"] for cell in NETWORKS]), UNKNOWN]


def _ensembles(field: Field, ours: Json) -> list[str]:
    """Ensembles, with the search and all their networks in their seconds."""
    metric, seconds = field.benchmark.metrics[0], wall(ours)
    figures = [f"{ours['figures'][cell]['ensemble'][metric]:.3f}" for cell in NETWORKS]
    return [*figures, spread([seconds[cell]["pipeline"] for cell in NETWORKS]), UNKNOWN]


def _theirs(field: Field, ours: Json, found: Sequence[Group]) -> list[str]:
    """All models of a setting; seconds of those that were on the machine of ours."""
    metric = field.benchmark.metrics[0]
    figures = [
        spread([fmean(group.of(metric)) for group in found if group.model.cell == cell], digits=3) for cell in NETWORKS
    ]
    seconds = [fmean(group.seconds("fit_seconds", "search_seconds")) for group in found if group.is_beside(ours)]
    compared = counted(ours, found, field)
    lower = sum(one.ratio < 1 for one in compared)
    return [*figures, spread(seconds), f"{lower} of {len(compared)}" if compared else UNKNOWN]
