"""The `gatecast` command. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import GatecastError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.params import DataParams

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_OUTPUTS = [".csv", ".csv.gz", ".csv.zst", ".parquet"]
_FORMATS = {".csv": "csv", ".csv.gz": "csv", ".csv.zst": "csv", ".parquet": "parquet", ".tsf": "tsf"}
_TRAINED, _FINAL = Path("models/trained"), Path("models/final")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"gatecast {version('gatecast')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Forecasts time series with the LSTM and GRU networks that `dvc repro` trained."""


@app.command()
def forecast(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="History: .csv, .csv.gz, .csv.zst, .parquet or .tsf.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Forecasts: .csv, .csv.gz, .csv.zst or .parquet.")],
    *,
    cell: Annotated[
        str | None, typer.Option(help="lstm, gru, or best: the better on validation; else what serve.cell says.")
    ] = None,
    future: Annotated[
        Path | None,
        typer.Option(help="Covariates known ahead, for the steps to forecast: .csv, .csv.gz, .csv.zst or .parquet."),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(help=f"Folder of the models; else {_FINAL} where it holds the cell, and {_TRAINED} where not."),
    ] = None,
    comparison: Annotated[Path, typer.Option(help="Folder of the comparison, which knows the best.")] = Path(
        "models/comparison"
    ),
    delimiter: Annotated[str, typer.Option(help="csv: between fields.")] = ",",
    decimal: Annotated[str, typer.Option(help="csv: decimal point.")] = ".",
    encoding: Annotated[str, typer.Option(help="csv: encoding.")] = "utf-8",
    threads: Annotated[int, typer.Option(min=1, help="Threads used.")] = 1,
) -> None:
    """Forecasts the steps after the last timestamp of each series.

    INPUT has the columns of the training data, or unique_id (optional for one series), ds and y with its covariates.
    """
    with _errors_in_one_line():
        _check_output(output, {"INPUT": source, "--future": future})
        from pipeline.forecaster import Forecaster

        keys = {None: "served", "best": "best_on_validation"}
        chosen = decided_cell(comparison, keys[cell]) if cell in keys else str(cell)
        folder = find_model(models, chosen)
        forecaster = Forecaster.load(folder, threads=threads)
        options = {"delimiter": delimiter, "decimal": decimal, "encoding": encoding}
        history = read_history(source, forecaster.meta, **options)
        _check_future(future, forecaster.meta)
        ahead = None if future is None else read_future(future, forecaster.meta, history=history, **options)
        result = forecaster.forecast(history, future=ahead)
        write_forecast(result, output)
    if not _is_evaluated(forecaster.meta):
        typer.echo(f"{folder}: trained on all data, not evaluated", err=True)
    by = _named(chosen, forecaster.meta)
    typer.echo(f"{output}: {result['unique_id'].nunique():,} series, {forecaster.spec.horizon} steps each, by {by}")


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """A mistake of the user's ends the command with one line and exit code 1."""
    try:
        yield
    except GatecastError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def find_model(models: Path | None, cell: str) -> Path:
    """Finds the bundle to forecast with.

    Args:
        models: the folder of the models that the user named; None for the default: the model of all data, where
            there is one, else the evaluated one.
        cell: key of `CELLS`.

    Returns:
        The bundle's folder.

    Raises:
        GatecastError: the cell is not among those trained.
    """
    if models is None:
        models = _FINAL if (_FINAL / cell / "forecaster.json").exists() else _TRAINED
    trained = {path.parent.name: path for path in sorted(models.glob("*/forecaster.json"))}
    if trained and cell not in trained:
        names = ", ".join(_named(name, _meta_of(path)) for name, path in trained.items())
        raise GatecastError(f"{models} has no cell {cell}. Trained: {names}; name one of them with --cell")
    return models / cell


def _meta_of(description: Path) -> Mapping[str, Any]:
    from pipeline.storage import read_json

    try:
        return dict(read_json(description))
    except (OSError, ValueError, TypeError):
        return {}  # loading it says what is wrong


def _is_evaluated(meta: Mapping[str, Any]) -> bool:
    """Whether a part of the data was left to evaluate a bundle on."""
    return bool(meta.get("evaluated", True))


def _named(cell: str, meta: Mapping[str, Any]) -> str:
    return cell if _is_evaluated(meta) else f"{cell} (not evaluated)"


