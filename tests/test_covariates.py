"""Covariates: from files and frames into the panel, and those of the future into arrays."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from panels import LENIENT

from pipeline.covariates import encode, encode_history
from pipeline.errors import DataError
from pipeline.future import build_future
from pipeline.params import DataParams, RepairParams, StaticParams, load_params
from pipeline.series import Columns, Panel, build_panel, future_times, load_panel, save_panel, to_user_time
from pipeline.sources import read_source
from pipeline.storage import sha256_of

STRICT = LENIENT.model_copy(update={"conflicting_rows": "error", "bad_value": "error", "infinite": "error"})
SHOPS = Columns("shop", ("day",), None, None, ("sold",), "D", ("price",), ("open",), ("town",), ("area",))
BASE = load_params(Path(__file__).parents[1] / "params.yaml").data
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]


def panel_of(frame: pd.DataFrame, columns: Columns = SHOPS, *, repair: RepairParams = LENIENT, **kept: Any) -> Panel:
    return build_panel(frame, columns=columns, repair=repair, **{"min_history": 1, "end": None, **kept})


def shops(**changes: Any) -> pd.DataFrame:
    """One shop, three days."""
    shop: dict[str, Any] = {"shop": "a", "day": DAYS[:3], "sold": [1.0, 2.0, 3.0], "price": [5.0, 6.0, 7.0]}
    return pd.DataFrame({**shop, "open": 1, "town": "Ulm", "area": 40, **changes})


def only(columns: Columns, **kept: tuple[str, ...]) -> Columns:
    none = dict.fromkeys(("past_covariates", "future_covariates", "static_categorical", "static_numeric"), ())
    return dataclasses.replace(columns, **{**none, **kept})


NUMBERS = st.none() | st.integers(-3, 3).map(float)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Up to three shops with gaps, missing values, rows that occur twice, and static values left out here and there."""
    rows = []
    for shop in draw(st.lists(st.sampled_from(["a", "b", "\xe9", "10"]), min_size=1, max_size=3, unique=True)):
        town, area = draw(st.sampled_from(["Ulm", "Bonn", "NA", None])), draw(NUMBERS)
        start = draw(st.integers(0, 50))
        for day in [0, 1, *(day for day in range(2, 12) if draw(st.booleans()))]:
            told = draw(st.booleans())
            values = [draw(NUMBERS.filter(lambda y: y is not None) if day == 0 else NUMBERS), draw(NUMBERS)]
            row = [shop, pd.Timestamp("2024-02-20") + pd.Timedelta(start + day, "D"), *values, draw(NUMBERS)]
            rows += [[*row, town if told else None, area if told else None]] * draw(st.sampled_from([1, 1, 1, 2]))
    return pd.DataFrame(rows, columns=["shop", "day", "sold", "price", "open", "town", "area"])


@given(frames())
def test_covariates_stand_beside_their_step_and_are_missing_in_gaps(frame: pd.DataFrame) -> None:
    panel = panel_of(frame)
    assert list(panel.frame.columns) == ["unique_id", "ds", "y", "price", "open"]
    given_rows = frame.drop_duplicates(["shop", "day"]).set_index(["shop", "day"])
    places = pd.MultiIndex.from_frame(panel.frame[["unique_id", "ds"]])
    expected = given_rows.reindex(places)
    for column, name in (("sold", "y"), ("price", "price"), ("open", "open")):
        assert panel.frame[name].dtype == np.float64
        np.testing.assert_array_equal(panel.frame[name], expected[column].astype(float))
    missing = panel.frame[["price", "open"]].isna().sum()
    assert panel.audit["covariates"] == {name: {"missing": count} for name, count in missing.items()}


@given(frames())
def test_each_series_has_one_row_of_statics_in_the_order_of_the_panel(frame: pd.DataFrame) -> None:
    panel = panel_of(frame)
    assert list(panel.statics.columns) == ["unique_id", "town", "area"]
    assert panel.statics["unique_id"].tolist() == panel.frame["unique_id"].unique().tolist()
    for row in panel.statics.itertuples():
        given_rows = frame[frame["shop"] == row.unique_id]
        towns, areas = given_rows["town"].dropna().unique(), given_rows["area"].dropna().unique()
        assert row.town == (towns[0] if len(towns) else None)
        np.testing.assert_equal(row.area, areas[0] if len(areas) else np.nan)


@given(frames(), st.data())
def test_the_order_of_rows_does_not_change_covariates(frame: pd.DataFrame, data: st.DataObject) -> None:
    one, other = panel_of(frame), panel_of(frame.iloc[data.draw(st.permutations(range(len(frame))))])
    pd.testing.assert_frame_equal(one.frame, other.frame, check_exact=True)
    pd.testing.assert_frame_equal(one.statics, other.statics, check_exact=True)
    assert one.audit == other.audit


