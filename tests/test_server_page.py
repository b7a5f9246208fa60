"""The page at `/` in a browser."""

from __future__ import annotations

import csv
import io
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from server_models import C, H, history_of, hours, save_model, trained
from test_server_process import serving

from pipeline.columns import Columns
from pipeline.server.versions import publish_bundle
from pipeline.storage import read_json, write_json

DRAWN = "body[data-drawn=yes]"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published models: two that read alike, one with covariates, one of weeks."""
    folder = tmp_path_factory.mktemp("published")
    for name in ("gru", "lstm", "shops", "weekly"):
        shutil.copytree(trained()[name], folder / name / "1")
    return folder


@pytest.fixture(scope="module")
def address(models: Path) -> Iterator[str]:
    """Where they are served."""
    with serving(models, str(models), "--cell", "gru") as (_, told):
        yield told


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of two series."""
    path = tmp_path_factory.mktemp("files") / "meters.csv"
    pd.DataFrame(history_of({"north": 60, "south": 45})).to_csv(path, index=False)
    return path


@contextmanager
def opened(browser: Any, address: str, *, width: int = 1280) -> Iterator[Any]:
    """The page with its example drawn; at its end nothing was complained of, and nothing asked of elsewhere."""
    complaints: list[str] = []
    requests: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address + "/")
    page.wait_for_selector(DRAWN)
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert complaints == []
    assert [url for url in requests if not url.startswith((address, "blob:"))] == []
    context.close()


def drop(page: Any, file: Path) -> None:
    """Lets go of a file over the page."""
    page.evaluate(
        """([name, text]) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([text], name, { type: "text/csv" }));
            for (const kind of ["dragover", "drop"]) {
                document.body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
            }
        }""",
        [file.name, file.read_text()],
    )


def medians(page: Any) -> list[str]:
    """The lines of the forecasts that are drawn."""
    paths: list[str] = page.eval_on_selector_all(".median:not(.stale)", "all => all.map(one => one.getAttribute('d'))")
    return paths


def errors_told(page: Any) -> dict[str, float]:
    """The mean absolute errors that the page tells, by model."""
    rows = page.locator("#done tbody tr").all()
    cells = [row.locator("th, td").all_inner_texts() for row in rows]
    return {name: float(error.replace(",", "").replace("−", "-")) for name, error, *_ in cells}


@pytest.mark.parametrize("width", [1280, 390])
def test_a_dropped_file_is_drawn_moved_back_compared_and_downloaded(
    width: int, browser: Any, address: str, file: Path
) -> None:
    history = pd.read_csv(file)
    values = history[history["meter"] == "south"]["load"].to_numpy()
    with opened(browser, address, width=width) as page:
        page.uncheck("input[value=lstm]", force=True)
        example = medians(page)
        assert len(example) == 1
        drop(page, file)
        page.wait_for_selector("h1:text-is('north')")
        page.wait_for_selector(DRAWN)
        assert medians(page) != example
        assert "60 steps from 2024-01-01 to 2024-01-03 11:00" in page.inner_text("#source")

        page.select_option("#series", "south")
        page.wait_for_selector(DRAWN)
        assert "Nothing has been observed" in page.inner_text("#done-words")
        at_end = medians(page)
        page.focus("#cutoff")
        for _ in range(H):
            page.keyboard.press("ArrowLeft")
        page.wait_for_selector(DRAWN)
        assert page.inner_text("#moved") == f"{H} steps back"
        assert medians(page) != at_end

        page.check("input[value=lstm]", force=True)
        page.wait_for_selector(DRAWN)
        assert len(medians(page)) == 2
        asked = {
            "meter": ["south"] * C,
            "when": history["when"][-H - C : -H].tolist(),
            "load": values[-H - C : -H].tolist(),
        }
        for name, told in zip(("GRU", "LSTM"), list(errors_told(page).values())[:2], strict=True):
            answer = httpx.post(f"{address}/v1/forecast", json={"model": name.lower(), "history": asked}).json()
            expected = np.abs(np.array(answer["series"][0]["median"]) - values[-H:]).mean()
            assert told == pytest.approx(expected, rel=2e-3)

        with page.expect_download() as downloading:
            page.click("#download")
        rows = list(csv.DictReader(io.StringIO(Path(downloading.value.path()).read_text())))
        assert (len(rows), rows[0]["unique_id"], rows[0]["cutoff"]) == (H, "south", "2024-01-02T13:00:00")
        assert {"ds", "y", "gru", "gru-lo-80", "gru-hi-80", "lstm", "lstm-lo-80", "lstm-hi-80"} <= set(rows[0])
        assert [float(row["y"]) for row in rows] == pytest.approx(values[-H:])


