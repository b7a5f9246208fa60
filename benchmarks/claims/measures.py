"""How each claim is measured: what is trained, which figures that gives, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.claims.judging import (
    ALIKE,
    Figure,
    Interval,
    Result,
    Stance,
    in_band,
    judge,
    log_ratio,
    mean_interval,
    near,
    ratio_above,
    ratio_below,
    roughness,
    share_interval,
)
from benchmarks.claims.laboratory import Laboratory, Ledgers, Tally, of_distinct_data
from benchmarks.claims.runs import COST_BATCH, COST_LENGTH, PEEPHOLE, CostRun, Outcome, Run, parameters
from benchmarks.claims.tasks import CONTEXT, HORIZON, Task

PAIR = ("gru", "lstm")  # ratios are of the first to the second
CHOOSING = 101  # the seed that learning rates are chosen with, and nothing else
FOUR_TO_THREE = 4 / 3
FASTER = (0.6, 0.8)  # 20 to 40 % less time
FEW, LONG = 100_000, 500  # examples, and steps, where the LSTM is said to take over
LONG_ENOUGH = 100  # steps of memory that a vanilla network is said not to have
UNLEARNED = 0.9  # of the naive error: above it nothing was learned
SOLVED = 0.02  # of the naive error: below it nothing is left to learn
LEVEL_MARGIN = 1.01  # above the worst of all best losses: a level that every run reaches
HALVES = 200  # random halvings of a search
SHARE_OF_CHANCE = 0.1  # a difference of shares below it is none

Outcomes = dict[str, list[Outcome]]  # by cell, one for each seed


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Attributes:
        seeds: of the runs that are measured.
        rates: of learning, of which each cell gets its best in each setting.
        units: of all networks but those of the toy experiment, and of the costs.
        cost_units: sizes whose costs are measured.
        cost_updates: timed in each process.
        examples: numbers of training examples.
        middle: that number of them where it is not what is swept.
        forecast_updates: the most there are, of 256 examples.
        noises: in standard deviations of the process.
        lengths: of the problems of memory.
        memory_examples: for training on them.
        memory_updates: the most there are, of 32 examples.
        vanilla_lengths: of them where the vanilla network is measured too.
        every: updates between two looks at the validation examples.
        delay: of the spikes.
        toy_steps: of the 40 sequences of the toy experiment.
        toy_epochs: of one update each.
    """

    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    units: int = 32
    cost_units: tuple[int, ...] = (16, 64, 256)
    cost_updates: int = 12
    examples: tuple[int, ...] = (2_000, 20_000, 200_000)
    middle: int = 20_000
    forecast_updates: int = 4_000
    noises: tuple[float, ...] = (0.0, 0.3, 1.0)
    lengths: tuple[int, ...] = (25, 100, 200, 600)
    memory_examples: int = 20_000
    memory_updates: int = 3_000
    vanilla_lengths: tuple[int, ...] = (25, 100, 200)
    every: int = 50
    delay: int = 50
    toy_steps: int = 1_000  # on a CPU four times as many take almost forty times as long
    toy_epochs: int = 1_000


QUICK = Plan(
    seeds=(1, 2, 3),
    rates=(3e-3,),
    units=8,
    cost_units=(16,),
    cost_updates=2,
    examples=(512, 1024),
    middle=512,
    forecast_updates=40,
    noises=(0.3,),
    lengths=(12,),
    memory_examples=512,
    memory_updates=40,
    vanilla_lengths=(12,),
    every=4,
    delay=5,
    toy_steps=50,
    toy_epochs=30,
)
TOY_SEQUENCES, TOY_UNITS, TOY_RATE, TOY_FULL_STEPS = 40, 16, 1e-3, 20_000


def forecasting(plan: Plan, task: Task) -> Run:
    """A network that forecasts, but for its cell, rate and seed."""
    return Run(task, "", plan.units, 0.0, 0, batch=256, updates=plan.forecast_updates, every=plan.every, patience=20)


def remembering(plan: Plan, task: Task) -> Run:
    """A network for a problem of memory; it stops when there is nothing left to learn."""
    return Run(
        task, "", plan.units, 0.0, 0, batch=32, updates=plan.memory_updates, every=plan.every,
        patience=plan.memory_updates, enough=SOLVED,
    )  # fmt: skip