def _check_future(future: Path | None, meta: Mapping[str, Any]) -> None:
    """Covariates known ahead are given where, and only where, they are taken."""
    names = meta["columns"]["future_covariates"]
    if names and future is None:
        told = f"--future: the forecaster takes {', '.join(names)} over the horizon. Received: nothing"
        raise GatecastError(f"{told}; name a file with the series, the time and these columns")
    if future is not None and not names:
        told = "--future: the forecaster takes no covariates over the horizon"
        raise GatecastError(f"{told}. Received: {str(future)!r}; leave it out")


def decided_cell(comparison: Path, key: str) -> str:
    """The cell that the comparison decided on.

    Args:
        comparison: the folder of verdict.json.
        key: `served`, what `serve.cell` says, or `best_on_validation`.

    Returns:
        Key of `CELLS`.

    Raises:
        GatecastError: there is no comparison yet, or it cannot be read.
    """
    from pipeline.storage import read_json

    path = comparison / "verdict.json"
    try:
        return str(read_json(path)[key])
    except (FileNotFoundError, NotADirectoryError):
        raise GatecastError(f"{path} not found; run `dvc repro` first, or name a cell with --cell") from None
    except (ValueError, KeyError, TypeError) as error:
        what = " ".join(str(error).split())
        raise GatecastError(
            f"{path}: no key {key} can be read ({what}); run `dvc repro`, or name a cell with --cell"
        ) from None


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
        GatecastError: the file's name has another ending, or an option is no single character.
        DataError: the file cannot be read.
    """
    from pipeline.columns import Columns, find_history_layout
    from pipeline.sources import read_source

    form = _FORMATS[_ending(path, list(_FORMATS), "INPUT")]
    names = Columns.from_json(meta["columns"]).covariates()
    if form == "tsf" and names:
        told = f"INPUT is a .tsf file, which has no covariates, and the forecaster needs {', '.join(names)}"
        raise GatecastError(f"{told}. Received: {str(path)!r}; bring a .csv or .parquet file with them")
    data = _data_of(path, form, meta, delimiter=delimiter, decimal=decimal, encoding=encoding)
    return read_source(data, find=find_history_layout)


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
        GatecastError: the file's name has another ending, or an option is no single character.
        DataError: the file cannot be read.
    """
    from pipeline.columns import Columns, find_future_layout
    from pipeline.sources import read_source

    form = _FORMATS[_ending(path, _OUTPUTS, "--future")]  # a .tsf file has no covariates
    ids = [name for name in (Columns.from_json(meta["columns"]).id_col, "unique_id") if name in history.columns]
    one_series = not ids or history[ids[0]].nunique() == 1
    data = _data_of(path, form, meta, delimiter=delimiter, decimal=decimal, encoding=encoding)
    return read_source(data, find=partial(find_future_layout, one_series=one_series))


def _data_of(
    path: Path, form: str, meta: Mapping[str, Any], *, delimiter: str, decimal: str, encoding: str
) -> DataParams:
    """A file with the columns of a bundle, as section data of params.yaml would describe it."""
    from pipeline.params import DataParams, RepairParams

    for name, value in (("delimiter", delimiter), ("decimal", decimal)):
        if len(value) != 1:
            raise GatecastError(f"--{name} is one character. Received: {value!r}")
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


def write_forecast(frame: pd.DataFrame, path: Path) -> None:
    """Writes a forecast, whole or not at all, in the format that its name ends with.

    Args:
        frame: what `Forecaster.forecast` gave.
        path: where; what lies there is replaced.

    Raises:
        GatecastError: the name has another ending, or the system refuses to write.
    """
    import gzip
    from io import BytesIO

    import zstandard

    from pipeline.storage import replacing

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


def _check_output(output: Path, sources: Mapping[str, Path | None]) -> None:
    """Before any work is done."""
    _ending(output, _OUTPUTS, "OUTPUT")
    if output.is_dir():
        raise GatecastError(f"OUTPUT {output} is a folder; name a file")
    for name, source in sources.items():
        if source is not None and output.resolve() == source.resolve():
            raise GatecastError(f"OUTPUT {output} would replace {name}; name another file")


def _ending(path: Path, known: list[str], argument: str) -> str:
    for ending in known:
        if path.name.lower().endswith(ending):
            return ending
    raise GatecastError(f"{argument} ends with one of {', '.join(known)}. Received: {str(path)!r}; rename it")
