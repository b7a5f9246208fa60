from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from random_networks import build_inputs
from server_models import (
    BESIDE,
    COLUMNS,
    SHOPS,
    Client,
    call_unevaluated,
    save_model,
    tensor,
    together,
    trained,
)
from typer.testing import CliRunner

from pipeline.cli import app as command
from pipeline.errors import BundleError, GatecastError
from pipeline.server.app import create_app
from pipeline.server.limits import Limits
from pipeline.server.metrics import Metrics
from pipeline.server.models import Model, load_forecaster
from pipeline.server.registry import Registry, Watcher, find_bundles
from pipeline.server.versions import list_published, publish_bundle, verify_files
from pipeline.storage import read_json, sha256_of, write_json

OFTEN = Limits(poll_s=0.02)
BODY = {"inputs": [tensor("history", [[3.0, 1.0, 4.0, 1.0, 5.0]])]}


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    """Three bundles that forecast differently."""
    return [save_model(tmp_path / f"bundle-{seed}", seed=seed) for seed in (1, 2, 3)]


def flip(file: Path) -> None:
    """Changes one bit in the middle of a file."""
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


def describe(bundle: Path, **changes: Any) -> Path:
    """Changes what a bundle says of itself; None takes a key away."""
    path = bundle / "forecaster.json"
    meta = read_json(path) | changes
    write_json({key: value for key, value in meta.items() if value is not None}, path)
    return bundle


def replace_graph(bundle: Path, graph: bytes) -> Path:
    """Gives a bundle another graph, which it lists."""
    (bundle / "forecaster.onnx").write_bytes(graph)
    return describe(bundle, files={"forecaster.onnx": sha256_of(bundle / "forecaster.onnx")})


def value_of(text: str, metric: str) -> float:
    (found,) = (line for line in text.splitlines() if line.startswith(metric))
    return float(found.rpartition(" ")[2])


async def until(asking: httpx.AsyncClient, path: str, told: str) -> None:
    """Waits for an answer that says something."""
    for _ in range(500):
        if told in (await asking.get(path)).text:
            return
        await asyncio.sleep(0.01)
    raise AssertionError((await asking.get(path)).text)


def serving(root: Path, work: Any) -> Any:
    """Runs work while the app watches a folder."""
    app = create_app(root, limits=OFTEN)

    async def during(asking: httpx.AsyncClient) -> Any:
        async with app.router.lifespan_context(app):
            return await work(asking)

    return together(app, during)


def test_publishing_numbers_versions_and_copies_every_file(bundles: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "published"
    assert [publish_bundle(bundle, root, name="co2").name for bundle in bundles] == ["1", "2", "3"]
    assert publish_bundle(bundles[0], root, name="other") == root / "other/1"
    assert list_published(root) == {"co2": [1, 2, 3], "other": [1]}
    for name in ("forecaster.json", "forecaster.onnx"):
        assert (root / "co2/2" / name).read_bytes() == (bundles[1] / name).read_bytes()
    assert sorted(path.name for path in (root / "co2").iterdir()) == ["1", "2", "3"]


def test_publishing_at_once_loses_no_version(bundles: list[Path], tmp_path: Path) -> None:
    def publish(place: int) -> Path:
        return publish_bundle(bundles[place % 3], tmp_path / str(place % 2), name="co2")

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(publish, range(8)))
    assert len(set(done)) == 8


def test_what_a_killed_publish_left_is_part_of_no_version(bundles: list[Path], tmp_path: Path) -> None:
    left = tmp_path / f"co2/.{os.getpid()}.partial"
    left.mkdir(parents=True)
    (left / "seed-99.keras").write_text("of an earlier bundle")
    place = publish_bundle(bundles[0], tmp_path, name="co2")
    assert not (place / "seed-99.keras").exists()
    assert place.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a" * 101, "ä"])
