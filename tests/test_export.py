"""The formats of other runtimes: SavedModel and LiteRT forecast what the bundle does, on their own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from random_networks import REPAIR, build_inputs, build_spec, random_inputs
from shops import Project, params_of

from pipeline.bundle import save_bundle
from pipeline.errors import BundleError
from pipeline.export import building, parity
from pipeline.export.litert import save_litert
from pipeline.export.networks import Source, load_source, portable
from pipeline.export.parity import BATCHES, COMPARED, Difference, check, deviations, differences, examples
from pipeline.export.runtimes import Run, run_keras, run_litert, run_onnx, run_saved_model
from pipeline.export.saved_model import refuse_gpu_ops, save_saved_model
from pipeline.forecaster import Forecaster
from pipeline.hparams import NetworkSpec
from pipeline.network import SegmentNetwork, network_weights, save_network
from pipeline.onnx_graph import build_graph
from pipeline.stages import export as stage
from pipeline.storage import read_json, write_json

Floats = NDArray[np.float64]

ROOT = Path(__file__).parents[1]
PARITY = 1e-5  # of the larger of the value and the window's standard deviation
SPECS = {
    "gru, a segment longer than the context": build_spec(
        "gru",
        context_length=8,
        context_used=8,
        segment_length=20,
        horizon=30,
        layers=2,
        location="mean",
        linear="ridge",
        quantiles=(0.5,),
    ),
    "lstm, logarithms": build_spec("lstm", transform="log1p", head="copy", linear="ridge"),
    "rnn, covariates of every kind": build_spec("rnn", head="copy", inputs=build_inputs()),
    "gru, point-wise": build_spec(
        "gru",
        context_length=19,
        context_used=19,
        segment_length=1,
        horizon=4,
        location="mean",
        inputs=build_inputs(past=2, future=2, categories=(3,), numeric=0),
    ),
}
EQUIVARIANT = [name for name, spec in SPECS.items() if spec.hparams.transform == "none"]


@dataclass(frozen=True)
class Export:
    """An ensemble of two untrained networks in all formats."""

    source: Source
    forecaster: Forecaster
    runs: dict[str, Run]

    @property
    def spec(self) -> NetworkSpec:
        return self.source.spec

    def forecasts(self, inputs: dict[str, Any]) -> dict[str, Floats]:
        return {name: run(inputs)["forecast"] for name, run in self.runs.items() if name != "keras"}


def untrained(spec: NetworkSpec, seeds: Sequence[int] = (1, 2)) -> list[SegmentNetwork]:
    """Networks none of whose weights is zero."""
    networks = [SegmentNetwork(spec) for _ in seeds]
    for seed, network in zip(seeds, networks, strict=True):
        rng = np.random.default_rng(seed)
        network.set_weights([0.3 * rng.standard_normal(weight.shape) for weight in network.weights])
    return networks


def offsets(spec: NetworkSpec) -> Floats:
    """A calibration that widens some intervals and closes others."""
    calibration = np.random.default_rng(3).standard_normal((spec.horizon, len(spec.quantiles)))
    calibration[:, len(spec.quantiles) // 2] = 0
    return calibration


def windows(spec: NetworkSpec, n: int = 12) -> dict[str, Any]:
    """Inputs of all kinds, over nine orders of magnitude, some far from zero, with a fifth missing."""
    rng = np.random.default_rng(0)
    scale = 10.0 ** rng.uniform(-3, 6 if spec.hparams.transform == "none" else 3, (n, 1))
    history = np.abs(rng.standard_normal((n, spec.context_length))) * scale
    history[::3] += 1e6 * scale[::3]
    observed = (rng.random(history.shape) < 0.8).astype(np.float32)
    observed[0] = 0
    observed[1, -spec.hparams.context_used :] = 0
    history = np.where(observed > 0, history, np.nan)
    return {"history": history, "observed": observed, **random_inputs(spec, n)}


def error(value: Floats, expected: Floats, inputs: dict[str, Any]) -> float:
    size = np.maximum(np.abs(expected), deviations(inputs)[:, None, None])
    return float(np.max(np.abs(value - expected) / np.where(size > 0, size, 1)))


@pytest.fixture(scope="module", params=SPECS)
def export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Export:
    folder = tmp_path_factory.mktemp("export")
    spec = SPECS[request.param]
    source = Source(folder, spec, {}, untrained(spec), offsets(spec))
    graph = build_graph(spec, [network_weights(network) for network in source.networks], source.calibration)
    forecaster = Forecaster(graph, spec, {})
    networks = [portable(network) for network in source.networks]
    save_saved_model(networks, source.calibration, folder / "model")
    save_litert(networks, source.calibration, folder / "model.tflite")
    runs = {"keras": run_keras(source), "onnx": run_onnx(forecaster)}
    runs |= {"saved_model": run_saved_model(folder / "model"), "litert": run_litert(folder / "model.tflite")}
    return Export(source, forecaster, runs)


def test_every_format_forecasts_the_same(export: Export) -> None:
    inputs = windows(export.spec)
    found = differences(export.runs, {"made": inputs})
    assert [(each.format, each.reference, each.output) for each in found] == list(COMPARED)
    assert {each.format: each.error for each in found if not each.error < PARITY} == {}
    assert all(np.isfinite(value).all() for value in export.forecasts(inputs).values())


def test_a_saved_model_gives_every_output_of_the_onnx_graph(export: Export) -> None:
    inputs = windows(export.spec)
    given = export.runs["saved_model"](inputs)
    expected = export.forecaster.predict_arrays(**inputs, outputs=export.forecaster.outputs)
    assert set(given) == set(expected)
    for name in {"copy_weights", "location", "scale"} & set(given):
        np.testing.assert_allclose(given[name], expected[name], rtol=1e-5, atol=1e-6)
    for name in ("forecast", "uncalibrated", "members"):
        assert given[name].shape == expected[name].shape
        assert error(given[name], expected[name], inputs) < PARITY


def test_what_lies_in_missing_places_has_no_effect(export: Export) -> None:
    inputs = windows(export.spec)
    expected = export.forecasts(inputs)
    for filler in (0.0, -1e300, np.inf):
        filled = inputs | {"history": np.where(inputs["observed"] > 0, inputs["history"], filler)}
        for name, value in export.forecasts(filled).items():
            assert np.array_equal(value, expected[name]), name


def test_a_window_without_any_observed_step_gives_zero(export: Export) -> None:
    inputs = {name: value[:1] for name, value in windows(export.spec).items()}
    assert not inputs["observed"].any()
    for name, value in export.forecasts(inputs).items():
        assert not value.any(), name


def test_a_constant_history_is_forecast_as_it_is(export: Export) -> None:
    value = 123456.7
    shape = (1, export.spec.context_length)
    inputs = {"history": np.full(shape, value), "observed": np.ones(shape, np.float32)} | random_inputs(export.spec, 1)
    for name, given in export.forecasts(inputs).items():
        np.testing.assert_allclose(given, value, rtol=1e-13, err_msg=name)


@pytest.mark.parametrize("export", EQUIVARIANT, indirect=True)
@pytest.mark.parametrize(("size", "offset"), [(1e-30, 1e2), (1e-3, 1e6), (1e3, -1e6), (1e30, 1e2)])
def test_a_forecast_follows_every_affine_change_of_its_history(export: Export, size: float, offset: float) -> None:
    shape = (3, export.spec.context_length)
    history = np.random.default_rng(4).standard_normal(shape)
    inputs = {"history": history, "observed": np.ones(shape, np.float32)} | random_inputs(export.spec, 3)
    deviation = deviations(inputs)[:, None]
    changed = inputs | {"history": size * (history + offset * deviation)}
    plain = export.forecasts(inputs)
    for name, moved in export.forecasts(changed).items():
        expected = plain[name] + offset * deviation[:, :, None]
        apart = np.abs(moved / size - expected) / deviation[:, :, None]
        assert np.max(apart / np.maximum(1, np.abs(plain[name]) / deviation[:, :, None])) < PARITY, name


@pytest.mark.parametrize("export", ["lstm, logarithms"], indirect=True)
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_the_code_of_the_readme_runs_a_litert_file(export: Export) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "tflite" in block)
    *lines, last = code.strip().splitlines()
    changes = {"models/export/lstm/gatecast.tflite": str(export.source.folder / "model.tflite"), "104": "20"}
    for before, after in changes.items():
        lines = [line.replace(before, after) for line in lines]
    made: dict[str, Any] = {}
    exec("\n".join([*lines, f"given = {last}"]), made)
    history = np.full((1, 20), np.nan)
    history[0, -3:] = 427.1, 427.4, 427.9
    expected = export.forecaster.predict_arrays(history, np.isfinite(history))["forecast"]
    np.testing.assert_allclose(made["given"], expected, rtol=PARITY)


@pytest.fixture(scope="module")
def project(shops: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which stage export has run on networks with covariates, the calendar and the series' identity."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(shops.folder / "data/windows", folder / "data/windows")
    write_trained(folder / "models/trained/lstm", shops)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_export(patch)
        yield folder


def write_trained(folder: Path, shops: Project) -> None:
    """What stage train leaves, of untrained networks."""
    spec = shops.spec("lstm", head="copy", linear="ridge", transform="log1p")
    networks = dict(zip((11, 12), untrained(spec), strict=True))
    folder.mkdir(parents=True)
    for seed, network in networks.items():
        save_network(network, folder / f"seed-{seed}.keras")
    write_json({"calibration": offsets(spec).tolist()}, folder / "training.json")
    save_bundle(
        folder,
        spec=spec,
        members=[network_weights(network) for network in networks.values()],
        calibration=offsets(spec),
        meta={**shops.meta(), "repair": REPAIR.model_dump(), "seeds": list(networks)},
    )


def run_export(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stage, "load_params", params_of)
    patch.setattr(stage, "load_tensorflow", lambda threads: None)
    stage.main("lstm")


def test_the_stage_writes_what_serving_looks_for(project: Path) -> None:
    out = project / "models/export/lstm"
    assert sorted(path.name for path in out.iterdir()) == ["gatecast", "gatecast.tflite", "parity.json"]
    assert [path.name for path in (out / "gatecast").iterdir()] == ["1"]
    model = out / "gatecast/1"
    assert {"saved_model.pb", "variables", "assets.extra"} <= {path.name for path in model.iterdir()}
    described, trained = model / "assets.extra/forecaster.json", project / "models/trained/lstm/forecaster.json"
    assert described.read_bytes() == trained.read_bytes()


def test_the_report_has_parity_sizes_and_latencies_of_every_format(project: Path) -> None:
    report = read_json(project / "models/export/lstm/parity.json")
    kinds = {"validation", "missing", "short", "offset"}
    found = {(each["format"], each["reference"], each["output"], each["windows"]) for each in report["parity"]}
    assert found == {(*compared, kind) for compared in COMPARED for kind in kinds}
    assert all(each["error"] <= report["limit"] == PARITY for each in report["parity"])
    formats = {"keras", "onnx", "saved_model", "litert"}
    assert set(report["bytes"]) == set(report["latency_ms"]) == formats
    assert report["bytes"]["litert"] == (project / "models/export/lstm/gatecast.tflite").stat().st_size
    for name, latencies in report["latency_ms"].items():
        assert set(latencies) == {str(batch) for batch in (BATCHES if name != "litert" else (1,))}
        assert min(latencies.values()) > 0


def test_a_saved_model_needs_no_code_of_ours_and_takes_histories_of_any_length(project: Path, tmp_path: Path) -> None:
    forecaster = Forecaster.load(project / "models/trained/lstm")
    spec, rng = forecaster.spec, np.random.default_rng(5)
    arrays, expected = {}, {}
    for steps in (1, 5, spec.context_length + 7):
        history = rng.uniform(1, 9, (3, steps))
        inputs = {"history": history, "observed": np.ones(history.shape, np.float32)} | random_inputs(spec, 3)
        inputs["past"] = rng.standard_normal((3, steps, len(spec.inputs.past)))
        arrays |= {f"{steps}/{name}": value for name, value in inputs.items()}
        expected[str(steps)] = forecaster.predict_arrays(**at_context(inputs, spec.context_length))["forecast"]
    np.savez(tmp_path / "inputs.npz", **arrays)
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('pipeline', 'keras', 'onnxruntime'))); import numpy as np;"
        "import tensorflow as tf; serve = tf.saved_model.load(sys.argv[1]).signatures['serving_default'];"
        "arrays = np.load('inputs.npz'); groups = {key.split('/')[0]: {} for key in arrays};"
        "[groups[key.split('/')[0]].update({key.split('/')[1]: tf.constant(arrays[key])}) for key in arrays];"
        "given = {steps: serve(**inputs) for steps, inputs in groups.items()};"
        "np.savez('outputs.npz', **{f'{s}/{n}': v for s, outputs in given.items() for n, v in outputs.items()})"
    )
    model = project / "models/export/lstm/gatecast/1"
    subprocess.run([sys.executable, "-c", code, str(model)], cwd=tmp_path, check=True, capture_output=True)
    given = np.load(tmp_path / "outputs.npz")
    assert set(given) == {f"{steps}/{name}" for steps in expected for name in ("forecast", "mean")}
    for steps, forecast in expected.items():
        np.testing.assert_allclose(given[f"{steps}/forecast"], forecast, rtol=1e-5)
        assert np.array_equal(given[f"{steps}/mean"], given[f"{steps}/forecast"][:, :, len(spec.quantiles) // 2])


def at_context(inputs: dict[str, Any], length: int) -> dict[str, Any]:
    """The last steps of a history, padded on the left."""

    def fit(value: NDArray[Any], filler: float) -> NDArray[Any]:
        last = value[:, -length:]
        width = [(0, 0), (length - last.shape[1], 0), *[(0, 0)] * (value.ndim - 2)]
        return np.pad(last, width, constant_values=filler)

    return inputs | {
        name: fit(inputs[name], np.nan if name == "past" else 0.0) for name in ("history", "observed", "past")
    }


def test_no_format_needs_a_gpu_or_ops_that_a_device_lacks(project: Path, tmp_path: Path) -> None:
    out = project / "models/export/lstm"
    refuse_gpu_ops(out / "gatecast/1")
    assert b"CudnnRNN" not in (out / "gatecast/1/saved_model.pb").read_bytes()
    assert b"Flex" not in (out / "gatecast.tflite").read_bytes()


def test_a_model_that_runs_on_gpus_alone_is_refused(tmp_path: Path) -> None:
    @tf.function
    def gpu(x: Any) -> Any:
        state = tf.zeros((1, 1, 4))
        parts = tf.raw_ops.CudnnRNNV3(
            input=x, input_h=state, input_c=state, params=tf.zeros(100), sequence_lengths=tf.constant([2])
        )
        return {"y": parts.output}

    module = tf.Module()
    signature = gpu.get_concrete_function(tf.TensorSpec((2, 1, 4), tf.float32, "x"))
    tf.saved_model.save(module, tmp_path, {"serving_default": signature})
    with pytest.raises(BundleError, match=r"saved_model\.pb runs on GPUs alone.*CudnnRNNV3"):
        refuse_gpu_ops(tmp_path)


def test_recurrent_layers_leave_cudnn_alone() -> None:
    (network,) = untrained(build_spec("lstm", layers=2), seeds=(1,))
    assert [layer.use_cudnn for layer in portable(network).recurrent] == [False, False]


@pytest.mark.parametrize("name", ["seed-12.keras", "training.json", "forecaster.onnx"])
@pytest.mark.parametrize("harm", ["altered", "missing"])
def test_a_broken_bundle_is_refused_with_the_name_of_the_file(
    project: Path, tmp_path: Path, name: str, harm: str
) -> None:
    folder = tmp_path / "lstm"
    shutil.copytree(project / "models/trained/lstm", folder)
    if harm == "altered":
        with (folder / name).open("ab") as file:
            file.write(b" ")
    else:
        (folder / name).unlink()
    with pytest.raises(BundleError) as caught:
        load_source(folder)
    assert str(folder / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_format_that_forecasts_something_else_is_not_written(
    project: Path, shops: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = run_onnx(Forecaster.load("models/trained/lstm"))

    def shifted(inputs: Any) -> dict[str, Floats]:
        return {name: value * (1 + 2e-5) for name, value in onnx(inputs).items()}

    for name in ("save_saved_model", "save_litert"):
        monkeypatch.setattr(building, name, lambda *_: None)
    for name in ("run_keras", "run_saved_model"):
        monkeypatch.setattr(building, name, lambda _: onnx)
    monkeypatch.setattr(building, "run_litert", lambda _: shifted)
    told = r"litert differs from onnx in forecast on windows of kind \w+: at most 1e-05 .* Received: 2\.00e-05; "
    with pytest.raises(BundleError, match=told):
        building.export_bundle(Path("models/trained/lstm"), shops.fit.val, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_number_differs_from_everything() -> None:
    with pytest.raises(BundleError, match="litert differs"):
        check([Difference("litert", "onnx", "forecast", "short", float("nan"), None)])


def test_the_examples_are_short_far_away_and_full_of_holes(shops: Project) -> None:
    spec = shops.spec()
    made = examples(shops.fit.val, spec)
    assert {len(inputs["history"]) for inputs in made.values()} == {parity.WINDOWS}
    for inputs in made.values():
        assert np.array_equal(np.isfinite(inputs["history"]), inputs["observed"] > 0)
    assert not made["missing"]["observed"][0].any()
    assert made["missing"]["observed"][2:].mean() < made["validation"]["observed"][2:].mean()
    assert not made["short"]["observed"][:, :-4].any()
    assert made["short"]["observed"].any()
    far, deviation = made["offset"], deviations(made["validation"])
    assert np.nanmin(far["history"] / deviation[:, None]) > 0.9e6
    np.testing.assert_allclose(deviations(far), deviation, rtol=1e-8)


def test_the_report_is_plain_json() -> None:
    difference = Difference("onnx", "keras", "members", "short", 0.0, None)
    assert json.loads(json.dumps(difference.to_json())) == difference.to_json()
    assert replace(difference, error=1.0).to_json()["error"] == 1.0
