from __future__ import annotations

from typing import Any

import pytest
from random_networks import build_spec, random_weights
from trainings import params

from pipeline.errors import GatecastError
from pipeline.forecaster import Forecaster
from pipeline.onnx_graph import build_graph
from pipeline.trained import BATCHES, REPEATS, latencies, timings
from pipeline.windows import FitSet
from pipeline.worker import check_kernel


def record(seed: int, **changes: Any) -> dict[str, Any]:
    measured = {"seconds": [0.5, 0.1, 0.2], "refit_seconds": 0.25, "best_epoch": 2, "peak_memory_mib": 612.34375}
    return {"seed": seed, "epochs": [{}, {}, {}], **measured, **changes}


def test_timings_tell_each_seeds_time_epochs_and_memory() -> None:
    told = timings([record(11), record(12, seconds=[1.0], best_epoch=1)])
    assert told["seconds"] == pytest.approx(0.8 + 1.0 + 2 * 0.25)
    assert told["seeds"]["11"] == {
        "seconds": 0.8,
        "refit_seconds": 0.25,
        "seconds_per_epoch": 0.2,
        "epochs": 3,
        "best_epoch": 2,
        "peak_memory_mib": 612.3,
    }
    assert (told["seeds"]["12"]["epochs"], told["seeds"]["12"]["best_epoch"]) == (1, 1)


def test_a_record_of_an_earlier_version_tells_no_memory() -> None:
    older = record(11)
    del older["peak_memory_mib"]
    assert timings([older])["seeds"]["11"]["peak_memory_mib"] is None


def test_networks_of_an_earlier_run_are_held_to_the_kernels_that_are_asked_for_now() -> None:
    careless = params("none").train
    careful = careless.model_copy(update={"require_cudnn": True})
    check_kernel("cudnn", "lstm", careful)
    check_kernel("standard", "lstm", careless)
    with pytest.raises(GatecastError, match="require_cudnn is true, but lstm runs on the standard kernels"):
        check_kernel("standard", "lstm", careful)


def test_latencies_are_measured_on_full_batches_however_few_windows_there_are(small_fit: FitSet) -> None:
    spec = build_spec("rnn", context_length=24, horizon=6)
    sizes: list[int] = []

    class Watched(Forecaster):
        def predict_arrays(self, history: Any, *args: Any, **arrays: Any) -> Any:
            sizes.append(len(history))
            return super().predict_arrays(history, *args, **arrays)

    assert len(small_fit.val) < max(BATCHES)
    taken = latencies(Watched.from_graph(build_graph(spec, [random_weights(spec, 0)], None), spec, {}), small_fit.val)
    assert set(taken) == {"1", "64"}
    assert set(sizes) == {1, 64}
    for repeats in taken.values():
        assert len(repeats) == REPEATS == 30
        assert min(repeats) > 0