@given(frames())
def test_covariates_change_nothing_of_the_target(frame: pd.DataFrame) -> None:
    panel, bare = panel_of(frame), panel_of(frame, only(SHOPS))
    pd.testing.assert_frame_equal(panel.frame[["unique_id", "ds", "y"]], bare.frame)
    pd.testing.assert_frame_equal(panel.statics[["unique_id"]], bare.statics)
    assert bare.audit["covariates"] == {}
    assert panel.audit["per_series"] == bare.audit["per_series"]


@given(frames())
def test_a_panel_with_covariates_comes_back_from_its_files_unchanged(
    tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame
) -> None:
    folder, panel = tmp_path_factory.mktemp("panel"), panel_of(frame)
    save_panel(panel, folder / "one")
    loaded = load_panel(folder / "one")
    pd.testing.assert_frame_equal(loaded.frame, panel.frame)
    pd.testing.assert_frame_equal(loaded.statics, panel.statics)
    assert loaded.audit == panel.audit
    save_panel(loaded, folder / "two")
    assert sha256_of(folder / "one") == sha256_of(folder / "two")


def test_the_files_name_covariates_by_their_role(tmp_path: Path) -> None:
    save_panel(panel_of(shops()), tmp_path / "series")
    schema = json.loads((tmp_path / "series" / "schema.json").read_text())
    assert schema["covariates"] == {
        "past": ["price"],
        "future": ["open"],
        "static": {"categorical": ["town"], "numeric": ["area"]},
    }
    assert schema["columns"] | {"price": "double", "open": "double"} == schema["columns"]
    kinds = pq.read_schema(tmp_path / "series" / "statics.parquet")
    assert {field.name: str(field.type) for field in kinds} == {
        "unique_id": "string",
        "town": "string",
        "area": "double",
    }


def test_without_covariates_statics_name_the_series_alone(tmp_path: Path) -> None:
    panel = panel_of(shops(), only(SHOPS))
    save_panel(panel, tmp_path / "series")
    loaded = load_panel(tmp_path / "series")
    for statics in (panel.statics, loaded.statics):
        assert statics.to_dict("list") == {"unique_id": ["a"]}
        assert statics["unique_id"].dtype == "str"