def toy(plan: Plan) -> Run:
    """The toy experiment: all sequences are one batch, every update an epoch."""
    task = Task("waves", TOY_SEQUENCES, plan.toy_steps)
    return Run(
        task, "", TOY_UNITS, TOY_RATE, 0, batch=TOY_SEQUENCES, updates=plan.toy_epochs, every=1,
        patience=plan.toy_epochs + 1, clip="each",
    )  # fmt: skip


@dataclass(frozen=True)
class AtBest:
    """What networks gave at the best learning rate of each cell.

    Attributes:
        outcomes: by setting and cell, one for each seed.
        rates: by setting and cell.
    """

    outcomes: dict[Run, Outcomes]
    rates: dict[Run, dict[str, float]]


def at_best_rates(lab: Laboratory, plan: Plan, templates: Sequence[Run], cells: Sequence[str] = PAIR) -> AtBest:
    """The outcomes of every cell at its own best learning rate in every setting.

    Args:
        lab: where runs are made.
        plan: the rates and the seeds.
        templates: the settings, without cell, rate and seed.
        cells: to be trained in each.

    Returns:
        The outcomes and the rates. A rate is the one of the grid with the lowest validation loss of a network with
        another seed.
    """
    chosen = {(run, cell): replace(run, cell=cell) for run in templates for cell in cells}
    tried = [replace(run, rate=rate, seed=CHOOSING) for run in chosen.values() for rate in plan.rates]
    losses = dict(zip(tried, (outcome.best for outcome in lab.train(tried)), strict=True))
    for key, run in chosen.items():
        rate = min(plan.rates, key=lambda rate: losses[replace(run, rate=rate, seed=CHOOSING)])
        chosen[key] = replace(run, rate=rate)
    found = seeded(lab, plan, list(chosen.values()))
    return AtBest(
        outcomes={run: {cell: found[chosen[run, cell]] for cell in cells} for run in templates},
        rates={run: {cell: chosen[run, cell].rate for cell in cells} for run in templates},
    )


def seeded(lab: Laboratory, plan: Plan, runs: Sequence[Run]) -> dict[Run, list[Outcome]]:
    """The outcomes of runs with every seed of the plan."""
    outcomes = iter(lab.train([replace(run, seed=seed) for run in runs for seed in plan.seeds]))
    return {run: [next(outcomes) for _ in plan.seeds] for run in runs}


def measure_parameters(lab: Laboratory, plan: Plan) -> Result:  # noqa: ARG001
    """The LSTM's parameters by the GRU's, counted."""
    figures = []
    for units in (16, 64, 256):
        for label, biases in (("in the papers: one bias for each gate", 1), ("in Keras, `reset_after=True`", 2)):
            counts = parameters("lstm", units, units, biases=1), parameters("gru", units, units, biases=biases)
            ratio = counts[0] / counts[1]
            stance = near((ratio, ratio, ratio), FOUR_TO_THREE)
            quantity = f"parameters, LSTM / GRU ({counts[0]:,} / {counts[1]:,})"
            figures.append(Figure(f"{units} units, {label}", quantity, ratio, ratio, ratio, 1, stance))
    setup = (
        "Counted, so the intervals are points: a layer with as many inputs as units. Keras' GRU has a second bias, "
        "without which cuDNN could not run it, and so a little more than three quarters of the LSTM's parameters. "
        f"Within {100 * (ALIKE - 1):.0f} % of 4 to 3 counts as 4 to 3, as elsewhere within that of 1 is no difference."
    )
    return Result(tuple(figures), setup, judge(figures), {})


def measure_speed(lab: Laboratory, plan: Plan) -> Result:
    """The time of an update."""
    quantity = "time of an update, GRU / LSTM"
    how = f"The time is the median of {plan.cost_updates} updates."
    return _cost(
        lab, plan, name="seconds_per_update", quantity=quantity, how=how, stance_of=lambda x: in_band(x, FASTER)
    )


def measure_memory(lab: Laboratory, plan: Plan) -> Result:
    """The memory of training."""
    quantity = "memory that training adds to the process, GRU / LSTM"
    how = (
        f"The memory is the most that the process had resident in {plan.cost_updates} updates, less what it had when "
        "TensorFlow was loaded: the network, its graph and its training."
    )
    return _cost(lab, plan, name="growth_mib", quantity=quantity, how=how, stance_of=ratio_below)


