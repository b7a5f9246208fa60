from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server_models import trained

from benchmarks import serve
from benchmarks.serving.contenders import BATCHING, CONTENDERS, EMPTY, OWN, PEERS, Place
from benchmarks.serving.environments import requirements_of
from benchmarks.serving.figures import Figure, after_warm_up, floor_ms, load_figure, slope_per_minute, targets
from benchmarks.serving.load import Load, http_request, is_whole, measure, percentile
from benchmarks.serving.page import render_page
from benchmarks.serving.processes import free_port, resident_mb, serving, tree_of
from benchmarks.serving.windows import read_windows
from pipeline.errors import GatecastError

ROOT = Path(__file__).parents[1]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_first_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.99) == 3.0


def test_a_response_is_whole_when_its_last_byte_has_come() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    for response in (ANSWER, ANSWER.replace(b"Content-Length: ", b"content-length:"), chunked):
        assert [is_whole(bytearray(response[:end])) for end in range(len(response) + 1)].index(True) == len(response)


def test_a_request_says_how_long_its_body_is() -> None:
    head, _, body = http_request("/v1/forecast", b'{"h": 1}').partition("\r\n\r\n")
    assert head.splitlines()[0] == "POST /v1/forecast HTTP/1.1"
    assert "Content-Length: 8" in head.splitlines()
    assert body == '{"h": 1}'


def loaded(answers: list[bytes], clients: int) -> dict[str, Any]:
    """What the load generator says of a server that gives these answers in turn."""
    asked: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(65536):
            asked.append(request)
            writer.write(answers[len(asked) % len(answers)])
        writer.close()

    async def run() -> dict[str, Any]:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        requests = [http_request(f"/{number}", b"{}") for number in range(3)]
        measured = await measure(Load(port, requests, clients, seconds=0.2, warm_up_s=0.05))
        await asyncio.sleep(0.05)  # for the connections to be closed
        server.close()
        return measured.to_json()

    found = asyncio.run(run())
    return found | {"asked": {request.split()[1] for request in asked}, "requests": len(asked)}


def test_every_client_asks_again_as_soon_as_it_is_answered() -> None:
    found = loaded([ANSWER], clients=4)
    assert found["failed"] == {}
    assert found["asked"] == {b"/0", b"/1", b"/2"}
    assert 40 < found["answered"] < found["requests"]
    assert 0 < found["p50_ms"] <= found["p99_ms"] < 200
    assert 0.2 <= found["seconds"] < 1


def test_what_is_no_forecast_is_counted_apart() -> None:
    found = loaded([ANSWER, ANSWER.replace(b"200 OK", b"429 No")], clients=1)
    assert found["failed"].keys() == {"429"}
    assert found["answered"] > 0


def test_a_server_that_is_not_there_is_told() -> None:
    load = Load(free_port(), [http_request("/", b"{}")], 1, seconds=0.1, patience_s=0.1)
    found = asyncio.run(measure(load))
    assert found.answered == 0
    assert found.p50_ms is None
    assert found.failed["connection refused"] > 0


def test_a_slope_is_that_of_a_line_through_the_values() -> None:
    seconds = [0.0, 60.0, 120.0, 180.0]
    assert slope_per_minute(seconds, [100.0, 100.5, 101.0, 101.5]) == pytest.approx(0.5)
    assert slope_per_minute(seconds, [7.0] * 4) == pytest.approx(0.0)
    with pytest.raises(GatecastError, match="soak for longer"):
        slope_per_minute([1.0], [1.0])


def test_the_warm_up_of_a_soak_counts_for_nothing() -> None:
    seconds, values = [float(second) for second in range(101)], [50.0] * 20 + [90.0] * 81
    assert slope_per_minute(*after_warm_up(seconds, values)) == pytest.approx(0.0)
    assert after_warm_up([], []) == ([], [])


def a_load(per_second: float, p50_ms: float | None, failed: int = 0) -> dict[str, Any]:
    return {
        "seconds": 2.0,
        "answered": 2 * per_second,
        "failed": {"500": failed} if failed else {},
        "p50_ms": p50_ms,
        "p99_ms": p50_ms,
        "client_cpu_s": 0.1,
    }