@pytest.mark.parametrize(
    "given_values",
    [
        [True, False, True],
        ["True", "FALSE", " true "],
        ["1", "false", 1],
        [1, "0.0", np.True_],
        pd.array([True, False, True], dtype="boolean"),
        pd.Categorical([True, False, True]),
        pd.Categorical(["yes", "false", "true"]).set_categories(["true", "false"]).fillna("true"),
    ],
)
def test_true_and_false_are_one_and_zero(given_values: Any) -> None:
    panel = panel_of(shops(price=given_values, open=given_values), repair=STRICT)
    assert panel.frame["price"].tolist() == panel.frame["open"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("given_values", [[True, None, False], pd.array([True, None, False], dtype="boolean")])
def test_missing_among_true_and_false_is_missing(given_values: Any) -> None:
    panel = panel_of(shops(price=given_values), repair=STRICT)
    np.testing.assert_array_equal(panel.frame["price"], [1, np.nan, 0])


@pytest.mark.parametrize("column", ["price", "open", "area"])
@pytest.mark.parametrize(
    ("code", "value", "count"),
    [("value-text", "cheap", 1), ("value-text", "7,5", 1), ("value-infinite", np.inf, 1), ("value-huge", -1e200, 1)],
)
def test_what_is_no_number_is_settled_by_policy(column: str, code: str, value: Any, count: int) -> None:
    frame = shops().astype({column: object})
    frame.loc[1, column] = value
    told = re.escape(str(value))
    with pytest.raises(DataError, match=rf"\[{code}\] frame, row 2, column '{column}'.*'{told}' \(the only one\)"):
        panel_of(frame, repair=STRICT)
    panel = panel_of(frame)
    assert panel.audit["repairs"][code]["count"] == count
    if column != "area":
        np.testing.assert_array_equal(panel.frame[column], frame[column].where(frame.index != 1).astype(float))
    assert panel.statics["area"].tolist() == [40]


def test_only_rows_that_are_kept_are_judged() -> None:
    frame = shops(day=["2024-01-01", None, "2024-01-03"], price=[1, "x", "y"], town=["Ulm", "Bonn", "Kiel"])
    panel = panel_of(frame, repair=STRICT, end="2024-01-02")
    assert panel.frame["price"].tolist() == [1]
    assert panel.statics["town"].tolist() == ["Ulm"]


@pytest.mark.parametrize(("policy", "sold", "price"), [("first", 1, 5), ("last", 9, 9), ("mean", 5, 7)])
def test_of_rows_that_share_a_timestamp_the_kept_one_brings_the_covariates(
    policy: str, sold: float, price: float
) -> None:
    frame = pd.concat([shops(), shops(sold=9, price=9).iloc[:1]], ignore_index=True)
    panel = panel_of(frame, repair=LENIENT.model_copy(update={"conflicting_rows": policy}))
    assert panel.frame["y"].tolist() == [sold, 2, 3]
    assert panel.frame["price"].tolist() == [price, 6, 7]


@pytest.mark.parametrize("column", ["price", "open"])
def test_rows_that_differ_in_a_covariate_alone_are_conflicting(column: str) -> None:
    frame = pd.concat([shops(), shops(**{column: 9}).iloc[:1], shops().iloc[:1]], ignore_index=True)
    told = rf"\[row-conflicting\] frame, row 4, series 'a' at {DAYS[0]} .*: other covariates than before. Received: '"
    with pytest.raises(DataError, match=told):
        panel_of(frame, repair=STRICT)
    before = shops()[column].tolist()
    for policy, value in (("first", before[0]), ("last", before[0]), ("mean", (before[0] + 9) / 2)):
        panel = panel_of(frame, repair=STRICT.model_copy(update={"conflicting_rows": policy}))
        assert panel.frame[column].tolist() == [value, *before[1:]]
        assert panel.frame["y"].tolist() == [1, 2, 3]
        assert {code: repair["count"] for code, repair in panel.audit["repairs"].items()} == {
            "row-duplicate": 1,
            "row-conflicting": 1,
        }


def test_a_missing_covariate_is_another_than_a_known_one_and_equal_to_a_missing_one() -> None:
    twice = pd.concat([shops(price=None), shops(price=None)], ignore_index=True)
    assert list(panel_of(twice, repair=STRICT).audit["repairs"]) == ["row-duplicate"]
    with pytest.raises(DataError, match=r"\[row-conflicting\] frame, row 4, .*other covariates"):
        panel_of(pd.concat([shops(price=None), shops()], ignore_index=True), repair=STRICT)
    assert panel_of(pd.concat([shops(price=None), shops()], ignore_index=True)).frame["price"].tolist() == [5, 6, 7]


@given(frames(), st.data())
def test_means_of_covariates_are_those_of_a_loop_over_series_and_times(
    frame: pd.DataFrame, data: st.DataObject
) -> None:
    again = frame.assign(
        **{name: [data.draw(NUMBERS) for _ in range(len(frame))] for name in ("sold", "other", "price", "open")}
    )
    frame = pd.concat([frame.assign(other=frame["sold"]), again], ignore_index=True)
    frame = frame.iloc[data.draw(st.permutations(range(len(frame))))]
    for targets in (("sold",), ("sold", "other")):
        panel = panel_of(frame, dataclasses.replace(SHOPS, target_col=targets))
        for row in panel.frame.itertuples():
            shop, _, target = row.unique_id.partition("/")
            group = frame[(frame["shop"] == shop) & (frame["day"] == row.ds)]
            for name, value in ((target or "sold", row.y), ("price", row.price), ("open", row.open)):
                different = set(group[name].dropna())
                assert value == pytest.approx(np.mean(sorted(different)) if different else np.nan, nan_ok=True)


def test_every_target_of_a_row_has_its_covariates() -> None:
    frame = shops(shop=["p", "p", "q"], day=[DAYS[0], DAYS[1], DAYS[0]], other=[4, 5, 6], town=["Ulm", None, "Bonn"])
    panel = panel_of(frame, dataclasses.replace(SHOPS, target_col=("sold", "other")))
    assert panel.frame["unique_id"].tolist() == ["p/other"] * 2 + ["p/sold"] * 2 + ["q/other", "q/sold"]
    assert panel.frame["price"].tolist() == [5, 6, 5, 6, 7, 7]
    assert panel.statics["town"].tolist() == ["Ulm", "Ulm", "Bonn", "Bonn"]
    bad = frame.astype({"price": object})
    bad.loc[2, "price"] = "x"
    repairs = panel_of(bad, dataclasses.replace(SHOPS, target_col=("sold", "other"))).audit["repairs"]
    assert repairs["value-text"] == {"policy": "data.repair.bad_value: missing", "count": 2, "series": 2}


def test_series_that_are_dropped_leave_no_statics() -> None:
    frame = pd.concat([shops(), shops(shop="b", town="Bonn").iloc[:2]])
    dropping = LENIENT.model_copy(update={"short": "drop"})
    assert panel_of(frame, repair=dropping, min_history=3).statics.to_dict("list") == {
        "unique_id": ["a"],
        "town": ["Ulm"],
        "area": [40],
    }


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("town", ["Ulm", "Bonn", "Bonn"], "'town': series 'a' has another value, 'Ulm' in frame, row 1.*'Bonn'"),
        ("town", pd.Categorical([None, "Ulm", "Bonn"]), "another value, 'Ulm' in frame, row 2. Received: 'Bonn'"),
        ("area", [1, "2", 1], r"'area': series 'a' has another value, '1' in frame, row 1. Received: '2'"),
    ],
)
def test_a_static_covariate_that_varies_is_an_error(column: str, values: Any, told: str) -> None:
    with pytest.raises(DataError, match=rf"\[covariate-varies\] frame, row .*{told}.* give the series one value"):
        panel_of(shops(**{column: values}))


