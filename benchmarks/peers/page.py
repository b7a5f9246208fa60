"""The page PEERS.md, made of the results alone; and what is printed on the way to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from statistics import fmean
from typing import Any

from benchmarks.benchmark import Json
from benchmarks.peers.catalogue import CELLS, MODELS, OURS, SEEDS, SETTINGS, Field, Job, Setting, model_of
from benchmarks.peers.comparing import (
    Contrast,
    Group,
    beaten_by_linear,
    contrasts,
    counted,
    groups,
    made_on,
    mean_sd,
    single,
    spread,
    threads_of,
    took,
    wall,
)
from benchmarks.peers.exchange import METRICS
from benchmarks.report import TITLES
from pipeline.tables import UNKNOWN, align_rows

DIGITS = {"z_mse": 4, "z_mae": 4, "mase": 4, "scaled_crps": 5}
INTRODUCTION = """\
# The LSTM and GRU of other libraries beside ours

Made by `python -m benchmarks.peers`: NeuralForecast and Darts, each in an environment of its own with pinned versions,
and our pipeline as it is. All are given the same rows before the test part, of which Darts keeps the validation part to
choose its best weights by (see the end), and forecast every window of the test part, every step and every series;
nothing is dropped. Their forecasts are measured by our code. MSE and MAE are of values in standard deviations of each
series' training part; point forecasts are medians, where quantiles are forecast. Figures are of single networks, mean ±
standard deviation over seeds, ours not calibrated; our ensemble, which is what is served, stands beside. Fitting and
predicting are timed apart, the peers' without the start of a process and imports, our fitting with both. Seconds are
wall time on the whole machine: of runs side by side, on a share of its threads each, as our networks are trained and
the peers' but for those that a clock ends, the share of one. So one network of ours has half the seconds that it is at
work, while another one is beside it.

Ours is compared with the peers' models of the same cell, by the ratio of geometric means over seeds. Counted are MSE,
scaled CRPS and one of MAE and MASE, which measure the same (of a single series exactly so). It is *clearly* lower or
higher where the 95 % interval of the ratio (Welch, logarithms) leaves out 1. That is the chance of training seeds
alone: each set has one test part, whose own chance is not in it, and the comparisons are many.
"""
SETTINGS_NOTES = """\
Darts keeps its best weights by the validation part, and is not trained on that again. NeuralForecast has no use for it
in its defaults, and is then trained on it where ours is. Where its best weights are kept it is not trained on it; nor
are the trials of a search, whose best is trained again as ours is. Learning rates are constant, as they are by default
in both libraries; ours falls along half a cosine.

Darts' guide has a `min_delta` of .05 for early stopping, which is more than the whole loss of scaled data; it is taken
as 0. RNNModel's `training_length`, which has to be longer than the input, is the input and a horizon. Darts'
BlockRNNModel takes covariates of the past alone, and the linear model of NeuralForecast none. Darts' NLinearModel
cannot subtract the last value with a likelihood, so it forecasts points and has no scaled CRPS; nor has its RNNModel
where drawing paths for all windows would take hours.