def results_of(**changes: tuple[float, float]) -> dict[str, Any]:
    """Results that meet every target but for changes, by contender p50 at one client and answers a second at 64."""
    figures = {EMPTY: (0.2, 9000), "keras": (300.0, 3), **dict.fromkeys(BATCHING, (4.0, 500)), "mlflow": (4.0, 400)}
    figures |= {"oip": (1.0, 2000), "tfserving": (1.0, 2000), "native": (3.9, 1000)} | changes
    loads = {
        name: {"1": [a_load(1000 / p50, p50)] * 3, "64": [a_load(speed, 64000 / speed)] * 3}
        for name, (p50, speed) in figures.items()
    }
    machine = {"cpu": "a processor", "cores": 2, "memory_gib": 24.0, "python": "3.11.7"}
    return {
        "clients": [1, 64],
        "seconds": 2.0,
        "rounds": 3,
        "answer_bytes": 5000,
        "versions": {"gatecast": ["fastapi 1"], "keras": ["keras 3"]},
        "engine_ms": [0.3, 0.5, 0.2],
        "contenders": {
            name: {"started_s": [2.0, 1.0, 9.0], "resident_mb": [120.0] * 3, "loads": loads[name]}
            for name in CONTENDERS
        },
        "machine": machine,
        "commit": "abc",
        "date": "2026-01-01",
    }


def missed(results: dict[str, Any]) -> list[str]:
    return [target.words for target in targets(results) if not target.met]


def test_targets_are_held_against_the_floor_and_the_others() -> None:
    assert floor_ms(results_of()) == pytest.approx(0.5)
    assert missed(results_of()) == []
    assert missed(results_of(oip=(1.001, 2000))) == ["Open Inference, p50 at one client: at most twice the floor"]
    assert missed(results_of(native=(4.01, 1000))) == ["native, p50 at one client: at most 3 ms more than that"]
    assert missed(results_of(keras=(1.0, 150))) == ["native, 64 clients: at least 10 times (a)"]
    assert missed(results_of(litserve=(1.0, 1001))) == ["native, 64 clients: no fewer than the best of (b) to (d)"]


def test_memory_and_start_are_those_of_our_own_servers() -> None:
    results = results_of()
    results["contenders"]["keras"] |= {"resident_mb": [900.0], "started_s": [20.0]}
    assert missed(results) == []
    results["contenders"]["native"] |= {"resident_mb": [100.0, 250.0], "started_s": [2.6, 2.4, 2.6]}
    assert missed(results) == ["resident memory: under 250 MB", "from the start to the first forecast"]


def test_a_soak_has_to_be_flat_and_without_a_failure() -> None:
    soak = {"minutes": 10.0, "slope_mb_per_minute": 0.99, "failed": {}}
    assert missed({**results_of(), "soak": soak}) == []
    worse = soak | {"slope_mb_per_minute": 1.0, "failed": {"500": 1}}
    words = ["resident memory over 10 minutes", "failed requests in 10 minutes"]
    assert missed({**results_of(), "soak": worse}) == words


def test_a_figure_is_the_median_of_the_rounds_with_their_spread() -> None:
    assert Figure.of([3.0, 1.0, 2.0]) == Figure(2.0, 1.0, 3.0)
    results = results_of()
    results["contenders"]["oip"]["loads"]["64"][1] = a_load(5000, 2.0)
    assert load_figure(results, "oip", 64, "per_second") == Figure(2000.0, 2000.0, 5000.0)
    assert load_figure(results, "oip", 64, "p50_ms") == Figure(32.0, 2.0, 32.0)


def test_who_has_not_answered_has_no_figure_and_no_target_is_held_against_it() -> None:
    results = results_of()
    results["contenders"]["keras"]["loads"]["64"][1] = a_load(0.0, None)
    assert load_figure(results, "keras", 64, "p50_ms") is None
    assert load_figure(results, "keras", 64, "per_second") is None
    with pytest.raises(GatecastError, match="keras has not answered 64 clients in every round; measure again"):
        targets(results)


def test_the_page_shows_targets_figures_and_where_they_were_made() -> None:
    soak = {"minutes": 10, "clients": 64, "answered": 123456, "failed": {}, "p50_ms": 30.0, "p99_ms": 90.0}
    made = {"machine": results_of()["machine"], "commit": "def", "date": "2026-01-02"}
    soak |= {"slope_mb_per_minute": 0.1234, "resident_mb": [200.0, 205.0, 203.0], **made}
    page = render_page({**results_of(oip=(1.5, 2000)), "soak": soak})
    lines = [re.sub(r" +", " ", line) for line in page.splitlines()]
    assert "| Open Inference, p50 at one client: at most twice the floor | 1.00 ms | 1.50 ms | **no** |" in lines
    assert "| native, 64 clients: no fewer than the best of (b) to (d) | 500 /s | 1,000 /s | yes |" in lines
    assert "| p50, ms, by clients | 1 | 64 |" in lines
    row = f"| {CONTENDERS['keras'].words} | 300 (300 to 300) | 21,333 (21,333 to 21,333) |"
    assert row in lines
    assert "| resident memory over 10 minutes | 1.00 MB/min | 0.12 MB/min | yes |" in lines
    for told in ("0.123 MB a minute", "123,456 forecasts", "a processor, 2 cores", "abc", "def", "keras 3"):
        assert told in page
    assert max(map(len, lines)) < 400


