"""Files on disk -> panel: every check by its code, with the row it names, and every repair with its count."""

from __future__ import annotations

import dataclasses
import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checks import CHECKS, failure
from pipeline.errors import DataError
from pipeline.mending import for_forecast
from pipeline.params import DataParams, RepairParams, StaticParams, load_params
from pipeline.series import Columns, Panel, build_panel
from pipeline.sources import read_source

STRICT = RepairParams(
    duplicate_rows="error",
    conflicting_rows="error",
    null_time="error",
    bad_time="error",
    off_grid="error",
    bad_value="error",
    infinite="error",
    gaps="error",
    constant="error",
    short="error",
)
BASE = load_params(Path(__file__).parents[1] / "params.yaml").data.model_copy(
    update={
        "id_col": None,
        "time_col": ("t",),
        "target_col": ("v",),
        "freq": "D",
        "min_history": 1,
        "repair": STRICT,
    }
)
GOOD = "t,v\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n2024-01-04,4\n"
TSF = """# a comment
@relation Load
@attribute series_name string
@attribute start_timestamp date
@frequency daily
@data
T1:2024-01-01 00-00-00:1,2,?,4
T2:2024-02-01 00-00-00:5,6.5
"""


def packed(content: bytes) -> bytes:
    """Gzip without the time of packing: a test case whose name changes cannot be collected by two processes."""
    return gzip.compress(content, mtime=0)


def params(path: Path, **changes: Any) -> DataParams:
    repair = STRICT.model_copy(update=changes.pop("repair", {}))
    return BASE.model_copy(update={"path": str(path), "repair": repair, **changes})


def ingest(data: DataParams) -> Panel:
    return build_panel(
        read_source(data),
        columns=Columns.from_params(data),
        repair=data.repair,
        min_history=data.min_history,
        end=data.end,
    )


def write(folder: Path, content: str | bytes | Callable[[Path], None], name: str = "load.csv") -> Path:
    path = folder / name
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet(**columns: Any) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table(columns), path)


def zst(path: Path) -> bytes:
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(GOOD.encode())
    return path.read_bytes()


def cut_zst(path: Path) -> None:
    path.write_bytes(zst(path)[:-3])


def wide_rows(start: str, step: str, count: int) -> str:
    stamps = pd.date_range(start, periods=count, freq=step)
    return "t,v\n" + "".join(f"{stamp},{number}\n" for number, stamp in enumerate(stamps))


