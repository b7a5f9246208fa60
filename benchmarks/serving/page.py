"""The page SERVING.md, made of the results alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.serving.contenders import CONTENDERS, EMPTY
from benchmarks.serving.figures import MANY, WARM_UP_SHARE, Figure, load_figure, targets
from pipeline.tables import UNKNOWN, align_rows

Json = Mapping[str, Any]

_INTRODUCTION = """\
# `gatecast serve` beside other ways to serve the same model

Made by `python -m benchmarks.serve`. Every server forecasts weekly CO2 with the same trained ensemble, from its ONNX
file or from the Keras networks that went into it. Clients keep their connection, send one window at a time, 64
different ones in turn, and ask again as soon as they are answered. Each server has an environment of its own
(`benchmarks/serving/requirements/`), one process where that is its default, no access log, and one thread in ONNX
Runtime; what it answers is first compared with the forecaster's own median. Figures are medians over rounds, in which
all servers are started afresh in another order, with the lowest and the highest round in brackets.

Our native protocol takes and gives tables with timestamps, and checks them; all others are given numbers alone.
"""


def render_page(results: Json) -> str:
    """The page.

    Args:
        results: as `benchmarks.serve` writes them.
    """
    parts = [_INTRODUCTION, _targets(results), _figures(results), _soak(results), _setting(results)]
    return "\n".join(part for part in parts if part)


def _targets(results: Json) -> str:
    rows = [["what was promised", "limit", "measured", "met"]]
    rows += [
        [target.words, _amount(target.limit, target.unit), _amount(target.figure, target.unit), _met(target.met)]
        for target in targets(results)
    ]
    engine = statistics.median(results["engine_ms"])
    note = (
        f"The floor is an empty FastAPI route, which reads a body and gives one of {results['answer_bytes']:,} bytes, "
        f"parsing and making no JSON, and a bare call of ONNX Runtime with one window, {engine:.2f} ms.\n"
    )
    return f"## What was promised\n\n{align_rows(rows)}\n{note}"


def _figures(results: Json) -> str:
    counts = [str(count) for count in results["clients"]]
    names = [name for name in CONTENDERS if name in results["contenders"]]
    sections = ["## Figures\n"]
    for quantity, words in (("per_second", "forecasts a second"), ("p50_ms", "p50, ms"), ("p99_ms", "p99, ms")):
        rows = [[f"{words}, by clients", *counts]]
        for name in names:
            found = [load_figure(results, name, int(count), quantity) for count in counts]
            rows.append([CONTENDERS[name].words, *map(_figure, found)])
        sections.append(align_rows(rows))
    rows = [["server", "resident memory, MB", "start to first forecast, s", "failed requests"]]
    for name in names:
        found = results["contenders"][name]
        failed = sum(sum(one["failed"].values()) for rounds in found["loads"].values() for one in rounds)
        resident, started = Figure.of(found["resident_mb"]), Figure.of(found["started_s"])
        rows.append([CONTENDERS[name].words, _figure(resident), _figure(started), str(failed)])
    note = (
        "Memory is the most after any load, of all processes of a server together; pages that they share count in "
        "each. The start is one with files in the page cache and bytecode compiled.\n"
    )
    return "\n".join([*sections, align_rows(rows), note])


def _soak(results: Json) -> str:
    soak = results.get("soak")
    if soak is None:
        return ""
    resident, failed = soak["resident_mb"], sum(soak["failed"].values())
    return (
        f"## {soak['minutes']:g} minutes at full load\n\n"
        f"{soak['clients']} clients, our three protocols in turn: {soak['answered']:,} forecasts, {failed} failed, "
        f"p50 {soak['p50_ms']:.1f} ms, p99 {soak['p99_ms']:.1f} ms. Resident memory was {resident[0]:.0f} MB at the "
        f"beginning, {resident[-1]:.0f} MB at the end, and at most {max(resident):.0f} MB; its slope, by least squares "
        f"after the first {WARM_UP_SHARE:.0%}, is {soak['slope_mb_per_minute']:.3f} MB a minute. {_made(soak)}\n"
    )


def _setting(results: Json) -> str:
    empty = results["contenders"].get(EMPTY)
    lines = [
        "## Where and how\n",
        f"{results['rounds']} rounds of {results['seconds']:g} s for each number of clients, after each client has had "
        f"two answers. Clients and servers share {results['machine']['cores']} cores. {_made(results)}",
    ]
    if empty is not None:
        rounds = empty["loads"][str(MANY)]
        cpu = statistics.median(one["client_cpu_s"] / one["answered"] for one in rounds)
        speed = statistics.median(one["answered"] / one["seconds"] for one in rounds)
        lines.append(
            f"The load generator is a process of its own. It takes {1e6 * cpu:.0f} µs of a core for an answer of the "
            f"empty route, so could ask for {1 / cpu:,.0f} a second; the empty route gives {speed:,.0f}."
        )
    versions = [", ".join(pins) for name, pins in results["versions"].items()]
    return "\n".join([*lines, "", "Versions: " + "; ".join(versions) + ".", ""])


def _made(found: Json) -> str:
    machine = found["machine"]
    return (
        f"On {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}; "
        f"{found['date']}, {found['commit']}."
    )


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return UNKNOWN
    return f"{_short(figure.median)} ({_short(figure.low)} to {_short(figure.high)})"


def _amount(value: float, unit: str) -> str:
    return f"{_short(value)} {unit}".rstrip()


def _short(value: float) -> str:
    """Two decimals below ten, one below a hundred, none above."""
    size = abs(value)
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:,.0f}"


def _met(met: bool) -> str:
    return "yes" if met else "**no**"
