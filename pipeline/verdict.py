"""Which cell to use: what the evidence decides, with the rule that a difference too small to matter is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from pipeline.evidence import (
    Design,
    Measured,
    compare_ensembles,
    compare_networks,
    errors_by_series,
    other_tests,
)
from pipeline.params import SERVED_BASELINE
from pipeline.significance import (
    LEVEL,
    SEEDS_NEEDED,
    SERIES_NEEDED,
    Difference,
    corrected,
    holm,
    needed,
    rank_models,
)
from pipeline.tables import format_figure

BETTER, EQUIVALENT, UNDECIDED = "better", "equivalent", "undecided"
NEITHER, SINGLE_CELL = "neither", "single_cell"

Json = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A cell that may be recommended.

    Attributes:
        measured: its losses on the test part.
        work: multiply-accumulates of one network for one forecast.
    """

    measured: Measured
    work: int

    @property
    def name(self) -> str:
        """Of the cell."""
        return self.measured.name


@dataclass(frozen=True)
class Rules:
    """What a person has decided about deciding.

    Attributes:
        metric: of `losses.METRICS`.
        rope: relative differences up to this do not matter.
    """

    metric: str
    rope: float


@dataclass(frozen=True)
class Case:
    """All that a verdict rests on.

    Attributes:
        candidates: the cells, best on validation first.
        baseline: the best on validation.
        others: the other baselines, which are ranked beside.
        design: of the test part.
        rules: of the decision.
        seeds: networks of each cell.
        unequal: in words, why the cells' searches cannot be compared; empty where they can.
        baseline_leads: whether the baseline's error on validation is lower than that of every cell.
    """

    candidates: Sequence[Candidate]
    baseline: Measured
    others: Sequence[Measured]
    design: Design
    rules: Rules
    seeds: int
    unequal: Sequence[str] = field(default=())
    baseline_leads: bool = False

    @property
    def obstacles(self) -> list[str]:
        """In words, why nothing may be decided."""
        found = [f"the searches are not equal: {why}" for why in self.unequal]
        if self.design.too_little:
            found.append(self.design.too_little)
        if self.seeds < SEEDS_NEEDED:
            told = "1 seed per cell does" if self.seeds == 1 else f"{self.seeds} seeds per cell do"
            found.append(f"{told} not tell what another training would give; {SEEDS_NEEDED} in train.seeds would")
        return found


def judge(case: Case) -> Json:
    """Decides.

    Args:
        case: the evidence.

    Returns:
        A JSON object with `verdict`, `cell` (the better one, or null), `recommended` and `because`, `words`, `pair`
        (the two cells best on validation), the difference of its first from its second with `ci` and `p`, `kind`,
        `assumes`, `horizons_worth`, `ranking` (on the test part), `pairs`, `ranks` and `differences` from the
        baseline by cell.
    """
    pairs = [{**pair, **_stand_beside(case, pair)} for pair in compare_pairs(case)]
    first = pairs[0] if pairs else None
    against = {c.name: _against_baseline(case, c) for c in case.candidates}
    verdict, cell = _decide(case, first, against)
    recommended, because = _recommend(case, verdict, cell)
    result: Json = {
        "verdict": verdict,
        "cell": cell,
        "recommended": recommended,
        "because": because,
        "rope": case.rules.rope,
        "pair": first and first["pair"],
        "relative_difference": first and first["relative_difference"],
        "ci": first and first["ci"],
        "p": first and first["p"],
        "kind": case.design.kind,
        "assumes": case.design.assumes,
        "horizons_worth": case.design.horizons_worth,
        "obstacles": case.obstacles,
        "ranking": [c.name for c in sorted(case.candidates, key=lambda c: c.measured.error(case.rules.metric))],
        "pairs": pairs,
        "ranks": _ranks(case),
        "differences": {name: found and describe_difference(found) for name, found in against.items()},
    }
    return {**result, "words": say(case, result)}


def compare_pairs(case: Case) -> list[Json]:
    """Decides every pair of cells, in the order of `case.candidates`, with Holm's correction for their number."""
    pairs = list(combinations(case.candidates, 2))
    found = [_compare(case, a.measured, b.measured) for a, b in pairs]
    beyond, within = corrected(found, case.rules.rope)
    none = holm([math.nan if d is None else d.p for d in found])
    rows = []
    for place, ((a, b), difference) in enumerate(zip(pairs, found, strict=True)):
        row: Json = {"pair": [a.name, b.name], "verdict": UNDECIDED, "cell": None}
        row |= describe_difference(difference) if difference else dict.fromkeys(("relative_difference", "ci", "p"))
        if difference is not None:
            row |= {"p_holm": float(none[place]), "needed": None}
            if not case.obstacles and beyond[place] <= LEVEL:
                row |= {"verdict": BETTER, "cell": (a if difference.relative < 0 else b).name}
            elif not case.obstacles and within[place] <= LEVEL:
                row["verdict"] = EQUIVALENT
            elif not case.obstacles:
                beside = [other for other in found if other is not None and other is not difference]
                row["needed"] = _needed(case, difference, beside)
        rows.append(row)
    return rows