# code, file content, file name, changes to the params, what the message says
FAILURES: list[tuple[str, Any, str, dict[str, Any], list[str]]] = [
    ("file-missing", lambda path: None, "absent.csv", {}, ["absent.csv: no such file"]),
    ("file-no-match", lambda path: path.mkdir(), "folder", {"pattern": "*.csv"}, ["'*.csv'", "data.pattern"]),
    ("file-no-match", lambda path: path.mkdir(), "folder", {"pattern": "/a*"}, ["'/a*'", "params.yaml"]),
    ("file-empty", b"", "load.csv", {}, ["load.csv", "0 bytes"]),
    ("file-empty", b"\n\n", "load.csv", {}, ["load.csv", "2 bytes"]),
    *[
        ("file-empty", blank.encode(encoding), "load.csv", {"encoding": codec}, ["load.csv", "nothing in it"])
        for encoding, codec in (("utf-8-sig", "utf-8"), ("utf-16", "utf-16"))
        for blank in ("", "\n\r\n")
    ],
    ("file-empty", "t,v\n", "load.csv", {}, ["header without rows"]),
    ("file-empty", "t,v", "load.csv", {}, ["header without rows"]),
    ("file-empty", packed(b""), "load.csv.gz", {}, ["0 bytes"]),
    (
        "file-empty",
        parquet(t=pa.array([], pa.string()), v=pa.array([], pa.float64())),
        "a.parquet",
        {"format": "parquet"},
        ["no rows"],
    ),
    ("file-empty", b"", "a.parquet", {"format": "parquet"}, ["0 bytes"]),
    ("file-empty", TSF.partition("T1")[0], "a.tsf", {"format": "tsf"}, ["no series"]),
    ("file-encoding", GOOD.replace("4\n", "\xe9\n").encode("latin-1"), "load.csv", {}, ["line 5", "utf-8", "0xe9"]),
    ("file-encoding", GOOD, "load.csv", {"encoding": "klingon"}, ["params.yaml, data.encoding", "'klingon'"]),
    ("file-encoding", GOOD.replace("3\n", "é\n"), "load.csv", {"encoding": "ascii"}, ["line 4", "0xc3"]),
    *[
        ("file-encoding", b"\xef\xbb\xbf" + text, "load.csv", {}, [f"line {line}", "byte 0xff"])
        for text, line in ((b"t,v\n\xff\n", 2), (b"t\xff\n", 1))
    ],
    *[
        ("file-encoding", GOOD.encode() + lone, "load.csv", {"encoding": codec}, ["none of files", f"'{codec}'"])
        for codec, lone in (("unicode_escape", b"\\ud800"), ("utf-7", b"+2AA-"))
    ],
    ("file-binary", GOOD.encode() + b"2024-01-05,\0\n", "load.csv", {}, ["line 6", "NUL"]),
    ("file-binary", b"t,v\n\xff\0\n", "load.csv", {}, ["line 2", "NUL"]),
    ("file-truncated", packed(GOOD.encode())[:-9], "load.csv.gz", {}, [".gz file ends too early"]),
    ("file-truncated", cut_zst, "load.csv.zst", {}, [".zst file ends too early"]),
    ("file-corrupt", GOOD, "load.csv.gz", {}, ["no .gz file"]),
    ("file-corrupt", GOOD, "load.csv.zst", {}, ["no .zst file"]),
    ("file-corrupt", GOOD, "a.parquet", {"format": "parquet"}, ["no Parquet file", f"{len(GOOD)} bytes"]),
    *[
        (
            "file-corrupt",
            parquet(**{"k": ["a"], "t": pa.array([0], pa.date32()), "v": [1.0], column: values}),
            "a.parquet",
            {"format": "parquet", "id_col": "k"},
            [
                f"a.parquet, column '{column}': values of type '{values.type}' cannot be read ({cause}",
                "; write them as",
            ],
        )
        for column, values, cause in (
            ("k", pa.array([{"a": 1}]), "a cell is one value)"),
            ("k", pa.array([[1]], pa.list_(pa.field("element", pa.int64()))), "a cell is one value)"),
            ("v", pa.array([{"a": 1}]), "a cell is one value)"),
            ("t", pa.array([2**31 - 1], pa.int32()).cast(pa.date32()), "Casting from date32"),
            ("t", pa.array([2**62], pa.timestamp("ms")), "Casting from timestamp[ms]"),
            ("t", pa.array([0], pa.timestamp("us", "Mars/Olympus")), "no such time zone)"),
            ("v", pa.array([b"\xff"]).view(pa.string()), "In chunk 0: Invalid: Invalid UTF8"),
        )
    ],
    ("csv-delimiter", GOOD, "load.csv", {"delimiter": "¦"}, ["data.delimiter", "'¦'"]),
    (
        "row-ragged",
        GOOD + "\n2024-01-05,5,6\n",
        "load.csv",
        {},
        ["line 7", "3 fields, the header has 2", "'2024-01-05,5,6'"],
    ),
    ("row-ragged", GOOD + "2024-01-05", "load.csv", {}, ["line 6", "1 fields", "'2024-01-05'"]),
    ("row-ragged", 't,v\n2024-01-01,"1\n2024-01-02,2\n', "load.csv", {}, ["line 2", "quoted"]),
    ("tsf-header", "@attribute start_timestamp date\n@data\nx:1\n", "a.tsf", {"format": "tsf"}, ["series_name"]),
    ("tsf-header", TSF.replace("@data", "@date"), "a.tsf", {"format": "tsf"}, ["'@data'"]),
    *[
        (
            "tsf-header",
            TSF.replace("daily", other),
            "a.tsf",
            {"format": "tsf"},
            [f"none that is known. Received: '{other}"],
        )
        for other in ("fortnightly", "0_seconds", f"{10**20}_days")
    ],
    (
        "tsf-header",
        "@attribute series_name string\n@data\nT1:1,2\n",
        "a.tsf",
        {"format": "tsf"},
        ["start_timestamp", "data.freq: 1"],
    ),
    ("tsf-row", TSF + "T3:1,2\n", "a.tsf", {"format": "tsf"}, ["line 9", "1 attributes, the header has 2"]),
    ("tsf-row", TSF.replace("2024-02", "2024-13"), "a.tsf", {"format": "tsf"}, ["line 8", "'2024-13-01 00-00-00'"]),
    ("column-missing", GOOD, "load.csv", {"target_col": ("w",)}, ["no column 'w'", "Found: 't', 'v'"]),
    ("column-missing", GOOD, "load.csv", {"delimiter": ";"}, ["no column 't', 'v'", "Found: 't,v'"]),
    *[
        (
            "column-missing",
            f"{header}\na,2024-01-01,1,2\n",
            "load.csv",
            {"id_col": names[0], "time_col": names[1:2], "target_col": names[2:]},
            [f"no column '{absent}'. Found: '{header.split(',')[0]}'"],
        )
        for header, names, absent in (
            ("unique_id,ds,y,y_clean", ("unique_id", "ds", "y_cleaned"), "y_cleaned"),
            ("unique_id,ds,y,sold", (None, "ds", "Sold"), "Sold"),
            ("unique_id,ds,y,shop", ("Shop", "ds", "y"), "Shop"),
            ("unique_id,ds,y,sold", ("unique_id", "day", "y"), "day"),
            ("unique_id,ds,y,sold", ("shop", "day", "sales"), "shop', 'day', 'sales"),
        )
    ],
    ("column-missing", parquet(a=[1]), "a.parquet", {"format": "parquet"}, ["no column 't', 'v'", "Found: 'a'"]),
    (
        "column-duplicate",
        GOOD.replace("t,v", "t,t"),
        "load.csv",
        {"target_col": ("t",)},
        ["column 't'", "more than once"],
    ),
    ("id-null", "k,t,v\na,2024-01-01,1\n,2024-01-01,1\n", "load.csv", {"id_col": "k"}, ["line 3, column 'k'"]),
    (
        "time-null",
        "t,v\n2024-01-01,1\n,2\n2024-01-03,3\n",
        "load.csv",
        {},
        ["line 3, column 't'", "''", "null_time: drop"],
    ),
    (
        "time-unparseable",
        GOOD + "2024-02-30,5\n1.2.24,6\n",
        "load.csv",
        {},
        ["line 6", "'2024-02-30'", "first of 2", "bad_time: drop"],
    ),
    ("time-unparseable", GOOD, "load.csv", {"freq": 1}, ["line 2", "'2024-01-01'", "data.freq"]),
    (
        "time-unparseable",
        parquet(t=pa.array([0], pa.timestamp("ns")), v=[1]),
        "a.parquet",
        {"format": "parquet", "freq": 1},
        ["row 1", "1970"],
    ),
    ("time-format", GOOD, "load.csv", {"time_format": "%Q"}, ["data.time_format", "'%Q'"]),
    *[
        ("time-format", GOOD, "load.csv", {"time_format": twice}, [f"(a directive occurs twice). Received: '{twice}'"])
        for twice in ("%Y-%m-%d %H:%m", "%Y-%d-%d", "%f%f")
    ],
    *[
        (
            "time-format",
            GOOD,
            "load.csv",
            {"time_format": word, "timezone": zone},
            [f"no directive such as %Y). Received: '{word}'; use one such as", "or null, which reads ISO 8601"],
        )
        for word in ("ISO8601", "mixed", "", "YYYY-MM-DD", "100%%")
        for zone in (None, "Europe/Berlin")
    ],
    *[
        (
            "time-format",
            f"t,v\n2024-01-01 00:00{zone},1\n",
            "load.csv",
            {"time_format": f"%Y-%m-%d {clock}{zone}", "timezone": "Europe/Berlin"},
            [f"a zone written as '{zone.strip()}' moves no time. Received", "write %z for"],
        )
        for clock, zone in (
            ("%H:%M", "Z"),
            ("%H:%M", "z"),
            ("%H:%M", " UTC"),
            ("%H:%M", "GMT"),
            ("%H:%M", "+00:00"),
            ("%H:%M", " -0530"),
            ("%H:%M", "+02"),
            ("00:00", "Z"),
            ("00:00", "+02:00"),
            ("%H:%M:%S.000", "+0000"),
        )
    ],
    ("zone-unknown", GOOD, "load.csv", {"timezone": "Mars/Olympus"}, ["data.timezone", "'Mars/Olympus'"]),
    (
        "zone-missing",
        "t,v\n2024-01-01T00:00Z,1\n",
        "load.csv",
        {},
        ["line 2", "'2024-01-01T00:00Z'", "set data.timezone"],
    ),
    (
        "zone-mixed",
        GOOD + "2024-01-05T00:00+01:00,5\n",
        "load.csv",
        {"timezone": "UTC"},
        ["line 6", "a zone, unlike", "+01:00"],
    ),
    (
        "zone-mixed",
        "t,v\n2024-01-01T00:00Z,1\n2024-01-02,2\n",
        "load.csv",
        {"timezone": "UTC"},
        ["line 3", "no zone, unlike"],
    ),
    (
        "zone-dst",
        "t,v\n2024-10-06 01:00,1\n2024-10-06 02:00,2\n2024-10-06 03:00,3\n",
        "load.csv",
        {"timezone": "Australia/Melbourne", "freq": "h"},
        ["line 3", "skips", "'2024-10-06 02:00'", "bad_time: drop"],
    ),
    (
        "zone-dst",
        "t,v\n2024-11-03 00:00,1\n2024-11-03 01:00,2\n2024-11-03 01:00,3\n",
        "load.csv",
        {"timezone": "America/New_York", "freq": "h"},
        ["line 3", "repeats", "first of 2"],
    ),
    ("end-unparseable", GOOD, "load.csv", {"end": "soon"}, ["data.end", "'soon'"]),
    ("end-unparseable", GOOD, "load.csv", {"end": 2024}, ["data.end", "'2024'"]),
    ("freq-unknown", GOOD, "load.csv", {"freq": "H"}, ["data.freq", "'H'", "use h"]),
    ("freq-unknown", GOOD, "load.csv", {"freq": "2Q-DEC"}, ["'2Q-DEC'", "use 2QE-DEC"]),
    ("freq-unknown", GOOD, "load.csv", {"freq": "fortnight"}, ["'fortnight'", "offset alias"]),
    ("freq-unknown", GOOD, "load.csv", {"freq": "-1h"}, ["'-1h'", "forward"]),
    ("freq-unknown", GOOD, "load.csv", {"freq": "bh"}, ["'bh'", "business hours"]),
    ("freq-unknown", GOOD, "load.csv", {"freq": "5ns"}, ["'5ns'", "microseconds"]),
    *[
        (
            "freq-unknown",
            GOOD,
            "load.csv",
            {"freq": freq},
            [f"data.freq: no usable frequency. Received: {freq!r}; no two"],
        )
        for freq in (2**63, 10**18, "99999999999D", f"{10**21}h", "99999999999h", f"{10**20}YE")
    ],
    (
        "freq-mismatch",
        GOOD + "2024-01-05 07:00,5\n",
        "load.csv",
        {},
        ["line 6", "2024-01-05 07:00", "the only one", "off_grid: drop"],
    ),
    ("freq-mismatch", wide_rows("2024-01-01", "h", 48), "load.csv", {}, ["line 3", "looks like 'h'", "46 in 48"]),
    ("freq-mismatch", wide_rows("2024-01-01", "MS", 12), "load.csv", {}, ["line 2", "no two rows", "looks like 'MS'"]),
    (
        "freq-mismatch",
        wide_rows("2024-01-01", "W-THU", 12),
        "load.csv",
        {"freq": "W-SAT"},
        ["line 2", "looks like 'W-THU'"],
    ),
    ("freq-mismatch", TSF, "a.tsf", {"format": "tsf", "freq": "MS"}, ["daily", "'MS'", "D would fit"]),
    (
        "freq-mismatch",
        TSF.replace("daily", "weekly"),
        "a.tsf",
        {"format": "tsf", "freq": "W-MON"},
        ["line 8", "W-THU", "7D"],
    ),
    (
        "row-duplicate",
        GOOD + "2024-01-02,2\n",
        "load.csv",
        {},
        ["line 6", "'v' at 2024-01-02", "'2.0'", "duplicate_rows: drop"],
    ),
    (
        "row-conflicting",
        GOOD + "2024-01-02,9\n",
        "load.csv",
        {},
        ["line 6", "before, '2.0'", "'9.0'", "first or last or mean"],
    ),
    ("value-text", GOOD + "2024-01-05,n/k\n", "load.csv", {}, ["line 6, column 'v'", "'n/k'", "bad_value: missing"]),
    (
        "value-text",
        GOOD.replace(",", ";"),
        "load.csv",
        {"delimiter": ";", "decimal": ",", "target_col": ("t",)},
        ["line 2", "'2024-01-01'"],
    ),
    (
        "value-text",
        "t;v\n2024-01-01;1,5\n2024-01-02;1.5\n",
        "load.csv",
        {"delimiter": ";", "decimal": ","},
        ["line 3", "'1.5'"],
    ),
    (
        "value-text",
        parquet(t=["2024-01-01"], v=[True]),
        "a.parquet",
        {"format": "parquet"},
        ["row 1, column 'v'", "'True'"],
    ),
    (
        "value-infinite",
        GOOD + "2024-01-05,-inf\n",
        "load.csv",
        {},
        ["line 6, column 'v'", "'-inf'", "infinite: missing"],
    ),
    (
        "value-huge",
        GOOD + "2024-01-05,1e200\n2024-01-06,-1e151\n",
        "load.csv",
        {},
        ["line 6, column 'v'", "larger than 1e+150", "'1e+200' (the first of 2)", "leave it empty"],
    ),
    (
        "covariate-varies",
        "t,v,town\n2024-01-01,1,Ulm\n2024-01-02,2,\n2024-01-03,3,Bonn\n2024-01-04,4,Ulm\n2024-01-05,5,Kiel\n",
        "load.csv",
        {"static_covariates": StaticParams(categorical=("town",), numeric=())},
        ["line 4, column 'town': series 'v'", "another value, 'Ulm' in", "line 2", "'Bonn' (the first of 2)"],
    ),
    ("gap", GOOD + "2024-01-07,7\n", "load.csv", {}, ["line 5", "before 2024-01-07 00:00:00: 2", "gaps: missing"]),
    ("gap-huge", GOOD + "9999-12-31,7\n", "load.csv", {"repair": {"gaps": "missing"}}, ["line 5", "before 9999-12-31"]),
    ("series-unobserved", "t,v\n2024-01-01,\n2024-01-02,NA\n", "load.csv", {}, ["line 2, series 'v'", "short: drop"]),
    (
        "series-unusable",
        "k,t,v\na,2024-01-01,1\na,2024-01-02,2\nb,soon,3\n",
        "load.csv",
        {"id_col": "k", "repair": {"bad_time": "drop"}},
        ["line 4, series 'b'", "no row of the series can be used", "mend its timestamps", "short: drop"],
    ),
    ("series-short", GOOD, "load.csv", {"min_history": 5}, ["line 2, series 'v'", "4 steps", "is 5", "short: drop"]),
    (
        "series-constant",
        "t,v\n2024-01-01,7\n2024-01-02,7\n",
        "load.csv",
        {},
        ["line 2, series 'v'", "7.0", "constant: keep or drop"],
    ),
    ("panel-empty", GOOD, "load.csv", {"end": "2023-12-31"}, ["no rows left"]),
    ("panel-empty", GOOD, "load.csv", {"min_history": 5, "repair": {"short": "drop"}}, ["no series left"]),
]


