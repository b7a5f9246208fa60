"""The `gatecast` command. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from pipeline.errors import DataError, GatecastError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_TRAINED, _FINAL = Path("models/trained"), Path("models/final")
_CELL = "lstm, gru, ridge, or best: the best cell on validation; else what serve.cell said in the last `dvc repro`"
_SKIP_EMPTY = dict.fromkeys(
    ("context-empty", "series-unobserved"), "bring values of it, or leave such series out with --skip-empty"
)

_Comparison = Annotated[Path, typer.Option(help="Folder of the comparison, which knows the best.")]
_Models = Annotated[
    Path | None,
    typer.Option(
        help=f"Folder of the models, or one bundle; else {_FINAL} where it holds the cell, and {_TRAINED} where not."
    ),
]


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
    """Forecasts time series with the LSTM and GRU networks, or the ridge regression, that `dvc repro` trained."""


@app.command()
def forecast(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="History: .csv, .csv.gz, .csv.zst, .parquet or .tsf.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Forecasts: .csv, .csv.gz, .csv.zst or .parquet.")],
    *,
    cell: Annotated[str | None, typer.Option(help=f"{_CELL}.")] = None,
    future: Annotated[
        Path | None,
        typer.Option(help="Covariates known ahead, for the steps to forecast: .csv, .csv.gz, .csv.zst or .parquet."),
    ] = None,
    models: _Models = None,
    comparison: _Comparison = Path("models/comparison"),
    skip_empty: Annotated[
        bool, typer.Option("--skip-empty", help="Leave out series without a value in what the forecast sees.")
    ] = False,
    delimiter: Annotated[str, typer.Option(help="csv: between fields, of INPUT and --future alike.")] = ",",
    decimal: Annotated[str, typer.Option(help="csv: decimal point, likewise.")] = ".",
    encoding: Annotated[str, typer.Option(help="csv: encoding, likewise.")] = "utf-8",
    threads: Annotated[int, typer.Option(min=1, help="Threads used.")] = 1,
) -> None:
    """Forecasts the steps after the last timestamp of each series.

    INPUT has the columns of the training data, or unique_id (optional for one series), ds and y with its covariates.
    """
    with _errors_in_one_line({} if skip_empty else _SKIP_EMPTY):
        from pipeline.columns import listing
        from pipeline.forecaster import Forecaster
        from pipeline.userfiles import check_output, one_character, read_future, read_history, write_forecast

        check_output(output, {"INPUT": source, "--future": future})
        folder = find_model(models, cell, comparison)
        forecaster = Forecaster.load(folder, threads=threads)
        marks = {"delimiter": delimiter, "decimal": decimal}
        options = {name: one_character(mark, f"--{name}") for name, mark in marks.items()} | {"encoding": encoding}
        history = read_history(source, forecaster.meta, **options)
        takes_future = _takes_future(future, forecaster.meta)
        ahead = read_future(future, forecaster.meta, history=history, **options) if future and takes_future else None
        prepared = forecaster.prepare(history, future=ahead, skip_empty=skip_empty)
        result = prepared.frame(forecaster.run(prepared.inputs)["forecast"])
        write_forecast(result, output)
    if future is not None and not takes_future:
        typer.echo(f"{future}: not read, as {forecaster.meta['cell']} takes no covariates over the horizon", err=True)
    if left_out := prepared.left_out:
        told = f"{len(left_out):,} series without a value in what the forecast sees are left out"
        typer.echo(f"{source}: {told}: {listing(left_out)}", err=True)
    _tell_unevaluated(folder, forecaster.meta)
    by = _named(forecaster.meta["cell"], forecaster.meta)
    typer.echo(f"{output}: {result['unique_id'].nunique():,} series, {forecaster.spec.horizon} steps each, by {by}")


@app.command()
def serve(
    models: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of bundles, of published versions, or one bundle; "
            f"else {_TRAINED}, with those of {_FINAL} in the place of theirs."
        ),
    ] = None,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for one that is free.")] = 8000,
    cell: Annotated[
        str | None,
        typer.Option(
            help=f"Who answers requests that name no model: {_CELL}; of several published ones none. Or a name."
        ),
    ] = None,
    comparison: _Comparison = Path("models/comparison"),
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with the key that requests bring; else GATECAST_API_KEY holds it.")
    ] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Serve other machines without a key.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads used by one call of a model.")] = 1,
) -> None:
    """Serves forecasts over HTTP until it is told to stop."""
    with _errors_in_one_line():
        from pipeline.server.auth import check_exposure, find_key
        from pipeline.server.registry import find_bundles
        from pipeline.server.versions import list_published

        key = find_key(api_key_file)
        check_exposure(host, key, no_auth=no_auth)
        root = models or _TRAINED
        bundles = find_bundles(root)
        if models is None:
            for name in (left := _left_over(comparison)):
                typer.echo(f"{_TRAINED / name}: left by an earlier run with other cells, not served", err=True)
            bundles = {name: _latest(name, comparison) for name in bundles if name not in left}
        folders = bundles or {name: root / name / str(found[-1]) for name, found in list_published(root).items()}
        default = _default_model(folders, cell, comparison) if bundles or cell else None

        from pipeline.server.app import create_app
        from pipeline.server.limits import Limits
        from pipeline.server.process import bind, open_listener, run

        listener = bind(host, port)
        limits = Limits()
        try:
            server = create_app(bundles or root, default=default, key=key, threads=threads, limits=limits)
        except GatecastError:
            listener.close()
            raise
        served = ", ".join(
            _named(str(bundles.get(name) or root / name / str(model.version)), model.forecaster.meta)
            for name, model in server.state.registry.models.items()
        )
        watched = "" if bundles else f", watches {root}"
        typer.echo(f"{open_listener(listener)} serves {served}{watched}; Ctrl-C stops it", err=True)
        run(server, listener, limits)


def _default_model(folders: Mapping[str, Path], cell: str | None, comparison: Path) -> str | None:
    """The model that answers where none is named: the one of that name, or else the one of that cell."""
    if cell is None and len(folders) == 1:
        return None
    chosen = _chosen_cell(cell, comparison)
    cells = {name: str(_meta_of(folder / "forecaster.json").get("cell", name)) for name, folder in folders.items()}
    found = [chosen] if chosen in folders else [name for name in folders if cells[name] == chosen]
    if len(found) == 1:
        return found[0]
    what = "the cell of several models" if found else "not among the models"
    served = ", ".join(name if cells[name] == name else f"{name} ({cells[name]})" for name in folders)
    raise GatecastError(f"--cell: {chosen} is {what}. Served: {served}; name one of them")


@app.command()
def publish(
    *,
    to: Annotated[Path, typer.Option(help="Folder of published models, which `gatecast serve FOLDER` watches.")],
    cell: Annotated[str | None, typer.Option(help=f"{_CELL}.")] = None,
    name: Annotated[str, typer.Option(help="Name of the model.")] = "gatecast",
    models: _Models = None,
    comparison: _Comparison = Path("models/comparison"),
) -> None:
    """Publishes a trained model as the next version, FOLDER/NAME/N, which appears there whole or not at all."""
    with _errors_in_one_line():
        from pipeline.server.versions import publish_bundle

        folder = find_model(models, cell, comparison)
        place = publish_bundle(folder, to, name=name)
        meta = _meta_of(place / "forecaster.json")
    _tell_unevaluated(folder, meta)
    typer.echo(f"{place}: published from {_named(str(folder), meta)}")


def _chosen_cell(cell: str | None, comparison: Path) -> str:
    keys = {None: "served", "best": "best_on_validation"}
    return decided_cell(comparison, keys[cell]) if cell in keys else str(cell)


@contextmanager
def _errors_in_one_line(mends: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
    """A mistake of the user's ends the command with one line and exit code 1; `mends` are those by an option."""
    try:
        yield
    except GatecastError as error:
        if isinstance(error, DataError):
            from pipeline.mending import for_forecast

            error = for_forecast(error, "--{}".format, mends)
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def find_model(models: Path | None, cell: str | None, comparison: Path) -> Path:
    """Finds the bundle to forecast with.

    Args:
        models: the folder of the models that the user named, or a bundle; None for the default: the model of all data,
            where there is one, else the evaluated one.
        cell: key of `CELLS`, `ridge` or `best`; None for what `serve.cell` says.
        comparison: the folder of verdict.json.

    Returns:
        The bundle's folder.

    Raises:
        GatecastError: the cell is not among those trained, or was not in the last run.
    """
    if models is not None and (models / "forecaster.json").is_file():
        held = str(_meta_of(models / "forecaster.json").get("cell"))
        if cell not in {None, held} and (wanted := _chosen_cell(cell, comparison)) != held:
            raise GatecastError(f"--cell: {models} is a model of {held}. Received: {wanted}; leave --cell out")
        return models
    chosen = _chosen_cell(cell, comparison)
    if models is None and chosen in _left_over(comparison):
        told = f"{_TRAINED / chosen} was left by an earlier run with other cells"
        raise GatecastError(f"{told}; add {chosen} to cells and run `dvc repro`, or take it by --models {_TRAINED}")
    folder = _latest(chosen, comparison) if models is None else models / chosen
    trained = {path.parent.name: path for path in sorted(folder.parent.glob("*/forecaster.json"))}
    if trained and chosen not in trained:
        names = ", ".join(_named(name, _meta_of(path)) for name, path in trained.items())
        raise GatecastError(f"{folder.parent} has no cell {chosen}. Trained: {names}; name one of them with --cell")
    if not trained and models is not None:
        raise GatecastError(f"--models: {models} holds no bundle; name a bundle, or a folder such as {_TRAINED}")
    return folder