def measure_epochs(lab: Laboratory, plan: Plan) -> Result:
    """Epochs until a loss is reached that all networks of both cells reach; and until their own best."""
    settings = _common_settings(plan)
    tally = Tally(lab)
    found = at_best_rates(tally, plan, list(settings.values()))
    figures = []
    for name, run in settings.items():
        by_cell = found.outcomes[run]
        level = LEVEL_MARGIN * max(outcome.best for outcomes in by_cell.values() for outcome in outcomes)
        if not run.enough or level < UNLEARNED * by_cell["gru"][0].naive:
            reached = {
                cell: [first_below(outcome, level, run.every) for outcome in outcomes]
                for cell, outcomes in by_cell.items()
            }
            interval = ratio_of(reached)
            figures.append(
                _figure(name, "epochs to a loss that all reach, GRU / LSTM", interval, plan, ratio_below(interval))
            )
        own = {cell: [max(o.best_update, 1) for o in outcomes] for cell, outcomes in by_cell.items()}
        figures.append(_figure(name, "epochs to its own best, GRU / LSTM", ratio_of(own), plan, "beside"))
    setup = (
        f"Each cell with {plan.units} units at its own best learning rate ({_rates(plan)}); looked at every "
        f"{plan.every} updates. Batches are of one size, so that the ratio of epochs is that of updates. The level "
        "is the worst of all best validation losses, and 1 % more; where some network learned nothing of a "
        "problem of memory there is none."
    )
    return _result(figures, setup, tally)


def measure_volatility(lab: Laboratory, plan: Plan) -> Result:
    """How unsteadily the training loss falls, where the LSTM is said to be the worse."""
    # Without problems of memory, whose loss falls all at once: the sooner it is solved, the rougher it would look.
    settings = {name: run for name, run in _common_settings(plan).items() if not run.enough}
    tally = Tally(lab)
    found = at_best_rates(tally, plan, list(settings.values()))
    measured = {name: (found.outcomes[run], found.rates[run]) for name, run in settings.items()}
    measured[f"toy experiment, {_sequences(plan)}"] = _toy_outcomes(tally, plan), dict.fromkeys(PAIR, TOY_RATE)
    figures = []
    for name, (by_cell, rates) in measured.items():
        interval = ratio_of(same_phase_roughness(by_cell))
        # A larger rate makes any loss rougher: with two of them the figure is of the rates as much as of the cells.
        stance = ratio_below(interval) if len(set(rates.values())) == 1 else "beside"
        label = f"{name}, {_rates_of(rates)}"
        figures.append(_figure(label, "roughness of the training loss, GRU / LSTM", interval, plan, stance))
    setup = (
        "Roughness: the standard deviation of the changes of the loss's logarithm from look to look (means over "
        f"{plan.every} updates; every epoch in the toy experiment), the first tenth left out. Training stops when it "
        "no longer gets better, so that of all networks of a setting as many looks are taken as the shortest training "
        "has. A larger learning rate makes a loss rougher: a figure decides only where both cells have the same rate. "
        "Rates are chosen as under `epochs`, but for the toy experiment, which has one."
    )
    return _result(figures, setup, tally)


def measure_examples(lab: Laboratory, plan: Plan) -> Result:
    """Errors over the number of training examples."""
    settings = {
        f"{label}, {count:,} examples": (count, forecasting(plan, Task(task, count, noise=noise)))
        for task, label, noise in (("ettm1", "ETTm1", 0.0), ("mackey_glass", "Mackey-Glass", 0.1))
        for count in plan.examples
    }
    tally = Tally(lab)
    found = at_best_rates(tally, plan, [run for _, run in settings.values()])
    figures = []
    for name, (count, run) in settings.items():
        interval = ratio_of(errors(found.outcomes[run]))
        stance = ratio_below(interval) if count < FEW else ratio_above(interval)
        figures.append(_figure(name, "test MSE, GRU / LSTM", interval, plan, stance))
    setup = (
        f"{_forecaster(plan)} The generated process is a Mackey-Glass series with noise of a tenth of its standard "
        "deviation, as long as its examples ask for. Below 100,000 examples a ratio below 1 is for the claim, above "
        "it one above 1."
    )
    return _result(figures, setup, tally)


