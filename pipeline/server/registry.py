"""The models in service, by name; and the folder of published versions, looked at again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.bundle import DESCRIPTION
from pipeline.errors import BundleError, GatecastError
from pipeline.forecaster import Forecaster
from pipeline.server.metrics import Metrics
from pipeline.server.models import Model
from pipeline.server.request_errors import RequestError, UnknownModelError
from pipeline.server.versions import list_published

UNEVALUATED = " (not evaluated)"

log = logging.getLogger(__name__)

Start = Callable[[str, int, Forecaster], Model]
Load = Callable[[Path], Forecaster]


class Registry:
    """The models in service. A request takes one of them and keeps it, whatever comes meanwhile.

    Args:
        default: the name that a request means that names no model; None where there is none.
        metrics: that are told of versions.
    """

    def __init__(self, default: str | None, metrics: Metrics) -> None:
        self._default, self._metrics = default, metrics
        self._models: dict[str, Model] = {}

    @property
    def models(self) -> Mapping[str, Model]:
        """All of them, by name."""
        return dict(sorted(self._models.items()))

    @property
    def default(self) -> str | None:
        """The name that a request means that names no model."""
        only = next(iter(self._models)) if len(self._models) == 1 else None
        return self._default if self._default in self._models else only

    def put(self, model: Model) -> None:
        """Takes a model into service, in the place of an older version."""
        earlier = self._models.get(model.name)
        if earlier is not None and earlier.forecaster.cell != model.forecaster.cell:
            self._metrics.version.remove(model.name, earlier.forecaster.cell)
        self._models[model.name] = model
        self._metrics.version.labels(model.name, model.forecaster.cell).set(model.version)

    def find(self, name: str | None, version: str | None = None) -> Model:
        """Finds the model that a request means.

        Args:
            name: None for the default.
            version: None for the one that is served.

        Raises:
            UnknownModelError: it is not served.
            RequestError: `model-missing`: no name is given, and there is no default.
        """
        chosen = self.default if name is None else name
        if chosen is None:
            told = f"model: name one of {', '.join(self.models)}. Received: nothing"
            raise RequestError(422, told, code="model-missing", field="model")
        model = self._models.get(chosen)
        if model is None or (version is not None and version != str(model.version)):
            raise UnknownModelError(chosen, version, {known.name: known.version for known in self.models.values()})
        return model


class Watcher:
    """Takes published versions into service as they appear.

    A version that cannot be loaded is refused once, by metric and log, and the one before it stays; it is looked at
    again when its files are others.

    Args:
        root: folder of published bundles.
        registry: that serves them.
        load: a bundle.
        start: makes a forecaster a model.
        metrics: that are told.
    """

    def __init__(self, root: Path, registry: Registry, *, load: Load, start: Start, metrics: Metrics) -> None:
        self._root, self._registry, self._load, self._start, self._metrics = root, registry, load, start, metrics
        self._refused: dict[Path, tuple[tuple[str, float, int], ...]] = {}
        self._served: dict[Path, float] = {}

    def look(self) -> None:
        """Looks once."""
        for name, versions in list_published(self._root).items():
            served = self._registry.models.get(name)
            newer = [version for version in versions if served is None or self._is_newer(name, version, served)]
            taken = next((version for version in reversed(newer) if self._take(name, version)), None)
            refused = bool(newer) and taken != newer[-1]
            self._metrics.broken.labels(name).set(newer[-1] if refused else 0)

    def _is_newer(self, name: str, version: int, served: Model) -> bool:
        """Whether a version is above the one that is served, or is another one of its number, published anew."""
        folder = self._root / name / str(version)
        again = version == served.version and self._served.get(folder) != _changed(folder)
        return version > served.version or again

    async def watch(self, seconds: float) -> None:
        """Looks again and again, until cancelled.

        Args:
            seconds: between two looks.
        """
        while True:
            await asyncio.sleep(seconds)
            try:
                await asyncio.to_thread(self.look)
            except Exception:
                log.exception("%s: cannot be looked at", self._root)

    def _take(self, name: str, version: int) -> bool:
        """Takes a version into service, unless it is broken."""
        folder = self._root / name / str(version)
        changed, state = _changed(folder), _state(folder)
        if self._refused.get(folder) == state:
            return False
        try:
            model = self._start(name, version, self._load(folder))
        except GatecastError as error:
            self._refused[folder] = state
            self._metrics.reloads.labels(name, "refused").inc()
            log.error("model %s, version %d is refused: %s", name, version, error)
            return False
        self._served[folder] = changed
        self._registry.put(model)
        self._metrics.reloads.labels(name, "switched").inc()
        log.info("model %s, version %d is served%s", name, version, "" if model.forecaster.evaluated else UNEVALUATED)
        return True


def _changed(folder: Path) -> float:
    try:
        return (folder / DESCRIPTION).stat().st_mtime
    except OSError:
        return 0.0


def _state(folder: Path) -> tuple[tuple[str, float, int], ...]:
    """What the files of a version are: one that is being copied is another once it is whole."""
    try:
        found = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except OSError:
        return ()
    return tuple((name, told.st_mtime, told.st_size) for name, told in found)


def find_bundles(models: Path) -> Mapping[str, Path]:
    """The bundles of a folder whose models have no versions: a bundle itself, or one of each cell.

    Args:
        models: such as `models/trained`.

    Returns:
        Folders by name; none where the folder is one of published versions.

    Raises:
        BundleError: there is nothing to serve.
    """
    if (models / DESCRIPTION).is_file():
        return {models.resolve().name: models}
    found = {path.parent.name: path.parent for path in sorted(models.glob(f"*/{DESCRIPTION}"))}
    if not found and not list_published(models):
        told = f"{models} holds no bundle: neither {DESCRIPTION}, nor NAME/{DESCRIPTION}, nor NAME/1/{DESCRIPTION}"
        raise BundleError(f"{told}; run `dvc repro` or `gatecast publish`, or name another folder")
    return found