@pytest.mark.parametrize(("code", "content", "name", "changes", "parts"), FAILURES)
def test_a_failing_check_names_its_code_the_row_the_value_and_the_mend_in_one_line(
    tmp_path: Path, code: str, content: Any, name: str, changes: dict[str, Any], parts: list[str]
) -> None:
    path = write(tmp_path, content, name)
    with pytest.raises(DataError) as caught:
        ingest(params(path, **changes))
    text = str(caught.value)
    assert caught.value.code == code, text
    assert text.startswith(f"[{code}] ")
    assert [part for part in parts if part not in text] == [], text
    assert "\n" not in text
    assert str(path) in text or "params.yaml" in text


def test_every_code_has_a_failing_file() -> None:
    # A file that the system refuses to read cannot be had when tests run as root.
    assert {case[0] for case in FAILURES} == set(CHECKS) - {"file-unreadable"}


def test_a_file_that_the_system_refuses_to_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, GOOD)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"\[file-unreadable\] .*load.csv: cannot be read \(Permission denied\)"):
        read_source(params(path))


DAYS = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]
# code, content, policy, other changes, count, days and values that come out
REPAIRS: list[tuple[str, str, dict[str, str], dict[str, Any], int, dict[str, float]]] = [
    ("time-null", GOOD + ",5\n", {"null_time": "drop"}, {}, 1, dict(zip(DAYS, [1, 2, 3, 4], strict=True))),
    ("time-unparseable", GOOD + "x,5\ny,5\n", {"bad_time": "drop"}, {}, 2, dict(zip(DAYS, [1, 2, 3, 4], strict=True))),
    (
        "freq-mismatch",
        GOOD + "2024-01-03 01:00,5\n",
        {"off_grid": "drop"},
        {},
        1,
        dict(zip(DAYS, [1, 2, 3, 4], strict=True)),
    ),
    # The first row is the odd one: the phase of the others decides.
    (
        "freq-mismatch",
        "t,v\n2023-12-31 09:00,0\n" + GOOD[4:],
        {"off_grid": "drop"},
        {},
        1,
        dict(zip(DAYS, [1, 2, 3, 4], strict=True)),
    ),
    (
        "row-duplicate",
        GOOD + "2024-01-02,2\n2024-01-02,2.0\n",
        {"duplicate_rows": "drop"},
        {},
        2,
        dict(zip(DAYS, [1, 2, 3, 4], strict=True)),
    ),
    (
        "row-duplicate",
        "t,v\n2024-01-01,\n2024-01-01,NA\n2024-01-02,2\n2024-01-03,3\n",
        {"duplicate_rows": "drop"},
        {},
        1,
        {DAYS[0]: np.nan, DAYS[1]: 2, DAYS[2]: 3},
    ),
    (
        "row-conflicting",
        GOOD + "2024-01-02,9\n",
        {"conflicting_rows": "first"},
        {},
        1,
        dict(zip(DAYS, [1, 2, 3, 4], strict=True)),
    ),
    (
        "row-conflicting",
        GOOD + "2024-01-02,9\n",
        {"conflicting_rows": "last"},
        {},
        1,
        dict(zip(DAYS, [1, 9, 3, 4], strict=True)),
    ),
    (
        "row-conflicting",
        GOOD + "2024-01-02,9\n2024-01-02,4\n",
        {"conflicting_rows": "mean"},
        {},
        2,
        dict(zip(DAYS, [1, 5, 3, 4], strict=True)),
    ),
    (
        "row-conflicting",
        GOOD + "2024-01-02,\n",
        {"conflicting_rows": "mean"},
        {},
        1,
        dict(zip(DAYS, [1, 2, 3, 4], strict=True)),
    ),
    (
        "value-text",
        GOOD.replace(",2\n", ",two\n"),
        {"bad_value": "missing"},
        {},
        1,
        dict(zip(DAYS, [1, np.nan, 3, 4], strict=True)),
    ),
    (
        "value-infinite",
        GOOD.replace(",2\n", ",1e999\n"),
        {"infinite": "missing"},
        {},
        1,
        dict(zip(DAYS, [1, np.nan, 3, 4], strict=True)),
    ),
    (
        "value-huge",
        GOOD.replace(",2\n", ",-1.7976931348623157E308\n"),
        {"infinite": "missing"},
        {},
        1,
        dict(zip(DAYS, [1, np.nan, 3, 4], strict=True)),
    ),
    (
        "gap",
        "t,v\n2024-01-01,1\n2024-01-04,4\n",
        {"gaps": "missing"},
        {},
        2,
        dict(zip(DAYS, [1, np.nan, np.nan, 4], strict=True)),
    ),
    ("series-constant", "t,v\n2024-01-01,7\n2024-01-02,7\n", {"constant": "keep"}, {}, 1, {DAYS[0]: 7, DAYS[1]: 7}),
]