@pytest.mark.parametrize("towns", [["Ulm", None, "Ulm"], ["Ulm", " ", ""], pd.Categorical(["Ulm", None, "Ulm"])])
def test_a_static_covariate_may_be_left_out(towns: Any) -> None:
    assert panel_of(shops(town=towns)).statics["town"].tolist() == ["Ulm"]


@pytest.mark.parametrize(("town", "text"), [(7, "7"), (7.0, "7"), (7.5, "7.5"), ("NA", "NA"), (True, "True")])
def test_categories_are_text_and_whole_numbers_have_no_fraction(town: Any, text: str) -> None:
    assert panel_of(shops(town=town)).statics["town"].tolist() == [text]


def test_fractions_beside_a_category_do_not_change_how_it_is_written() -> None:
    frame = pd.concat([shops(town=1.0), shops(shop="b", town=2.5), shops(shop="c", town=np.nan)])
    assert panel_of(frame).statics["town"].tolist() == ["1", "2.5", None]
    assert panel_of(frame.assign(shop=frame["town"].fillna(1e18))).statics["unique_id"].tolist() == [
        "1",
        "1e+18",
        "2.5",
    ]


@pytest.mark.parametrize(
    "towns",
    [["1.0", "2.0", ""], ["1.0", "2.5", ""], ["007", "010", "7e3"], ["true", "FALSE", "true"], ["1e3", ".50", "-0"]],
)
def test_the_categories_of_a_file_are_those_that_training_saw_whoever_reads_it(tmp_path: Path, towns: Any) -> None:
    path, parts = tmp_path / "shops.csv", [shops(shop=town or "none", town=town) for town in towns]
    pd.concat(parts).drop_duplicates().to_csv(path, index=False)
    trained = ingest(path).statics
    names, words = trained["unique_id"].tolist(), sorted({town for town in towns if town})
    codes = encode(trained["town"].tolist(), words)
    for rows in (pd.read_csv(path), pd.read_csv(path).iloc[:3]):
        read = panel_of(rows).statics
        numbers = encode_history(read["unique_id"].tolist(), names)
        assert (numbers > 0).all()
        np.testing.assert_array_equal(encode_history(read["town"].tolist(), words), codes[numbers - 1])


def test_long_frame_names_go_with_the_users_names_of_covariates() -> None:
    frame = shops().rename(columns={"shop": "unique_id", "day": "ds", "sold": "y"})
    assert panel_of(frame).frame["price"].tolist() == [5, 6, 7]
    with pytest.raises(DataError, match=r"\[column-missing\] frame: no column 'price'. Found: 'unique_id'"):
        panel_of(frame.drop(columns="price"))
    with pytest.raises(DataError, match=r"\[column-missing\] frame: no column 'town'. Found: 'shop'"):
        panel_of(shops(ds=1, y=2).drop(columns="town"))


def test_columns_come_back_from_json_and_fit_the_schema_of_params() -> None:
    assert Columns.from_json(json.loads(json.dumps(SHOPS.to_json()))) == SHOPS
    kept = {name: getattr(BASE, name) for name in DataParams.model_fields if name not in SHOPS.to_json()}
    data = DataParams.model_validate({**json.loads(json.dumps(SHOPS.to_json())), **kept})
    assert Columns.from_params(data) == SHOPS
    assert SHOPS.covariates() == ("price", "open", "town", "area")


TABLE = {
    "shop": ["a", "a", "b", "b"],
    "day": [*DAYS[:2], *DAYS[:2]],
    "sold": [1, 2, 3, 4],
    "price": [0.1, None, 0.3, 0.4],
    "open": [True, False, True, None],
    "town": ["Ulm", "Ulm", None, None],
    "area": [40, 40, None, 50],
}


def ingest(path: Path, **changes: Any) -> Panel:
    named = {
        "id_col": "shop",
        "time_col": ("day",),
        "target_col": ("sold",),
        "freq": "D",
        "past_covariates": ("price",),
        "future_covariates": ("open",),
        "static_covariates": StaticParams(categorical=("town",), numeric=("area",)),
    }
    data = BASE.model_copy(update={**named, "path": str(path), "min_history": 1, "repair": STRICT, **changes})
    columns = Columns.from_params(data)
    return build_panel(read_source(data), columns=columns, repair=data.repair, min_history=1, end=None)


def check_table(panel: Panel) -> None:
    np.testing.assert_array_equal(panel.frame["price"], [0.1, np.nan, 0.3, 0.4])
    np.testing.assert_array_equal(panel.frame["open"], [1, 0, 1, np.nan])
    assert panel.statics["town"].tolist() == ["Ulm", None]
    assert panel.statics["area"].tolist() == [40, 50]


@pytest.mark.parametrize(("delimiter", "decimal"), [(",", "."), (";", ",")])
def test_covariates_are_read_from_csv_files(tmp_path: Path, delimiter: str, decimal: str) -> None:
    pd.DataFrame(TABLE).to_csv(tmp_path / "a.csv", index=False, sep=delimiter, decimal=decimal)
    check_table(ingest(tmp_path / "a.csv", delimiter=delimiter, decimal=decimal))