def measure_noise(lab: Laboratory, plan: Plan) -> Result:
    """Errors over the noise of the data."""
    settings = {
        f"Mackey-Glass, noise {noise:g}": (noise, forecasting(plan, Task("mackey_glass", plan.middle, noise=noise)))
        for noise in plan.noises
    }
    tally = Tally(lab)
    found = at_best_rates(tally, plan, [run for _, run in settings.values()])
    figures = []
    for name, (noise, run) in settings.items():
        interval = ratio_of(errors(found.outcomes[run]))
        stance = ratio_below(interval) if noise else "beside"
        figures.append(_figure(name, "test MSE, GRU / LSTM", interval, plan, stance))
    setup = (
        f"{_forecaster(plan)} Noise in standard deviations of the process, in inputs and training targets; the test "
        f"error is against the process without it. {plan.middle:,} training examples."
    )
    return _result(figures, setup, tally)


def measure_lengths(lab: Laboratory, plan: Plan) -> Result:
    """Errors over the length of memory."""
    settings = _memory_settings(plan, plan.lengths)
    tally = Tally(lab)
    found = at_best_rates(tally, plan, list(settings.values()))
    figures = []
    for name, run in settings.items():
        both = errors(found.outcomes[run], least=SOLVED)
        interval = ratio_of(both)
        learned = min(fmean(values) for values in both.values()) < UNLEARNED
        stance: Stance = "open"
        if learned:
            stance = ratio_above(interval) if run.task.length > LONG else ratio_below(interval)
        figures.append(_figure(name, f"test MSE, GRU / LSTM ({_solved(found.outcomes[run])})", interval, plan, stance))
        updates = ratio_of({cell: [o.updates for o in outcomes] for cell, outcomes in found.outcomes[run].items()})
        figures.append(_figure(name, "updates used, GRU / LSTM", updates, plan, "beside"))
    beyond = [f"{length}, with {length // 2} to be bridged on average" for length in plan.lengths if length > LONG]
    setup = (
        f"{_memory_setup(plan)} The claim's steps are taken for those of a sequence; of lengths beyond {LONG} of them "
        f"there is {len(beyond)}: {'; '.join(beyond) or 'none'}."
    )
    return _result(figures, setup, tally)


def measure_units(lab: Laboratory, plan: Plan) -> Result:  # noqa: ARG001
    """Whether the best numbers of units differ more between the cells than between halves of one cell's search."""
    searches = of_distinct_data({name: cells for name, cells in lab.ledgers().items() if set(PAIR) <= set(cells)})
    setup = (
        "From the searches that `benchmarks.accuracy` left: the `units` of the best trial of each cell. A search is "
        "noisy, so its best is compared with chance: random halves of both searches, and two halves of one. "
        f"{_grid(searches)} Data sets, of those on the same file one: {', '.join(searches) or 'none'}."
    )
    if len(searches) < 3:
        return Result((), f"{setup} At least three are needed.", "not shown here", {})
    best = {name: [best_units(cells[cell]) for cell in PAIR] for name, cells in searches.items()}
    differ = sum(gru != lstm for gru, lstm in best.values())
    excess = mean_interval([excess_disagreement(cells["gru"], cells["lstm"]) for cells in searches.values()])
    sizes = mean_interval([log(gru / lstm) for gru, lstm in best.values()])
    stance: Stance = "for" if excess[1] > 0 else "against" if excess[2] < SHARE_OF_CHANCE else "open"
    count, everywhere = len(searches), f"{len(searches)} data sets"
    figures = (
        Figure.of(everywhere, "share of data sets where they differ", share_interval(differ, count), count, "beside"),
        Figure.of(everywhere, "share of halves that differ, beyond chance", excess, count, stance),
        Figure.of(everywhere, "best units, GRU / LSTM", tuple_of(sizes, exp), count, "beside"),
    )
    return Result(figures, setup, judge(figures), {})