@pytest.mark.parametrize(("code", "content", "policy", "changes", "count", "values"), REPAIRS)
def test_a_policy_repairs_what_it_allows_and_counts_it(
    tmp_path: Path,
    code: str,
    content: str,
    policy: dict[str, str],
    changes: dict[str, Any],
    count: int,
    values: dict[str, float],
) -> None:
    panel = ingest(params(write(tmp_path, content), repair=policy, **changes))
    [(key, value)] = policy.items()
    expected = {code: {"policy": f"data.repair.{key}: {value}", "count": count, "series": 1}}
    assert panel.audit["repairs"] == expected
    assert panel.audit["per_series"]["v"]["repairs"] == {code: count}
    assert panel.audit["per_series"]["v"]["rows_read"] == content.count("\n") - 1
    assert [f"{day:%Y-%m-%d}" for day in panel.frame["ds"]] == list(values)
    np.testing.assert_array_equal(panel.frame["y"], list(values.values()))
    assert panel.audit["missing"] == np.isnan(list(values.values())).sum()


@pytest.mark.parametrize(
    ("code", "rows", "policy"),
    [
        ("series-short", "b,2024-01-01,1\n", {"short": "drop"}),
        ("series-unobserved", "b,2024-01-01,\nb,2024-01-02,\nb,2024-01-03,\n", {"short": "drop"}),
        ("series-constant", "b,2024-01-01,0\nb,2024-01-02,0\nb,2024-01-03,0\n", {"constant": "drop"}),
    ],
)
def test_a_series_that_says_too_little_is_dropped_by_policy_and_the_others_stay(
    tmp_path: Path, code: str, rows: str, policy: dict[str, str]
) -> None:
    content = "k,t,v\na,2024-01-01,1\na,2024-01-02,2\na,2024-01-03,3\n" + rows
    panel = ingest(params(write(tmp_path, content), id_col="k", min_history=3, repair=policy))
    assert set(panel.frame["unique_id"]) == {"a"}
    assert panel.audit["series"] == {"read": 2, "used": 1}
    assert panel.audit["per_series"]["b"]["repairs"] == {code: 1}
    assert panel.audit["per_series"]["b"]["steps"] == 0


