"""TensorFlow, loaded without the dozens of lines it prints past every log level."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

# Before TensorFlow is loaded: the bits of a trained network depend on the first. Processes side by side share a GPU, of
# which each would take nearly all memory at its start.
ENVIRONMENT = {
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
}


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block TensorFlow can be imported: what native code writes is dropped, exceptions pass as ever."""
    os.environ.update(ENVIRONMENT)
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def loading(*unneeded: str) -> Iterator[None]:
    """Inside the block TensorFlow can be imported in three quarters of the time, and is never searched for garbage.

    Its half a million objects live as long as the process: to look through them takes .15 s, many times while they
    are made and then whenever a graph is traced or Keras clears its session.

    Args:
        unneeded: packages that cannot be imported in the block, unless they were before.
    """
    modules: dict[str, Any] = sys.modules
    hidden = [package for package in unneeded if package not in modules]
    modules.update(dict.fromkeys(hidden))
    collects = gc.isenabled()
    gc.disable()
    try:
        with quiet():
            yield
    finally:
        for package in hidden:
            del modules[package]
        gc.freeze()
        if collects:
            gc.enable()


def load_tensorflow(threads: int) -> None:
    """Loads TensorFlow and fixes what the bits of its results depend on; to be called before anything uses it.

    Args:
        threads: of one operation, NumPy's products among them; operations run one after the other.
    """
    threadpool_limits(threads, user_api="blas")  # for as long as the process lives
    with loading("sklearn", "pandas"):  # Keras has a use for both that we have not: a quarter of the time
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")  # it warns of a graph per network, which is what is meant
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
        # On by default, it keeps 10 bits of a product's factors on GPUs, a hundred times what a bundle may be off by.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        tf.zeros(1)