NeuralForecast searches with Optuna, one of its two backends, because its trials can be kept. All seeds use one search.
A trial that diverges has failed: another one is made for it, and its time is part of the search. Its process keeps the
memory that it has used, which glibc gives back after each step otherwise: steps of large networks take 17 to 38 % less
time for the same results. Nor does a trial look at the validation part before its end, which the library does after
each 100 steps and makes no use of. (The search on Victoria's electricity was made before, without either.)

Most steps of Darts are too small for two cores. Before each of its runs a few steps are timed on one thread and on all,
which is no part of the time to fit, and the faster number is used. NeuralForecast, whose steps are larger, has all.
Beside another run each has its share of them. PyTorch is told to take numbers below 1e-38 as 0, as TensorFlow does by
itself: without that a step of a GRU takes several times as long on some processors. The runs with our context on the
AMD EPYC shared its cores with other work, so their seconds are too many.
"""


def render_page(results: Mapping[str, Any], known: Mapping[str, Field]) -> str:
    """The page.

    Args:
        results: by data set `ours`, or None, and the `runs` of the peers.
        known: the data sets by name.
    """
    parts = [INTRODUCTION, *(_field(known[name], results[name]) for name in known if name in results)]
    return "\n".join([*parts, "## How it was measured", "", SETTINGS_NOTES, _made(made_on(results))])


def _field(field: Field, found: Json) -> str:
    benchmark, ours, runs = field.benchmark, found["ours"], found["runs"]
    lines = [f"## {benchmark.title}", "", f"{benchmark.note[0].upper()}{benchmark.note[1:]}.", ""]
    measured = [(setting, of_setting) for setting in SETTINGS if (of_setting := groups(runs, setting))]
    if ours is None:
        lines += ["Ours was not measured in this run yet.", ""]
    else:
        lines += [statement(SETTINGS[setting], ours, of_setting, field) for setting, of_setting in measured]
        lines += ["", "### Ours", "", _told(field, ours), "", align_rows([_header("threads"), *_our_rows(ours)])]
    for setting, of_setting in measured:
        words = f"{SETTINGS[setting].words}{_elsewhere(of_setting, ours)}"
        lines += [f"### {SETTINGS[setting].title}", "", words, "", _table(of_setting, ours, field)]
    if missing := _missing(runs):
        lines += [f"Not measured yet: {missing}.", ""]
    return "\n".join(lines)


def _told(field: Field, ours: Json) -> str:
    """What networks are told beside values and covariates."""
    told = "; ".join(f"our {CELLS[cell]} {_choices(hparams)}" for cell, hparams in ours["hparams"].items())
    peers = "the calendar, because our search may choose it" if field.calendar else "nothing"
    return f"Beside values and covariates our search chose to tell {told}. The peers are told {peers}."


def _choices(hparams: Json) -> str:
    told = ["the calendar"] * (hparams["calendar"] != "none") + ["which series it is"] * (hparams["identity"] != "none")
    return " and ".join(told) or "nothing"


def statement(setting: Setting, ours: Json, found: Sequence[Group], field: Field) -> str:
    """What the figures of a setting say of ours, in plain words."""
    title, compared = setting.title, counted(ours, found, field)
    if not compared:
        return f"- **{title}**: no LSTM or GRU measured."
    lower = [one for one in compared if one.ratio < 1]
    higher = [one for one in compared if one.ratio >= 1]
    words = f"- **{title}**: ours is lower in {len(lower)} of {len(compared)} errors"
    if lower:
        words += f", {_clear(lower, 'lower')}"
    if higher:
        named = "; ".join(f"{one.model.title}, {TITLES[one.metric]} ({_percent(one.ratio)})" for one in higher)
        words += f", and not in {len(higher)}, {_clear(higher, 'higher')} higher: {named}"
    time = "" if setting.budget else f" {_wall_time(ours, found)}"
    return f"{words}.{time}{_linear(ours, found)}"


def _linear(ours: Json, found: Sequence[Group]) -> str:
    if not any(group.model.cell == "linear" for group in found):
        return ""
    beaten = "; ".join(f"{model.title}, {TITLES[metric]}" for model, metric in beaten_by_linear(ours, found))
    if not beaten:
        return " No linear model of theirs is lower than both our LSTM and our GRU in any error."
    return f" Linear models of theirs that are lower than both our LSTM and our GRU: {beaten}."


def _clear(compared: Sequence[Contrast], stance: str) -> str:
    if all(one.interval is None for one in compared):
        return "none of them clearly, because theirs is of one seed"
    clear = sum(one.stance == stance for one in compared)
    return "all of them clearly" if clear == len(compared) else f"{clear or 'none'} of them clearly"


def _wall_time(ours: Json, found: Sequence[Group]) -> str:
    """Fitting of theirs, with a search where there is one, against ours of the same cell."""
    own, recurrent = wall(ours), [group for group in found if group.model.cell in ours["figures"]]
    # The search, which all seeds share, is in each.
    seconds = [
        (group.model.cell, fmean(group.seconds("fit_seconds", "search_seconds")))
        for group in recurrent
        if group.is_beside(ours)
    ]
    if not seconds:
        return "Fitting took them seconds of another machine than ours, which are not compared."
    over = {whose: sum(taken > own[cell][whose] for cell, taken in seconds) for whose in ("network", "pipeline")}
    mine = {whose: spread([own[cell][whose] for cell in own]) for whose in ("network", "networks", "pipeline")}
    return (
        f"Fitting took them {spread([taken for _, taken in seconds])} s: longer than one network of ours "
        f"({mine['network']} s) for {over['network']} of {len(seconds)}, longer than our search and all networks "
        f"together ({mine['pipeline']} s; the networks {mine['networks']} s) for {over['pipeline']}."
    )


def _elsewhere(found: Sequence[Group], ours: Json | None) -> str:
    """The machines of runs that were not on that of ours: their seconds cannot stand beside ours."""
    away = [group for group in found if ours is not None and not group.is_beside(ours)]
    if not away:
        return ""
    machines = "; ".join(sorted({run["machine"]["cpu"] for group in away for run in group.runs}))
    whose = "All" if len(away) == len(found) else ", ".join(group.model.title for group in away)
    return f" {whose} on another machine than ours ({machines}), so seconds are not compared with ours."


def _header(*more: str) -> list[str]:
    return ["model", "runs", *(TITLES[metric] for metric in METRICS), "fit, s", "predict, s", *more]


def _our_rows(ours: Json) -> list[list[str]]:
    rows, seconds, threads = [], wall(ours), str(ours["threads"])
    for cell, forecasts in ours["figures"].items():
        count = len(forecasts) - 1
        figures = [mean_sd(single(ours, cell, metric), DIGITS[metric]) for metric in METRICS]
        predict = f"{ours['predict_seconds'][cell]:,.1f}"
        rows.append([CELLS[cell], str(count), *figures, f"{seconds[cell]['network']:,.0f}", UNKNOWN, threads])
        ensemble, fit = _figures(forecasts["ensemble"]), f"{seconds[cell]['networks']:,.0f}"
        rows.append([f"{CELLS[cell]}, ensemble of {count}", "1", *ensemble, fit, predict, threads])
        whole = f"{seconds[cell]['pipeline']:,.0f}"
        rows.append([f"{CELLS[cell]}, ensemble and search", "1", *ensemble, whole, predict, threads])
    rows += [[name, "1", *_figures(found), UNKNOWN, UNKNOWN, "1"] for name, found in ours["baselines"].items()]
    return rows


def _figures(found: Json) -> list[str]:
    return [UNKNOWN if found[metric] is None else f"{found[metric]:.{DIGITS[metric]}f}" for metric in METRICS]


def _table(found: Sequence[Group], ours: Json | None, field: Field) -> str:
    searched = any(group.told("search_seconds") for group in found)
    shown = field.benchmark.metrics
    header = _header(*(["search, s", "trials", "failed"] if searched else []), "input", "steps", "threads")
    header += [f"ours to it, {TITLES[metric]}" for metric in shown]
    rows = [header]
    for group in found:
        row = [group.model.title, str(len(group.runs))]
        row += [mean_sd(group.of(metric), DIGITS[metric]) for metric in METRICS]
        row += [mean_sd(group.seconds("fit_seconds"), 0), mean_sd(group.seconds("predict_seconds"), 1)]
        if searched:
            row += [mean_sd(group.seconds("search_seconds")[:1], 0)]
            row += [mean_sd(group.told(name)[:1], 0) for name in ("trials", "trials_failed")]
        row += [spread(group.told("input_size")), spread(group.told("steps"))]
        row += [spread([threads_of(run) for run in group.runs])]
        compared = {one.metric: one for one in contrasts(ours, [group])} if ours is not None else {}
        row += [_ratio(compared.get(metric)) for metric in shown]
        rows.append(row)
    return align_rows(rows)


def _ratio(compared: Contrast | None) -> str:
    if compared is None:
        return UNKNOWN
    clearly = {"lower": ", clearly", "higher": ", clearly", "open": ""}[compared.stance]
    return f"{_percent(compared.ratio)}{clearly}"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def _missing(runs: Sequence[Json]) -> str:
    """The settings without all their runs; one that has to be asked for, only once it has some."""
    left = []
    for setting, facts in SETTINGS.items():
        wanted = len(SEEDS) * sum(setting in model.settings for model in MODELS)
        made = sum(run["setting"] == setting for run in runs)
        if facts.asked_for and not made:
            continue
        left += [f"{wanted - made} of {wanted} runs of *{facts.title}*"] if made < wanted else []
    return ", ".join(left)


def _made(measured: Sequence[Json]) -> str:
    """On what, when and with which versions."""
    machines = sorted({_machine(one["machine"]) for one in measured})
    versions = sorted({f"{name} {v}" for one in measured for name, v in one.get("versions", {}).items()})
    dates, commits = sorted({one["date"] for one in measured}), sorted({one["commit"] for one in measured})
    threads = sorted({threads_of(one) for one in measured if "peer" in one})
    lines = [
        f"Machine: {'; '.join(machines)}.",
        f"Versions: {', '.join(versions) or UNKNOWN}.",
        f"Threads of a peer: {', '.join(map(str, threads)) or UNKNOWN}.",
        f"{dates[0]} to {dates[-1]}; {', '.join(commits)}." if dates else "",
    ]
    return "\n".join(lines).rstrip() + "\n"


def _machine(machine: Json) -> str:
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}, "
        f"TensorFlow {machine['tensorflow']}"
    )


def render_run(result: Json) -> str:
    """A measurement in a line, as it is printed."""
    if "peer" not in result:
        cells = result["figures"].items()
        return "; ".join(f"{cell} ensemble {' / '.join(_figures(found['ensemble']))}" for cell, found in cells)
    times = f"fit {result['fit_seconds']:,.1f} s, predict {result['predict_seconds']:,.1f} s"
    return f"{' / '.join(_figures(result['figures']))}; {times}"


def render_plan(rows: Iterable[tuple[Job, Json | None, float]]) -> str:
    """What there is to measure.

    Args:
        rows: each measurement, what is there of it, and the seconds that it takes about; where other seeds have been
            measured, theirs count.
    """
    table, left_of = [["measurement", "done", "left, about"]], dict.fromkeys(["ours", *SETTINGS], 0.0)
    ordered = sorted(rows, key=lambda row: (_order(row[0]), row[0].seed))
    for _, some in groupby(ordered, key=lambda row: _order(row[0])):
        own = list(some)
        job, done = own[0][0], [found for _, found, _ in own if found is not None]
        taken = [took(one, "fit_seconds", "predict_seconds") for one in done if "fit_seconds" in one]
        left = sum((fmean(taken) if taken else seconds) for _, found, seconds in own if found is None)
        left_of["ours" if job.peer == OURS else job.setting] += left
        table.append([job.name.rsplit("/", 1)[0], f"{len(done)} of {len(own)}", _duration(left)])
    asked = {job.setting for job, _, _ in ordered if job.peer != OURS} | {"ours"}
    sums = [["left in all", "about"], *([name, _duration(left_of[name])] for name in left_of if name in asked)]
    sums.append(["all", _duration(sum(left_of.values()))])
    return (
        f"{align_rows(table)}\n{align_rows(sums)}\n"
        "Hours and minutes of two idle cores, guessed from a few steps of each; where a seed was measured, as it was."
    )


def _order(job: Job) -> tuple[str, int, int]:
    if job.peer == OURS:
        return job.field, -1, -1
    return job.field, list(SETTINGS).index(job.setting), MODELS.index(model_of(job))


def _duration(seconds: float) -> str:
    return str(timedelta(minutes=round(seconds / 60)))[:-3] if seconds else "0:00"