@pytest.mark.parametrize(
    ("code", "policy", "rows", "freq"),
    [
        ("time-unparseable", "bad_time", "b,soon,1\nb,later,2\n", "D"),
        ("time-null", "null_time", "b,,1\nb,,2\n", "D"),
        ("freq-mismatch", "off_grid", "b,2024-01-15,1\nb,2024-02-15,2\n", "MS"),
    ],
)
def test_a_series_whose_rows_are_all_dropped_is_missed(
    tmp_path: Path, code: str, policy: str, rows: str, freq: str
) -> None:
    stamps = pd.date_range("2024-01-01", periods=5, freq=freq)
    path = write(tmp_path, "k,t,v\n" + "".join(f"a,{stamp},{stamp.day + stamp.month}\n" for stamp in stamps) + rows)
    with pytest.raises(DataError, match=r"\[series-unusable\] .*line 7, series 'b': no row .*short: drop") as caught:
        ingest(params(path, id_col="k", freq=freq, repair={policy: "drop"}))
    assert "\n" not in str(caught.value)
    panel = ingest(params(path, id_col="k", freq=freq, repair={policy: "drop", "short": "drop"}))
    assert panel.audit["series"] == {"read": 2, "used": 1}
    assert panel.audit["per_series"]["b"]["repairs"] == {code: 2, "series-unusable": 1}


@pytest.mark.parametrize("policy", ["error", "drop"])
def test_times_that_half_of_the_rows_do_not_have_are_another_format_and_not_dropped(
    tmp_path: Path, policy: str
) -> None:
    days = pd.date_range("2024-01-01", periods=24).strftime("%m/%d/%Y")
    path = write(tmp_path, "t,v\n" + "".join(f"{day},{row}\n" for row, day in enumerate(days)))
    with pytest.raises(DataError, match=r"line 14, column 't'.*'01/13/2024'.*first of 12 in 24 rows") as caught:
        ingest(params(path, time_format="%d/%m/%Y", repair={"bad_time": policy}))
    assert caught.value.code == "time-unparseable"
    assert "bad_time" not in str(caught.value)


@pytest.mark.parametrize(("freq", "time"), [("D", "soon"), ("MS", "2024-01-15")])
def test_a_single_row_without_a_usable_time_is_not_dropped(tmp_path: Path, freq: str, time: str) -> None:
    path = write(tmp_path, f"t,v\n{time},1\n")
    with pytest.raises(DataError, match=r"line 2, .*\(the only one in 1 row\); mend [^,]*(, set data\.time_format|$)"):
        ingest(params(path, freq=freq, repair={"bad_time": "drop", "off_grid": "drop"}))


@pytest.mark.parametrize("policy", ["error", "missing"])
def test_a_column_of_words_is_no_column_of_numbers_that_are_missing(tmp_path: Path, policy: str) -> None:
    repair = {"bad_value": policy}
    path = write(
        tmp_path, "t,v\n" + "".join(f"{day},{word}\n" for day, word in zip(DAYS, ["yes", "no", "", "no"], strict=True))
    )
    with pytest.raises(
        DataError, match=r"line 2, column 'v': no number, nor is any .*1 and 0.*'yes' \(the first of 3\)"
    ) as caught:
        ingest(params(path, repair=repair))
    assert "bad_value" not in str(caught.value)
    # One word alone stands for a missing value, and words among numbers are repaired.
    path = write(
        tmp_path, "t,v,w\n" + "".join(f"{day},{row or 'none yet'},closed\n" for row, day in enumerate(DAYS)), "b.csv"
    )
    data = params(path, target_col=("v", "w"), repair={"bad_value": "missing", "short": "drop"})
    assert ingest(data).audit["per_series"]["v"]["missing"] == 1


def test_a_series_that_starts_after_the_end_is_not_missed_nor_one_that_has_no_rows(tmp_path: Path) -> None:
    late = "b,2024-01-09,1\nb,soon,2\n"
    path = write(tmp_path, "k,t,v\na,2024-01-01,1\na,2024-01-02,2\n" + late)
    panel = ingest(params(path, id_col="k", end="2024-01-05", repair={"bad_time": "drop"}))
    assert panel.audit["series"] == {"read": 2, "used": 1}
    assert panel.audit["per_series"]["b"]["repairs"] == {"time-unparseable": 1}
    frame = pd.DataFrame({"unique_id": pd.Categorical(["a", "a"], ["a", "c"]), "ds": DAYS[:2], "y": [1.0, 2.0]})
    columns = dataclasses.replace(Columns.from_params(BASE), id_col="unique_id", time_col=("ds",), target_col=("y",))
    assert build_panel(frame, columns=columns, repair=STRICT, min_history=1, end=None).audit["repairs"] == {}


def test_local_times_that_a_clock_change_skips_or_repeats_are_dropped_by_policy(tmp_path: Path) -> None:
    content = "t,v\n2024-10-06 01:00,1\n2024-10-06 02:00,2\n2024-10-06 03:00,3\n"
    repair = {"bad_time": "drop"}
    panel = ingest(params(write(tmp_path, content), timezone="Australia/Melbourne", freq="h", repair=repair))
    assert panel.audit["repairs"]["zone-dst"]["count"] == 1
    assert list(panel.frame["y"]) == [1, 3]
    assert panel.audit["steps"] == 2  # 01:00 and 03:00 are one hour apart


def test_rows_after_the_end_are_left_out_unchecked_and_counted(tmp_path: Path) -> None:
    panel = ingest(params(write(tmp_path, GOOD + "2024-01-05,n/k\n"), end="2024-01-03"))
    assert list(panel.frame["y"]) == [1, 2, 3]
    assert panel.audit["rows"] == {"read": 5, "after_end": 2, "used": 3}
    assert panel.audit["repairs"] == {}


