"""What the search finds for one network, and the fixed shape it has to fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

COPIED_AT_LEAST = 1e-6  # share of a copied step that has to be observed; below it, the copy fades to 0


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
        linear: `none`, or `residual`: a linear forecast from the values in use is added to the median.
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

    def to_json(self) -> dict[str, Any]:
        """The hyperparameters as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class NetworkSpec:
    """All that defines a network but its weights.

    Attributes:
        cell: key of `CELLS`.
        context_length: steps of history given, at least `hparams.context_used`.
        horizon: steps forecast.
        quantiles: ascending, symmetric around 0.5.
        hparams: what the search found.
    """

    cell: str
    context_length: int
    horizon: int
    quantiles: tuple[float, ...]
    hparams: Hparams

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
        return asdict(self) | {"quantiles": list(self.quantiles)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> NetworkSpec:
        """Reads what `to_json` gave."""
        return cls(**{**value, "quantiles": tuple(value["quantiles"]), "hparams": Hparams(**value["hparams"])})
