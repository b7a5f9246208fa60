"""The page TRAINING.md, made of the results alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.serving.figures import Figure
from benchmarks.speed.catalogue import (
    AGAINST_BARE,
    BATCH,
    BATCHES,
    BESIDE,
    CELLS,
    COPIED,
    EPOCH_WINDOWS,
    LAYER,
    PAIRED,
    PLAIN,
    PRODUCT,
    SHAPES,
    THREADS,
)
from benchmarks.speed.figures import (
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

FASTER = 1.3  # times the default run before
WHOLE = "whole"  # of `dvc repro`: all stages, and what DVC does before and after them

Json = Mapping[str, Any]
Of = Callable[[Round], float]

_INTRODUCTION = f"""\
# Where the time of a training step goes

Made by `python -m benchmarks.speed`. Networks with nine quantiles are trained on the CPU on windows of made-up series,
which have the length and the number of those of a data set. Those of the default run are the two that its search has
found on an AMD EPYC (other processors find others); the others have {PLAIN["units"]} units and batches of {BATCH}. With
several series the network is told which one it forecasts; for Victoria's electricity it is told two covariates and the
calendar, and copies past segments. The bare network takes the same steps (loss, clipping, Adam) in the same kind of
graph, but on one batch that is there already, covariates in units of the training part, as training has them.
Figures are medians over rounds, with the lowest and the highest in brackets; shares and ratios are those of each round.
"""

_VARIANTS: Mapping[str, tuple[str, str, int]] = {
    **{f"batches of {batch}": ("whole", f"batch-{batch}", batch) for batch in BATCHES},
    "two processes, one thread each": ("whole", "side by side", BATCH),
    "one step for each call of the graph": ("whole", "one step a call", BATCH),
    "products in bfloat16": ("whole", "bfloat16", BATCH),
    "the bare network": ("bare", "bare", BATCH),
    "its recurrent layer in the loop of Keras": ("bare", "keras", BATCH),
    "its inputs projected at once, a plain loop, steps first": ("bare", "time-major", BATCH),
    "its inputs projected at once, a plain loop, windows first": ("bare", "batch-major", BATCH),
    "compiled by XLA": ("bare", "xla", BATCH),
}


def render_page(results: Json, run: Json | None = None) -> str:
    """The page.

    Args:
        results: as `python -m benchmarks.speed` writes them; what was left out is no part of the page.
        run: as `python -m benchmarks.speed.pipeline` writes it; None where the default run was not timed.
    """
    parts = [_INTRODUCTION, _targets(results), _input(results), _parts(results), _once(results)]
    parts += [_peers(results), _layers(results), _variants(results), _setting(results)]
    parts += [] if run is None else [render_run(run)]
    return "\n".join(part for part in parts if part)


def render_run(run: Json) -> str:
    """The section on the default run: the stages of two commits beside each other."""
    names = ("before", "now")
    stages = dict.fromkeys(stage for name in reversed(names) for one in run[name]["seconds"] for stage in one)
    taken = {
        name: {stage: Figure.of(seconds) for stage in stages if (seconds := _of_stage(run[name], stage))}
        for name in names
    }
    rows = [
        ["all of it" if stage == WHOLE else stage, *(_seconds(taken[name].get(stage)) for name in names), ratio]
        for stage in sorted(stages, key=WHOLE.__eq__)
        for ratio in [_ratio(taken["before"].get(stage), taken["now"].get(stage))]
    ]
    faster = times_as_fast(run)
    words = (
        f"`dvc repro` of the default run is {faster:.2f} times as fast as before, where {FASTER} times was promised: "
        + ("kept." if faster >= FASTER else f"**not kept**. {_longest(taken['now'])}")
    )
    often = "once" if run["rounds"] == 1 else f"{run['rounds']} times in turn"
    made = (
        "Made by `python -m benchmarks.speed.pipeline`: each commit in a clean clone with an empty cache, in the same "
        f"environment, {often}; before is {run['before']['commit']}, now {run['now']['commit']}. The time of a "
        "stage is that between the lines by which DVC begins it and the next one. "
        f"On {_machine(run)}; {run['date']}." + "".join(_run_elsewhere(other) for other in run.get("elsewhere", []))
    )
    return _section("The default run", ["stage", "before, s", "now, s", "before / now"], rows, f"{words}\n\n{made}")


def _run_elsewhere(run: Json) -> str:
    """What the default run of another kind of processor, which may have found other networks, has come to."""
    before, now = _whole_runs(run)
    return (
        f" On {_made_on(run)} it was {times_as_fast(run):.2f} times as fast: {_short(before)} s before "
        f"({run['before']['commit']}), {_short(now)} s then."
    )


def times_as_fast(run: Json) -> float:
    """How many times as fast the default run became, by the medians of its rounds; rounded down to a hundredth."""
    before, now = _whole_runs(run)
    return _down(before / now)


def _whole_runs(run: Json) -> tuple[float, float]:
    """Seconds of all of the default run, before and now: medians of rounds."""
    return median(_of_stage(run["before"], WHOLE)), median(_of_stage(run["now"], WHOLE))


def _of_stage(commit: Json, stage: str) -> list[float]:
    return [one[stage] for one in commit["seconds"] if stage in one]


def _seconds(found: Figure | None) -> str:
    if found is None:
        return UNKNOWN
    return _short(found.median) if found.low == found.high else _figure(found)


def _ratio(before: Figure | None, now: Figure | None) -> str:
    return UNKNOWN if before is None or now is None else f"{_down(before.median / now.median):.2f}"


def _down(ratio: float) -> float:
    """Rounded down to a hundredth, or 1.297 would read as the 1.3 that was promised."""
    return math.floor(100 * ratio + 1e-9) / 100


def _longest(taken: Mapping[str, Figure]) -> str:
    """Where most of the time goes."""
    whole = taken[WHOLE].median
    most = sorted((stage for stage in taken if stage != WHOLE), key=lambda stage: -taken[stage].median)[:3]
    shares = ", ".join(f"{stage} {100 * taken[stage].median / whole:.0f} %" for stage in most)
    return f"Most of its time now takes: {shares}; the steps of training in it are those of the tables above."


def _targets(results: Json) -> str:
    kinds = [kind for kind in (results, *results.get("elsewhere", [])) if targets(kind)]
    tables = [f"On {_made_on(kind)}:\n\n{_held(kind)}" for kind in kinds]
    note = ["The steps below are those of the first of these machines.\n"] if len(kinds) > 1 else []
    return "\n".join(["## What was promised\n", *tables, *note]) if kinds else ""


def _held(results: Json) -> str:
    rows = [[t.words, f"{t.limit:.1f} %", f"{t.figure:.2f} %", "yes" if t.met else "**no**"] for t in targets(results)]
    return align_rows([["what was promised", "at most", "measured", "met"], *rows])


def _made_on(results: Json) -> str:
    """The machine, the day and the commit of a measurement."""
    return f"{_machine(results)}; {results['date']}, {results['commit']}"


def _machine(results: Json) -> str:
    return f"{results['machine']['cpu']}, {results['machine']['cores']} cores"


def _input(results: Json) -> str:
    columns: dict[str, Of] = {
        "whole step, ms": milliseconds("whole"),
        "bare network, ms": milliseconds("bare"),
        "slower, %": slower(AGAINST_BARE),
        "input, % of the step": input_share,
        "a copy, %": slower(COPIED),
    }
    rows = [_row(name, group, columns) for name, group, _ in _steps(results)]
    note = (
        "A whole step also gathers its windows, in the graph. Input is that, timed on its own, and the drawing of "
        f"windows. How much slower a whole step is, is measured apart, in pairs of calls of {BESIDE} steps, one right "
        "after the other and each of them first in turn, because the times in the columns before swing by more than "
        "what is sought: it is the median over the pairs of a round. The last column is measured like it: by how much "
        "the bare network's step is slower once it copies its input, the history and all beside it, to another place "
        "in memory. Training on windows in random order cannot gather them in less."
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
        f"and the call of its graph, over the steps that an epoch's {EPOCH_WINDOWS:,} windows take. The last column is "
        f"what the matrix products of a step would take at the speed of one product of {PRODUCT:,} x {PRODUCT:,} "
        "matrices" + (f": {told} GFLOP/s." if told else ".")
    )
    header = ["step", *columns, "products at full speed, % of the step"]
    return _section("Parts of a step", header, rows, note)


def _once(results: Json) -> str:
    rows = [
        [
            name,
            f"{group['facts']['ours']['batch']}",
            f"{group['facts']['ours']['inputs']:,}",
            f"{group['facts']['ours']['parameters']:,}",
            _short(group["facts"]["ours"]["trace_seconds"]),
            _short(group["facts"]["ours"]["peak_memory_mib"]),
            _short(group["facts"]["torch"]["peak_memory_mib"]) if "torch" in group["facts"] else UNKNOWN,
        ]
        for name, group, _ in _steps(results)
    ]
    note = (
        "Measured once for each. Inputs are numbers for each window. Memory is the most that a process which trains "
        "has held, all of TensorFlow or PyTorch with it, and of ours all series; PyTorch has but one batch."
    )
    header = ["step", "batch", "inputs", "parameters", "seconds to trace", "peak memory, MiB", "PyTorch's, MiB"]
    return _section("Paid once", header, rows, note)


def _peers(results: Json) -> str:
    columns = _beside("bare", "Keras' loop")
    rows = [_row(name, group, columns) for name, group, _ in _steps(results)]
    note = (
        "All on one batch that is there already. Keras' loop is the same network in the same graph, with the recurrent "
        "layers as Keras runs them and `keras.optimizers.Adam`. PyTorch's is the same network written for it "
        "(`benchmarks/speed/torch_run.py`: `nn.LSTM` or `nn.GRU`, one step of it for each future segment, fused Adam, "
        "`clip_grad_norm_`), run step by step as it is usual there; with the same weights it has been checked to give "
        "the same forecast and the same loss. It has no covariates and no copies."
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
        "loss is of the final state. Ours is `pipeline/recurrence.py`, with the weights of the Keras layer: its steps "
        "stand in the graph one after the other, which these many are the most for."
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
        "faster learning. Whole steps are taken in one call of a graph for each epoch; one step for each call is what "
        "a loop in Python would have. The bare network's recurrent layer has no loop. The plain loops project their "
        "inputs at once: next to *its recurrent layer in the loop of Keras* they show what that is worth, and next to "
        "each other what the order in memory is. Products in bfloat16 are TensorFlow's option "
        "`auto_mixed_precision_onednn_bfloat16`. It is not used: results would then depend on the kernels that a "
        "machine has for that type, and on whether it has any. Neither is XLA, whose results have other bits, and "
        "which has to compile each network first.\n"
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
        f"steps of at least {results['seconds']:g} s of wall time (a fifth of that for gathering and Python, "
        f"{PAIRED:g} times that for the pairs). "
        "Threads are set when a process starts, so each row has processes of its own, one of ours and one of PyTorch, "
        "which wait while the other is asked. All was traced and run twice before.\n\n"
        f"On {_machine(results)}, {machine['memory_gib']} GiB, Python {machine['python']}, "
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
    return [name, *(_known(group, of) for of in columns.values())]


def _known(group: Json, of: Of) -> str:
    """A figure, where all that it is made of was timed."""
    try:
        return _figure(figure(group, of))
    except KeyError:
        return UNKNOWN


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
