"""Published bundles, `FOLDER/NAME/N/`: written whole by one rename, numbered from 1, and checked before they serve."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from pipeline.bundle import DESCRIPTION
from pipeline.errors import BundleError, GatecastError
from pipeline.storage import read_json, sha256_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


def list_versions(folder: Path) -> list[int]:
    """The versions in the folder of one name, ascending; what else lies there is left out."""
    return [number for number in _numbers(folder) if (folder / str(number)).is_dir()]


def _numbers(folder: Path) -> list[int]:
    """The names in a folder that are numbers, of whatever kind what has them is, ascending."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    return sorted(int(name) for name in names if _NUMBER.fullmatch(name))


def list_published(root: Path) -> dict[str, list[int]]:
    """The names that a folder of published bundles holds, each with its versions."""
    try:
        names = sorted(path.name for path in root.iterdir() if _NAME.fullmatch(path.name))
    except OSError:
        return {}
    found = {name: list_versions(root / name) for name in names}
    return {name: versions for name, versions in found.items() if versions}


def verify_files(folder: Path) -> list[Path]:
    """Checks every file that a bundle lists.

    Args:
        folder: the bundle.

    Returns:
        The files, forecaster.json the first.

    Raises:
        BundleError: forecaster.json cannot be read, or a file is missing or altered.
    """
    description = folder / DESCRIPTION
    try:
        listed = {str(name): str(expected) for name, expected in read_json(description)["files"].items()}
    except OSError as error:
        raise BundleError(f"{description} cannot be read: {error.strerror}; name the folder of a bundle") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{description} lists no files: {' '.join(str(error).split())}; publish it again") from None
    for name, expected in listed.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleError(f"{description} lists a file outside of the bundle. Received: {name!r}; publish it again")
        if not path.is_file():
            raise BundleError(f"{path} is missing; publish the bundle again")
        try:
            received = sha256_of(path)
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error.strerror}; make it readable") from None
        if received != expected:
            raise BundleError(
                f"{path} was altered: sha256 {expected} is expected. Received: {received}; publish the bundle again"
            )
    return [description, *(folder / name for name in listed)]


def publish_bundle(bundle: Path, root: Path, *, name: str) -> Path:
    """Copies a bundle to where a server looks for versions; it appears there whole or not at all.

    Args:
        bundle: the folder of a bundle.
        root: of the published bundles.
        name: of the model.

    Returns:
        The new folder, `root/name/N`, N one more than the highest number that anything there has.

    Raises:
        BundleError: the bundle is altered or incomplete.
        GatecastError: the name cannot be one, or the system refuses to write.
    """
    if not _NAME.fullmatch(name):
        told = (
            "--name has letters, digits, dots, dashes and underscores, at most 100, and starts with none of the marks"
        )
        raise GatecastError(f"{told}. Received: {name!r}; choose another name")
    files = verify_files(bundle)
    place = root / name
    try:
        place.mkdir(parents=True, exist_ok=True)
        # Not by the number of the process, which another container may have too.
        with tempfile.TemporaryDirectory(
            dir=place, prefix=".", suffix=".partial", ignore_cleanup_errors=True
        ) as temporary:
            beside = Path(temporary)
            beside.chmod(0o755)
            for file in files:
                copy = beside / file.relative_to(bundle)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
                _sync(copy)
            verify_files(beside)
            return _number(beside, place)
    except OSError as error:
        raise GatecastError(f"{place} cannot be written: {error.strerror}; choose another place") from None


def _number(beside: Path, place: Path) -> Path:
    """Gives a folder the next free number."""
    number = max(_numbers(place), default=0) + 1
    while True:
        target = place / str(number)
        try:
            beside.rename(target)
        except OSError:
            if not os.path.lexists(target):
                raise
            number += 1  # another took it
            continue
        _sync(place)
        return target


def _sync(path: Path) -> None:
    """Brings a file or a folder to the disk, so that a crash leaves no version with holes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