@pytest.mark.parametrize(
    "kinds",
    [
        {},
        {"price": pa.decimal128(9, 2), "area": pa.decimal128(21, 2)},
        {"price": pa.string(), "open": pa.string(), "area": pa.string(), "town": pa.large_string()},
        {"town": pa.dictionary(pa.int32(), pa.string()), "area": pa.float32()},
        {"area": pa.dictionary(pa.int8(), pa.int64())},
    ],
)
def test_covariates_are_read_from_parquet_files(tmp_path: Path, kinds: dict[str, Any]) -> None:
    table = pa.table(TABLE)
    for name, kind in kinds.items():
        column = table[name].dictionary_encode() if pa.types.is_dictionary(kind) else table[name].cast(kind, safe=False)
        table = table.set_column(table.schema.get_field_index(name), name, column)
    pq.write_table(table, tmp_path / "a.parquet")
    check_table(ingest(tmp_path / "a.parquet", format="parquet"))


@pytest.mark.parametrize("towns", [[1, 1, None, 2], [2**60 + 1, 2**60 + 1, None, 2]])
@pytest.mark.parametrize("encoded", [False, True])
def test_categories_of_parquet_files_may_be_whole_numbers(tmp_path: Path, towns: list[Any], encoded: bool) -> None:
    column = pa.array(towns)
    pq.write_table(
        pa.table({**TABLE, "town": column.dictionary_encode() if encoded else column}), tmp_path / "a.parquet"
    )
    panel = ingest(tmp_path / "a.parquet", format="parquet")
    assert panel.statics["town"].tolist() == [str(towns[0]), "2"]


def test_an_error_about_a_covariate_names_the_file_and_a_column_may_be_numbers_in_one_and_text_in_another(
    tmp_path: Path,
) -> None:
    frame = pd.DataFrame(TABLE)
    frame[:2].to_csv(tmp_path / "1.csv", index=False)
    frame[2:].assign(price=["x", "0.4"], town="Kiel").to_csv(tmp_path / "2.csv", index=False)
    with pytest.raises(DataError, match=r"\[value-text\] .*/2.csv, line 2, column 'price': no number. Received: 'x'"):
        ingest(tmp_path)
    panel = ingest(tmp_path, repair=LENIENT)
    np.testing.assert_array_equal(panel.frame["price"], [0.1, np.nan, np.nan, 0.4])
    assert panel.statics["town"].tolist() == ["Ulm", "Kiel"]
    frame[:1].assign(day=DAYS[3], town="Bonn").to_csv(tmp_path / "3.csv", index=False)
    told = (
        r"\[covariate-varies\] .*/3.csv, line 2, column 'town': series 'a' has another value, 'Ulm' in .*/1.csv, line 2"
    )
    with pytest.raises(DataError, match=told):
        ingest(tmp_path, repair=LENIENT)


def test_a_file_without_a_covariate_is_told_of_it(tmp_path: Path) -> None:
    pd.DataFrame(TABLE).drop(columns="open").to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=r"\[column-missing\] .*a.csv: no column 'open'"):
        ingest(tmp_path / "a.csv")


OPEN = only(SHOPS, future_covariates=("open",))
TWO = pd.DataFrame({"shop": ["b", "a", "a"], "day": [DAYS[2], DAYS[0], DAYS[1]], "sold": [1.0, 2.0, 3.0], "open": 1})


def future_of(frame: pd.DataFrame, panel: Panel, columns: Columns = OPEN, **changes: Any) -> Any:
    kept = {"repair": STRICT, "horizon": 2, **changes}
    return build_future(frame, panel=panel, columns=columns, **kept)


def ahead(**changes: Any) -> pd.DataFrame:
    """Two days ahead of both shops of `TWO`."""
    days = ["2024-01-03", "2024-01-04", "2024-01-04", "2024-01-05"]
    return pd.DataFrame({"shop": ["a", "a", "b", "b"], "day": days, "open": [1.0, 2, 3, 4], **changes})


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.integers(1, 5),
    st.sampled_from(["h", "D", "MS", "B"]),
    st.sampled_from([None, "Australia/Melbourne"]),
    st.randoms(use_true_random=False),
)
def test_the_future_is_read_whatever_the_order_of_its_rows(
    lengths: list[int], horizon: int, freq: str, zone: str | None, random: Any
) -> None:
    columns = Columns("k", ("t",), None, zone, ("v",), freq, (), ("p", "q"))
    stamps = pd.date_range("2024-03-31", periods=20, freq=freq, tz=zone)  # clocks go back on 7 April
    frame = pd.DataFrame(
        [[f"s{k}", stamps[step], 1.0, 0, 0] for k, n in enumerate(lengths) for step in range(n)],
        columns=["k", "t", "v", "p", "q"],
    )
    panel = panel_of(frame, columns)
    values = np.random.default_rng(1).normal(size=(len(lengths), 20, 2))
    rows = [[f"s{k}", stamps[step], *values[k, step]] for k in range(len(lengths)) for step in range(20)]
    rows += [["other", stamps[3], "x", None]]
    random.shuffle(rows)
    future = future_of(pd.DataFrame(rows, columns=["k", "t", "p", "q"]), panel, columns, horizon=horizon)
    expected = [values[k, n : n + horizon] for k, n in enumerate(lengths)]
    np.testing.assert_array_equal(future, expected)


