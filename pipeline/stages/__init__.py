"""The stages of dvc.yaml: each reads, calls and writes."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import GatecastError

LOG = Path(".scratch/gatecast.log")  # one line per event, of all stages and runs
RESTORE = (
    "Mend it and run `dvc repro` again. DVC has removed outputs of the earlier run: once the change is undone, "
    "`dvc repro` brings them back from its cache."
)


def run_stage(main: Callable[..., None]) -> None:
    """Runs a stage's main with the arguments of the command; a mistake of the user's ends it with one line and exit
    code 1.
    """
    arguments, expected = sys.argv[1:], [name.upper() for name in inspect.signature(main).parameters]
    if {"-h", "--help"} & set(arguments):
        print(inspect.getdoc(inspect.getmodule(main)))
        return
    if len(arguments) != len(expected):
        told = f"the stage takes {' '.join(expected) or 'no arguments'}. Received: {' '.join(arguments) or 'none'}"
        raise SystemExit(f"error: {told}; `dvc repro` runs it as dvc.yaml says")
    LOG.parent.mkdir(exist_ok=True)
    terminal, file = logging.StreamHandler(sys.stderr), logging.FileHandler(LOG, encoding="utf-8")
    terminal.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[terminal, file])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stage that is ended ends as one interrupted
    try:
        main(*arguments)
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
