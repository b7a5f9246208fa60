"""What runs in a spawned process: one trial of the search, or the training of one seed, or its last training.

TensorFlow is imported in the functions, so that a stage can name them without loading it.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import GatecastError
from pipeline.hparams import NetworkSpec
from pipeline.params import TrainParams, WindowParams
from pipeline.quiet import load_tensorflow
from pipeline.search import Outcome, Proposal, hparams_of
from pipeline.storage import read_json, replacing, write_json
from pipeline.windows import FitSet, Floats, Windows, load_everything, load_fit

if TYPE_CHECKING:
    from pipeline.network import SegmentNetwork

PARITY_WINDOWS = 64  # validation windows on which the bundle is compared with Keras

_fit: FitSet
_all: tuple[Windows, Floats]


def prepare(folder: Path, threads: int) -> None:
    """Loads the data and sets TensorFlow up, once per process."""
    global _fit  # noqa: PLW0603  a process holds one data set, which is too large to send with every call
    load_tensorflow(threads)
    _fit = load_fit(folder)


def prepare_final(folder: Path, threads: int, test: Path, window: WindowParams) -> None:
    """As `prepare`, with all windows of the test part too."""
    global _all  # noqa: PLW0603
    prepare(folder, threads)
    _all = load_everything(test, window)


def run_trial(
    cell: str, quantiles: tuple[float, ...], proposal: Proposal, patience: int, windows_per_epoch: int | None
) -> Outcome:
    """Trains one proposal of the search and gives its validation loss.

    Raises:
        OSError: TensorFlow cannot go on, for want of memory or for its GPU.
    """
    import keras
    import tensorflow as tf

    from pipeline.training import NonFiniteLossError, fit_network

    keras.backend.clear_session()
    spec = _fit.spec(cell, quantiles, hparams_of(proposal.values, _fit.train.context_length))
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
    except tf.errors.InvalidArgumentError:
        raise
    except tf.errors.OpError as error:  # all others are of the machine, of its memory or a driver
        raise OSError(str(error)) from None
    return Outcome(trained.val_loss, len(trained.epochs), trained.best_epoch, windows=trained.windows)


def run_seed(spec: NetworkSpec, seed: int, params: TrainParams, folder: Path) -> dict[str, Any]:
    """Trains the network of one seed into `folder`, unless it lies there finished.

    Returns:
        The seed's record: learning curve, best epoch, kernel, number of parameters, seconds, and the most memory
        that this process has held so far.

    Raises:
        GatecastError: `train.require_cudnn` is set and the kernels are not cuDNN's.
    """
    record = folder / f"seed-{seed}.json"
    if record.exists():  # written last
        return dict(read_json(record))
    import keras

    from pipeline.network import network_weights
    from pipeline.training import fit_network, refit_network

    kernel = _kernel_of(spec)
    check_kernel(kernel, spec.cell, params)
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
    save_weights(folder / f"fitted-{seed}.npz", network_weights(network))
    start = time.perf_counter()
    found = {"best_epoch": trained.best_epoch, "alpha": trained.alpha}
    if params.refit != "none":
        keras.backend.clear_session()
        network = refit_network(spec, _fit.refit, _fit.refit_scale, **_rule(params, seed, found))
    _save(network, seed, _fit.val, folder)
    result = {
        "seed": seed,
        **found,
        "val_loss": trained.val_loss,
        "kernel": kernel,
        "parameters": int(network.count_params()),
        "epochs": [asdict(epoch) for epoch in trained.epochs],
        "seconds": trained.seconds,
        "refit_seconds": time.perf_counter() - start,
        "peak_memory_mib": peak_memory_mib(),
    }
    write_json(result, record)
    return result


def run_final(
    spec: NetworkSpec, seed: int, found: Mapping[str, Any], params: TrainParams, folder: Path
) -> dict[str, Any]:
    """Trains the network of one seed on all data into `folder`, unless it lies there finished.

    Args:
        spec: the network.
        seed: of the network.
        found: `best_epoch` and `alpha` of the record that `run_seed` gave.
        params: the rule of training.
        folder: of finished work.

    Returns:
        The seed's record.

    Raises:
        GatecastError: `train.require_cudnn` is set and the kernels are not cuDNN's.
    """
    record = folder / f"seed-{seed}.json"
    if record.exists():  # written last
        return dict(read_json(record))
    import keras

    from pipeline.training import refit_network

    kernel = _kernel_of(spec)
    check_kernel(kernel, spec.cell, params)
    keras.backend.clear_session()
    network = refit_network(spec, *_all, **_rule(params, seed, found))
    _save(network, seed, _all[0], folder)
    result = {
        "seed": seed,
        "epochs": found["best_epoch"],
        "kernel": kernel,
        "parameters": int(network.count_params()),
    }
    write_json(result, record)
    return result


def peak_memory_mib() -> float:
    """The most memory that this process has held; macOS tells it in bytes, Linux in KiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def suits(kernel: str, params: TrainParams) -> bool:
    """Whether `train.require_cudnn` allows a network that was trained on these kernels."""
    return kernel == "cudnn" or not params.require_cudnn


def check_kernel(kernel: str, cell: str, params: TrainParams) -> None:
    """Checks which kernels a network is trained on.

    Raises:
        GatecastError: `train.require_cudnn` is set and they are not cuDNN's.
    """
    if not suits(kernel, params):
        raise GatecastError(
            f"train.require_cudnn is true, but {cell} runs on the {kernel} kernels here; TensorFlow sees no GPU, "
            "or the cell has no cuDNN kernel: install the gpu extra on a machine with a GPU, or set it to false"
        )


@cache
def _kernel_of(spec: NetworkSpec) -> str:
    """Which kernels a network's recurrent layers run on; to trace it takes a second, and seeds share the answer."""
    import keras

    from pipeline.network import SegmentNetwork, kernel_kind

    keras.backend.clear_session()
    return kernel_kind(SegmentNetwork(spec))


def _rule(params: TrainParams, seed: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """How a network is trained again once the number of its epochs is known."""
    rule = params.model_dump(include={"max_epochs", "windows_per_epoch"})
    return {"seed": seed, "epochs": found["best_epoch"], "alpha": found["alpha"], **rule}


def _save(network: SegmentNetwork, seed: int, windows: Windows, folder: Path) -> None:
    """Writes a network, its weights by name, and what it forecasts of some windows."""
    from pipeline.network import network_weights, save_network

    save_network(network, folder / f"seed-{seed}.keras")
    save_weights(folder / f"seed-{seed}.npz", network_weights(network))
    inputs = windows.inputs(network.spec, parity_rows(windows))
    with replacing(folder / f"seed-{seed}.npy") as beside, beside.open("wb") as file:
        np.save(file, np.asarray(network(inputs)))


def save_weights(path: Path, weights: Mapping[str, NDArray[Any]]) -> None:
    """Writes weights by name."""
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **weights)


def parity_rows(windows: Windows) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Windows spread over a split, on which Keras and the bundle are compared."""
    return np.unique(np.linspace(0, len(windows) - 1, PARITY_WINDOWS).astype(np.int64))
