"""Fair views: networks that differ from the tuned ones so that cells can be compared on equal terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.cost import matching_units, parameter_count
from pipeline.errors import GatecastError
from pipeline.hparams import NetworkSpec

POINT = 1  # step in a segment of the classic recurrent network


def reference_cell(tuned: Mapping[str, Mapping[str, Any]]) -> str:
    """The cell whose tuned network has the lowest score; of equals the one named first.

    Args:
        tuned: for each cell the result of its search, as `models/tuned/{cell}.json` has it.
    """
    return min(tuned, key=lambda cell: float(tuned[cell]["best"]["score"]))


def view_spec(view: str, cell: str, tuned: Mapping[str, NetworkSpec], *, reference: str) -> NetworkSpec:
    """The network of a cell in a view.

    Args:
        view: `equal_units`: every cell takes the hyperparameters of the reference, units and all;
            `equal_parameters`: these too, but as many units as come nearest to the reference's number of parameters;
            `point_wise`: each cell keeps its own, and takes one step of the series at a time.
        cell: key of `tuned`.
        tuned: for each cell its tuned network.
        reference: the cell that the others are made equal to, as `reference_cell` finds it.

    Returns:
        What is trained; of the reference itself in an equal view, its tuned network.

    Raises:
        GatecastError: there is no such view.
    """
    model = tuned[reference]
    if view == "equal_units":
        return replace(model, cell=cell)
    if view == "equal_parameters":
        units = matching_units(model, cell, parameter_count(model))
        return replace(model, cell=cell, hparams=replace(model.hparams, units=units))
    if view == "point_wise":
        own = tuned[cell]
        return replace(own, hparams=replace(own.hparams, segment_length=POINT))
    raise GatecastError(f"a view is one of equal_units, equal_parameters, point_wise. Received: {view}; mend it")