def _latest(cell: str, comparison: Path) -> Path:
    """The model of all data, unless there is none or it goes back to another than the trained one."""
    from pipeline.storage import sha256_of

    trained, final = (folder / cell / "forecaster.json" for folder in (_TRAINED, _FINAL))
    compared = _compared(comparison, "bundles").get(cell)
    if trained.exists() and compared not in {None, sha256_of(trained)}:
        told = "trained after the last comparison, not evaluated by it; `dvc repro` ends the run"
        typer.echo(f"{trained.parent}: {told}", err=True)
    if not final.exists():
        return trained.parent
    if trained.exists() and _meta_of(final).get("trained_sha256") not in {None, sha256_of(trained)}:
        typer.echo(
            f"{final.parent}: made of an earlier {trained.parent}, not used; `dvc repro` makes it anew", err=True
        )
        return trained.parent
    return final.parent


def _left_over(comparison: Path) -> Sequence[str]:
    """The bundles that are not of the last run, as DVC keeps the outputs of cells that are struck from params.yaml."""
    models = _compared(comparison, "models")
    found = {path.parent.name for path in _TRAINED.glob("*/forecaster.json")}
    return sorted(found - set(models)) if models else []


def _compared(comparison: Path, key: str) -> Mapping[str, Any]:
    """What the last comparison says of each bundle; nothing where it cannot be read."""
    from pipeline.storage import read_json

    try:
        found = read_json(comparison / "verdict.json")[key]
        return dict(found) if isinstance(found, dict) else dict.fromkeys(found)
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _meta_of(description: Path) -> Mapping[str, Any]:
    from pipeline.storage import read_json

    try:
        return dict(read_json(description))
    except (OSError, ValueError, TypeError):
        return {}  # loading it says what is wrong


