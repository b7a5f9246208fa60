"""What is timed: shapes of networks, the processes that hold them, and the groups whose figures are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

CELLS = ("lstm", "gru")
THREADS = (1, 2)
BATCHES = (32, 64, 128, 256)
EPOCH_WINDOWS = 8192  # as params.yaml has it
BRIEF = 0.2  # share of the time for what is a small part of a step
PAIRED = 5.0  # the same for a ratio near 1
BESIDE = 8  # steps of each of its calls
AGAINST_BARE = "whole / bare"  # a measure that is such a ratio
COPIED = "copying / bare"  # another
PLAIN: Mapping[str, Any] = {
    "units": 128,
    "layers": 1,
    "dropout": 0.1,
    "learning_rate": 0.001,
    "batch_size": 64,
    "location": "last",
    "transform": "none",
    "head": "plain",
    "linear": "none",
    "calendar": "none",
    "identity": "none",
}
BATCH = int(PLAIN["batch_size"])


@dataclass(frozen=True)
class Shape:
    """The lengths of a network, in steps, and the data that it is trained on.

    Attributes:
        words: what it is called.
        context_length: history of a window.
        segment_length: of a segment.
        horizon: forecast.
        series: how many.
        length: of each.
        held_out: of the validation part, and of the test part.
        freq: of a step, as `data.freq`.
        covariates: how many are known ahead.
        choices: hyperparameters, where they are not those of `PLAIN`.
        of_cell: the same of one cell.
        torch: whether the network is written for PyTorch too.
    """

    words: str
    context_length: int
    segment_length: int
    horizon: int
    series: int
    length: int
    held_out: int
    freq: str | int = 1
    covariates: int = 0
    choices: Mapping[str, Any] = field(default_factory=dict)
    of_cell: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    torch: bool = True

    def hparams(self, cell: str) -> dict[str, Any]:
        """All hyperparameters of a cell's network."""
        lengths = {"segment_length": self.segment_length, "context_used": self.context_length}
        return {**PLAIN, **lengths, **self.choices, **self.of_cell.get(cell, {})}


SHAPES = {
    "default": Shape(
        "the default run",
        104,
        52,
        26,
        1,
        2284,
        208,
        choices={"batch_size": 128, "location": "mean", "linear": "ridge"},
        of_cell={"lstm": {"units": 64}, "gru": {"transform": "log1p"}},
    ),
    "etth1-96": Shape("ETTh1, horizon 96", 720, 24, 96, 7, 14400, 2880, choices={"identity": "embedding"}),
    "etth1-720": Shape("ETTh1, horizon 720", 720, 24, 720, 7, 14400, 2880, choices={"identity": "embedding"}),
    "vic-elec": Shape(
        "Victoria's electricity",
        336,
        48,
        48,
        1,
        52608,
        2880,
        freq="30min",
        covariates=2,
        choices={"head": "copy", "calendar": "auto"},
        torch=False,
    ),
}


@dataclass(frozen=True)
class Layer:
    """A recurrent layer alone: its units, and its input of `batch` windows of `steps` x `inputs`."""

    units: int = 64
    steps: int = 96
    inputs: int = 7
    batch: int = 256


LAYER = Layer()
EXCHANGE = "exchange.npz"  # in the folder of work
VARIANTS = ("bare", "xla", "keras", "time-major", "batch-major", "one step a call")
PRODUCT = 4096  # rows and columns of the matrices of the yardstick


@dataclass(frozen=True)
class Setup:
    """What a process holds, ready to be timed.

    Attributes:
        task: a whole `step`, a `layer`, or a matrix `product`.
        threads: that it may use.
        measures: what it can be asked for.
        cell: key of `pipeline.cells.CELLS`.
        shape: key of `SHAPES`, of a step.
        batch: windows of a step; None for those of the shape.
        bfloat16: whether TensorFlow may take products in bfloat16.
        exchange: file of weights and a batch; a process of ours writes it, one of PyTorch reads it.
        torch: whether it is a process of PyTorch.
    """

    task: Literal["step", "layer", "product"]
    threads: int
    measures: tuple[str, ...]
    cell: str = "gru"
    shape: str = "default"
    batch: int | None = None
    bfloat16: bool = False
    exchange: str | None = None
    torch: bool = False


