"""What runs in a spawned process: one trial of the search, or the training of one seed.

TensorFlow is imported in the functions, so that a stage can name them without loading it.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import GatecastError
from pipeline.hparams import NetworkSpec
from pipeline.params import TrainParams
from pipeline.quiet import load_tensorflow
from pipeline.search import Outcome, Proposal, hparams_of
from pipeline.storage import read_json, replacing, write_json
from pipeline.windows import FitSet, Windows, load_fit, split_missing

PARITY_WINDOWS = 64  # validation windows on which the bundle is compared with Keras

_fit: FitSet


def prepare(folder: Path, threads: int) -> None:
    """Loads the data and sets TensorFlow up, once per process."""
    global _fit  # noqa: PLW0603  a process holds one data set, which is too large to send with every call
    load_tensorflow(threads)
    _fit = load_fit(folder)


def run_trial(
    cell: str, quantiles: tuple[float, ...], proposal: Proposal, patience: int, windows_per_epoch: int | None
) -> Outcome:
    """Trains one proposal of the search and gives its validation loss."""
    import keras

    from pipeline.training import NonFiniteLossError, fit_network

    keras.backend.clear_session()
    train = _fit.train
    hparams = hparams_of(proposal.values, train.context_length)
    spec = NetworkSpec(cell, train.context_length, train.horizon, quantiles, hparams)
    try:
        trained = fit_network(
            spec,
            _fit,
            seed=proposal.seed,
            max_epochs=proposal.max_epochs,
            patience=patience,
            windows_per_epoch=windows_per_epoch,
        )
    except NonFiniteLossError as error:
        return Outcome(None, 0, None, str(error))
    return Outcome(trained.val_loss, len(trained.epochs), trained.best_epoch)


def run_seed(spec: NetworkSpec, seed: int, params: TrainParams, folder: Path) -> dict[str, Any]:
    """Trains the network of one seed into `folder`, unless it lies there finished.

    Returns:
        The seed's record: learning curve, best epoch, kernel, number of parameters, and seconds.

    Raises:
        GatecastError: `train.require_cudnn` is set and the kernels are not cuDNN's.
    """
    record = folder / f"seed-{seed}.json"
    if record.exists():  # written last
        return dict(read_json(record))
    import keras

    from pipeline.network import SegmentNetwork, network_weights, recurrent_kernel, save_network
    from pipeline.training import fit_network

    keras.backend.clear_session()
    kernel = recurrent_kernel(SegmentNetwork(spec))
    if params.require_cudnn and kernel != "cudnn":
        raise GatecastError(
            f"train.require_cudnn is true, but {spec.cell} runs on the {kernel} kernels here; TensorFlow sees no GPU, "
            "or the cell has no cuDNN kernel: install the gpu extra on a machine with a GPU, or set it to false"
        )
    keras.backend.clear_session()
    trained = fit_network(
        spec,
        _fit,
        seed=seed,
        max_epochs=params.max_epochs,
        patience=params.patience,
        windows_per_epoch=params.windows_per_epoch,
    )
    network = trained.network
    save_network(network, folder / f"seed-{seed}.keras")
    with replacing(folder / f"seed-{seed}.npz") as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **network_weights(network))
    history, observed = split_missing(_fit.val.contexts(parity_rows(_fit.val)))
    with replacing(folder / f"seed-{seed}.npy") as beside, beside.open("wb") as file:
        np.save(file, np.asarray(network({"history": history, "observed": observed})))
    result = {
        "seed": seed,
        "best_epoch": trained.best_epoch,
        "val_loss": trained.val_loss,
        "kernel": kernel,
        "parameters": int(network.count_params()),
        "epochs": [asdict(epoch) for epoch in trained.epochs],
        "seconds": trained.seconds,
    }
    write_json(result, record)
    return result


def parity_rows(windows: Windows) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Windows spread over a split, on which Keras and the bundle are compared."""
    return np.unique(np.linspace(0, len(windows) - 1, PARITY_WINDOWS).astype(np.int64))
