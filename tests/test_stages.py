"""What every stage does with the arguments of its command."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.stages import run_stage

ran: list[tuple[str, ...]] = []


def alone() -> None:
    ran.append(())


def of_a_view(view: str, cell: str) -> None:
    ran.append((view, cell))


def test_a_stage_gets_the_arguments_of_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, "FileHandler", lambda *_, **__: logging.NullHandler())
    monkeypatch.setattr(sys, "argv", ["stage", "equal_units", "gru"])
    ran.clear()
    run_stage(of_a_view)
    assert ran == [("equal_units", "gru")]


@pytest.mark.parametrize(
    ("main", "arguments", "told"),
    [
        (alone, ["gru"], "error: the stage takes no arguments. Received: gru; `dvc repro` runs it"),
        (of_a_view, ["gru"], "error: the stage takes VIEW CELL. Received: gru; `dvc repro` runs it"),
        (of_a_view, [], "error: the stage takes VIEW CELL. Received: none; `dvc repro` runs it"),
    ],
)
def test_a_stage_with_other_arguments_runs_nothing(
    main: Callable[..., None], arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["stage", *arguments])
    ran.clear()
    with pytest.raises(SystemExit, match=told):
        run_stage(main)
    assert not ran


def test_a_stage_that_is_asked_for_help_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["stage", "gru", "--help"])
    ran.clear()
    run_stage(of_a_view)
    assert capsys.readouterr().out == f"{__doc__}\n"
    assert not ran
