"""How TensorFlow is loaded."""

import subprocess
import sys

LOADED = """
import gc
import sys
from pipeline.quiet import load_tensorflow
load_tensorflow(1)
assert "tensorflow" in sys.modules
assert not sys.modules["tensorflow"].config.experimental.tensor_float_32_execution_enabled()
assert not {"sklearn", "pandas"} & set(sys.modules)
assert gc.isenabled()
assert gc.get_freeze_count() > 100_000  # what TensorFlow made is not looked through again
import pandas
import sklearn.base
import keras
keras.layers.GRU(2)
"""


def test_tensorflow_is_loaded_without_a_word_and_without_packages_that_can_be_loaded_after_it() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
