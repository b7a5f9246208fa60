"""What the choices of the search space are worth: what is kept of earlier measurements, and the page."""

from typing import Any

import pytest

from benchmarks.options import LEFT_OUT, PAGE, RESULTS, TUNED, render_page, with_earlier
from pipeline.storage import read_json


def measured(units: int, **options: float) -> dict[str, Any]:
    found = {name.replace("_", "="): {"loss": loss, "mase": 2 * loss} for name, loss in options.items()}
    return {
        "cell": "gru",
        "tuned": {"units": units},
        "seeds": [1, 2],
        "options": {TUNED: {"loss": 0.5, "mase": 1.0}} | found,
    }


def test_other_choices_of_the_same_network_are_kept() -> None:
    found = with_earlier(measured(64, head_copy=0.4), measured(64, head_copy=0.9, layers_2=0.6))
    assert {name: row["loss"] for name, row in found["options"].items()} == {
        TUNED: 0.5,
        "head=copy": 0.4,
        "layers=2": 0.6,
    }


@pytest.mark.parametrize("changed", [{"cell": "lstm"}, {"seeds": [1]}, {"tuned": {"units": 128}}])
def test_choices_of_another_network_are_not(changed: dict[str, Any]) -> None:
    assert with_earlier(measured(64), {**measured(64, layers_2=0.6), **changed}) == measured(64)
    assert with_earlier(measured(64), None) == measured(64)


def test_a_choice_is_shown_by_what_it_changes_of_loss_and_mase() -> None:
    page = render_page({"hospital": measured(64, layers_2=0.6)}, {"note": [], "tried": []})
    row = next(line for line in page.splitlines() if "layers=2" in line)
    assert row.split("|")[2].strip() == "+20.0 % / +20.0 %"


def test_the_committed_page_is_that_of_the_committed_results() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page(read_json(RESULTS), read_json(LEFT_OUT))