def measure_peepholes(lab: Laboratory, plan: Plan) -> Result:
    """Errors with and without peepholes."""
    settings = {
        f"spikes {plan.delay} or {plan.delay + 1} steps apart": remembering(
            plan, Task("spikes", plan.memory_examples, plan.delay)
        ),
        **{name: run for name, run in _memory_settings(plan, plan.lengths[:2]).items() if "adding" in name},
        f"ETTm1, {plan.middle:,} examples": forecasting(plan, Task("ettm1", plan.middle)),
    }
    cells = (PEEPHOLE, "lstm")
    tally = Tally(lab)
    found = at_best_rates(tally, plan, list(settings.values()), cells)
    figures = []
    for name, run in settings.items():
        both = errors(found.outcomes[run], least=run.enough)
        interval = ratio_of(both, cells)
        learned = not run.enough or min(fmean(values) for values in both.values()) < UNLEARNED
        stance = ratio_below(interval) if learned else "open"
        figures.append(_figure(name, "test MSE, with / without peepholes", interval, plan, stance))
        updates = ratio_of(
            {cell: [max(o.best_update, 1) for o in outcomes] for cell, outcomes in found.outcomes[run].items()}, cells
        )
        figures.append(_figure(name, "updates to the best, with / without", updates, plan, "beside"))
    setup = (
        "An LSTM cell whose gates see the cell state; peepholes start at zero. It has no cuDNN kernel, so the pipeline "
        f"does not have it. {plan.units} units; learning rates as under `epochs`; errors below {100 * SOLVED:g} % of "
        "the naive one count as equal in problems of memory."
    )
    return _result(figures, setup, tally)


def measure_vanilla(lab: Laboratory, plan: Plan) -> Result:
    """Errors of the vanilla network against those of gated ones."""
    settings = _memory_settings(plan, plan.vanilla_lengths)
    tally = Tally(lab)
    found = at_best_rates(tally, plan, list(settings.values()), ("rnn", *PAIR))
    figures = []
    for name, run in settings.items():
        solved = _solved(found.outcomes[run], ("rnn", *PAIR))
        for cell in PAIR:
            by_cell = found.outcomes[run]
            interval = ratio_of(errors(by_cell, least=SOLVED), ("rnn", cell))
            stance = failure(by_cell["rnn"], by_cell[cell], interval) if run.task.length >= LONG_ENOUGH else "beside"
            left = fmean(outcome.error for outcome in by_cell["rnn"])
            label = f"test MSE, vanilla / {cell.upper()} (vanilla: {left:.2f} of the naive error; {solved})"
            figures.append(_figure(name, label, interval, plan, stance))
    setup = (
        f"{_memory_setup(plan)} To fail is more than to be worse. A figure is for the claim where no vanilla network "
        f"solved what the gated cell learned, and either their mean error stayed above {UNLEARNED:g} of the naive one, "
        "so that they learned nothing, or the gated cell solved it with every seed. Otherwise it is against where all "
        "vanilla networks solved it, or the whole interval is below 1 or within 2 % of it. What is left, worse without "
        f"failing, is open, as is what the gated cell has not learned. Below {LONG_ENOUGH} steps a figure stands "
        "beside."
    )
    return _result(figures, setup, tally)


def measure_toy(lab: Laboratory, plan: Plan) -> Result:
    """The lowest training loss of the toy experiment."""
    tally = Tally(lab)
    by_cell = _toy_outcomes(tally, plan)
    interval = ratio_of({cell: [o.train[-1] for o in outcomes] for cell, outcomes in by_cell.items()})
    lowest = ratio_of({cell: [o.best for o in outcomes] for cell, outcomes in by_cell.items()})
    name = _sequences(plan)
    figures = [
        _figure(name, "training loss of the last epoch, GRU / LSTM", interval, plan, ratio_below(interval)),
        _figure(name, "lowest training loss, GRU / LSTM", lowest, plan, "beside"),
    ]
    size = (
        "The full size of the experiment."
        if plan.toy_steps == TOY_FULL_STEPS
        else f"Scaled down: of the 20,000 steps of a sequence the first {plan.toy_steps:,}, and gradients through all "
        "of them."
    )
    setup = (
        f"{size} {TOY_UNITS} units, Adam at {TOY_RATE:g}, `clipnorm` 1, {plan.toy_epochs:,} epochs of one batch. The "
        "source does not say what is forecast nor how it is scaled: here the next value, standardised; the periods "
        "of the waves, 50 and 12 steps, are ours."
    )
    return _result(figures, setup, tally)


