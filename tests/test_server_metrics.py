from __future__ import annotations

import re

import numpy as np
from server_models import RANGE, Client, build_app, tensor

from pipeline.server.metrics import Metrics


def values_of(text: str) -> dict[str, float]:
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def test_requests_are_counted_by_protocol_and_status_and_timed() -> None:
    asking = Client(build_app())
    history = {"inputs": [tensor("history", [[1.0, 2.0]] * 3)]}
    for path in ("/v2/models/gru/infer", "/v2/models/gru/infer", "/v2/models/half/infer", "/v1/models/gru:predict"):
        asking.post(path, json=history)
    asking.get("/v1/" + "x" * 50)
    values = values_of(asking.get("/metrics").text)
    assert values['gatecast_requests_total{protocol="oip",status="200"}'] == 2
    assert values['gatecast_requests_total{protocol="oip",status="404"}'] == 1
    assert values['gatecast_requests_total{protocol="tfserving",status="400"}'] == 1
    assert values['gatecast_requests_total{protocol="native",status="404"}'] == 1
    assert values['gatecast_request_seconds_count{protocol="oip"}'] == 3
    assert values['gatecast_request_seconds_bucket{le="+Inf",protocol="oip"}'] == 3
    assert values["gatecast_requests_in_progress"] == 0
    assert values["gatecast_batch_windows_sum"] == 6
    assert values['gatecast_model_version{cell="lstm",model="lstm"}'] == 1


def test_what_clients_send_never_becomes_a_label() -> None:
    asking = Client(build_app())
    asking.get("/v1/models/made-up")
    asking.get("/metrics")
    before = len(asking.get("/metrics").text)
    for number in range(20):
        asking.get(f"/v1/models/made-up-{number}")
    text = asking.get("/metrics").text
    assert "made-up" not in text
    assert len(text) < before + 200


def test_drift_counts_values_outside_of_the_training_range() -> None:
    metrics = Metrics()
    history = np.array([[-11.0, -6.0, 0.0, 1.0, 6.0, 11.0, 99.0]])
    observed = np.array([[1, 1, 1, 1, 1, 1, 0]])
    for model, meta in (("co2", {"value_range": RANGE}), ("old", {})):
        metrics.inputs_of(model, meta)({"history": history, "observed": observed})
    values = values_of(metrics.text().decode())
    found = {bound: values[f'gatecast_input_values_outside_total{{bound="{bound}",model="co2"}}'] for bound in RANGE}
    assert found == {"min": 1, "p01": 2, "p99": 2, "max": 1}
    assert values['gatecast_input_values_total{model="co2"}'] == 6
    assert values['gatecast_input_values_total{model="old"}'] == 6


def test_every_metric_says_what_it_is() -> None:
    text = Metrics().text().decode()
    names = set(re.findall(r"# TYPE (\w+)", text))
    assert {name for name in names if f"# HELP {name} " not in text} == set()
