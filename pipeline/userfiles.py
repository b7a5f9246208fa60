"""Files that a user hands over for a forecast, and the file that it goes to."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import zstandard

from pipeline.columns import Columns, find_future_layout, find_history_layout
from pipeline.errors import GatecastError
from pipeline.params import DataParams, RepairParams, read_tab
from pipeline.sources import read_source
from pipeline.storage import replacing

_SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods")  # which are not read
_OUTPUTS = [".csv", ".csv.gz", ".csv.zst", ".parquet"]
_FORMATS = {".csv": "csv", ".csv.gz": "csv", ".csv.zst": "csv", ".parquet": "parquet", ".tsf": "tsf"}


def read_history(path: Path, meta: Mapping[str, Any], *, delimiter: str, decimal: str, encoding: str) -> pd.DataFrame:
    """Reads the history to forecast from, as ingest reads its data.

    Args:
        path: the file.
        meta: the bundle's, whose columns the file has.
        delimiter: of a CSV file.
        decimal: the decimal point of a CSV file.
        encoding: of a CSV file.

    Returns:
        A raw frame that knows file and row of everything in it.

    Raises:
        GatecastError: the file's name has another ending.
        DataError: the file cannot be read.
    """
    form = _FORMATS[_ending(path, list(_FORMATS), "INPUT")]
    names = Columns.from_json(meta["columns"]).covariates()
    if form == "tsf" and names:
        told = f"INPUT is a .tsf file, which has no covariates, and the forecaster needs {', '.join(names)}"
        raise GatecastError(f"{told}. Received: {str(path)!r}; bring a .csv or .parquet file with them")
    text = {"delimiter": delimiter, "decimal": decimal, "encoding": encoding}
    return read_source(data_of(path, form, meta, **text), find=find_history_layout)


def read_future(
    path: Path, meta: Mapping[str, Any], *, history: pd.DataFrame, delimiter: str, decimal: str, encoding: str
) -> pd.DataFrame:
    """Reads the covariates that are known ahead.

    Args:
        path: the file.
        meta: the bundle's, whose columns but the target the file has.
        history: what `read_history` gave.
        delimiter: as for `read_history`.
        decimal: as for `read_history`.
        encoding: as for `read_history`.

    Returns:
        A raw frame as `read_history` gives it: series, time and the future covariates.

    Raises:
        GatecastError: the file's name has another ending.
        DataError: the file cannot be read.
    """
    form = _FORMATS[_ending(path, _OUTPUTS, "--future")]  # a .tsf file has no covariates
    ids = [name for name in (Columns.from_json(meta["columns"]).id_col, "unique_id") if name in history.columns]
    one_series = not ids or history[ids[0]].nunique() == 1
    text = {"delimiter": delimiter, "decimal": decimal, "encoding": encoding}
    data = data_of(path, form, meta, **text)
    return read_source(data, find=partial(find_future_layout, one_series=one_series))


def data_of(
    path: Path, form: str, meta: Mapping[str, Any], *, delimiter: str, decimal: str, encoding: str
) -> DataParams:
    """Describes a file with the columns of a bundle, as section data of params.yaml would.

    Args:
        path: the file.
        form: its format, as `data.format`.
        meta: the bundle's.
        delimiter: of a CSV file.
        decimal: the decimal point of a CSV file.
        encoding: of a CSV file.
    """
    return DataParams.model_validate(
        {
            **meta["columns"],
            "path": str(path),
            "pattern": "*",
            "format": form,
            "delimiter": delimiter,
            "decimal": decimal,
            "encoding": encoding,
            "end": None,
            "min_history": 1,
            "repair": RepairParams.model_validate(meta["repair"]),
        }
    )


def one_character(value: str, name: str) -> str:
    """A delimiter or a decimal point; for `\\t` a tab, as in params.yaml.

    Args:
        value: as it was given.
        name: of the option or field.

    Raises:
        GatecastError: it is none or several.
    """
    value = str(read_tab(value))
    if len(value) != 1:
        raise GatecastError(f"{name} is one character. Received: {value!r}; give one, such as ';' or '\\t'")
    return value


def check_output(output: Path, sources: Mapping[str, Path | None]) -> None:
    """Checks where a forecast goes before any work is done.

    Args:
        output: as for `write_forecast`.
        sources: files that it must not replace, by the argument that names each.

    Raises:
        GatecastError: the name has another ending, is a folder's or a source's.
    """
    _ending(output, _OUTPUTS, "OUTPUT")
    if output.is_dir():
        raise GatecastError(f"OUTPUT {output} is a folder; name a file")
    for name, source in sources.items():
        if source is not None and output.resolve() == source.resolve():
            raise GatecastError(f"OUTPUT {output} would replace {name}; name another file")


def write_forecast(frame: pd.DataFrame, path: Path) -> None:
    """Writes a forecast, whole or not at all, in the format that its name ends with.

    Args:
        frame: what `Forecaster.forecast` gave.
        path: where; what lies there is replaced.

    Raises:
        GatecastError: the name has another ending, or the system refuses to write.
    """
    ending = _ending(path, _OUTPUTS, "OUTPUT")
    buffer = BytesIO()
    if ending == ".parquet":
        frame.to_parquet(buffer, index=False)
    else:
        frame.to_csv(buffer, index=False, lineterminator="\n")
    compress = {".csv.gz": lambda raw: gzip.compress(raw, mtime=0), ".csv.zst": zstandard.ZstdCompressor().compress}
    content = compress.get(ending, bytes)(buffer.getvalue())
    try:
        with replacing(path) as beside:
            beside.write_bytes(content)
    except OSError as error:
        raise GatecastError(f"{path} cannot be written: {error.strerror}; choose another place") from None


def _ending(path: Path, known: list[str], argument: str) -> str:
    for ending in known:
        if path.name.lower().endswith(ending):
            return ending
    mend = mend_ending(path.name, "rename it")
    raise GatecastError(f"{argument} ends with one of {', '.join(known)}. Received: {str(path)!r}; {mend}")


def mend_ending(name: str, usual: str) -> str:
    """What to do with a file whose name has an ending that is not read: something else with a spreadsheet."""
    return "save the spreadsheet as CSV" if name.lower().endswith(_SPREADSHEETS) else usual