def errors(by_cell: Outcomes, *, least: float = 0.0) -> dict[str, list[float]]:
    """The test errors of each cell, those below `least` as if they were that."""
    return {cell: [max(outcome.error, least) for outcome in outcomes] for cell, outcomes in by_cell.items()}


def failure(vanilla: Sequence[Outcome], gated: Sequence[Outcome], interval: Interval) -> Stance:
    """What a setting says to "vanilla networks fail".

    Args:
        vanilla: the outcomes of vanilla networks.
        gated: those of a gated cell, which has to have learned something for a failure to be one of the cell.
        interval: of the vanilla networks' errors by the gated cell's.
    """
    if fmean(outcome.error for outcome in gated) >= UNLEARNED:
        return "open"
    solved = [outcome.solved for outcome in vanilla]
    learned = fmean(outcome.error for outcome in vanilla) < UNLEARNED
    if not any(solved) and (not learned or all(outcome.solved for outcome in gated)):
        return "for"
    return "against" if all(solved) or ratio_above(interval) == "against" else "open"


def same_phase_roughness(by_cell: Outcomes) -> dict[str, list[float]]:
    """The roughness of every training loss, of as many looks as the shortest has."""
    looks = min(len(outcome.train) for outcomes in by_cell.values() for outcome in outcomes)
    return {cell: [roughness(outcome.train[:looks]) for outcome in outcomes] for cell, outcomes in by_cell.items()}


def ratio_of(by_cell: dict[str, list[Any]], cells: Sequence[str] = PAIR) -> Interval:
    """The ratio of two cells' figures, with its interval."""
    return log_ratio(by_cell[cells[0]], by_cell[cells[1]])


def tuple_of(interval: Interval, change: Callable[[float], float]) -> Interval:
    """An interval on another scale."""
    value, lo, hi = interval
    return change(value), change(lo), change(hi)


def first_below(outcome: Outcome, level: float, every: int) -> int:
    """The updates after which a validation loss first was at most `level`, which it is at some time."""
    return every * (1 + next(place for place, loss in enumerate(outcome.val) if loss <= level))


def best_units(rows: Sequence[dict[str, Any]]) -> int:
    """The units of the completed trial with the lowest score."""
    completed = [row for row in rows if row["status"] == "completed"]
    return int(min(completed, key=lambda row: float(row["score"]))["values"]["units"])


def excess_disagreement(gru: Sequence[dict[str, Any]], lstm: Sequence[dict[str, Any]]) -> float:
    """How much more often random halves of two searches differ in their best units than two halves of one do."""
    rng = np.random.default_rng(0)
    excess = []
    for _ in range(HALVES):
        halves = {cell: _halves(rows, rng) for cell, rows in (("gru", gru), ("lstm", lstm))}
        between = fmean(best_units(a) != best_units(b) for a, b in zip(halves["gru"], halves["lstm"], strict=True))
        within = fmean(best_units(one) != best_units(other) for one, other in halves.values())
        excess.append(between - within)
    return fmean(excess)