@pytest.mark.parametrize(
    ("name", "content", "changes"),
    [
        ("plain.csv", GOOD.encode(), {}),
        ("no_newline_at_end.csv", GOOD.strip().encode(), {}),
        ("windows.csv", GOOD.replace("\n", "\r\n").encode(), {}),
        ("old_mac.csv", GOOD.replace("\n", "\r").encode(), {}),
        ("marked.csv", GOOD.encode("utf-8-sig"), {}),
        ("wide.csv", GOOD.encode("utf-16"), {"encoding": "utf-16"}),
        ("packed.csv.gz", packed(GOOD.encode()), {}),
        ("two_members.csv.GZ", packed(GOOD[:20].encode()) + packed(GOOD[20:].encode()), {}),
        ("packed.csv.zst", zst, {}),
        ("tabs.tsv", GOOD.replace(",", "\t").encode(), {"delimiter": "\t"}),
        ("european.csv", GOOD.replace(",", ";").replace("4\n", "4,0\n").encode(), {"delimiter": ";", "decimal": ","}),
        ("quoted.csv", GOOD.replace("2024-01-02", '"2024-01-02"').replace("t,v", '"t","v"').encode(), {}),
        ("blank_lines.csv", b"\n" + GOOD.replace("\n", "\n\n").encode(), {}),
        ("signed.csv", GOOD.replace(",4", ", +4e0 ").encode(), {}),
        ("other_columns.csv", GOOD.replace(",", ",x y,").replace("t,x y,v", "t,note,v").encode(), {}),
        ("days.csv", GOOD.replace("2024-01-0", "").encode(), {"time_format": "%d", "end": "1900-01-04"}),
        ("days_of_january.csv", GOOD.replace("2024-01-0", "").encode(), {"freq": 1}),
        ("text.parquet", parquet(t=DAYS, v=["1", "2", "3", "4.0"]), {"format": "parquet"}),
        ("days.parquet", parquet(t=pa.array(DAYS).cast(pa.date32()), v=[1, 2, 3, 4]), {"format": "parquet"}),
        (
            "stamps.parquet",
            parquet(t=pa.array(DAYS).cast(pa.timestamp("ns")), v=pa.array([1, 2, 3, 4], pa.float32())),
            {"format": "parquet"},
        ),
        (
            "zoned.parquet",
            parquet(t=pa.array(DAYS).cast(pa.timestamp("ms")).cast(pa.timestamp("ms", "UTC")), v=[1, 2, 3, 4]),
            {"format": "parquet", "timezone": "UTC"},
        ),
        (
            "decimals.parquet",
            parquet(t=DAYS, v=pa.array([1, 2, 3, 4]).cast(pa.decimal128(21, 2))),
            {"format": "parquet"},
        ),
        ("numbered.parquet", parquet(t=[1, 2, 3, 4], v=[1, 2, 3, 4]), {"format": "parquet", "freq": 1}),
        (
            "in_two_columns.csv",
            GOOD.replace("2024-", "2024,").replace("t,v", "y,t,v").encode(),
            {"time_col": ("y", "t"), "time_format": "%Y %m-%d"},
        ),
        (
            "in_two_columns.parquet",
            parquet(y=[2024] * 4, t=[1, 2, 3, 4], v=[1, 2, 3, 4]),
            {"format": "parquet", "time_col": ("y", "t"), "time_format": "%Y %j"},
        ),
    ],
)
def test_one_table_is_read_the_same_from_every_layout(
    tmp_path: Path, name: str, content: Any, changes: dict[str, Any]
) -> None:
    panel = ingest(params(write(tmp_path, content, name), **changes))
    np.testing.assert_array_equal(panel.frame["y"], [1.0, 2.0, 3.0, 4.0])
    if isinstance(panel.freq, int):
        np.testing.assert_array_equal(panel.frame["ds"], [1, 2, 3, 4])
    else:
        assert [stamp.day for stamp in panel.frame["ds"]] == [1, 2, 3, 4]
    assert panel.audit["repairs"] == {}


def test_a_tsf_file_gives_its_series_on_the_steps_after_their_start(tmp_path: Path) -> None:
    content = TSF.replace("a comment", "caf\xe9").encode("latin-1")  # no utf-8, but in a comment
    panel = ingest(params(write(tmp_path, content, "a.tsf"), format="tsf"))
    assert panel.frame["unique_id"].to_list() == ["T1"] * 4 + ["T2"] * 2
    assert [f"{stamp:%m-%d}" for stamp in panel.frame["ds"]] == ["01-01", "01-02", "01-03", "01-04", "02-01", "02-02"]
    np.testing.assert_array_equal(panel.frame["y"], [1, 2, np.nan, 4, 5, 6.5])
    assert panel.audit["repairs"] == {}


def test_values_of_a_tsf_file_have_a_point_whatever_mark_csv_files_would_have(tmp_path: Path) -> None:
    path = write(tmp_path, TSF.replace("1,2", "1,two"), "a.tsf")
    for decimal in (".", ","):
        panel = ingest(params(path, format="tsf", decimal=decimal, repair={"bad_value": "missing"}))
        assert panel.audit["repairs"]["value-text"]["count"] == 1
        assert panel.frame["y"].iloc[-1] == 6.5


def test_a_bad_value_of_a_tsf_file_is_named_by_its_line_and_repaired_by_policy(tmp_path: Path) -> None:
    path = write(tmp_path, TSF.replace("6.5", "six"), "a.tsf")
    with pytest.raises(DataError, match=r"\[value-text\] .*a.tsf, line 8, column 'y'.*'six'"):
        ingest(params(path, format="tsf"))
    panel = ingest(params(path, format="tsf", repair={"bad_value": "missing"}))
    assert panel.audit["per_series"]["T2"] == {"rows_read": 2, "steps": 2, "missing": 1, "repairs": {"value-text": 1}}


def test_hourly_series_of_a_tsf_file_keep_their_length_over_a_clock_change(tmp_path: Path) -> None:
    values = ",".join(map(str, range(72)))
    content = TSF.partition("T1")[0].replace("daily", "hourly") + f"T1:2024-10-05 00-00-00:{values}\n"
    panel = ingest(params(write(tmp_path, content, "a.tsf"), format="tsf", freq="h", timezone="Australia/Melbourne"))
    np.testing.assert_array_equal(panel.frame["y"], np.arange(72.0))
    assert str(panel.frame["ds"].iloc[0]) == "2024-10-04 14:00:00"


def test_a_folder_is_read_in_the_order_of_its_names_without_hidden_files(tmp_path: Path) -> None:
    write(tmp_path, "k,t,v\nb,2024-01-01,1\nb,2024-01-02,2\n", "2.csv")
    write(tmp_path, "k,t,v\na,2024-01-01,3\na,2024-01-02,x\n", "1.csv")
    write(tmp_path, "/data.csv\n", ".gitignore")
    write(tmp_path, "outs:\n", "1.csv.dvc")
    with pytest.raises(DataError, match=r"/1.csv, line 3, column 'v': no number. Received: 'x'"):
        ingest(params(tmp_path, id_col="k"))
    panel = ingest(params(tmp_path, id_col="k", repair={"bad_value": "missing"}))
    np.testing.assert_array_equal(panel.frame["y"], [3, np.nan, 1, 2])


def test_a_series_may_go_on_in_another_file_and_errors_name_that_one(tmp_path: Path) -> None:
    write(tmp_path, "k,t,v\na,2024-01-01,1\n", "1.csv")
    write(tmp_path, "k,t,v\na,2024-01-02,2\na,2024-01-01,9\n", "2.csv")
    with pytest.raises(DataError, match=r"row-conflicting.*/2.csv, line 3, series 'a' at 2024-01-01"):
        ingest(params(tmp_path, id_col="k"))
    panel = ingest(params(tmp_path, id_col="k", repair={"conflicting_rows": "last"}))
    assert list(panel.frame["y"]) == [9, 2]


