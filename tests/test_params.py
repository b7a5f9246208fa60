from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.errors import ParamsError
from pipeline.params import load_params

COMMITTED = Path(__file__).parents[1] / "params.yaml"
YAML_12 = YAML(typ="safe", pure=True)


def committed() -> dict[str, Any]:
    return dict(YAML_12.load(COMMITTED.read_text()))


def keys(section: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    optional = {"min", "max", "step", "sampling"}
    for name, value in section.items():
        if name in optional:
            continue
        yield (*path, name)
        if isinstance(value, dict):
            yield from keys(value, (*path, name))


def written(tmp_path: Path, params: dict[str, Any]) -> Path:
    path = tmp_path / "params.yaml"
    YAML_12.dump(params, path)
    return path


def changed(path: str, value: Any) -> dict[str, Any]:
    params = copy.deepcopy(committed())
    *parents, last = path.split(".")
    section = params
    for name in parents:
        section = section[name]
    section[last] = value
    return params


def test_the_committed_file_is_valid() -> None:
    assert load_params(COMMITTED).cells == ("lstm", "gru")


@pytest.mark.parametrize("key", list(keys(committed())), ids=".".join)
def test_every_key_is_needed(key: tuple[str, ...], tmp_path: Path) -> None:
    params = committed()
    section = params
    for name in key[:-1]:
        section = section[name]
    del section[key[-1]]
    if key[:2] == ("tune", "space") and key[2:] == ("rnn",):
        load_params(written(tmp_path, params))  # a search space is needed only for the cells in use
        return
    with pytest.raises(ParamsError, match=key[-1]):
        load_params(written(tmp_path, params))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("cells", ["lsm"], r'cells\.0: a cell is one of lstm, gru, rnn\. Received: "lsm"'),
        ("cells", [], r"cells: at least one value is needed"),
        ("cells", ["gru", "gru"], r"cells: values repeat"),
        ("quantiles", [0.1, 0.9], r"quantiles: 0\.5, the median, is needed"),
        ("quantiles", [0.1, 0.5, 0.8], r"quantiles: .*symmetric"),
        ("quantiles", [0.9, 0.5, 0.1], r"quantiles: .*ascend"),
        ("quantiles", [0, 0.5, 1], r"quantiles\.0: .*greater than 0"),
        ("quantiles", [0.1234561, 0.1234562, 0.5, 0.8765438, 0.8765439], r"quantiles: .*at least 1e-05 apart"),
        ("data.target_col", ["co2", "co2"], r"data\.target_col: values repeat"),
        ("window.test_size", 2**31, r"window\.test_size: .*less than 2147483648"),
        ("tune.space.lstm.learning_rate", [0.001, math.inf], r"learning_rate\.1: .*finite number"),
        ("tune.space.lstm.learning_rate", {"min": 0.001, "max": 0.1, "step": math.inf}, r"step: .*finite number"),
        ("baselines.ridge_alphas", [math.inf], r"ridge_alphas\.0: .*finite number"),
        ("data.format", "xml", r"data\.format: .*'csv', 'parquet' or 'tsf'\. Received: \"xml\""),
        ("data.delimiter", ",,", r"data\.delimiter: .*at most 1"),
        ("data.time_col", None, r"data: time_col is null; name a column"),
        ("data.past_covariates", None, r"data\.past_covariates: .*array\. Received: null"),
        ("data.past_covariates", ["a", "a"], r"data: past_covariates names a, which is in past_covariates already"),
        ("data.future_covariates", "co2", r"future_covariates names co2, which is a target_col already"),
        ("data.future_covariates", ["a", "week"], r"future_covariates names week, which is a time_col already"),
        ("data.future_covariates", "cutoff", r"names cutoff, which is a name of the panel or of forecasts already"),
        ("data.static_covariates", None, r"data\.static_covariates: .*object\. Received: null"),
        ("data.static_covariates.numeric", [1], r"data\.static_covariates\.numeric\.0: .*string\. Received: 1"),
        ("data.static_covariates.categorical", "y", r"static_covariates\.categorical names y, which is a name"),
        ("data.freq", [1], r"data\.freq: "),
        ("data.freq", 0, r"data\.freq: .*greater than or equal to 1\. Received: 0"),
        ("data.repair.gaps", "interpolate", r"data\.repair\.gaps: .*'missing' or 'error'"),
        ("window.horizon", "two", r'window\.horizon: .*integer\. Received: "two"'),
        ("window.horizon", 26.5, r"window\.horizon: .*integer.*Received: 26\.5"),
        ("window.val_size", 20, r"window: val_size 20 is shorter than horizon 26"),
        ("window.min_context", 105, r"window: min_context 105 is longer than context_length 104"),
        ("tune.space.gru.segment_length", [13, 105], r"gru\.segment_length 105 is longer than both"),
        ("tune.seed", 0, r"tune\.seed: .*Received: 0"),
        ("tune.sede", 1, r"tune\.sede: unknown key"),
        ("tune.space.lstm.units", {"min": 3, "max": 2}, r"tune\.space\.lstm\.units: min 3 is not below max 2"),
        ("tune.space.lstm.layers", {"min": 0, "max": 2}, r"layers: min 0 is not at least 1"),
        ("tune.space.lstm.segment_length", {"min": -4, "max": 4}, r"segment_length: min -4 is not at least 1"),
        ("tune.space.lstm.dropout", {"min": 0.1, "max": 1.0}, r"dropout: max 1.0 is not from 0 to below 1"),
        ("tune.space.lstm.learning_rate", {"min": -1.0, "max": 0.1}, r"learning_rate: min -1.0 is not above 0"),
        ("tune.space.lstm.units", {"min": 8, "max": 64, "step": 1, "sampling": "log"}, r"units: step 1 is not above 1"),
        ("tune.space.lstm.units", [], r"tune\.space\.lstm\.units: "),
        ("tune.space.lstm.dropout", [1.0], r"tune\.space\.lstm\.dropout\.0: .*less than 1"),
        (
            "tune.space.gru.learning_rate",
            {"min": 0.0, "max": 0.1, "sampling": "log"},
            r"learning_rate: min 0\.0 is not positive",
        ),
        ("tune.space.gru.transform", ["sqrt"], r"transform\.0: .*'none' or 'log1p'"),
        ("tune.space.xyz", {}, r"tune\.space\.xyz"),
        ("serve.cell", "rnn", r"serve\.cell rnn is not among cells"),
        ("serve.cell", "bst", r"serve\.cell: best, or one of lstm, gru, rnn, ridge"),
        ("serve.cell", "seasonal_naive", r"serve\.cell: best, or one of"),
        ("compute.threads", True, r"compute\.threads: "),
    ],
)
def test_a_bad_value_is_told_in_one_line_with_its_path(key: str, value: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=told) as caught:
        load_params(written(tmp_path, changed(key, value)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("written_as", ["\t", r"\t"])
def test_a_tab_may_be_written_as_errors_show_it(written_as: str, tmp_path: Path) -> None:
    assert load_params(written(tmp_path, changed("data.delimiter", written_as))).data.delimiter == "\t"


def test_the_ridge_baseline_may_be_served_beside_any_cells(tmp_path: Path) -> None:
    params = changed("serve.cell", "ridge") | {"cells": ["lstm"]}
    assert load_params(written(tmp_path, params)).serve.cell == "ridge"


def test_covariates_are_named_once_in_all_lists_and_never_for_a_tsf_file(tmp_path: Path) -> None:
    params = changed("data.past_covariates", "price")
    params["data"] |= {"id_col": "shop", "static_covariates": {"categorical": ["town"], "numeric": "area"}}
    data = load_params(written(tmp_path, params)).data
    assert (data.past_covariates, data.static_covariates.numeric) == (("price",), ("area",))
    params["data"]["static_covariates"]["numeric"] = ["price"]
    with pytest.raises(ParamsError, match=r"static_covariates\.numeric names price, which is in past_covariates"):
        load_params(written(tmp_path, params))
    params["data"]["static_covariates"]["numeric"] = ["shop"]
    with pytest.raises(ParamsError, match=r"static_covariates\.numeric names shop, which is the id_col already"):
        load_params(written(tmp_path, params))
    params["data"] |= {"static_covariates": {"categorical": [], "numeric": []}, "format": "tsf"}
    with pytest.raises(ParamsError, match=r"past_covariates names price, but a \.tsf file has no covariates"):
        load_params(written(tmp_path, params))


def test_all_bad_values_are_told_at_once(tmp_path: Path) -> None:
    params = changed("window.horizon", 0)
    params["tune"]["patience"] = -1
    with pytest.raises(ParamsError, match=r"window\.horizon.*tune\.patience"):
        load_params(written(tmp_path, params))


def test_yaml_is_read_as_dvc_reads_it(tmp_path: Path) -> None:
    text = COMMITTED.read_text().replace("{min: 1.0e-3, max: 1.0e-2, sampling: log}", "[1e-3]")
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert load_params(path).tune.space["gru"].learning_rate == (0.001,)


def test_what_is_no_yaml_and_what_is_missing_are_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(ParamsError, match="not found"):
        load_params(path)
    path.write_text("cells: [lstm")
    with pytest.raises(ParamsError, match="not valid YAML") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)
    path.write_text("")
    with pytest.raises(ParamsError, match="params.yaml: "):
        load_params(path)


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]: 3",
        "2024-01-01: 3",
        "a: &a\n  b: *a",
        "a: &a [*a]",
        "a: " + "[" * 3000,
        "a: 2024-13-45",
        "a: " + "9" * 5000,
    ],
)
def test_yaml_that_no_json_could_say_is_told_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=r"params\.yaml (cannot be used|is not valid YAML): .+") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_params_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_params(COMMITTED).window.horizon = 3  # type: ignore[misc]