@pytest.mark.parametrize("freq", ["h", "30min", "D"])
@pytest.mark.parametrize("start", ["2024-04-05 00:00", "2024-10-04 00:00"])
@pytest.mark.parametrize("written", ["local with offset", "utc", "panel"])
def test_the_future_is_read_over_clock_changes(freq: str, start: str, written: str) -> None:
    zone = "Australia/Melbourne"  # clocks go back on 7 April and forward on 6 October
    columns = Columns(None, ("t",), None, zone, ("v",), freq, (), ("p",))
    history = pd.date_range(start, periods=30 if freq == "h" else 3, freq=freq, tz=zone)
    panel = panel_of(pd.DataFrame({"t": history, "v": 1.0, "p": 0.0}), columns)
    local = pd.date_range(history[-1], periods=97, freq=freq)[1:]
    texts = {
        "local with offset": local.astype(str),
        "utc": local.tz_convert("UTC"),
        "panel": to_user_time(
            pd.Series(future_times(panel.frame["ds"].iloc[-1], freq=freq, horizon=96)), freq=freq, timezone=zone
        ),
    }
    frame = pd.DataFrame({"t": texts[written], "p": np.arange(96)})
    np.testing.assert_array_equal(future_of(frame, panel, columns, horizon=96)[0, :, 0], np.arange(96))


@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("written", ["as shown", "utc", "local"])
def test_the_future_is_read_over_a_midnight_that_a_clock_change_skips(horizon: int, written: str) -> None:
    zone = "Africa/Cairo"  # 26 April begins at 01:00
    columns = Columns(None, ("t",), None, zone, ("v",), "D", (), ("p",))
    history = pd.date_range("2024-04-20", "2024-04-25")
    panel = panel_of(pd.DataFrame({"t": history, "v": 1.0, "p": 0.0}), columns)
    ahead = pd.Series(future_times(panel.frame["ds"].iloc[-1], freq="D", horizon=horizon))
    shown = to_user_time(ahead, freq="D", timezone=zone)
    texts = {"as shown": shown.astype(str), "utc": shown.dt.tz_convert("UTC"), "local": ahead}
    frame = pd.DataFrame({"t": texts[written], "p": np.arange(horizon)})
    np.testing.assert_array_equal(future_of(frame, panel, columns, horizon=horizon)[0, :, 0], np.arange(horizon))


def test_local_hours_that_a_clock_change_repeats_are_settled_as_in_ingest() -> None:
    columns = Columns(None, ("t",), None, "Australia/Melbourne", ("v",), "h", (), ("p",))
    panel = panel_of(pd.DataFrame({"t": ["2024-04-07 00:00", "2024-04-07 01:00"], "v": 1.0, "p": 0.0}), columns)
    frame = pd.DataFrame({"t": ["2024-04-07 02:00", "2024-04-07 03:00"], "p": [1.0, 2.0]})
    with pytest.raises(DataError, match=r"\[zone-dst\] future frame, row 1, column 't': .*repeats"):
        future_of(frame, panel, columns, repair=STRICT.model_copy(update={"bad_time": "error"}))
    told = r"\[future-missing\] future frame, series 'v' at 2024-04-07 02:00:00\+11:00, column 'p': no row"
    with pytest.raises(DataError, match=told):
        future_of(frame, panel, columns)


@pytest.mark.parametrize(
    ("rename", "dropped"),
    [({}, []), ({"shop": "unique_id"}, []), ({"day": "ds"}, []), ({"shop": "unique_id", "day": "ds"}, [])],
)
def test_the_future_frame_may_use_the_long_frame_names(rename: dict[str, str], dropped: list[str]) -> None:
    future = future_of(ahead().rename(columns=rename), panel_of(TWO, OPEN))
    np.testing.assert_array_equal(future[:, :, 0], [[1, 2], [3, 4]])


def test_one_series_needs_no_id_and_several_do() -> None:
    alone = panel_of(TWO.iloc[:1], OPEN)
    np.testing.assert_array_equal(future_of(ahead()[2:].drop(columns="shop"), alone), [[[3], [4]]])
    np.testing.assert_array_equal(future_of(ahead(), alone), [[[3], [4]]])
    with pytest.raises(DataError, match=r"\[column-missing\] future frame: no column 'shop'. Found: 'day', 'open'"):
        future_of(ahead().drop(columns="shop"), panel_of(TWO, OPEN))
    with pytest.raises(DataError, match=r"\[column-missing\] future frame: no column 'day', 'open'"):
        future_of(ahead()[["shop"]], panel_of(TWO, OPEN))
    with pytest.raises(DataError, match=r"\[id-null\] future frame, row 2, column 'shop'"):
        future_of(ahead(shop=["a", None, "b", "b"]), panel_of(TWO, OPEN))


