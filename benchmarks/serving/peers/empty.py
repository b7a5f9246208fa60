"""The floor: a FastAPI route that reads a body and gives one of the usual size, and does nothing between.

python empty.py PORT BYTES
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, Request, Response


def create_app(size: int) -> FastAPI:
    """The app; its answers are so many bytes of JSON."""
    app, answer = FastAPI(), b'"' + b"0" * (size - 2) + b'"'

    @app.post("/")
    async def empty(request: Request) -> Response:
        await request.body()
        return Response(answer, media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(int(sys.argv[2])), port=int(sys.argv[1]), access_log=False, log_level="warning")