def _named(what: str, meta: Mapping[str, Any]) -> str:
    """A cell or a bundle, with a word of warning where no part of the data was left to evaluate it on."""
    from pipeline.bundle import is_evaluated

    return what if is_evaluated(meta) else f"{what} (not evaluated)"


def _tell_unevaluated(folder: Path, meta: Mapping[str, Any]) -> None:
    from pipeline.bundle import is_evaluated

    if not is_evaluated(meta):
        typer.echo(f"{folder}: trained on all data, not evaluated", err=True)


def _takes_future(future: Path | None, meta: Mapping[str, Any]) -> bool:
    """Whether a model takes covariates known ahead, which have to be given then."""
    names = meta["columns"]["future_covariates"]
    if names and future is None:
        told = f"--future: the forecaster takes {', '.join(names)} over the horizon. Received: nothing"
        raise GatecastError(f"{told}; name a file with the series, the time and these columns")
    return bool(names)


def decided_cell(comparison: Path, key: str) -> str:
    """The cell that the comparison decided on.

    Args:
        comparison: the folder of verdict.json.
        key: `served`, what `serve.cell` says, or `best_on_validation`.

    Returns:
        Key of `CELLS`, or `ridge`.

    Raises:
        GatecastError: there is no comparison yet, or it cannot be read.
    """
    from pipeline.storage import read_json

    path = comparison / "verdict.json"
    try:
        return str(read_json(path)[key])
    except (FileNotFoundError, NotADirectoryError):
        raise GatecastError(f"{path} not found; run `dvc repro` first, or name a cell with --cell") from None
    except OSError as error:
        told = f"{path} cannot be read: {error.strerror}; make it a file that can be read, or name a cell with --cell"
        raise GatecastError(told) from None
    except (ValueError, KeyError, TypeError) as error:
        what = " ".join(str(error).split())
        raise GatecastError(
            f"{path}: no key {key} can be read ({what}); run `dvc repro`, or name a cell with --cell"
        ) from None