def _halves(
    rows: Sequence[dict[str, Any]], rng: np.random.Generator
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    completed = [row for row in rows if row["status"] == "completed"]
    order = rng.permutation(len(completed))
    middle = len(completed) // 2
    return [completed[i] for i in order[:middle]], [completed[i] for i in order[middle:]]


def _cost(
    lab: Laboratory, plan: Plan, *, name: str, quantity: str, how: str, stance_of: Callable[[Interval], Stance]
) -> Result:
    """A cost over sizes; cells take turns, so that a machine that slows down slows both."""
    tally = Tally(lab)
    runs = [
        CostRun(cell, units, plan.cost_updates, seed)
        for units in plan.cost_units
        for seed in plan.seeds
        for cell in PAIR
    ]
    costs = dict(zip(runs, tally.cost(runs), strict=True))
    figures = []
    for units in plan.cost_units:
        by_cell = {
            cell: [getattr(costs[CostRun(cell, units, plan.cost_updates, seed)], name) for seed in plan.seeds]
            for cell in PAIR
        }
        interval = ratio_of(by_cell)
        figures.append(_figure(f"{units} units", quantity, interval, plan, stance_of(interval)))
    setup = (
        f"Training updates of {COST_BATCH} examples of {COST_LENGTH} steps, on one thread, in a fresh process with "
        f"nothing beside it. {how} Measured are stock Keras layers, `keras.layers.LSTM` and `keras.layers.GRU`, with a "
        "linear head and Keras' own Adam, in a graph that XLA does not compile. The pipeline trains otherwise: its "
        "layers are unrolled, its Adam has a kernel of its own, and its steps are segments."
    )
    return _result(figures, setup, tally)


def _common_settings(plan: Plan) -> dict[str, Run]:
    """Where curves of training are looked at; all of them are part of other claims too."""
    shortest, *_ = (length for length in plan.lengths if length >= min(100, max(plan.lengths)))
    return {
        f"ETTm1, {plan.middle:,} examples": forecasting(plan, Task("ettm1", plan.middle)),
        f"Mackey-Glass, noise {plan.noises[-1]:g}": forecasting(
            plan, Task("mackey_glass", plan.middle, noise=plan.noises[-1])
        ),
        **_memory_settings(plan, (shortest,)),
    }


def _memory_settings(plan: Plan, lengths: Sequence[int]) -> dict[str, Run]:
    tasks = (("adding problem", "adding", 0.0), ("delayed copy with noise", "copy", 0.3))
    return {
        f"{label}, {length} steps": remembering(plan, Task(task, plan.memory_examples, length, noise))
        for label, task, noise in tasks
        for length in lengths
    }


def _memory_setup(plan: Plan) -> str:
    return (
        f"{plan.units} units, {plan.memory_examples:,} examples, at most {plan.memory_updates:,} updates of 32; the "
        f"best of the learning rates {_rates(plan)} for each cell and length, chosen on validation with another seed. "
        f"An error below {100 * SOLVED:g} % of the naive one counts as solved: training stops, and what lies below is "
        "equal. Where no network learned anything the figure is open. What has to be remembered does not lie at the "
        "beginning alone: anywhere in a sequence to be copied, half its length back on average; of two values to be "
        "added one in each half, a quarter and three quarters of the length back on average."
    )


def _forecaster(plan: Plan) -> str:
    return (
        f"{HORIZON} steps are forecast from {CONTEXT} by one layer of {plan.units} units and a linear head; at most "
        f"{plan.forecast_updates:,} updates of 256 examples, stopped early on validation; the best of the learning "
        f"rates {_rates(plan)} for each cell and setting, chosen on validation with another seed."
    )


def _toy_outcomes(lab: Laboratory, plan: Plan) -> Outcomes:
    runs = {cell: replace(toy(plan), cell=cell) for cell in PAIR}
    found = seeded(lab, plan, list(runs.values()))
    return {cell: found[run] for cell, run in runs.items()}


def _sequences(plan: Plan) -> str:
    return f"{TOY_SEQUENCES} sequences of {plan.toy_steps:,} steps"


def _solved(by_cell: Outcomes, cells: Sequence[str] = PAIR) -> str:
    counts = [f"{cell.upper()} {sum(o.solved for o in by_cell[cell])}/{len(by_cell[cell])}" for cell in cells]
    return f"solved: {', '.join(counts)}"


def _rates_of(rates: dict[str, float]) -> str:
    if len(set(rates.values())) == 1:
        return f"rate {next(iter(rates.values())):g}"
    return "rates " + ", ".join(f"{cell.upper()} {rate:g}" for cell, rate in rates.items())


def _grid(searches: Ledgers) -> str:
    """The units that searches tried, and what that bounds."""
    tried = sorted({row["values"]["units"] for cells in searches.values() for cell in PAIR for row in cells[cell]})
    if not tried:
        return ""
    return (
        f"They chose `units` among {', '.join(map(str, tried))}: {len(tried)} values bound what can be found, as a "
        "best number below, between or above them does not show."
    )


def _rates(plan: Plan) -> str:
    return ", ".join(f"{rate:g}" for rate in plan.rates)


def _figure(setting: str, quantity: str, interval: Interval, plan: Plan, stance: Stance) -> Figure:
    return Figure.of(setting, quantity, interval, len(plan.seeds), stance)


def _result(figures: Sequence[Figure], setup: str, tally: Tally) -> Result:
    return Result(tuple(figures), setup, judge(figures), tally.spent)