def test_a_name_that_is_no_folders_is_refused(name: str, bundles: list[Path], tmp_path: Path) -> None:
    with pytest.raises(GatecastError, match="--name"):
        publish_bundle(bundles[0], tmp_path / "published", name=name)
    assert not (tmp_path / "published").exists()


def test_a_bit_flipped_in_any_file_is_refused_with_its_name(bundles: list[Path], tmp_path: Path) -> None:
    flip(bundles[0] / "forecaster.onnx")
    (bundles[1] / "forecaster.onnx").unlink()
    (bundles[2] / "forecaster.json").write_text("[]")
    for bundle, file in zip(bundles, ("forecaster.onnx", "forecaster.onnx", "forecaster.json"), strict=True):
        with pytest.raises(BundleError, match=file):
            verify_files(bundle)
        with pytest.raises(BundleError, match=file):
            publish_bundle(bundle, tmp_path / "published", name="co2")
        with pytest.raises(BundleError, match=file):
            create_app({"co2": bundle})
    assert list_published(tmp_path / "published") == {}


def test_a_bundle_cannot_list_files_outside_of_it(bundles: list[Path]) -> None:
    path = bundles[0] / "forecaster.json"
    for name in ("../bundle-2/forecaster.onnx", "/etc/passwd"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"files": {name: "0"}}))
        with pytest.raises(BundleError, match="outside of the bundle"):
            verify_files(bundles[0])


def test_the_highest_version_is_served(bundles: list[Path], tmp_path: Path) -> None:
    for bundle in bundles:
        publish_bundle(bundle, tmp_path / "published", name="co2")
    asking = Client(create_app(tmp_path / "published"))
    assert asking.get("/v1/models/co2").json()["model_version_status"][0]["version"] == "3"
    assert asking.post("/v2/models/co2/versions/3/infer", json=BODY).status_code == 200
    assert asking.post("/v2/models/co2/versions/2/infer", json=BODY).status_code == 404


@pytest.mark.parametrize("switches", [2, pytest.param(200, marks=pytest.mark.long)])
def test_a_new_version_is_switched_to_without_a_failed_request(
    switches: int, bundles: list[Path], tmp_path: Path
) -> None:
    root = tmp_path / "published"
    expected = [Client(create_app({"co2": b})).post("/v2/models/co2/infer", json=BODY).json() for b in bundles]
    data = {str(number): expected[(number - 1) % 3]["outputs"] for number in range(1, switches + 2)}
    publish_bundle(bundles[0], root, name="co2")

    async def work(asking: httpx.AsyncClient) -> list[httpx.Response]:
        answers: list[httpx.Response] = []
        done = asyncio.Event()

        async def ask_once() -> None:
            answers.append(await asking.post("/v2/models/co2/infer", json=BODY))

        async def ask() -> None:
            while not done.is_set():
                await ask_once()

        clients = [asyncio.create_task(ask()) for _ in range(4)]
        for number in range(2, switches + 2):
            await asyncio.to_thread(publish_bundle, bundles[(number - 1) % 3], root, name="co2")
            await until(asking, "/v1/models/co2", f'"version":"{number}"')
        done.set()
        await asyncio.gather(*clients, ask_once())
        return answers

    answers = serving(root, work)
    assert {answer.status_code for answer in answers} == {200}
    assert {"1", str(switches + 1)} <= {answer.json()["model_version"] for answer in answers}
    for answer in answers:
        assert answer.json()["outputs"] == data[answer.json()["model_version"]]


