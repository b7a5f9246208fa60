"""The page TRAINING.md, made of the results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.serving.figures import Figure
from benchmarks.speed.catalogue import BATCH, BATCHES, CELLS, LAYER, PRODUCT, SHAPES, THREADS, UNITS
from benchmarks.speed.figures import (
    EPOCH_STEPS,
    Round,
    backward_ms,
    counted,
    figure,
    gigaflops,
    input_share,
    milliseconds,
    optimizer_ms,
    python_us,
    share_of_peak,
    slower,
    steps_of,
    targets,
    times,
    windows_per_second,
)
from pipeline.tables import UNKNOWN, align_rows

Json = Mapping[str, Any]
Of = Callable[[Round], float]

_INTRODUCTION = f"""\
# Where the time of a training step goes

Made by `python -m benchmarks.speed`. Networks of {UNITS} units with nine quantiles are trained on the CPU on batches of
{BATCH} windows of made-up series, which have the length and the number of those of a data set; with several series the
network is told which one it forecasts. The bare network takes the same steps (loss, clipping, Adam) in the same kind of
graph, but on one batch that is there already. Figures are medians over rounds, with the lowest and the highest in
brackets; shares and ratios are those of each round.
"""

_VARIANTS: Mapping[str, tuple[str, str, int]] = {
    **{f"batches of {batch}": ("whole", f"batch-{batch}", batch) for batch in BATCHES},
    "two processes, one thread each": ("whole", "side by side", BATCH),
    "products in bfloat16": ("whole", "bfloat16", BATCH),
    "the bare network": ("bare", "bare", BATCH),
    "the bare network, compiled by XLA": ("bare", "xla", BATCH),
}


def render_page(results: Json) -> str:
    """The page.

    Args:
        results: as `python -m benchmarks.speed` writes them; what was left out is no part of the page.
    """
    parts = [_INTRODUCTION, _targets(results), _input(results), _parts(results), _once(results)]
    parts += [_peers(results), _layers(results), _variants(results), _setting(results)]
    return "\n".join(part for part in parts if part)


def _targets(results: Json) -> str:
    held = targets(results)
    rows = [[t.words, f"{t.limit:.1f} %", f"{t.figure:.1f} %", "yes" if t.met else "**no**"] for t in held]
    return _section("What was promised", ["what was promised", "at most", "measured", "met"], rows)


def _input(results: Json) -> str:
    columns: dict[str, Of] = {
        "whole step, ms": milliseconds("whole"),
        "bare network, ms": milliseconds("bare"),
        "slower, %": slower,
        "input, % of the step": input_share,
    }
    rows = [_row(name, group, columns) for name, group, _ in _steps(results)]
    note = (
        "A whole step also gathers its windows, in the graph; what it takes longer than the bare network is its wait "
        "for input. A share below 0 is noise."
    )
    return _section("Waiting for input", ["step", *columns], rows, note)


def _parts(results: Json) -> str:
    columns: dict[str, Of] = {
        "gathering, ms": milliseconds("gather"),
        "forward, ms": milliseconds("forward"),
        "backward, ms": backward_ms,
        "clipping and Adam, ms": optimizer_ms,
        "Python, µs": python_us,
    }
    rows = [
        [
            name,
            *(_short(figure(group, of).median) for of in columns.values()),
            _percent(share_of_peak(results, group, threads)),
        ]
        for name, group, threads in _steps(results)
    ]
    peaks = [(threads, gigaflops(results, threads)) for threads in THREADS]
    told = ", ".join(f"{_figure(peak)} on {counted(threads)}" for threads, peak in peaks if peak)
    note = (
        "Gathering and the forward pass are graphs of their own, and so are forward and backward together; the rest of "
        "the bare network's step is what clipping and Adam take. A forward pass that is followed by a backward one "
        "also keeps what that needs, which counts as backward here. Python's part is the drawing of an epoch's windows "
        f"and the call of its graph, over the {EPOCH_STEPS} steps of an epoch. The last column is what the matrix "
        f"products of a step would take at the speed of one product of {PRODUCT:,} x {PRODUCT:,} matrices"
        + (f": {told} GFLOP/s." if told else ".")
    )
    header = ["step", *columns, "products at full speed, % of the step"]
    return _section("Parts of a step", header, rows, note)


def _once(results: Json) -> str:
    rows = [
        [
            name,
            f"{group['facts']['ours']['parameters']:,}",
            _short(group["facts"]["ours"]["trace_seconds"]),
            _short(group["facts"]["ours"]["peak_memory_mib"]),
            _short(group["facts"]["torch"]["peak_memory_mib"]),
        ]
        for name, group, _ in _steps(results)
    ]
    note = (
        "Measured once for each. Memory is the most that a process which trains has held, all of TensorFlow or "
        "PyTorch with it, and of ours all series; PyTorch has but one batch."
    )
    header = ["step", "parameters", "seconds to trace", "peak memory, MiB", "PyTorch's, MiB"]
    return _section("Paid once", header, rows, note)


def _peers(results: Json) -> str:
    columns = _beside("bare", "Keras' loop")
    rows = [_row(name, group, columns) for name, group, _ in _steps(results)]
    note = (
        "All on one batch that is there already. Keras' loop is the same network in the same graph, with the recurrent "
        "layers as Keras runs them, as they are in ours with an LSTM, and `keras.optimizers.Adam`. PyTorch's is the "
        "same network written for it (`benchmarks/speed/torch_run.py`: `nn.LSTM` or `nn.GRU`, one step of it for each "
        "future segment, fused Adam, `clip_grad_norm_`), run step by step as it is usual there; with the same weights "
        "it has been checked to give the same forecast and the same loss."
    )
    return _section("The same network, by others", ["step", *columns], rows, note)


def _layers(results: Json) -> str:
    columns = _beside("ours", "Keras")
    rows = []
    for cell in CELLS:
        for threads in THREADS:
            group = results["groups"].get(f"layer/{cell}/{threads}")
            if group is not None:
                rows.append(_row(f"{cell.upper()}-{LAYER.units}, {counted(threads)}", group, columns))
    note = (
        f"Forward and backward over {LAYER.steps} steps of {LAYER.inputs} inputs, {LAYER.batch} windows at a time; the "
        "loss is of the final state. Ours is `pipeline/recurrence.py`, with the weights of the Keras layer; it has a "
        "gradient of its own for the GRU alone, so that with an LSTM both are Keras' layer."
    )
    return _section("A recurrent layer alone", ["layer", *columns], rows, note)


def _variants(results: Json) -> str:
    found = {name: group for name, group in results["groups"].items() if name.startswith("variant/")}
    sections = []
    for name, group in found.items():
        _, shape, cell = name.split("/")
        rows = [
            [words, kind, _figure(figure(group, windows_per_second(timing, batch)))]
            for words, (kind, timing, batch) in _VARIANTS.items()
        ]
        sections.append(align_rows([[f"{SHAPES[shape].words}, {cell.upper()}", "step", "windows a second"], *rows]))
    if not sections:
        return ""
    note = (
        f"On two threads, in batches of {BATCH}, unless something else is said. Larger batches are fewer steps, so not "
        "faster learning. Products in bfloat16 are TensorFlow's option `auto_mixed_precision_onednn_bfloat16`. It is "
        "not used: results would then depend on the kernels that a machine has for that type, and on whether it has "
        "any. Neither is XLA, whose results have other bits, and which has to compile each network first.\n"
    )
    return "\n".join(["## What else was tried\n", *sections, note])


def _setting(results: Json) -> str:
    machine = results["machine"]
    versions = sorted({facts["version"] for group in results["groups"].values() for facts in _told_by_torch(group)})
    torch = f", PyTorch {', '.join(versions)}" if versions else ""
    return (
        "## Where and how\n\n"
        f"{results['rounds']} round{'s' if results['rounds'] > 1 else ''}, in which every figure of a table row is "
        "measured once, in another order each time, by "
        f"steps of at least {results['seconds']:g} s of wall time (a fifth of that for gathering and Python). "
        "Threads are set when a process starts, so each row has processes of its own, one of ours and one of PyTorch, "
        "which wait while the other is asked. All was traced and run twice before.\n\n"
        f"On {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}, "
        f"TensorFlow {machine['tensorflow']}{torch}; {results['date']}, {results['commit']}.\n"
    )


def _told_by_torch(group: Json) -> list[Json]:
    return [facts for facts in group["facts"].values() if "version" in facts]


def _steps(results: Json) -> Iterator[tuple[str, Json, int]]:
    """The steps that were timed: what each is called, its group and its threads."""
    for shape, told in SHAPES.items():
        for (cell, threads), group in steps_of(results, shape).items():
            yield f"{told.words}, {cell.upper()}, {counted(threads)}", group, threads


def _beside(ours: str, keras: str) -> dict[str, Of]:
    """Columns with the time of ours, of Keras and of PyTorch, and how many times as long the others take."""
    return {
        "ours, ms": milliseconds(ours),
        f"{keras}, ms": milliseconds("keras"),
        "PyTorch, ms": milliseconds("torch"),
        "Keras / ours": times("keras", ours),
        "PyTorch / ours": times("torch", ours),
    }


def _row(name: str, group: Json, columns: Mapping[str, Of]) -> list[str]:
    return [name, *(_figure(figure(group, of)) for of in columns.values())]


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> str:
    if not rows:
        return ""
    return f"## {title}\n\n{align_rows([header, *rows])}" + (f"\n{note}\n" if note else "")


def _figure(found: Figure) -> str:
    return f"{_short(found.median)} ({_short(found.low)} to {_short(found.high)})"


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else _short(value)


def _short(value: float) -> str:
    """Two decimals below ten, one below a hundred, none above."""
    size = abs(value)
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:,.0f}"
