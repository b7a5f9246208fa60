"""The stages of dvc.yaml: each reads, calls and writes."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable

from pipeline.errors import GatecastError

RESTORE = (
    "Mend it and run `dvc repro` again. Outputs of an earlier run, which DVC removed before this one: `dvc checkout` "
    "brings them back, and `git restore` those metrics that git keeps."
)


def run_stage(main: Callable[[], None]) -> None:
    """Runs a stage's main; a mistake of the user's ends it with one line and exit code 1."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stage that is ended ends as one interrupted
    try:
        main()
    except GatecastError as error:
        print(f"error: {error}", file=sys.stderr)
        print(RESTORE, file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("interrupted; `dvc repro` goes on where this was", file=sys.stderr)
        raise SystemExit(130) from None
