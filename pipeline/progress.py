"""Progress that a person can follow: what is done, the best so far, and how long it will take."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta

log = logging.getLogger(__name__)


class Progress:
    """Counts the steps of a long stage and logs one line for each.

    Args:
        stage: name of the stage, as DVC has it.
        noun: what a step is, e.g. `trial`.
        total: number of steps.
        scores: of the steps that an earlier run finished; None for one without.
    """

    def __init__(self, stage: str, noun: str, *, total: int, scores: Sequence[float | None] = ()) -> None:
        self._stage, self._noun, self._total = stage, noun, total
        self._count = self._done = min(len(scores), total)
        self._start = time.monotonic()
        self._best = min((score for score in scores if score is not None), default=None)
        log.info("%s: %d %ss%s", stage, total, noun, f", {self._done} of them finished before" if scores else "")

    def step(self, name: str, *, score: float | None, note: str) -> None:
        """Logs that a step has ended.

        Args:
            name: of the step.
            score: lower is better; None where there is none.
            note: what else there is to say of it.
        """
        self._count += 1
        if score is not None:
            self._best = score if self._best is None else min(self._best, score)
        elapsed = time.monotonic() - self._start
        left = max(self._total - self._count, 0)
        eta = timedelta(seconds=round(elapsed / (self._count - self._done) * left))
        log.info(
            "%s: %s %s (%d of %d)  val_loss %s  best %s  %s  ETA %s",
            self._stage,
            self._noun,
            name,
            self._count,
            self._total,
            "-" if score is None else f"{score:.5f}",
            "-" if self._best is None else f"{self._best:.5f}",
            note,
            eta,
        )