def _stand_beside(case: Case, pair: Json) -> Json:
    """What is shown beside the decision of a pair: the ensembles' difference, and other tests."""
    if pair["ci"] is None:
        return {}
    measured = {c.name: c.measured for c in case.candidates}
    both = [measured[name] for name in pair["pair"]]
    ensembles = compare_ensembles(*both, metric=case.rules.metric, design=case.design)
    return {
        "ensembles": ensembles and {**describe_difference(ensembles), "conditional_on": "these networks"},
        "beside": other_tests(*both, metric=case.rules.metric, design=case.design),
    }


def describe_difference(difference: Difference) -> Json:
    """A difference as a JSON object."""
    shares = {"windows": difference.windows.variance, "seeds": difference.seed_variance}
    total = difference.variance or 1.0
    return {
        "relative_difference": difference.relative,
        "ci": list(difference.ci),
        "p": difference.p,
        "df": difference.df,
        "variance_shares": {name: share / total for name, share in shares.items()},
    }


def say(case: Case, result: Json) -> str:
    """The verdict in one line."""
    names, metric = [c.name for c in case.candidates], case.rules.metric
    best, verdict = names[0], result["verdict"]
    baseline = case.baseline.name.replace("_", " ")
    evidence = _evidence(case)
    if verdict == SINGLE_CELL:
        text = f"Only {best} was trained, so there is nothing to choose between."
    elif verdict == NEITHER:
        told = ", ".join(f"{name} {_interval(found)}" for name, found in result["differences"].items() if found)
        told = f"{metric} against {baseline}'s: {told}" if told else f"its {metric} is 0 or undefined"
        beats = {1: f"{best} does not beat", 2: "Neither cell beats"}.get(len(names), "No cell beats")
        text = f"{beats} {baseline} with an interval below 0 ({told}; {evidence})."
    elif verdict == UNDECIDED:
        text = _say_undecided(case, result)
    else:
        a, b = result["pair"]
        if verdict == BETTER:
            other = b if result["cell"] == a else a
            text = f"{result['cell']} is better than {other}: "
        else:
            text = f"{a} and {b} are practically equivalent (within ±{100 * case.rules.rope:g} %): "
        text += f"{metric} of {a} against {b} {_interval(result)}; {evidence}{_correction(result)}."
    if verdict in (BETTER, EQUIVALENT, UNDECIDED) and result["cell"] not in (None, best):
        text += f" On validation {best} was best."
    if verdict in (EQUIVALENT, NEITHER) or result["recommended"] not in names:
        text += f" Recommended: {result['recommended'].replace('_', ' ')}, {result['because']}."
    return text + _say_ranking(case, result)


def _say_ranking(case: Case, result: Json) -> str:
    """Of more than two cells their order on the test part, and whether one beats both that were compared."""
    if len(case.candidates) <= 2:
        return ""
    metric = case.rules.metric
    errors = {c.name: c.measured.error(metric) for c in case.candidates}
    order = ", ".join(f"{name} {format_figure(errors[name])}" for name in result["ranking"])
    text = f" All cells by the {metric} of one network on the test part: {order}."
    for third in (c.name for c in case.candidates[2:]):
        won = {name for pair in result["pairs"] if pair["cell"] == third for name in pair["pair"]}
        if won >= set(result["pair"]):
            text += f" {third} is better than both {' and '.join(result['pair'])}, though not on validation."
    return text


def _say_undecided(case: Case, result: Json) -> str:
    if case.obstacles:
        return f"Undecided: {'; '.join(case.obstacles)}."
    a, b = result["pair"]
    if result["ci"] is None:
        return f"Undecided: the {case.rules.metric} of {a} cannot be told in percent of that of {b}: 0 or undefined."
    text = (
        f"Undecided between {a} and {b}: {case.rules.metric} of {a} against {b} {_interval(result)}; "
        f"{_evidence(case)}{_correction(result)}."
    )
    more = result["pairs"][0]["needed"]
    kinds = (case.design.compared[1], "seeds")
    ways = [f"{more[kind]:,} {kind}" for kind in kinds if more[kind]]
    if ways:
        return f"{text} If the difference stayed as it is, {' or '.join(ways)} would decide."
    if together := more["together"]:
        both = " and ".join(f"{together[kind]:,} {kind}" for kind in kinds)
        return (
            f"{text} {kinds[0].capitalize()} and seeds each leave too much to chance for more of the other to decide; "
            f"if the difference stayed as it is, {together['times']:.2g} times as many of both would: {both}."
        )
    return f"{text} No number of {kinds[0]} and seeds within reach would decide a difference that is so near the limit."


