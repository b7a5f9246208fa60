from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from random_networks import build_spec, random_weights
from trainings import params

from pipeline import members
from pipeline.errors import GatecastError
from pipeline.forecaster import Forecaster
from pipeline.onnx_graph import build_graph
from pipeline.storage import write_json
from pipeline.trained import BATCHES, REPEATS, latencies, timings
from pipeline.windows import FitSet
from pipeline.worker import check_kernel, suits


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


def test_networks_of_an_earlier_run_that_will_not_do_are_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, kernel in ((1, "cudnn"), (2, "standard")):
        write_json({"seed": seed, "kernel": kernel, "epochs": 3}, tmp_path / f"seed-{seed}.json")
    trained: list[int] = []

    class Here:
        def map(self, task: Any, calls: list[tuple[int]]) -> Iterator[tuple[int, Any]]:
            yield from ((place, task(*call)) for place, call in enumerate(calls))

    def train(seed: int) -> dict[str, Any]:
        assert not (tmp_path / f"seed-{seed}.json").exists()
        trained.append(seed)
        return {"seed": seed, "kernel": "cudnn", "epochs": 4}

    monkeypatch.setattr(members, "workers", lambda *_, **__: nullcontext(Here()))
    careful = params("none").train.model_copy(update={"require_cudnn": True})
    arguments: dict[str, Any] = {"function": train, "initializer": print, "arguments": (), "parallel": 1}
    found = members.train_members(
        "train",
        {1: (1,), 2: (2,)},
        folder=tmp_path,
        usable=lambda record: suits(record["kernel"], careful),
        **arguments,
    )
    assert (trained, [record["epochs"] for record in found]) == ([2], [3, 4])


def test_the_kernels_that_are_asked_for_are_a_condition() -> None:
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
    taken = latencies(Watched(build_graph(spec, [random_weights(spec, 0)], None), spec, {}), small_fit.val)
    assert set(taken) == {"1", "64"}
    assert set(sizes) == {1, 64}
    for repeats in taken.values():
        assert len(repeats) == REPEATS == 30
        assert min(repeats) > 0