def test_parquet_files_with_and_without_a_zone_are_mixed_zones(tmp_path: Path) -> None:
    for name, zone in (("1.parquet", None), ("2.parquet", "UTC")):
        write(
            tmp_path,
            parquet(t=pa.array([DAYS[int(name[0])]]).cast(pa.timestamp("us")).cast(pa.timestamp("us", zone)), v=[1.0]),
            name,
        )
    with pytest.raises(DataError, match=r"zone-mixed\] .*/2.parquet, row 1, column 't'"):
        ingest(params(tmp_path, pattern="*", format="parquet", timezone="UTC"))


def test_ids_are_text_as_written(tmp_path: Path) -> None:
    rows = "".join(f"{name},2024-01-01,1\n{name},2024-01-02,2\n" for name in ("01", "1", "1.0", "NA", "x y"))
    panel = ingest(params(write(tmp_path, "k,t,v\n" + rows), id_col="k"))
    assert panel.frame["unique_id"].unique().tolist() == ["01", "1", "1.0", "NA", "x y"]


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"])
def test_ids_of_parquet_files_are_read_however_they_are_packed(tmp_path: Path, encoding: str) -> None:
    table = pa.table({"k": ["b", "b", "a", "a"], "t": ["2024-01-01", "2024-01-02"] * 2, "v": [1.0, 2.0, 3.0, 4.0]})
    kept = {"use_dictionary": False, "column_encoding": {"k": encoding, "t": encoding}}
    pq.write_table(table, tmp_path / "a.parquet", **kept)
    panel = ingest(params(tmp_path / "a.parquet", format="parquet", id_col="k"))
    assert panel.frame["unique_id"].to_list() == ["a", "a", "b", "b"]


@pytest.mark.parametrize("ids", [[1, 1], [1.0, 1.0], ["1", "1"]])
def test_whole_ids_of_parquet_files_have_no_fraction(tmp_path: Path, ids: list[Any]) -> None:
    path = write(tmp_path, parquet(k=ids, t=DAYS[:2], v=[1, 2]), "a.parquet")
    assert ingest(params(path, format="parquet", id_col="k")).frame["unique_id"].to_list() == ["1", "1"]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(2)])
def test_ids_and_times_of_parquet_files_may_be_bytes_of_text(tmp_path: Path, kind: pa.DataType) -> None:
    days = pa.array(["2024-01-01", "2024-01-01", "2024-01-02"]).cast(pa.binary())
    path = write(tmp_path, parquet(k=pa.array([b"ab", b"\xc3\xa9", b"ab"], kind), t=days, v=[1, 2, 3]), "a.parquet")
    panel = ingest(params(path, format="parquet", id_col="k"))
    assert panel.frame["unique_id"].to_list() == ["ab", "ab", "\xe9"]
    path = write(tmp_path, parquet(k=pa.array([b"\xff\xff"], kind), t=days[:1], v=[1]), "b.parquet")
    with pytest.raises(DataError, match=r"\[file-corrupt\] .*column 'k': values of type '.*binary.*' cannot be read"):
        ingest(params(path, format="parquet", id_col="k"))


@pytest.mark.parametrize("packed", [True, False])
def test_an_id_of_a_parquet_file_that_is_no_number_is_no_id(tmp_path: Path, packed: bool) -> None:
    ids = pa.array([1.0, float("nan"), 2.5])
    path = write(tmp_path, parquet(k=ids.dictionary_encode() if packed else ids, t=[DAYS[0]] * 3, v=[1, 2, 3]))
    with pytest.raises(DataError, match=r"\[id-null\] .*, row 2, column 'k': no id \(the first of 1\)"):
        ingest(params(path, format="parquet", id_col="k"))


def test_truths_that_name_series_are_written_alike_in_files_and_frames(tmp_path: Path) -> None:
    path = write(tmp_path, parquet(k=[True, False, True], t=[DAYS[0], DAYS[0], DAYS[1]], v=[1, 2, 3]), "a.parquet")
    data = params(path, format="parquet", id_col="k")
    frame = pd.read_parquet(path)
    panel = build_panel(frame, columns=Columns.from_params(data), repair=STRICT, min_history=1, end=None)
    pd.testing.assert_frame_equal(ingest(data).frame, panel.frame)
    assert list(panel.statics["unique_id"]) == ["False", "True"]


def test_several_targets_become_a_series_each(tmp_path: Path) -> None:
    path = write(tmp_path, "k,t,a,b\n1,2024-01-01,1,3\n1,2024-01-02,2,4\n")
    panel = ingest(params(path, id_col="k", target_col=("b", "a")))
    assert panel.frame["unique_id"].to_list() == ["1/a", "1/a", "1/b", "1/b"]
    assert list(panel.frame["y"]) == [1, 2, 3, 4]
    without_id = ingest(params(path, target_col=("b", "a")))
    assert without_id.frame["unique_id"].to_list() == ["a", "a", "b", "b"]


cells = st.text(st.sampled_from('ab"\n\r ,'), min_size=1, max_size=4).filter(lambda cell: cell.strip() != "")


@given(st.lists(st.tuples(cells, st.integers(0, 2)), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_a_row_is_named_by_its_line_whatever_quotes_and_blank_lines_come_before(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], newline: str
) -> None:
    text, lines = f"k,t,v{newline}", []
    for cell, blank in rows:
        text += newline * blank
        lines.append(1 + text.count("\n") + text.replace("\r\n", "").count("\r"))
        quoted = cell.replace('"', '""')
        text += f'"{quoted}",2024-01-01,1{newline}'
    path = write(tmp_path_factory.mktemp("lines"), text)
    frame = read_source(params(path, id_col="k"))
    assert frame["k"].to_list() == [cell for cell, _ in rows]
    assert frame["__row__"].to_list() == lines


@pytest.mark.parametrize("place", ["header", "cell"])
def test_cells_of_any_length_stand_beside_blank_lines(tmp_path: Path, place: str) -> None:
    long = "x" * 200_000
    note = (long, "") if place == "header" else ("note", long)
    path = write(tmp_path, f"t,v,{note[0]}\n2024-01-01,1,\n\n2024-01-02,2,{note[1]}\n2024-01-03,x,\n")
    with pytest.raises(DataError, match=r"value-text.* line 5, column 'v'"):
        ingest(params(path))


@given(st.lists(st.floats(-1e150, 1e150), min_size=2, max_size=8, unique=True), st.booleans())
def test_every_number_is_read_to_its_last_digit_also_beside_text(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float], beside_text: bool
) -> None:
    rows = [repr(number) for number in numbers] + (["text"] if beside_text else [])
    text = "t,v\n" + "".join(f"{number},{row}\n" for number, row in enumerate(rows))
    path = write(tmp_path_factory.mktemp("numbers"), text)
    panel = ingest(params(path, freq=1, repair={"bad_value": "missing"}))
    np.testing.assert_array_equal(panel.frame["y"][: len(numbers)], numbers)


