from __future__ import annotations

import logging
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.scratch import KEPT, scratch
from pipeline.storage import read_json, replacing, sha256_of, write_json


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json({"a": 1}, path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"a": float("nan")}, path)
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


@pytest.mark.parametrize("folder", [True, False])
def test_what_a_killed_process_of_the_same_number_left_is_no_hindrance(folder: bool, tmp_path: Path) -> None:
    left = tmp_path / f".out.{os.getpid()}.partial"
    if folder:
        (left / "half").mkdir(parents=True)
    else:
        left.write_text("half")
    with replacing(tmp_path / "out") as beside:
        beside.mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with replacing(target) as beside:
        beside.mkdir()
        (beside / "old").write_text("1")
    with pytest.raises(RuntimeError), replacing(target) as beside:
        beside.mkdir()
        (beside / "half").write_text("2")
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["old"]
    with replacing(target) as beside:
        beside.mkdir()
        (beside / "new").write_text("3")
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_hash_of_a_folder_depends_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_text("2")
    first = sha256_of(tmp_path)
    (tmp_path / "sub" / "b").rename(tmp_path / "sub" / "c")
    second = sha256_of(tmp_path)
    (tmp_path / "sub" / "c").write_text("3")
    assert len({first, second, sha256_of(tmp_path)}) == 3


def folder_of(values: dict[str, Any], *inputs: Path) -> str:
    with scratch("stage", inputs=inputs, values=values) as folder:
        (folder / "kept").write_text("x")
        return folder.name


def test_scratch_is_the_same_for_the_same_inputs_and_values_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.write_text("1")
    first = folder_of({"a": 1}, Path("data"))
    assert folder_of({"a": 1}, Path("data")) == first
    assert folder_of({"a": 2}, Path("data")) != first
    data.write_text("2")
    assert folder_of({"a": 1}, Path("data")) != first


def test_old_scratch_is_thrown_away_and_the_latest_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = []
    for i in range(KEPT + 3):
        names.append(folder_of({"a": i}))
        os.utime(tmp_path / ".scratch" / "stage" / names[-1], (i, i))
    left = {path.name for path in (tmp_path / ".scratch" / "stage").iterdir()}
    assert len(left) == KEPT
    assert names[-1] in left


def test_scratch_that_was_half_thrown_away_is_never_taken_for_finished_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [folder_of({"a": i}) for i in range(KEPT)]
    for i, name in enumerate(names):
        (tmp_path / ".scratch" / "stage" / name / "seed-1.json").touch()
        os.utime(tmp_path / ".scratch" / "stage" / name, (i, i))

    def killed(path: Path, **_: Any) -> None:
        if path.exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", killed)
        folder_of({"a": KEPT})
    left = {path.name for path in (tmp_path / ".scratch" / "stage").iterdir()}
    assert left == {*names[1:], folder_of({"a": KEPT})}
    assert not (tmp_path / ".scratch" / "stage.gone").exists()


def hold(started: Any, let_go: Any) -> None:
    with scratch("stage", inputs=[], values={}):
        started.set()
        let_go.wait(60)


def test_a_second_writer_waits_for_the_first_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    context = multiprocessing.get_context("spawn")
    started, let_go = context.Event(), context.Event()
    first = context.Process(target=hold, args=(started, let_go))
    first.start()
    assert started.wait(60)

    class LetGo(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            let_go.set()

    logging.getLogger("pipeline.scratch").addHandler(handler := LetGo())
    try:
        folder_of({})
    finally:
        logging.getLogger("pipeline.scratch").removeHandler(handler)
    first.join()
    assert f"process {first.pid}" in caplog.text