def test_the_page_without_a_soak_has_no_word_of_it() -> None:
    assert "full load" not in render_page(results_of())


def test_a_soak_is_written_beside_the_figures_and_these_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    with pytest.raises(GatecastError, match="run python -m benchmarks.serve"):
        serve.write_page(path, tmp_path / "page.md")
    serve.record({"soak": {"minutes": 1}}, path)
    serve.record(results_of(), path)
    serve.record({"soak": {"minutes": 2}}, path)
    found = json.loads(path.read_text())
    assert found["soak"] == {"minutes": 2}
    assert found["contenders"].keys() == CONTENDERS.keys()


def test_every_contender_has_its_requirements_and_its_program(tmp_path: Path) -> None:
    place = Place(tmp_path / "env", ROOT / "models/trained", "gru", tmp_path, 8000)
    for contender in CONTENDERS.values():
        pins = [line for line in requirements_of(contender.environment).read_text().splitlines() if line[:1].isalpha()]
        assert pins
        assert all("==" in pin for pin in pins)
        for command in (contender.start(place), *([contender.prepare(place)] if contender.prepare else [])):
            assert command[0].startswith(str(tmp_path / "env/bin"))
            assert all(Path(part).exists() for part in command if part.startswith(str(PEERS)))
    assert {*OWN, *BATCHING, EMPTY, "keras"} == set(CONTENDERS)


def test_windows_are_the_whole_ones_at_the_end_of_a_series(tmp_path: Path) -> None:
    windows = read_windows(ROOT / "data/raw/co2.csv", 104)
    assert len({tuple(window.values) for window in windows}) == 64
    assert windows[-1].records[-1] == {"week": "2001-12-29", "co2": 371.5}
    for contender in CONTENDERS.values():
        paths, bodies = zip(*contender.requests(windows, "gru"), strict=True)
        assert len(set(bodies)) == 64
        assert all(path.startswith("/") for path in paths)
        assert json.loads(bodies[0])
    (tmp_path / "a.csv").write_text("ds,y\n2020-01-01,1\n2020-01-02,\n2020-01-03,3\n")
    with pytest.raises(GatecastError, match="without a gap"):
        read_windows(tmp_path / "a.csv", 2, 2)
    with pytest.raises(GatecastError, match="Received: 3 rows"):
        read_windows(tmp_path / "a.csv", 20, 2)


def test_a_model_is_asked_that_takes_the_history_alone(tmp_path: Path) -> None:
    for name in ("shops", "gru", "ridge"):
        shutil.copytree(trained()[name], tmp_path / name)
    assert serve.asked_cell(tmp_path, "gru") == serve.asked_cell(tmp_path, "ridge") == "gru"
    assert serve.asked_cell(tmp_path, "shops") == "gru"
    shutil.rmtree(tmp_path / "gru")
    with pytest.raises(GatecastError, match="Received: shops takes past, future, static_cat too"):
        serve.asked_cell(tmp_path, "shops")


SERVER = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def runs(pid: int) -> bool:
    """Whether a process is there, and more than a body that nobody has fetched."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def test_a_server_is_waited_for_weighed_and_stopped_with_its_children(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(port)]
    with serving(command, port=port, request=("/", b"{}"), variables={}, log=tmp_path / "log") as server:
        tree = tree_of(server.pid)
        assert len(tree) == 2
        assert 2 < resident_mb(server.pid) < 500
        assert server.answer == b"ok"
        assert server.started_s > 0
    deadline = time.monotonic() + 5
    while any(runs(pid) for pid in tree) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(runs(pid) for pid in tree)


def test_a_server_that_ends_is_told_with_what_it_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no model')"]
    with (
        pytest.raises(GatecastError, match="no model"),
        serving(command, port=free_port(), request=("/", b"{}"), variables={}, log=tmp_path / "log"),
    ):
        pass


def test_the_load_generator_runs_as_a_process_of_its_own() -> None:
    load = Load(free_port(), [http_request("/", b"{}")], 1, seconds=0.05, patience_s=0.05)
    command = [sys.executable, "-m", "benchmarks.serving.load"]
    done = subprocess.run(
        command, input=json.dumps(load.to_json()), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["answered"] == 0


@pytest.mark.skipif(not serve.FOUND.exists(), reason="the servers have not been measured yet")
def test_the_page_is_that_of_the_committed_results() -> None:
    assert render_page(json.loads(serve.FOUND.read_text())) == serve.PAGE.read_text()
