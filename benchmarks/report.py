"""Figures as text: what a benchmark prints, and the README's table of accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np

from benchmarks.benchmark import Benchmark, Json
from benchmarks.summaries import COVARIATES, Figures, Mean, relative_differences
from pipeline.tables import UNKNOWN, align_rows

CELLS = ("lstm", "gru")
TITLES = {
    "z_mse": "MSE, z-scored",
    "z_mae": "MAE, z-scored",
    "mase": "MASE",
    "smape": "sMAPE",
    "scaled_crps": "scaled CRPS",
}


def render_result(result: Json, benchmark: Benchmark) -> str:
    """The lines that a benchmark prints; published figures are of the test part, and stand beside it alone."""
    metrics = benchmark.metrics
    tuned = f"; tuned on {benchmark.tuned_on}" if benchmark.tuned_on else ""
    stages = ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in result["seconds"].items())
    lines = [
        f"{benchmark.name}, {result['split']}: {' / '.join(metrics)}{tuned}",
        f"  seconds: {stages}; {sum(result['seconds'].values()):.0f} in all",
        *cell_lines(result["figures"], metrics),
        *(f"  {name}  {both(figures, metrics)}" for name, figures in result["baselines"].items()),
    ]
    if result["split"] == "test":
        lines += published_lines(benchmark.published, metrics)
    if "verdict" in result:
        lines.append(f"  verdict: {result['verdict']['words']}")
    return "\n".join(lines)


def render_mean(summary: Mean, figures: Figures, split: str) -> str:
    """The lines of a mean over benchmarks."""
    lines = [f"{summary.title}, {split}: {' / '.join(summary.metrics)}", *cell_lines(figures, summary.metrics)]
    if split == "test":
        lines += published_lines(summary.published, summary.metrics)
        tuned = {f"{name} (context chosen by horizon)": pair for name, pair in summary.tuned_context.items()}
        lines += published_lines(tuned, summary.metrics)
    return "\n".join(lines)


def render_differences(differences: Mapping[str, Mapping[str, Mapping[str, float | None]]], split: str) -> str:
    """The lines on what covariates are worth; by metric and cell."""
    lines = [f"vic-elec against vic-elec-plain, {split}: relative difference, below 0 covariates help"]
    for metric, cells in differences.items():
        for cell, shares in cells.items():
            ensemble, mean, sd = (percent(shares[name]) for name in ("ensemble", "mean", "sd"))
            lines.append(f"  {cell} {metric}  ensemble {ensemble} %, seeds {mean} ± {sd.lstrip('+')} %")
    return "\n".join(lines)


def render_accuracy(
    results: Mapping[str, Json], facts: Mapping[str, Benchmark | Mean], looks: Mapping[str, int]
) -> str:
    """The README's table of accuracy.

    Args:
        results: by name the files of `results/`.
        facts: by name the benchmark, or the mean over several.
        looks: by name how often the test part was looked at.

    Returns:
        A Markdown table with a row for each data set and metric, and below it the notes of single results and what
        covariates are worth.
    """
    rows = [["data set", "metric", *(cell.upper() for cell in CELLS), "ridge", "published", "looks at the test part"]]
    notes = []
    for name, result in results.items():
        mark = ""
        if "note" in result:
            notes.append(result["note"])
            mark = f" [{len(notes)}]"
        for place, metric in enumerate(facts[name].metrics):
            published = lowest_published(facts[name].published, place, metric)
            cells = [short(result["figures"].get(cell), metric) for cell in CELLS]
            ridge = fixed(baseline_error(results, facts, name, metric), metric, digits=3)
            rows.append(
                [facts[name].title + mark, TITLES[metric], *cells, ridge, published, str(looks.get(name, UNKNOWN))]
            )
    below = "".join(f"\n[{number}] {note}.\n" for number, note in enumerate(notes, 1))
    return align_rows(rows) + below + worth_of_covariates(results) + verdict_table(results, facts)


def verdict_table(results: Mapping[str, Json], facts: Mapping[str, Benchmark | Mean]) -> str:
    """The verdicts on the cells, of the data sets that have one."""
    rows = [["data set", "verdict", "difference, 95 % interval", "recommended"]]
    for name, result in results.items():
        if found := result.get("verdict"):
            decided = f"{found['verdict']}: {found['cell']}" if found["cell"] else found["verdict"]
            rows.append([facts[name].title, decided, difference(found), found["recommended"].replace("_", " ")])
    return f"\n{align_rows(rows)}" if len(rows) > 1 else ""


def difference(verdict: Json) -> str:
    """How much the first cell of the pair errs more than the second."""
    if verdict["ci"] is None:
        return UNKNOWN
    (first, second), (low, high) = verdict["pair"], verdict["ci"]
    return f"{first} / {second} {percent(verdict['relative_difference'])} % [{percent(low)}, {percent(high)}]"


def baseline_error(
    results: Mapping[str, Json], facts: Mapping[str, Benchmark | Mean], name: str, metric: str
) -> float | None:
    """What the ridge baseline errs; of a mean over benchmarks the mean of its parts, None where one is missing."""
    fact = facts[name]
    parts = fact.parts if isinstance(fact, Mean) else (name,)
    errors = [results.get(part, {}).get("baselines", {}).get("ridge", {}).get(metric) for part in parts]
    return None if None in errors else float(np.mean(errors))


def worth_of_covariates(results: Mapping[str, Json]) -> str:
    """A sentence on what covariates change, with its spread over seeds; none where they were not measured."""
    if not set(COVARIATES) <= set(results):
        return ""
    plain, covariates = (results[name]["figures"] for name in COVARIATES)
    told = [
        f"{cell.upper()} {percent(found['ensemble'])} % (single networks {percent(found['mean'])} ± "
        f"{percent(found['sd']).lstrip('+')} %)"
        for cell, found in relative_differences(plain, covariates, "mase").items()
    ]
    text = (
        "What temperature, holidays and the calendar change of the MASE of Victoria's electricity, each model tuned on "
        f"its own: {', '.join(told)}."
    )
    return f"\n{fill(text, 120)}\n"


def cell_lines(figures: Figures, metrics: tuple[str, str]) -> list[str]:
    """The ensemble of each cell, its single networks, and what calibration did, where that was measured."""
    lines = []
    for cell, forecasts in figures.items():
        ensemble, parts = forecasts["ensemble"], [over_seeds(forecasts, metric) for metric in metrics]
        lines.append(f"  {cell} ensemble  {both(ensemble, metrics)}")
        lines.append(f"  {cell} seeds     {' / '.join(parts)}")
        if "uncalibrated" in ensemble:
            raw = ensemble["uncalibrated"]
            lines.append(
                f"  {cell} calibration: 80 % intervals cover {share(raw['coverage_80'])} -> "
                f"{share(ensemble['coverage_80'])}, scaled CRPS {fixed(raw['scaled_crps'], 'scaled_crps')} -> "
                f"{fixed(ensemble['scaled_crps'], 'scaled_crps')}"
            )
    return lines


def published_lines(published: Mapping[str, tuple[float | None, ...]], metrics: tuple[str, str]) -> list[str]:
    """A line for each published model."""
    return [f"  {model}  {both(dict(zip(metrics, pair, strict=True)), metrics)}" for model, pair in published.items()]


def lowest_published(published: Mapping[str, Sequence[float | None]], place: int, metric: str) -> str:
    """The lowest of the published figures that we stand beside, in a metric, with the name of its model."""
    known = [(pair[place], model) for model, pair in published.items() if pair[place] is not None]
    if not known:
        return UNKNOWN
    value, model = min(known)
    return f"{fixed(value, metric, digits=3)} ({model})"


def short(forecasts: Mapping[str, Json] | None, metric: str) -> str:
    """A cell's ensemble, and in brackets mean and standard deviation of its single networks."""
    if forecasts is None:
        return UNKNOWN
    return f"{fixed(forecasts['ensemble'][metric], metric, digits=3)} ({over_seeds(forecasts, metric, digits=3)})"


def over_seeds(forecasts: Mapping[str, Json], metric: str, *, digits: int = 4) -> str:
    """Mean and standard deviation over the seeds."""
    found = [figures[metric] for name, figures in forecasts.items() if name != "ensemble"]
    if None in found or len(found) < 2:
        return UNKNOWN
    mean, sd = float(np.mean(found)), float(np.std(found, ddof=1))
    return f"{fixed(mean, metric, digits=digits)} ± {fixed(sd, metric, digits=digits)}"


def both(figures: Json, metrics: tuple[str, str]) -> str:
    """The figures of both metrics."""
    return " / ".join(fixed(figures[metric], metric) for metric in metrics)


def fixed(value: Any, metric: str, *, digits: int = 4) -> str:
    """A figure with as many digits as its metric needs."""
    return UNKNOWN if value is None else f"{value:.{5 if metric == 'scaled_crps' else digits}f}"


def share(value: float | None) -> str:
    """A share in percent."""
    return UNKNOWN if value is None else f"{100 * value:.1f} %"


def percent(value: float | None) -> str:
    """A signed share in percent, without its unit."""
    return UNKNOWN if value is None else f"{100 * value:+.1f}"