@dataclass(frozen=True)
class Timing:
    """One figure of a group: a measure, asked of one process, or of several at the same time."""

    measure: str
    processes: tuple[str, ...]
    share: float = 1.0  # of the time for a measure


@dataclass(frozen=True)
class Group:
    """Processes that are alive together, and what is asked of them in turn.

    Attributes:
        name: such as `step/etth1-96/lstm/2`.
        setups: by name of the process.
        timings: by name of the figure.
    """

    name: str
    setups: Mapping[str, Setup]
    timings: Mapping[str, Timing] = field(default_factory=dict)


def groups() -> Iterator[Group]:
    """All that is timed: the yardsticks, steps, layers, and what else may be faster."""
    for threads in THREADS:
        setup = Setup("product", threads, ("product",))
        yield Group(f"product/{threads}", {"ours": setup}, {"product": Timing("product", ("ours",))})
    for shape in SHAPES:
        for cell in CELLS:
            for threads in THREADS:
                yield _step_group(shape, cell, threads)
    for cell in CELLS:
        for threads in THREADS:
            yield _layer_group(cell, threads)
    for cell in CELLS:
        yield _variant_group("etth1-96", cell)


def _step_group(shape: str, cell: str, threads: int) -> Group:
    """A step of ours and its parts, that of Keras' own loop, and PyTorch's."""
    parts, brief = ("whole", "bare", "forward", "gradient", "keras"), ("gather", "draw", "call")
    timings = {part: Timing(part, ("ours",)) for part in parts}
    timings |= {part: Timing(part, ("ours",), BRIEF) for part in brief}
    paired = (AGAINST_BARE, COPIED)
    timings |= {pair: Timing(pair, ("ours",), PAIRED) for pair in paired}
    ours = Setup("step", threads, (*parts, *brief, *paired), cell, shape)
    name = f"step/{shape}/{cell}/{threads}"
    if not SHAPES[shape].torch:
        return Group(name, {"ours": ours}, timings)
    theirs = Setup("step", threads, ("step",), cell, shape, exchange=EXCHANGE, torch=True)
    timings["torch"] = Timing("step", ("torch",))
    return Group(name, {"ours": replace(ours, exchange=EXCHANGE), "torch": theirs}, timings)


def _layer_group(cell: str, threads: int) -> Group:
    """A recurrent layer: Keras', ours and PyTorch's."""
    ours = Setup("layer", threads, ("keras", "ours"), cell)
    theirs = Setup("layer", threads, ("layer",), cell, torch=True)
    timings = {name: Timing(name, ("ours",)) for name in ours.measures} | {"torch": Timing("layer", ("torch",))}
    return Group(f"layer/{cell}/{threads}", {"ours": ours, "torch": theirs}, timings)


def _variant_group(shape: str, cell: str) -> Group:
    """Steps on two threads, but for the two processes that have one each, side by side."""
    setups = {
        f"batch-{batch}": Setup("step", 2, ("whole", *VARIANTS) if batch == BATCH else ("whole",), cell, shape, batch)
        for batch in BATCHES
    }
    timings = {name: Timing("whole", (name,)) for name in setups}
    timings |= {name: Timing(name, (f"batch-{BATCH}",)) for name in VARIANTS}
    for side in ("left", "right"):
        setups[side] = Setup("step", 1, ("whole",), cell, shape)
    setups["bfloat16"] = Setup("step", 2, ("whole",), cell, shape, bfloat16=True)
    timings["side by side"] = Timing("whole", ("left", "right"))
    timings["bfloat16"] = Timing("whole", ("bfloat16",))
    return Group(f"variant/{shape}/{cell}", setups, timings)
