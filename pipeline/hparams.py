"""What the search finds for one network, and the fixed shape it has to fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

UNKNOWN = 0  # the category of what training never saw
COPIED_AT_LEAST = 1e-6  # share of a copied step that has to be observed; below it, the copy fades to 0

Constants = tuple[float, ...]


@dataclass(frozen=True)
class Hparams:
    """Hyperparameters of one network; lengths are in steps.

    Attributes:
        segment_length: steps embedded into one step of the recurrent layer; 1 is point-wise.
        units: size of the recurrent state.
        layers: recurrent layers.
        dropout: share of activations dropped in training, between layers and before the head.
        learning_rate: of Adam, at the start.
        batch_size: windows per gradient step.
        context_used: last steps of the context that the network looks at.
        location: what is subtracted from a window: its `last` observed value or its `mean`.
        transform: what is done to values first: `none` or `log1p`.
        head: `plain`, or `copy`: each future segment starts from a softmax-weighted copy of past segments.
        linear: `none`, or `ridge`: a linear forecast, fitted before training, is added to the median.
        calendar: `none`, or `auto`: the network is told where in the day, week and year each step lies.
        identity: `none`, or `embedding`: the network is told which series it forecasts, if it knows it.
    """

    segment_length: int
    units: int
    layers: int
    dropout: float
    learning_rate: float
    batch_size: int
    context_used: int
    location: str
    transform: str
    head: str
    linear: str
    calendar: str
    identity: str

    def to_json(self) -> dict[str, Any]:
        """The hyperparameters as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Inputs:
    """What a network takes beside the history, in the order of its arrays.

    Attributes:
        past: [P] covariates known over the context.
        future: [K] covariates known over the horizon too; the last of `past`.
        past_location: [P] what is subtracted from each, a constant of the training part.
        past_scale: [P] what it is then divided by.
        categorical: [J] static covariates that name a category.
        categories: [J] how many categories of each are known; they count from 1, and 0 is unknown.
        numeric: [R] static covariates that are numbers.
        numeric_location: [R] as `past_location`.
        numeric_scale: [R] as `past_scale`.
    """

    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    past_location: Constants = ()
    past_scale: Constants = ()
    categorical: tuple[str, ...] = ()
    categories: tuple[int, ...] = ()
    numeric: tuple[str, ...] = ()
    numeric_location: Constants = ()
    numeric_scale: Constants = ()

    def shapes(self, context_length: int, horizon: int) -> dict[str, tuple[int, ...]]:
        """The arrays that the network takes beside `history` and `observed`, each with its shape after N."""
        shapes = {
            "past": (context_length, len(self.past)),
            "future": (horizon, len(self.future)),
            "static_cat": (len(self.categorical),),
            "static_num": (len(self.numeric),),
        }
        return {name: shape for name, shape in shapes.items() if shape[-1]}

    def scaling(self) -> dict[str, tuple[Constants, Constants]]:
        """What is subtracted from each array of numbers that the network takes, and what it is then divided by."""
        ahead = len(self.future)
        constants = {
            "past": (self.past_location, self.past_scale),
            "future": (self.past_location[-ahead:], self.past_scale[-ahead:]),
            "static_num": (self.numeric_location, self.numeric_scale),
        }
        taken = self.shapes(1, 1)
        return {name: pair for name, pair in constants.items() if name in taken}


@dataclass(frozen=True)
class NetworkSpec:
    """All that defines a network but its weights.

    Attributes:
        cell: key of `CELLS`.
        context_length: steps of history given, at least `hparams.context_used`.
        horizon: steps forecast.
        quantiles: ascending, symmetric around 0.5.
        hparams: what the search found.
        inputs: what the network takes beside the history.
    """

    cell: str
    context_length: int
    horizon: int
    quantiles: tuple[float, ...]
    hparams: Hparams
    inputs: Inputs = Inputs()

    @property
    def past_segments(self) -> int:
        """Segments that the context is cut into; the first may be padded."""
        return ceil(self.hparams.context_used / self.hparams.segment_length)

    @property
    def future_segments(self) -> int:
        """Segments that are decoded; the last may be cropped."""
        return ceil(self.horizon / self.hparams.segment_length)

    def to_json(self) -> dict[str, Any]:
        """The spec as a JSON object, which `from_json` reads."""
        inputs = {name: list(value) for name, value in asdict(self.inputs).items()}
        return asdict(self) | {"quantiles": list(self.quantiles), "inputs": inputs}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NetworkSpec:
        """Reads what `to_json` gave; other keys beside it are left out.

        Raises:
            KeyError: a key is missing.
            TypeError: a key inside is missing or unknown.
        """
        return cls(
            cell=value["cell"],
            context_length=value["context_length"],
            horizon=value["horizon"],
            quantiles=tuple(value["quantiles"]),
            hparams=Hparams(**value["hparams"]),
            inputs=Inputs(**{name: tuple(items) for name, items in value["inputs"].items()}),
        )
