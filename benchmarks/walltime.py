"""The wall time of a benchmark's stages, also where a run was stopped and a later one went on with what it left.

A stage keeps finished trials and networks in a folder of its own, which is the same for the same work. So its time is
that of all runs on one folder until the first that ended well: a run on a new folder starts from nothing, one on a
folder of an unfinished run adds to it, and one that finds everything finished changes nothing. What was begun with
other params may be more or less than today's work: its time is nobody's.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.benchmark import Json, read_yaml
from pipeline.scratch import ROOT
from pipeline.storage import read_json, write_json

SECONDS = "seconds.json"  # of each stage, of the work that is there now
ATTEMPTS = "attempts.json"  # by stage and by the folder that it worked in
BEAT_S = 5.0  # a run that is killed loses no more of its time


@dataclass(frozen=True)
class _Start:
    """What there was when a stage began.

    Attributes:
        stage: such as `tune@lstm`.
        work: the folder of the benchmark.
        moment: when, in seconds since 1970.
        folders: of the work that the stage has kept, by name.
        params: the section of its own; what else it depends on is in the name of its folder.
        attempts: what is known of the stage by folder: `seconds`, None where nobody knows them; `finished`; `params`.
    """

    stage: str
    work: Path
    moment: float
    folders: frozenset[str]
    params: Json
    attempts: Mapping[str, Json]

    def note(self, *, finished: bool) -> float | None:
        """Writes down how long the stage has taken by now; gives it, None where nobody knows."""
        folder, taken = self._folder(), time.time() - self.moment
        if folder is None and not finished:
            return None  # it has not begun its work
        attempt = self._attempt(folder, taken)
        if folder is not None:
            told = _read(self.work / ATTEMPTS)
            told.setdefault(self.stage, {})[folder] = attempt | {"finished": finished or attempt["finished"]}
            write_json(told, self.work / ATTEMPTS)
        seconds: float | None = attempt["seconds"]
        return seconds

    def _folder(self) -> str | None:
        """Where it works; None before that, and of stages that keep nothing."""
        used = {path.name: path.stat().st_mtime for path in _folders(self.stage, self.work)}
        newest = max(used, key=used.__getitem__, default=None)
        # The clock of files is a little coarser than ours.
        return None if newest is None or used[newest] < self.moment - 0.1 else newest

    def _attempt(self, folder: str | None, taken: float) -> Json:
        if folder is None or folder not in self.folders:
            return {"seconds": round(taken, 1), "finished": False, "params": self.params}
        earlier = self.attempts.get(folder)
        if earlier is None or earlier["params"] != self.params or earlier["seconds"] is None:
            return {"seconds": None, "finished": False, "params": self.params}
        return earlier if earlier["finished"] else earlier | {"seconds": round(earlier["seconds"] + taken, 1)}


def run_timed(stage: str, command: Sequence[str], work: Path, environment: Mapping[str, str]) -> int:
    """Runs a stage, and writes its wall time into `SECONDS` once it has ended well, unless nobody knows it.

    Args:
        stage: such as `tune@lstm`.
        command: that runs it.
        work: the folder to run it in.
        environment: of its process.

    Returns:
        Its exit code.
    """
    seconds = _read(work / SECONDS)
    seconds.pop(stage, None)
    write_json(seconds, work / SECONDS)
    folders = frozenset(path.name for path in _folders(stage, work))
    start = _Start(stage, work, time.time(), folders, _section(stage, work), _read(work / ATTEMPTS).get(stage, {}))
    code = None
    with subprocess.Popen(command, cwd=work, env=dict(environment)) as running:
        try:
            while code is None:
                code = _wait(running)
                if code is None:
                    start.note(finished=False)
        except BaseException:
            running.kill()
            raise
        finally:
            taken = start.note(finished=code == 0)
    if code == 0 and taken is not None:
        write_json({**seconds, stage: taken}, work / SECONDS)
    return code


def forget(work: Path) -> None:
    """Removes the seconds of what is no longer there; those of work that is kept stay known."""
    (work / SECONDS).unlink(missing_ok=True)


def _wait(running: subprocess.Popen[bytes]) -> int | None:
    """The exit code; None where it still runs after a while."""
    try:
        return running.wait(BEAT_S)
    except subprocess.TimeoutExpired:
        return None


def _folders(stage: str, work: Path) -> list[Path]:
    """The folders of work that a stage has kept, as `pipeline.scratch` names them."""
    return [path for path in (work / ROOT / stage.replace("@", "-")).glob("*") if path.is_dir()]


def _section(stage: str, work: Path) -> Json:
    """The params of a stage, as JSON gives them back."""
    path = work / "params.yaml"
    params: Json = read_yaml(path).get(stage.partition("@")[0], {}) if path.exists() else {}
    return params


def _read(path: Path) -> Json:
    found: Json = read_json(path) if path.exists() else {}
    return found