EDITS = st.tuples(
    st.integers(0, 60),
    st.integers(0, 3),
    st.binary(max_size=4)
    | st.sampled_from([b'"', b"\n", b",", b"\r", b"\0", b"inf", b"0001-01-01", b"NaT", b":", b"?"]),
)


@given(
    st.lists(EDITS, max_size=4),
    st.sampled_from(["load.csv", "load.csv.gz", "load.csv.zst", "load.tsf", "load.parquet"]),
    st.sampled_from(["D", "h", "MS", 1, "B"]),
    st.sampled_from([None, "Australia/Melbourne"]),
    st.sampled_from(["utf-8", "latin-1", "utf-16", "cp1252"]),
)
def test_a_damaged_file_gives_a_panel_or_one_line(
    tmp_path_factory: pytest.TempPathFactory,
    edits: list[tuple[int, int, bytes]],
    name: str,
    freq: str | int,
    timezone: str | None,
    encoding: str,
) -> None:
    raw = (TSF if name.endswith("tsf") else GOOD).encode()
    raw = packed(raw) if name.endswith("gz") else raw
    for sixtieth, length, put in edits:
        place = sixtieth * len(raw) // 60
        raw = raw[:place] + put + raw[place + length :]
    path = write(tmp_path_factory.mktemp("damaged"), raw, name)
    form = path.suffix[1:] if path.suffix in (".tsf", ".parquet") else "csv"
    try:
        panel = ingest(params(path, format=form, freq=freq, timezone=timezone, encoding=encoding))
        text = f"{panel.audit['steps']} steps"
        said = f"{len(panel.frame)} steps"
    except DataError as error:
        text, said = str(error), " ".join(str(error).split())
    assert text == said
    assert len(text.splitlines()) == 1


KEY = r"params\.yaml|\bdata\.(?!csv|parquet)"
# Of a forecast the pattern of a folder, the end of the data and the least history are fixed.
REACHED = [case for case in FAILURES if case[0] not in {"file-no-match", "end-unparseable", "series-short"}]


@pytest.mark.parametrize(("code", "content", "name", "changes", "parts"), REACHED)
def test_no_error_of_a_file_for_a_forecast_names_a_key_of_params(
    tmp_path: Path, code: str, content: Any, name: str, changes: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        ingest(params(write(tmp_path, content, name), **changes))
    told = str(for_forecast(caught.value, "--{}".format))
    assert re.search(KEY, told) is None, told
    assert re.fullmatch(r"\[[\w-]+\] .+; [^;]+", told), told


def test_a_frequency_that_does_not_fit_is_told_as_the_forecasters(tmp_path: Path) -> None:
    path = write(tmp_path, wide_rows("2024-01-01 00:30", "7min", 40))
    with pytest.raises(DataError) as caught:
        ingest(params(path, freq="h"))
    told = str(for_forecast(caught.value, str))
    assert "does not fit the forecaster's frequency 'h'; the data looks like '7min' (the first of " in told
    assert told.endswith(
        " rows); move the timestamps to its steps, and bring steps between them as rows without a value"
    )


def test_what_a_clock_change_moves_is_told_without_what_params_would_do() -> None:
    what = "does not fit data.freq '3h', whose steps are moved by the clock changes of data.timezone 'X'; set "
    what += "data.timezone to null and give local times without an offset (the first of 2)"
    told = str(for_forecast(failure("freq-mismatch", "a.csv", what), str))
    assert told == (
        "[freq-mismatch] a.csv: does not fit the forecaster's frequency '3h', whose steps are moved by the clock "
        "changes of the forecaster's time zone 'X' (the first of 2); move the timestamps to its steps, and bring steps "
        "between them as rows without a value"
    )


@pytest.mark.parametrize("code", sorted(CHECKS))
def test_what_only_params_can_mend_is_not_told_to_those_who_bring_data_for_a_forecast(code: str) -> None:
    check = CHECKS[code]
    told = str(for_forecast(failure(code, "params.yaml, data.encoding", "wrong", check.repair()), "--{}".format))
    assert told.startswith(f"[{code}] --encoding: wrong; ")
    assert re.search(KEY, told) is None
    for key in ("delimiter", "decimal", "encoding"):
        assert (f"--{key}" in told) == (f"data.{key}" in check.mend or key == "encoding")


def test_a_wrong_delimiter_and_a_decimal_comma_are_guessed_in_the_message(tmp_path: Path) -> None:
    write(tmp_path, b"t;v\n2024-01-01;1,5\n2024-01-02;2,5\n", "data.csv")
    with pytest.raises(DataError, match=r"is data.delimiter ';'\?"):
        ingest(params(tmp_path / "data.csv"))
    with pytest.raises(DataError, match=r"decimal comma\? then set data.decimal to ','"):
        ingest(params(tmp_path / "data.csv", delimiter=";"))
    panel = ingest(params(tmp_path / "data.csv", delimiter=";", decimal=","))
    assert list(panel.frame["y"]) == [1.5, 2.5]


COMMA = r"a decimal comma\? then set data\.decimal to ','"
POINT = r"a decimal point\? then set data\.decimal to '\.'"
THOUSANDS = r"a mark of thousands\? then take it out"


@pytest.mark.parametrize(
    ("value", "decimal", "told"),
    [
        ("1,5", ".", rf" \({COMMA}\)"),
        ("-1,234", ".", rf" \({COMMA}, {THOUSANDS}\)"),
        ("1.234,5", ".", rf" \({COMMA}, {THOUSANDS}\)"),
        ("1,234,567.8", ".", rf" \({THOUSANDS}\)"),
        ("1.234,5", ",", rf" \({THOUSANDS}\)"),
        ("1.5", ",", rf" \({POINT}\)"),
        ("1.234", ",", rf" \({POINT}, {THOUSANDS}\)"),
        ("2024-01-01", ",", ""),
        ("1,5,0", ".", ""),
    ],
)
def test_the_mend_of_a_mark_is_never_what_is_set_already(tmp_path: Path, value: str, decimal: str, told: str) -> None:
    path = write(tmp_path, f"t;v\n2024-01-01;{value}\n")
    with pytest.raises(DataError, match=rf"column 'v': no number{told}\. Received: '{re.escape(value)}'"):
        ingest(params(path, delimiter=";", decimal=decimal))