def test_every_target_of_an_id_has_the_future_of_its_rows() -> None:
    columns = dataclasses.replace(OPEN, target_col=("sold", "other"))
    panel = panel_of(TWO.assign(other=4.0), columns)
    assert panel.frame["unique_id"].unique().tolist() == ["a/other", "a/sold", "b/other", "b/sold"]
    expected = [[1, 2], [1, 2], [3, 4], [3, 4]]
    np.testing.assert_array_equal(future_of(ahead(), panel, columns)[:, :, 0], expected)
    each = pd.concat([ahead(shop=ahead()["shop"] + "/" + name) for name in ("sold", "other")])
    by_series = each.rename(columns={"shop": "unique_id"})
    np.testing.assert_array_equal(future_of(by_series, panel, columns)[:, :, 0], expected)


def test_targets_of_rows_without_an_id_share_the_future() -> None:
    columns = dataclasses.replace(OPEN, id_col=None, target_col=("sold", "other"))
    panel = panel_of(TWO[1:].assign(other=4.0), columns)
    future = future_of(ahead()[:2].drop(columns="shop"), panel, columns)
    np.testing.assert_array_equal(future[:, :, 0], [[1, 2], [1, 2]])


def test_without_future_covariates_nothing_is_read() -> None:
    assert future_of(pd.DataFrame(), panel_of(TWO, only(OPEN)), only(OPEN)).shape == (2, 2, 0)


def test_times_may_be_whole_numbers_or_in_several_columns() -> None:
    counted = Columns(None, ("t",), None, None, ("v",), 5, (), ("p",))
    panel = panel_of(pd.DataFrame({"t": [0, 5], "v": 1.0, "p": 0}), counted)
    frame = pd.DataFrame({"t": ["15", "10", "12"], "p": ["true", "0.5", "x"]})
    np.testing.assert_array_equal(future_of(frame, panel, counted)[0, :, 0], [0.5, 1])
    joined = Columns(None, ("d", "h"), "%d.%m.%Y %H", None, ("v",), "h", (), ("p",))
    panel = panel_of(pd.DataFrame({"d": "31.12.2024", "h": [21, 22], "v": 1.0, "p": 0}), joined)
    frame = pd.DataFrame({"d": ["31.12.2024", "01.01.2025"], "h": [23, 0], "p": [1, 2]})
    np.testing.assert_array_equal(future_of(frame, panel, joined)[0, :, 0], [1, 2])
    iso = pd.DataFrame({"ds": ["2024-12-31 23:00", "2025-01-01 00:00"], "p": [1, 2]})
    np.testing.assert_array_equal(future_of(iso, panel, joined)[0, :, 0], [1, 2])


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (ahead()[:3], "series 'b' at 2024-01-05 00:00:00, column 'open': no row (the only one"),
        (ahead()[2:], "series 'a' at 2024-01-03 00:00:00, column 'open': no row (the first of 2"),
        (ahead(open=[1, None, "NA", 4]), "series 'a' at 2024-01-04 00:00:00, column 'open': no value (the first of 2"),
        (ahead()[:0], "series 'a' at 2024-01-03 00:00:00, column 'open': no row (the first of 4"),
        (ahead(shop="c"), "series 'a' at 2024-01-03 00:00:00, column 'open': no row (the first of 4"),
        (ahead(day=["x", *ahead()["day"][1:]]), "series 'a' at 2024-01-03 00:00:00, column 'open': no row (the only"),
    ],
)
def test_a_step_without_its_covariates_is_an_error(frame: pd.DataFrame, told: str) -> None:
    with pytest.raises(DataError) as caught:
        future_of(frame, panel_of(TWO, OPEN))
    assert caught.value.code == "future-missing"
    assert str(caught.value).startswith(f"[future-missing] future frame, {told}")
    assert str(caught.value).endswith("each of the 2 steps after its last timestamp")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("code", "value"), [("value-text", "shut"), ("value-infinite", -np.inf), ("value-huge", 1e200)]
)
def test_a_bad_value_of_the_future_is_settled_as_in_ingest(code: str, value: Any) -> None:
    panel = panel_of(TWO, OPEN)
    frame = ahead(open=[1, 2, value, 4])
    with pytest.raises(DataError, match=rf"\[{code}\] future frame, row 3, column 'open': .*'{re.escape(str(value))}'"):
        future_of(frame, panel)
    with pytest.raises(DataError, match=r"\[future-missing\] .*series 'b' at 2024-01-04 00:00:00, .*: no value"):
        future_of(frame, panel, repair=LENIENT)
    late = pd.concat([ahead(), ahead(open=value).assign(day="2024-02-01"), ahead(open=value).assign(shop="c")])
    np.testing.assert_array_equal(future_of(late, panel)[:, :, 0], [[1, 2], [3, 4]])