def test_a_broken_version_keeps_the_old_one_and_is_told_once(
    bundles: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "published"
    publish_bundle(bundles[0], root, name="co2")
    caplog.set_level(logging.INFO)

    async def work(asking: httpx.AsyncClient) -> None:
        flip(publish_bundle(bundles[1], tmp_path / "aside", name="co2") / "forecaster.onnx")
        (tmp_path / "aside/co2/1").rename(root / "co2/2")
        await until(asking, "/metrics", 'gatecast_broken_version{model="co2"} 2.0')
        await asyncio.sleep(0.2)  # some looks later
        text = (await asking.get("/metrics")).text
        assert 'gatecast_reloads_total{model="co2",outcome="refused"} 1.0' in text
        assert 'gatecast_model_version{cell="gru",model="co2"} 1.0' in text
        assert (await asking.post("/v2/models/co2/infer", json=BODY)).json()["model_version"] == "1"
        refused = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
        assert len(refused) == 1
        assert "version 2" in refused[0]
        assert "forecaster.onnx was altered" in refused[0]
        publish_bundle(bundles[2], root, name="co2")
        await until(asking, "/v1/models/co2", '"version":"3"')
        assert 'gatecast_broken_version{model="co2"} 0.0' in (await asking.get("/metrics")).text

    serving(root, work)


def columns_but(**changes: Any) -> dict[str, Any]:
    return COLUMNS.to_json() | changes


BROKEN: list[tuple[Any, str]] = [
    (lambda bundle: replace_graph(bundle, b"garbage"), "cannot run its graph"),
    (
        lambda bundle: replace_graph(bundle, (trained()["odd"] / "forecaster.onnx").read_bytes()),
        "the graph has history [N, 13]",
    ),
    (lambda bundle: describe(bundle, columns=None), "forecaster.json, columns: Field required"),
    (lambda bundle: describe(bundle, repair=None), "forecaster.json, repair: Field required"),
    (lambda bundle: describe(bundle, columns=[]), "forecaster.json, columns: "),
    (lambda bundle: describe(bundle, columns=columns_but(target_col=[3])), "forecaster.json, target_col.0: "),
    (lambda bundle: describe(bundle, repair={"gaps": "dream"}), "forecaster.json, repair."),
    (lambda bundle: describe(bundle, value_range={"min": 1.0}), "forecaster.json, value_range: "),
    (lambda bundle: describe(bundle, value_range=[]), "forecaster.json, value_range: "),
    (lambda bundle: describe(bundle, season_length="year"), "forecaster.json, season_length: "),
    (
        lambda bundle: describe(bundle, quantiles=[0.1, 0.5, 0.9]),
        "the graph has forecast [N, 7, 9]. Received: [N, 7, 3]",
    ),
    (lambda bundle: describe(bundle, horizon="seven"), "the graph has forecast [N, 7, 9]. Received: [N, seven, 9]"),
    (lambda bundle: describe(bundle, inputs=asdict(build_inputs(1, 1, (), 0))), "cannot be served: InvalidArgument"),
    (lambda bundle: describe(save_model(bundle, inputs=BESIDE, columns=SHOPS), vocabularies={}), "has no town"),
]


@pytest.mark.parametrize(("damage", "cause"), BROKEN)
def test_a_bundle_that_is_broken_in_whatever_way_is_refused_and_no_other_is_held_up(
    damage: Any, cause: str, bundles: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "published"
    publish_bundle(bundles[0], root, name="co2")
    publish_bundle(bundles[1], root, name="later")
    broken = damage(bundles[2])
    with pytest.raises(BundleError, match=re.escape(cause)) as caught:
        create_app({"co2": broken})
    assert "\n" not in str(caught.value)
    shutil.copytree(broken, root / "co2/2")
    publish_bundle(bundles[0], root, name="later")
    asking = Client(create_app(root))
    served = {name: asking.get(f"/v2/models/{name}").json()["versions"] for name in ("co2", "later")}
    assert served == {"co2": ["1"], "later": ["2"]}
    assert asking.post("/v2/models/co2/infer", json=BODY).status_code == 200
    text = asking.get("/metrics").text
    assert value_of(text, 'gatecast_broken_version{model="co2"}') == 2
    assert value_of(text, 'gatecast_broken_version{model="later"}') == 0
    (refused,) = (record.getMessage() for record in caplog.records if "refused" in record.getMessage())
    assert refused.startswith("model co2, version 2 is refused: ")
    assert cause in refused


def test_a_value_range_of_null_is_refused(bundles: list[Path]) -> None:
    path = bundles[0] / "forecaster.json"
    write_json(read_json(path) | {"value_range": None}, path)
    with pytest.raises(BundleError, match="value_range: "):
        create_app({"co2": bundles[0]})


def test_a_file_that_cannot_be_read_is_named(bundles: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipeline.server.versions.sha256_of", refuse)
    with pytest.raises(BundleError, match=r"forecaster\.onnx cannot be read: Permission denied"):
        create_app({"co2": bundles[0]})


def test_the_metric_of_a_broken_version_is_about_the_newest_one(bundles: list[Path], tmp_path: Path) -> None:
    root, metrics = tmp_path / "published", Metrics()
    for bundle in bundles:
        publish_bundle(bundle, root, name="co2")
    registry = Registry(None, metrics)
    start = partial(Model, executor=ThreadPoolExecutor(1), limits=OFTEN, metrics=metrics)
    watcher = Watcher(root, registry, load=partial(load_forecaster, threads=1), start=start, metrics=metrics)

    def look() -> tuple[int, float]:
        watcher.look()
        return registry.models["co2"].version, value_of(metrics.text().decode(), "gatecast_broken_version{")

    for number in (2, 3):
        flip(root / f"co2/{number}/forecaster.onnx")
    assert [look(), look()] == [(1, 3), (1, 3)]
    shutil.rmtree(root / "co2/3")
    assert look() == (1, 2)
    publish_bundle(bundles[0], root, name="co2")
    assert look() == (3, 0)


def test_a_model_has_one_version_whatever_cells_it_had(bundles: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "published"
    publish_bundle(bundles[0], root, name="co2")

    async def work(asking: httpx.AsyncClient) -> str:
        publish_bundle(save_model(tmp_path / "other", "lstm"), root, name="co2")
        await until(asking, "/v1/models/co2", '"version":"2"')
        return (await asking.get("/metrics")).text

    assert re.findall("gatecast_model_version{.*", serving(root, work)) == [
        'gatecast_model_version{cell="lstm",model="co2"} 2.0'
    ]


@pytest.mark.parametrize("taken", ["file", "link"])
def test_a_number_that_is_no_folders_is_passed_over(taken: str, bundles: list[Path], tmp_path: Path) -> None:
    place = tmp_path / "published/co2"
    place.mkdir(parents=True)
    if taken == "file":
        (place / "1").touch()
    else:
        (place / "1").symlink_to("nowhere")
    assert publish_bundle(bundles[0], tmp_path / "published", name="co2").name == "2"
    assert list_published(tmp_path / "published") == {"co2": [2]}


def test_a_broken_version_is_looked_at_again_when_it_is_mended(bundles: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "published"
    publish_bundle(bundles[0], root, name="co2")

    async def work(asking: httpx.AsyncClient) -> None:
        (root / "co2/2").mkdir()
        shutil.copy(bundles[1] / "forecaster.json", root / "co2/2")
        await until(asking, "/metrics", 'gatecast_broken_version{model="co2"} 2.0')
        shutil.copy(bundles[1] / "forecaster.onnx", root / "co2/2")  # as a slow copy brings it
        await until(asking, "/v1/models/co2", '"version":"2"')

    serving(root, work)


def test_at_the_start_the_newest_whole_version_is_served_and_none_is_an_error(
    bundles: list[Path], tmp_path: Path
) -> None:
    root = tmp_path / "published"
    for bundle in bundles[:2]:
        publish_bundle(bundle, root, name="co2")
    flip(root / "co2/2/forecaster.onnx")
    assert Client(create_app(root)).get("/v2/models/co2").json()["versions"] == ["1"]
    flip(root / "co2/1/forecaster.onnx")
    with pytest.raises(BundleError, match="no bundle that can be served"):
        create_app(root)


def test_models_are_served_from_memory(bundles: list[Path]) -> None:
    asking = Client(create_app({"co2": bundles[0]}))
    shutil.rmtree(bundles[0])
    assert asking.post("/v2/models/co2/infer", json=BODY).status_code == 200


def test_a_new_name_appears_and_one_that_is_gone_stays(bundles: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "published"
    publish_bundle(bundles[0], root, name="one")

    async def work(asking: httpx.AsyncClient) -> None:
        publish_bundle(bundles[1], root, name="two")
        await until(asking, "/v1/models", '"two"')
        shutil.rmtree(root / "one")
        await asyncio.sleep(0.1)
        assert (await asking.post("/v2/models/one/infer", json=BODY)).status_code == 200
        missing = await asking.post("/v1/forecast", json={"history": [{"when": "2024-01-01", "load": 1}]})
        assert "name one of one, two" in missing.json()["error"]["message"]

    serving(root, work)


def test_switching_to_a_version_that_is_not_evaluated_is_logged_as_such(
    bundles: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    root = tmp_path / "published"
    publish_bundle(bundles[0], root, name="co2")
    create_app(root)
    publish_bundle(call_unevaluated(bundles[1]), root, name="co2")
    create_app(root)
    told = [record.getMessage() for record in caplog.records if "is served" in record.getMessage()]
    assert told == ["model co2, version 1 is served", "model co2, version 2 is served (not evaluated)"]


def test_bundles_are_found_in_every_layout(bundles: list[Path], tmp_path: Path) -> None:
    assert find_bundles(bundles[0]) == {"bundle-1": bundles[0]}
    assert set(find_bundles(tmp_path)) == {"bundle-1", "bundle-2", "bundle-3"}
    publish_bundle(bundles[0], tmp_path / "published", name="co2")
    assert find_bundles(tmp_path / "published") == {}
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(BundleError, match="holds no bundle"):
            find_bundles(folder)


def test_the_command_publishes_what_the_comparison_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cell in ("gru", "lstm"):
        shutil.copytree(trained()[cell], tmp_path / "models/trained" / cell)
    (tmp_path / "models/comparison").mkdir()
    verdict = {"best_on_validation": "gru", "served": "lstm"}
    (tmp_path / "models/comparison/verdict.json").write_text(json.dumps(verdict))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        return CliRunner().invoke(command, ["publish", *arguments]).output

    assert run("--to", "out") == "out/gatecast/1: published from models/trained/lstm\n"
    assert run("--to", "out", "--cell", "best") == "out/gatecast/2: published from models/trained/gru\n"
    assert run("--to", "out", "--cell", "gru", "--name", "co2") == "out/co2/1: published from models/trained/gru\n"
    assert run("--to", "out", "--cell", "rnn").startswith("error: models/trained has no cell rnn")
    assert run("--to", "out", "--name", "a/b").startswith("error: --name")
    (tmp_path / "file").touch()
    assert run("--to", "file") == "error: file/gatecast cannot be written: Not a directory; choose another place\n"


def test_a_version_that_is_published_anew_under_the_number_of_a_removed_one_is_served(
    bundles: list[Path], tmp_path: Path
) -> None:
    root, metrics = tmp_path / "published", Metrics()
    publish_bundle(bundles[0], root, name="co2")
    publish_bundle(bundles[1], root, name="co2")
    registry = Registry(None, metrics)
    start = partial(Model, executor=ThreadPoolExecutor(1), limits=OFTEN, metrics=metrics)
    watcher = Watcher(root, registry, load=partial(load_forecaster, threads=1), start=start, metrics=metrics)
    watcher.look()
    before = registry.models["co2"]
    watcher.look()
    assert registry.models["co2"] is before
    shutil.rmtree(root / "co2/2")
    watcher.look()
    assert registry.models["co2"] is before  # removing alone goes nowhere back
    other = save_model(tmp_path / "other", "lstm" if before.forecaster.cell == "gru" else "gru")
    assert publish_bundle(other, root, name="co2").name == "2"
    watcher.look()
    assert registry.models["co2"].forecaster.cell != before.forecaster.cell
    assert value_of(metrics.text().decode(), "gatecast_broken_version{") == 0
