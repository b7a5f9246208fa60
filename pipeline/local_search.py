"""A search for small budgets: random trials first, then neighbours of the best one."""

from __future__ import annotations

from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.hyperparameters import Choice

FIRST = 8  # completed trials drawn at random before the best of them is varied
CHANGED = 2  # hyperparameters that a neighbour has otherwise
SPREAD = 0.2  # standard deviation of a step in a range, as a share of it
ATTEMPTS = 20  # neighbours drawn before one that was not tried is given up


class LocalSearchOracle(keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc]
    """An oracle of Keras Tuner that learns where random search does not, from fewer trials than a Bayesian one needs.

    Each proposal has two hyperparameters of the best trial so far changed: a choice to another one, a number in a range
    by a step. It depends on the seed, the trial's number and the trials completed before alone.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The values of the next trial; see `keras_tuner.Oracle`."""
        done = [trial for trial in self.trials.values() if trial.status == "COMPLETED"]
        free = [hp for hp in self.hyperparameters.space if not isinstance(hp, Choice) or len(hp.values) > 1]
        if len(done) < FIRST or not free:
            return dict(super().populate_space(trial_id))
        best = min(done, key=lambda trial: (trial.score, trial.trial_id)).hyperparameters.values
        rng = np.random.default_rng([self.seed, int(trial_id)])
        for _ in range(ATTEMPTS):
            values = dict(best)
            for i in rng.choice(len(free), min(CHANGED, len(free)), replace=False):
                values[free[i].name] = _step(free[i], best[free[i].name], rng)
            if not self._duplicate(values):
                return {"status": "RUNNING", "values": values}
        return dict(super().populate_space(trial_id))


def _step(hp: Any, value: Any, rng: np.random.Generator) -> Any:
    """Another value of one hyperparameter."""
    if isinstance(hp, Choice):
        others = [other for other in hp.values if other != value]
        return others[rng.integers(len(others))]
    moved = hp.value_to_prob(value) + SPREAD * rng.standard_normal()
    return hp.prob_to_value(float(np.clip(moved, 0.0, 1.0 - 1e-9)))
