"""The stages of dvc.yaml: each reads, calls and writes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from pipeline.errors import GatecastError

RESTORE = (
    "DVC removed this stage's previous outputs before it ran; "
    "`dvc checkout` brings them back, and `git restore models` the metrics."
)


def run_stage(main: Callable[[], None]) -> None:
    """Runs a stage's main; a mistake of the user's ends it with one line and exit code 1."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        main()
    except GatecastError as error:
        print(f"error: {error}", file=sys.stderr)
        print(RESTORE, file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("interrupted; `dvc repro` goes on where this was", file=sys.stderr)
        raise SystemExit(130) from None
