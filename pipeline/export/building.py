"""A trained cell in the formats of other runtimes, written once they are known to forecast what it does."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.bundle import DESCRIPTION, GRAPH
from pipeline.ensemble import PARITY
from pipeline.export.litert import save_litert
from pipeline.export.networks import load_source, portable
from pipeline.export.parity import BATCHES, check, differences, examples, latencies_ms
from pipeline.export.runtimes import run_keras, run_litert, run_onnx, run_saved_model
from pipeline.export.saved_model import save_saved_model
from pipeline.forecaster import Forecaster
from pipeline.quiet import quiet
from pipeline.storage import replacing, write_json
from pipeline.windows import Windows

VERSION = 1  # of what is exported, in the layout NAME/VERSION that TensorFlow Serving looks for


def export_bundle(trained: Path, windows: Windows, out: Path) -> None:
    """Writes `NAME/1/`, a SavedModel with forecaster.json in its `assets.extra/`; `NAME.tflite`; and `parity.json`.

    Args:
        trained: the bundle that stage train wrote, with the networks of all seeds.
        windows: on which the formats are compared.
        out: the folder to write; what lies there is replaced.

    Raises:
        BundleError: a file of the bundle is missing or altered, or a format does not forecast what the bundle does.
    """
    source, forecaster = load_source(trained), Forecaster.load(trained)
    name = source.meta["name"]
    networks = [portable(network) for network in source.networks]
    with replacing(out) as beside:
        model, file = beside / name / str(VERSION), beside / f"{name}.tflite"
        model.mkdir(parents=True)
        with quiet():
            save_saved_model(networks, source.calibration, model)
            save_litert(networks, source.calibration, file)
            runs = {
                "keras": run_keras(source),
                "onnx": run_onnx(forecaster),
                "saved_model": run_saved_model(model),
                "litert": run_litert(file),
            }
            inputs = examples(windows, source.spec)
            found = differences(runs, inputs)
        check(found)
        extra = model / "assets.extra"
        extra.mkdir()
        shutil.copyfile(trained / DESCRIPTION, extra / DESCRIPTION)
        batches = {each: (BATCHES[0],) if each == "litert" else BATCHES for each in runs}
        report = {
            "cell": source.spec.cell,
            "limit": PARITY,
            "parity": [difference.to_json() for difference in found],
            "bytes": {
                "keras": sum(path.stat().st_size for path in trained.glob("*.keras")),
                "onnx": (trained / GRAPH).stat().st_size,
                "saved_model": sum(path.stat().st_size for path in model.rglob("*") if path.is_file()),
                "litert": file.stat().st_size,
            },
            "latency_ms": {each: latencies_ms(run, inputs["validation"], batches[each]) for each, run in runs.items()},
        }
        write_json(report, beside / "parity.json")