def _evidence(case: Case) -> str:
    count, kind = case.design.compared
    told = f"{count:,} {kind}"
    if case.design.left_out > 0:
        told += f" that most series share (without {100 * case.design.left_out:.2g} % of the windows)"
    told += f", {case.seeds} seeds"
    return f"{told}, assuming that {case.design.assumes}" if case.design.assumes else told


def _correction(result: Json) -> str:
    count = len(result["pairs"])
    return f", with Holm's correction for {count} pairs" if count > 1 else ""


def _interval(found: Json) -> str:
    low, high = found["ci"]
    return f"{100 * found['relative_difference']:+.1f} % (95 % interval {100 * low:+.1f} to {100 * high:+.1f} %)"


def _compare(case: Case, a: Measured, b: Measured) -> Difference | None:
    if case.design.kind is None:
        return None
    return compare_networks(a, b, metric=case.rules.metric, design=case.design)


def _against_baseline(case: Case, candidate: Candidate) -> Difference | None:
    return _compare(case, candidate.measured, case.baseline)


def _decide(case: Case, first: Json | None, against: Mapping[str, Difference | None]) -> tuple[str, str | None]:
    if case.obstacles:
        return SINGLE_CELL if first is None else UNDECIDED, None
    # The plain interval of each cell, as it is shown.
    if not any(found is not None and found.ci[1] < 0 for found in against.values()):
        return NEITHER, None
    return (SINGLE_CELL, None) if first is None else (first["verdict"], first["cell"])


def _recommend(case: Case, verdict: str, cell: str | None) -> tuple[str, str]:
    best = case.candidates[0]
    if verdict == BETTER and cell is not None:
        (other,) = {c.name for c in case.candidates[:2]} - {cell}
        return cell, f"its expected error is lower than that of {other}"
    served = f"; serve.cell: {SERVED_BASELINE} in params.yaml and `dvc repro` serve it"
    how = served if case.baseline.name == SERVED_BASELINE else ""
    if verdict == NEITHER:
        return case.baseline.name, f"which is simpler and was not beaten with an interval below 0{how}"
    if case.obstacles and case.baseline_leads:
        return case.baseline.name, f"which is better on validation than every cell, as nothing else decides{how}"
    if verdict == EQUIVALENT:
        cheap, dear = sorted(case.candidates[:2], key=lambda candidate: candidate.work)
        if cheap.work == dear.work:
            return best.name, "the best cell on validation, as both cost the same"
        return cheap.name, (
            f"as a forecast of one network takes {format_figure(100 * (1 - cheap.work / dear.work))} % fewer "
            "multiply-accumulates"
        )
    because = "the only cell" if verdict == SINGLE_CELL else "the best cell on validation, as nothing else decides"
    return best.name, because


def _needed(case: Case, difference: Difference, beside: Sequence[Difference]) -> Json:
    """What would decide: so many windows, or seeds; where neither is enough alone, so many of both `together`."""
    more = needed(difference, case.rules.rope, beside=beside)
    count, kind = case.design.compared

    def of(number: int, times: float | None) -> int | None:
        return None if times is None else math.ceil(times * number)

    together = {"times": more.together, kind: of(count, more.together), "seeds": of(case.seeds, more.together)}
    return {
        kind: of(count, more.windows),
        "seeds": of(case.seeds, more.seeds),
        "together": None if more.together is None else together,
    }


def _ranks(case: Case) -> Json | None:
    """Mean ranks over series of cells and baselines; None where there are too few series."""
    models = [*(c.measured for c in case.candidates), case.baseline, *case.others]
    if case.design.n_series < SERIES_NEEDED or len(models) < 3:
        return None
    errors = errors_by_series(models, case.rules.metric)
    if np.isfinite(errors).all(axis=0).sum() < SERIES_NEEDED:
        return None
    ranks = rank_models(errors)
    return {
        "friedman_p": ranks.friedman_p,
        "average_ranks": {model.name: float(rank) for model, rank in zip(models, ranks.average, strict=True)},
        "critical_difference": ranks.critical_difference,
        "descriptive": not case.design.independent_series,
    }