def test_the_chart_is_read_by_keyboard_and_told_to_those_who_hear_it(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        assert "forecasts: GRU from" in page.get_attribute("#chart", "aria-label")
        page.focus("#chart")
        page.keyboard.press("ArrowRight")
        first = page.inner_text("#spoken")
        page.keyboard.press("ArrowRight")
        assert re.match(r"2024-\d\d-\d\d.*GRU .* to .*LSTM", first)
        assert page.inner_text("#spoken") != first
        page.keyboard.press("Escape")
        assert page.locator(".cursor").count() == 0
        unnamed = "all => all.filter(one => !one.labels?.length && !one.ariaLabel && !one.innerText).map(one => one.id)"
        assert page.eval_on_selector_all("input, select, button", unnamed) == []


def test_a_model_that_reads_other_tables_brings_its_own_example(browser: Any, address: str) -> None:
    with opened(browser, address) as page:
        page.check("input[value=shops]", force=True)
        for name in ("gru", "lstm"):
            page.uncheck(f"input[value={name}]", force=True)
        page.wait_for_selector(DRAWN)
        # The covariates that it needs ahead are those of the file, so the last step is no cutoff.
        bound = f"{H} steps back: further on, rows with what is known ahead are needed"
        assert page.inner_text("#moved") == bound
        assert len(medians(page)) == 1
        assert page.locator("#problem").is_hidden()


def test_what_the_server_refuses_is_told_in_a_line_and_the_chart_stays(
    browser: Any, address: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("time,<b>value</b>\n2024-01-01,1\n")
    with browser.new_page() as page:
        page.goto(address + "/")
        page.wait_for_selector(DRAWN)
        before = medians(page)
        drop(page, wrong)
        page.wait_for_selector("#problem:not([hidden])")
        assert page.inner_text("#problem").startswith("history: no column")
        assert page.locator("#problem b").count() == 0
        assert medians(page) == before
        assert page.inner_text("h1") == "A made-up series"


def test_a_version_that_comes_while_the_page_is_open_takes_the_place_of_the_one_before(
    browser: Any, file: Path, tmp_path: Path
) -> None:
    save_model(tmp_path / "models/load/1", "lstm")
    with serving(tmp_path, "models") as (_, address), browser.new_page() as page:
        page.goto(address + "/")
        page.wait_for_selector(DRAWN)
        assert page.inner_text("#models") == "load (LSTM)"
        steps, context = H + 2, C - 4
        publish(tmp_path, address, "gru", context_length=context, context_used=context, horizon=steps)
        page.focus("#cutoff")
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("#problem:text-is('load is now version 2 (GRU)')")
        page.wait_for_selector(DRAWN)
        page.click("summary:text-is('What these models are')")
        about = page.locator("#about tbody tr").all_inner_texts()
        assert about[:3] == ["Cell\tGRU", "Version\t2", f"Forecasts\t{steps} steps, from the last {context}"]
        assert page.inner_text("#models") == "load (GRU)"
        assert page.inner_text("#moved") == "1 step back"
        assert page.inner_text("#readout").endswith(f"after {steps} steps")

        publish(tmp_path, address, "lstm")
        drop(page, file)
        page.wait_for_selector("#problem:text-is('load is now version 3 (LSTM)')")
        page.wait_for_selector(DRAWN)
        assert (page.inner_text("h1"), page.inner_text("#models")) == ("north", "load (LSTM)")
        assert page.inner_text("#readout").endswith(f"after {H} steps")


def publish(folder: Path, address: str, cell: str, **changes: int) -> None:
    """Publishes a bundle of `load` and waits until it is served."""
    version = publish_bundle(save_model(folder / cell, cell, **changes), folder / "models", name="load").name
    while httpx.get(f"{address}/v1/models").json()["models"][0]["version"] != version:
        time.sleep(0.1)


def test_a_key_is_asked_for_and_kept_nowhere(browser: Any, models: Path) -> None:
    with (
        serving(models, str(models), "--cell", "gru", GATECAST_API_KEY="s3cret-schlüssel") as (_, address),
        browser.new_page() as page,
    ):
        page.set_default_timeout(60_000)
        page.goto(address + "/")
        for key in ("wrong", "s3cret-schlüssel"):
            page.wait_for_selector("dialog[open]")
            page.fill("#key", key)
            page.keyboard.press("Enter")
            page.wait_for_selector("dialog[open] #key-words:has-text('does not accept')" if key == "wrong" else DRAWN)
        kept = page.evaluate("[localStorage.length, sessionStorage.length, document.cookie, location.href]")
        assert kept == [0, 0, "", address + "/"]


def test_a_key_can_still_be_given_once_its_dialog_was_closed(browser: Any, models: Path, file: Path) -> None:
    with (
        serving(models, str(models), "--cell", "gru", GATECAST_API_KEY="s3cret") as (_, address),
        browser.new_page() as page,
    ):
        page.set_default_timeout(60_000)
        page.goto(address + "/")
        for ask in (lambda: None, lambda: page.click("#example"), lambda: drop(page, file)):
            ask()
            page.wait_for_selector("dialog[open]")
            page.keyboard.press("Escape")
            page.wait_for_selector("#problem:text-is('an API key is needed; open a file or the example to give one')")
            assert page.inner_text("#source") == "Nothing to show yet."
            assert page.locator("#back:enabled, #on:enabled").count() == 0
        drop(page, file)
        page.wait_for_selector("dialog[open]")
        page.fill("#key", "s3cret")
        page.keyboard.press("Enter")
        page.wait_for_selector(DRAWN)
        assert page.inner_text("h1") == "north"
        assert page.locator("#problem").is_hidden()


@pytest.mark.parametrize(("lost", "next_click"), [("models", "#example"), ("models/*/example", ".chip")])
def test_a_start_that_failed_is_made_up_for_by_what_is_done_next(
    lost: str, next_click: str, browser: Any, address: str
) -> None:
    with browser.new_page() as page:
        mistakes: list[str] = []
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.route(f"**/v1/{lost}", lambda route: route.abort())
        page.goto(address + "/")
        page.wait_for_selector("#problem:has-text('cannot be reached')")
        page.unroute(f"**/v1/{lost}")
        page.click(f"{next_click} >> nth=0")
        page.wait_for_selector(DRAWN)
        assert page.inner_text("h1") == "A made-up series"
        assert page.locator("#problem").is_hidden()
        assert mistakes == []


WRITTEN = {
    "semicolons": ({"sep": ";", "decimal": ","}, "%Y-%m-%d %H:%M", "utf-8"),
    "milliseconds": ({"sep": ";", "decimal": ","}, "%Y-%m-%d %H:%M:%S.000", "utf-8"),
    "quotes": ({"sep": ",", "decimal": ","}, "%Y-%m-%d %H:%M", "utf-8"),
    "utf-16": ({"sep": "\t"}, "%Y-%m-%d %H:%M", "utf-16-le"),
    "utf-16, other order": ({"sep": "\t", "decimal": ","}, "%Y-%m-%d %H:%M", "utf-16-be"),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_a_files_delimiter_decimal_mark_and_encoding_are_found(
    way: str, browser: Any, address: str, tmp_path: Path
) -> None:
    options, time_format, encoding = WRITTEN[way]
    frame = pd.DataFrame(history_of({"ä": 30})).astype({"when": "datetime64[s]"})
    text = frame.to_csv(index=False, date_format=time_format, **options)
    written = tmp_path / "zähler.csv"
    written.write_bytes(f"\ufeff{text}".encode(encoding))
    with opened(browser, address) as page:
        with page.expect_request(is_forecast_of("gru")) as asked:
            page.set_input_files("#file", written)
        history = asked.value.post_data_json["history"]
        assert history["y"] == pytest.approx(frame["load"].iloc[-C:])
        assert pd.to_datetime(history["ds"]).equals(pd.DatetimeIndex(frame["when"].iloc[-C:]))
        page.wait_for_selector("h1:text-is('ä')")
        page.wait_for_selector(DRAWN)
        assert page.locator("#problem").is_hidden()


def test_a_comma_that_may_be_a_mark_of_thousands_is_not_guessed_at(browser: Any, address: str, tmp_path: Path) -> None:
    unclear = tmp_path / "unclear.csv"
    unclear.write_text('meter,when,load\na,2024-01-01 00:00,"1,234"\na,2024-01-01 01:00,"2,345"\n')
    with browser.new_page() as page:
        page.goto(address + "/")
        page.wait_for_selector(DRAWN)
        drop(page, unclear)
        page.wait_for_selector("#problem:has-text('no number')")


NOISE = np.random.default_rng(0).normal(0, 0.01, 300)
SHIFT = NOISE + np.where(np.arange(300) < 50, 300, 500.3)
SPIKE = NOISE + np.where(np.arange(300) == 50, 99_999, 5)


@pytest.mark.parametrize("values", [SHIFT, SPIKE, SHIFT * 1e8, SHIFT * 1e-9], ids=["shift", "spike", "large", "small"])
def test_the_ends_of_intervals_are_told_apart_however_far_the_series_ranges(
    values: NDArray[np.float64], browser: Any, address: str, tmp_path: Path
) -> None:
    history = tmp_path / "far.csv"
    pd.DataFrame({"meter": "far", "when": hours(len(values)), "load": values}).to_csv(history, index=False)
    with opened(browser, address) as page:
        drop(page, history)
        page.wait_for_selector("h1:text-is('far')")
        page.wait_for_selector(DRAWN)
        page.click("#numbers-fold summary")
        page.wait_for_selector("#numbers tbody tr")
        cells = page.locator("#numbers td:text(' to ')").all_inner_texts()
        assert len(cells) == 2 * H
        assert [cell for cell in cells if len(set(cell.split(" to "))) < 2 or len(cell) > 28] == []


# Values, how many horizons back, and what is told of the forecasts there.
TOLD = {
    "a tie": (np.full(40, 5.0), 1, "none was nearer than another", "Observed until 2024-01-02 08:00"),
    "refused": (np.r_[0.0:30, [np.nan] * 30, 0.0:30], 5, "No forecast to judge.", "Observed until 2024-01-02 05:00"),
    "one step": (np.array([3.0]), 0, "Nothing has been observed after this forecast yet.", "Observed until 2024-01-01"),
    "missing at last": (np.r_[0.0:57, [np.nan] * 3], 0, "Move it back to see", "Observed until 2024-01-03 08:00"),
}


@pytest.mark.parametrize("case", TOLD)
def test_what_a_forecast_did_is_told_as_far_as_it_is_so(case: str, browser: Any, address: str, tmp_path: Path) -> None:
    values, horizons, told, observed = TOLD[case]
    history = tmp_path / "told.csv"
    pd.DataFrame({"meter": "told", "when": hours(len(values)), "load": values}).to_csv(history, index=False)
    with browser.new_page() as page:
        page.goto(address + "/")
        page.wait_for_selector(DRAWN)
        drop(page, history)
        page.wait_for_selector("h1:text-is('told')")
        for _ in range(horizons):
            page.click("#back")
        page.wait_for_selector("#problem:not([hidden])" if case == "refused" else DRAWN)
        words = page.inner_text("#done-words")
        assert told in words
        assert page.inner_text("#readout").startswith(observed)
        assert ("Move it back" in words) == (case == "missing at last")


# A row is found by its whole timestamp: two hours of a night look alike but for their offset, steps but for fractions.
CLOCKS = [
    ("Europe/Berlin", "h", "2024-10-26T00:00:00+00:00", ["2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00"]),
    (None, "250ms", "2024-01-01T00:00:00", ["2024-01-01T00:00:06.250000", "2024-01-01T00:00:06"]),
    (None, "50us", "2024-01-01T00:00:00", ["2024-01-01T00:00:00.001250", "2024-01-01T00:00:00.001200"]),
]


@pytest.mark.parametrize(("timezone", "freq", "start", "stamps"), CLOCKS)
def test_a_forecast_starts_from_the_very_row_that_is_chosen(
    timezone: str | None, freq: str, start: str, stamps: list[str], browser: Any, tmp_path: Path
) -> None:
    for name in ("gru", "lstm"):
        columns = Columns(None, ("at",), None, timezone, ("load",), freq)
        save_model(tmp_path / "models" / name / "1", name, columns=columns)
    times = pd.date_range(start, periods=30, freq=freq)
    file = tmp_path / "clock.csv"
    pd.DataFrame({"at": [time.isoformat() for time in times], "load": np.arange(30.0)}).to_csv(file, index=False)
    with serving(tmp_path, "models", "--cell", "gru") as (_, address), opened(browser, address) as page:
        drop(page, file)
        page.wait_for_selector("h1:text-is('load')")
        page.wait_for_selector(DRAWN)
        page.focus("#cutoff")
        starts = set()
        for back in range(1, 6):
            with page.expect_request(is_forecast_of("gru")) as gru, page.expect_request(is_forecast_of("lstm")) as lstm:
                page.keyboard.press("ArrowLeft")
            page.wait_for_selector(DRAWN)
            for asked in (gru, lstm):
                history = asked.value.post_data_json["history"]
                assert history["y"] == list(range(30 - back - C, 30 - back))
                starts.add(history["ds"][-1])
            rows = page.locator("#done tbody tr:nth-child(-n+2)").all_inner_texts()
            assert [text for text in rows if not text.endswith(f" of {back}")] == []
        assert set(stamps) < starts


def is_forecast_of(model: str) -> Any:
    """Finds the request for a forecast of a model."""
    return lambda request: request.url.endswith("/v1/forecast") and request.post_data_json["model"] == model


def test_places_and_ticks_follow_the_clock_of_the_series(browser: Any, address: str) -> None:
    script = """async ([stamps, other]) => {
        const { offsetsOf, placeIn, placeOf, timeTicks } = await import("/page/tables.js");
        const places = stamps.map(placeOf), offsets = offsetsOf(stamps);
        const ticks = timeTicks(places[0], places[places.length - 1], 8, offsets);
        const clocks = [placeIn({ offsets }, other), placeIn({ offsets: [] }, stamps[0])];
        return [places, ticks.map(({ at, label }) => [at, label]), ...clocks];
    }"""
    stamps = [time.isoformat() for time in pd.date_range("2024-10-27", periods=25, freq="h", tz="Europe/Berlin")]
    with opened(browser, address) as page:
        places, ticks, of_clock, of_zone = page.evaluate(script, [stamps, "2024-10-27T12:00:00"])
    assert np.diff(places).tolist() == [3_600_000] * 24
    local = {
        label: pd.Timestamp(at, unit="ms", tz="UTC").tz_convert("Europe/Berlin").strftime("%H:%M")
        for at, label in ticks
    }
    assert local == {"27 Oct": "00:00", "03:00": "03:00", "06:00": "06:00", "09:00": "09:00", "12:00": "12:00",
                     "15:00": "15:00", "18:00": "18:00", "21:00": "21:00"}  # fmt: skip
    assert of_clock == places[13]
    # In a night with an hour that the clock skips, no tick stands for it.
    spring = [time.isoformat() for time in pd.date_range("2024-03-31", periods=8, freq="h", tz="Europe/Berlin")]
    with opened(browser, address) as page:
        _, ticks, *_ = page.evaluate(script, [spring, "2024-03-31T12:00:00"])
    shown = {at: pd.Timestamp(at, unit="ms", tz="UTC").tz_convert("Europe/Berlin").strftime("%H:%M") for at, _ in ticks}
    assert all(label in (shown[at], "31 Mar") for at, label in ticks)
    assert "03:00" in shown.values()
    assert of_zone == pd.Timestamp("2024-10-27").value / 1e6


@pytest.mark.parametrize("value", [3.14, 0.0, -427.1, 1e30])
def test_values_that_differ_by_rounding_alone_are_drawn_as_a_level(
    value: float, browser: Any, address: str, tmp_path: Path
) -> None:
    level = tmp_path / "level.csv"
    values = [value if step % 3 else np.nextafter(value, np.inf) for step in range(40)]
    pd.DataFrame({"meter": "level", "when": hours(40), "load": values}).to_csv(level, index=False)
    with opened(browser, address) as page:
        drop(page, level)
        page.wait_for_selector("h1:text-is('level')")
        page.wait_for_selector(DRAWN)
        assert len(medians(page)) == 2


def test_what_a_model_has_learnt_from_is_told_where_times_are_whole_numbers(browser: Any, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m", columns=Columns(None, ("step",), None, None, ("load",), 1))
    path = folder / "forecaster.json"
    write_json(read_json(path) | {"training_range": {"start": "0", "end": "1000"}}, path)
    with serving(tmp_path, str(folder)) as (_, told), opened(browser, told) as page:
        for last in (999, 1100):
            history = tmp_path / f"{last}.csv"
            pd.DataFrame({"step": range(last - 59, last + 1), "load": np.arange(60.0) % 7}).to_csv(history, index=False)
            drop(page, history)
            page.wait_for_selector(f"#source:has-text('{last}')")
            page.wait_for_selector(DRAWN)
            page.click("#back")
            page.wait_for_selector(DRAWN)
            shown = page.locator("#fairness")
            assert shown.is_visible() == (last == 999)
            assert last == 1100 or "learnt from data until 1000" in shown.inner_text()


def test_the_decimal_mark_is_told_by_rows_far_down_too(browser: Any, address: str, tmp_path: Path) -> None:
    far = tmp_path / "far.csv"
    values = [str(step) if step < 900 else f"{step},5" for step in range(1000)]
    pd.DataFrame({"meter": "far", "when": hours(1000), "load": values}).to_csv(far, index=False, sep=";")
    with opened(browser, address) as page:
        drop(page, far)
        page.wait_for_selector("h1:text-is('far')")
        page.wait_for_selector(DRAWN)
        assert page.locator("#problem").is_hidden()
