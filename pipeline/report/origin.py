"""Where it all comes from: what was repaired in the data, and the hashes of data, settings and code."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ruamel.yaml import YAML

from pipeline.cells import CELLS
from pipeline.report.parts import Facts, Fold, Part, Section, Table, Text, counted, figure, missing, percent, title_of
from pipeline.report.sources import Json, Sources

_PACKAGES = ("gatecast", "tensorflow", "keras", "keras-tuner", "numpy", "pandas", "onnxruntime", "dvc", "plotly")
_SERIES = 30  # listed at most
_DIGITS = 16  # of a hash shown


def audit_section(sources: Sources) -> Section:
    """What ingest read, repaired and left out."""
    audit = sources.json("data/series/audit.json")
    if audit is None:
        return Section("audit", "The data", "", [missing("data/series/audit.json", "ingest")])
    steps, gone = int(audit["steps"]), int(audit["missing"])
    facts = [
        ("Series used", f"{audit['series']['used']:,} of {audit['series']['read']:,}"),
        ("Steps", f"{steps:,}"),
        ("Missing", f"{gone:,} ({percent(gone / steps if steps else None)})"),
        ("Rows used", f"{audit['rows'].get('used', 0):,} of {audit['rows'].get('read', 0):,}"),
        ("Frequency", str((audit.get("columns") or {}).get("freq", "–"))),
    ]
    repairs = [[code, figure(repair["count"])] for code, repair in audit["repairs"].items()]
    caption = "Everything that was changed in the data on the way in. Missing steps stay missing; nothing is filled in."
    none = Text("The data needed no repair; missing steps stay missing, nothing is filled in.")
    parts: list[Part] = [Facts(facts), Table("Repairs", ["repair", "count"], repairs, caption) if repairs else none]
    if per_series := audit.get("per_series"):
        parts.append(Fold("Series by series", [_by_series(per_series)]))
    lead = "What was read, what was repaired, and what was left out before anything was learned."
    return Section("audit", "The data", lead, parts)


def _by_series(per_series: Json) -> Table:
    """The series with the most missing steps first."""
    order = sorted(per_series.items(), key=lambda item: (-int(item[1]["missing"]), item[0]))
    rows = [
        [name, figure(found.get("rows_read")), figure(found["steps"]), figure(found["missing"])]
        for name, found in order[:_SERIES]
    ]
    left = len(order) - len(rows)
    caption = "Those with the most missing steps first." + (
        f" {counted(left, 'more series')} not listed." if left else ""
    )
    return Table("Series", ["series", "rows read", "steps", "missing"], rows, caption)


def lineage_section(sources: Sources) -> Section:
    """The hashes that tell one run from another."""
    lead = (
        "Two runs with the same hashes and versions, on the same kind of machine, give the same results to the last "
        "bit."
    )
    parts: list[Part] = []
    bundles = sources.of_cells("models/trained/{cell}/forecaster.json")
    rows = [
        [f"{title_of(cell)}: {words}", value]
        for cell, meta in bundles.items()
        for words, value in (
            ("data it was trained on", _short(meta.get("data_sha256"))),
            ("settings of its networks", _short(meta.get("params_sha256"))),
            ("served graph", _short((meta.get("files") or {}).get("forecaster.onnx"))),
            ("seeds", ", ".join(map(str, meta.get("seeds") or ())) or "–"),
            ("kernel", str(meta.get("kernel", "–"))),
        )
    ]
    if rows:
        parts.append(Table("The bundles", ["what", "sha256, its first digits, or value"], rows))
    if locked := _locked(sources):
        parts.append(Fold("Data, code and results of every stage", [locked]))
    installed = [[name, found] for name in _PACKAGES if (found := _version(name))]
    machine = f"Python {platform.python_version()} on {platform.machine()}"
    parts.append(
        Table("Versions at the time of this report", ["package", "version"], [*installed, ["runs on", machine]])
    )
    return Section("lineage", "Lineage", lead, parts)


def _locked(sources: Sources) -> Table | None:
    """What dvc.lock says of the stages that went before, where there is one."""
    path = sources.root / "dvc.lock"
    if not path.exists():
        return None
    stages = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")).get("stages", {})
    rows = [
        [f"{stage}: {item['path']}", _short(item.get("md5"))]
        for stage, entry in stages.items()
        if not stage.startswith("report") and _is_shown(stage, sources)
        for item in [*entry.get("deps", ()), *entry.get("outs", ())]
        if item in entry.get("outs", ()) or not item["path"].startswith("models/")
    ]
    caption = "As dvc.lock has them: for each stage the data and code it read, and what it wrote."
    return Table("dvc.lock", ["stage and file", "md5, its first digits"], rows, caption) if rows else None


def _is_shown(stage: str, sources: Sources) -> bool:
    """A stage of another cell than those compared is left over from before."""
    _, _, item = stage.partition("@")
    return item not in CELLS or item in sources.cells


def _short(value: Any) -> str:
    return str(value)[:_DIGITS] if value else "–"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
