"""The stages of dvc.yaml: each reads, calls and writes."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import GatecastError

LOG = Path(".scratch/gatecast.log")  # one line per event, of all stages and runs
RESTORE = (
    "Mend it and run `dvc repro` again. Outputs of an earlier run, which DVC removed before this one: `dvc checkout` "
    "brings them back, and `git restore` those metrics that git keeps."
)


def run_stage(main: Callable[[], None]) -> None:
    """Runs a stage's main; a mistake of the user's ends it with one line and exit code 1."""
    LOG.parent.mkdir(exist_ok=True)
    terminal, file = logging.StreamHandler(sys.stderr), logging.FileHandler(LOG, encoding="utf-8")
    terminal.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[terminal, file])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stage that is ended ends as one interrupted
    try:
        main()
    except GatecastError as error:
        file.handle(logging.makeLogRecord({"levelname": "ERROR", "msg": str(error)}))
        print(f"error: {error}", file=sys.stderr)
        print(RESTORE, file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("interrupted; `dvc repro` goes on where this was", file=sys.stderr, flush=True)
        # Not by SystemExit: Python would wait for the threads of a process pool, which a signal may have left waiting
        # for each other, or closing what they are woken by. All finished work is on the disk.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(130)
