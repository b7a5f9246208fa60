"""The networks of an ensemble, trained side by side; what is finished is not trained again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import GatecastError
from pipeline.executor import workers
from pipeline.progress import Progress
from pipeline.storage import read_json


def train_members(
    stage: str,
    calls: Mapping[int, tuple[Any, ...]],
    *,
    function: Callable[..., dict[str, Any]],
    initializer: Callable[..., None],
    arguments: tuple[Any, ...],
    parallel: int,
    folder: Path,
    usable: Callable[[Mapping[str, Any]], bool],
) -> list[dict[str, Any]]:
    """Trains a network per seed.

    Args:
        stage: its name and cell, for messages.
        calls: by seed the arguments of `function`.
        function: trains one network into `folder` and gives its record, which it writes to `seed-N.json` last.
        initializer: is called in each process first, with `arguments`.
        arguments: of `initializer`.
        parallel: networks side by side.
        folder: of finished work.
        usable: whether the network of a record of earlier work will do; if not, it is trained again.

    Returns:
        The records in the order of `calls`.

    Raises:
        GatecastError: a network could not be trained.
    """
    paths = {seed: folder / f"seed-{seed}.json" for seed in calls}
    records = {seed: read_json(path) for seed, path in paths.items() if path.exists()}
    for seed in [seed for seed, record in records.items() if not usable(record)]:
        paths[seed].unlink()
        del records[seed]
    missing = [seed for seed in calls if seed not in records]
    progress = Progress(stage, "seed", total=len(calls), scores=[record.get("val_loss") for record in records.values()])
    if missing:
        with workers(min(parallel, len(missing)), initializer=initializer, arguments=arguments) as pool:
            for i, result in pool.map(function, [calls[seed] for seed in missing]):
                if isinstance(result, GatecastError):
                    raise result
                if isinstance(result, Exception):
                    raise GatecastError(f"{stage}: seed {missing[i]} failed: {result}") from result
                records[missing[i]] = result
                epochs = result["epochs"]
                note = f"{epochs if isinstance(epochs, int) else len(epochs)} epochs"
                progress.step(str(missing[i]), score=result.get("val_loss"), note=note)
    return [records[seed] for seed in calls]