def test_a_bad_time_of_the_future_is_settled_as_in_ingest_unless_its_series_is_another() -> None:
    panel, strict = panel_of(TWO, OPEN), STRICT.model_copy(update={"bad_time": "error"})
    frame = pd.concat([ahead(), ahead()[:1].assign(shop="c", day="x"), ahead()[:1].assign(day="y")], ignore_index=True)
    with pytest.raises(DataError, match=r"\[time-unparseable\] future frame, row 6, .*'y' \(the only one\)"):
        future_of(frame, panel, repair=strict)
    np.testing.assert_array_equal(future_of(frame[:5], panel, repair=strict)[:, :, 0], [[1, 2], [3, 4]])


def test_rows_of_the_future_that_share_a_time_follow_the_policy_where_they_differ() -> None:
    panel = panel_of(TWO, OPEN)
    equal = pd.concat([ahead(), ahead()], ignore_index=True)
    strict = STRICT.model_copy(update={"duplicate_rows": "error"})
    np.testing.assert_array_equal(future_of(equal, panel, repair=strict)[:, :, 0], [[1, 2], [3, 4]])
    differing = pd.concat([equal, ahead(open=[1, 2, 9, 4])], ignore_index=True)
    told = (
        r"\[row-conflicting\] future frame, row 11, series 'b' at 2024-01-04 00:00:00: other .*'9.0' \(the only one\)"
    )
    with pytest.raises(DataError, match=told):
        future_of(differing, panel)
    for policy, value in (("first", 3), ("last", 9), ("mean", 6)):
        repair = STRICT.model_copy(update={"conflicting_rows": policy})
        np.testing.assert_array_equal(future_of(differing, panel, repair=repair)[:, :, 0], [[1, 2], [value, 4]])


def test_the_future_has_the_means_that_ingest_gives() -> None:
    # Of each column its different values, however often they come beside those of others.
    columns = Columns("id", ("day",), None, None, ("y",), "D", (), ("promo", "price"))
    days = pd.DataFrame({"id": "a", "day": pd.date_range("2024-01-01", periods=9).repeat([1, 1, 3, 1, 1, 1, 1, 1, 1])})
    frame = days.assign(y=1.0, promo=0.0, price=1.0)
    frame.loc[2:4, ["promo", "price"]] = [[1, 10], [1, 20], [0, 20]]
    repair = STRICT.model_copy(update={"conflicting_rows": "mean"})
    panel = build_panel(frame, columns=columns, repair=repair, min_history=1, end=None)
    assert panel.frame[["promo", "price"]].iloc[2].tolist() == [0.5, 15]
    ahead = frame.iloc[2:5].assign(day=pd.Timestamp("2024-01-10"))
    found = build_future(ahead, panel=panel, columns=columns, repair=repair, horizon=1)
    assert found.ravel().tolist() == [0.5, 15]


def test_the_future_is_read_from_files_too(tmp_path: Path) -> None:
    panel = panel_of(TWO, OPEN)
    frame = ahead(open=[True, False, "x", True]).assign(__file__="next.csv", __row__=np.arange(4) + 2)
    frame.attrs = {"row_unit": "line", "decimal": "."}
    with pytest.raises(DataError, match=r"\[value-text\] next.csv, line 4, column 'open'"):
        future_of(frame, panel)
    with pytest.raises(DataError, match=r"\[future-missing\] next.csv, series 'b'"):
        future_of(frame, panel, repair=LENIENT)


ODD = (
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.booleans()
    | st.datetimes()
    | st.binary(max_size=3)
)
STAMPS = st.sampled_from([*ahead()["day"], "2024-01-01T00:00Z", "-1"])


@given(st.lists(st.tuples(ODD | st.sampled_from(["a", "b"]), STAMPS | ODD, ODD), max_size=6), st.booleans())
def test_odd_cells_of_the_future_give_an_array_or_one_line(rows: list[tuple[Any, Any, Any]], lenient: bool) -> None:
    frame = pd.concat([ahead().astype(object), pd.DataFrame(rows, columns=["shop", "day", "open"], dtype=object)])
    try:
        future = future_of(frame, panel_of(TWO, OPEN), repair=LENIENT if lenient else STRICT)
        text = f"{future.shape}, {np.isfinite(future).all()}"
        said = "(2, 2, 1), True"
    except DataError as error:
        text, said = str(error), " ".join(str(error).split())
    assert text == said


@given(st.lists(st.tuples(ODD, ODD, ODD, ODD), min_size=1, max_size=4), st.sampled_from([None, object]))
def test_odd_covariates_give_a_panel_or_one_line(rows: list[tuple[Any, ...]], dtype: Any) -> None:
    odd = pd.DataFrame(rows, columns=["price", "open", "town", "area"], dtype=dtype)
    frame = pd.DataFrame({"shop": "a", "day": DAYS[: len(odd)], "sold": 1.0}).join(odd)
    try:
        text, said = f"{len(panel_of(frame).frame)} steps", f"{len(odd)} steps"
    except DataError as error:
        code = "value-text" if error.code == "value-text" else "covariate-varies"  # the one of a column of words
        text, said = str(error), f"[{code}] {' '.join(str(error).split()).partition('] ')[2]}"
    assert text == said
