"""The process that serves an app until it is told to stop."""

from __future__ import annotations

import logging
import socket
import sys

import uvicorn
from fastapi import FastAPI

from pipeline.errors import GatecastError
from pipeline.server.limits import Limits

SWITCH_S = 0.0005  # that a thread whose graph has answered waits for Python at most


def bind(host: str, port: int) -> socket.socket:
    """Takes the address, before models are loaded for nothing.

    Args:
        host: to listen on.
        port: to listen on; 0 for any that is free.

    Raises:
        GatecastError: the address is taken, or is not one of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
    except (OSError, UnicodeError) as error:
        raise _unusable(host, port, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _unusable(host, port, error) from None
    return listener


def _unusable(host: str, port: int, error: Exception) -> GatecastError:
    what = getattr(error, "strerror", None) or str(error)
    return GatecastError(f"{host}:{port} cannot be listened on: {what}; choose another --host or --port")


def open_listener(listener: socket.socket) -> str:
    """Lets clients connect, who are answered as soon as `run` is called.

    Args:
        listener: what `bind` gave.

    Returns:
        The address for them.
    """
    listener.listen(2048)
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def run(app: FastAPI, listener: socket.socket, limits: Limits) -> None:
    """Serves until SIGTERM or SIGINT, and lets requests that are being answered end.

    Args:
        app: what is served.
        listener: what `bind` gave.
        limits: that say how long they may take to end.
    """
    sys.setswitchinterval(SWITCH_S)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=limits.drain_s,
    )
    uvicorn.Server(config).run(sockets=[listener])
