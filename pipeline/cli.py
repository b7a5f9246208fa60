"""The `gatecast` command. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import GatecastError

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_OUTPUTS = [".csv", ".csv.gz", ".csv.zst", ".parquet"]
_FORMATS = {".csv": "csv", ".csv.gz": "csv", ".csv.zst": "csv", ".parquet": "parquet", ".tsf": "tsf"}


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
    models: Annotated[Path, typer.Option(help="Folder of the trained models.")] = Path("models/trained"),
    comparison: Annotated[Path, typer.Option(help="Folder of the comparison, which knows the best.")] = Path(
        "models/comparison"
    ),
    delimiter: Annotated[str, typer.Option(help="csv: between fields.")] = ",",
    decimal: Annotated[str, typer.Option(help="csv: decimal point.")] = ".",
    encoding: Annotated[str, typer.Option(help="csv: encoding.")] = "utf-8",
    threads: Annotated[int, typer.Option(min=1, help="Threads used.")] = 1,
) -> None:
    """Forecasts the steps after the last timestamp of each series.

    INPUT has the columns of the training data, or unique_id (optional for one series), ds and y.
    """
    with _errors_in_one_line():
        _check_output(source, output)
        from pipeline.forecaster import Forecaster

        keys = {None: "served", "best": "best_on_validation"}
        chosen = decided_cell(comparison, keys[cell]) if cell in keys else str(cell)
        _check_trained(models, chosen)
        forecaster = Forecaster.load(models / chosen, threads=threads)
        history = read_history(source, forecaster.meta, delimiter=delimiter, decimal=decimal, encoding=encoding)
        result = forecaster.forecast(history)
        write_forecast(result, output)
    typer.echo(f"{output}: {result['unique_id'].nunique():,} series, {forecaster.spec.horizon} steps each, by {chosen}")


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """A mistake of the user's ends the command with one line and exit code 1."""
    try:
        yield
    except GatecastError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def _check_trained(models: Path, cell: str) -> None:
    """A cell that is not trained is told with those that are."""
    trained = sorted(path.parent.name for path in models.glob("*/forecaster.json"))
    if trained and cell not in trained:
        raise GatecastError(f"{models} has no cell {cell}. Trained: {', '.join(trained)}; name one of them with --cell")


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


def read_history(path: Path, meta: Any, *, delimiter: str, decimal: str, encoding: str) -> pd.DataFrame:
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
    from pipeline.params import DataParams, RepairParams
    from pipeline.sources import read_source

    for name, value in (("delimiter", delimiter), ("decimal", decimal)):
        if len(value) != 1:
            raise GatecastError(f"--{name} is one character. Received: {value!r}")
    data = DataParams.model_validate(
        {
            **meta["columns"],
            "path": str(path),
            "pattern": "*",
            "format": _FORMATS[_ending(path, list(_FORMATS), "INPUT")],
            "delimiter": delimiter,
            "decimal": decimal,
            "encoding": encoding,
            "end": None,
            "min_history": 1,
            "repair": RepairParams.model_validate(meta["repair"]),
        }
    )
    return read_source(data)


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


def _check_output(source: Path, output: Path) -> None:
    """Before any work is done."""
    _ending(output, _OUTPUTS, "OUTPUT")
    if output.is_dir():
        raise GatecastError(f"OUTPUT {output} is a folder; name a file")
    if output.resolve() == source.resolve():
        raise GatecastError(f"OUTPUT {output} would replace INPUT; name another file")


def _ending(path: Path, known: list[str], argument: str) -> str:
    for ending in known:
        if path.name.lower().endswith(ending):
            return ending
    raise GatecastError(f"{argument} ends with one of {', '.join(known)}. Received: {str(path)!r}; rename it")
