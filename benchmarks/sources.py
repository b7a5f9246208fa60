"""The file of a benchmark: from the folder that GATECAST_DATA names, or downloaded from its public source."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import BadZipFile

from benchmarks.benchmark import Source
from pipeline.errors import GatecastError
from pipeline.storage import sha256_of


def find_source(source: Source) -> Path:
    """Gives the file of a data set, which is the very file that the benchmark was made for.

    Args:
        source: where it is from.

    Returns:
        Its absolute path, in the folder that GATECAST_DATA names where it is there, else in the user's cache.

    Raises:
        GatecastError: it is in no local folder and cannot be downloaded, or its sha256 is another.
    """
    folder = os.environ.get("GATECAST_DATA")
    local = (Path(folder) / source.path).resolve() if folder else None
    file = local if local and local.exists() else download(source)
    found = sha256_of(file)
    if found != source.sha256:
        place = file if file == local else file.parent
        raise GatecastError(
            f"{file}: the benchmark is defined on a file with sha256 {source.sha256}. Received: {found}; "
            f"remove {place} and run again to download it from {source.url}"
        )
    return file


def download(source: Source) -> Path:
    """Downloads the file of a data set into the user's cache, unless it lies there.

    Raises:
        GatecastError: pooch is not installed, or the download failed.
    """
    mend = f"or put {source.path} into a folder and name that in GATECAST_DATA"
    try:
        import pooch  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise GatecastError(
            f"{source.path} has to be downloaded, which takes pooch: "
            f"pip install -c constraints.txt -e '.[benchmarks]', {mend}"
        ) from None
    # Whatever pooch makes of the file lies in a folder of its own, which can be removed as a whole.
    folder = Path(pooch.os_cache("gatecast")) / f"{Path(source.path).stem}-{source.sha256[:8]}"
    unzip = None if source.member is None else pooch.Unzip(members=[source.member], extract_dir=".")
    try:
        # The digest is that of the file inside the zip, so pooch has none to check.
        pooch.retrieve(source.url, known_hash=None, fname=source.url.split("/")[-1], path=folder, processor=unzip)
    except (OSError, ValueError, KeyError, BadZipFile) as error:  # what requests raises is an OSError
        reason = " ".join(str(error).split())[:200]
        raise GatecastError(
            f"{source.url} cannot be downloaded. Received: {type(error).__name__}: {reason}; remove {folder} and run "
            f"again with a network, {mend}"
        ) from None
    file = folder / (source.member or source.url.split("/")[-1])
    if not file.exists():
        raise GatecastError(f"{source.url} holds no {source.member}; remove {folder} and run again, {mend}")
    return file
