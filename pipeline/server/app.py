"""The app: all protocols over one core, as a value that tests call without a network."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from pipeline.errors import BundleError
from pipeline.server import browser, native, oip, series, tfserving, timeseries
from pipeline.server.admission import Admitted, Observed, body_too_large
from pipeline.server.auth import Authenticated
from pipeline.server.core import Core, described
from pipeline.server.limits import Limits
from pipeline.server.metrics import Metrics
from pipeline.server.models import Model, load_forecaster
from pipeline.server.registry import Registry, Watcher
from pipeline.server.request_errors import RequestError

_ABOUT = "Forecasts of time series by LSTM and GRU networks. What foreign protocols call the mean is the median."


def create_app(
    bundles: Mapping[str, Path] | Path,
    *,
    default: str | None = None,
    key: str | None = None,
    threads: int = 1,
    limits: Limits | None = None,
) -> FastAPI:
    """Makes the app, with all models loaded and warm.

    Args:
        bundles: folders of bundles by name, read once; or the folder of published bundles, which is watched.
        default: the model that a request means that names none.
        key: that requests have to bring; None for none.
        threads: used within one call of a graph.
        limits: of requests; None for the usual ones.

    Returns:
        The app; its `state.registry` has the models.

    Raises:
        BundleError: a bundle is missing or altered, or there is none that can be served.
    """
    limits, metrics = limits or Limits(), Metrics()
    graphs = ThreadPoolExecutor(os.cpu_count() or 1, "graph")
    tables = ThreadPoolExecutor(2, "table")
    registry = Registry(default, metrics)
    start = partial(Model, executor=graphs, limits=limits, metrics=metrics)
    load = partial(load_forecaster, threads=threads)
    watcher = None
    if isinstance(bundles, Path):
        watcher = Watcher(bundles, registry, load=load, start=start, metrics=metrics)
        watcher.look()
    else:
        for name, folder in bundles.items():
            registry.put(start(name, 1, load(folder)))
    if not registry.models:
        raise BundleError(f"{bundles} holds no bundle that can be served; publish one that is whole")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = None if watcher is None else asyncio.create_task(watcher.watch(limits.poll_s))
        yield
        if watching is not None:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        for threads_of in (graphs, tables):
            threads_of.shutdown(wait=False, cancel_futures=True)

    # The usual pages of documentation load scripts from elsewhere; openapi.json needs nothing.
    app = FastAPI(
        title="Gatecast",
        version=version("gatecast"),
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.registry = registry
    core = Core(registry, limits, metrics, tables)
    routers = [*(protocol.routes(core) for protocol in (oip, tfserving, native, series, timeseries)), browser.routes()]
    routes = [route for router in routers for route in router.routes]  # flat, as nested ones are looked through twice
    _tell_names(routes)
    app.router.routes.extend([*_direct(routes), *routes])

    @app.get("/metrics", **described("Metrics for Prometheus"), response_class=PlainTextResponse)
    async def prometheus() -> Response:
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    _handle_errors(app, limits)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=limits.body_bytes)
    app.add_middleware(Admitted, limits=limits, metrics=metrics, respond=respond)
    if key is not None:
        app.add_middleware(Authenticated, key=key, respond=respond)
    app.add_middleware(Observed, metrics=metrics, protocol_of=protocol_of)
    return app


def _tell_names(routes: Iterable[BaseRoute]) -> None:
    """Has the parts of paths that have names told in openapi.json: handlers take them from the request itself."""
    for route in routes:
        if isinstance(route, APIRoute) and route.param_convertors:
            told = {"in": "path", "required": True, "schema": {"type": "string"}}
            named = [{"name": name, **told} for name in route.param_convertors]
            route.openapi_extra = {**(route.openapi_extra or {}), "parameters": named}


def _direct(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """Twins of the routes that take bodies, without what FastAPI does between: they read their requests themselves.

    They are found first; FastAPI's own describe them in openapi.json.
    """
    posts = [route for route in routes if isinstance(route, APIRoute) and route.methods == {"POST"}]
    return [Route(post.path, post.endpoint, methods=["POST"], include_in_schema=False) for post in posts]


def protocol_of(path: str) -> str:
    """The protocol that a path belongs to: native, timeseries, tfserving or oip."""
    if path == "/v2" or path.startswith("/v2/"):
        return "oip"
    if path.startswith("/v1/timeseries/"):
        return "timeseries"
    if path.startswith("/v1/models/") and not path.endswith(("/schema", "/example")):
        return "tfserving"
    return "native"


_RENDER: dict[str, Callable[[RequestError], Response]] = {
    "native": native.render,
    "timeseries": timeseries.render,
    "tfserving": tfserving.render,
    "oip": oip.render,
}


def respond(path: str, error: RequestError) -> Response:
    """A request error in the shape of the protocol that its path belongs to."""
    return _RENDER[protocol_of(path)](error)


def _handle_errors(app: FastAPI, limits: Limits) -> None:
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return respond(request.url.path, error)

    async def unrouted(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        told = {
            404: f"no such path: {request.url.path!r}; /openapi.json lists those there are",
            405: f"the path does not take {request.method}; /openapi.json lists what it takes",
            413: body_too_large(limits).message,
        }
        codes = {404: "path-unknown", 405: "method-unknown", 413: "limit-body"}
        message, code = told.get(error.status_code, str(error.detail)), codes.get(error.status_code, "request-invalid")
        return respond(request.url.path, RequestError(error.status_code, message, code=code, headers=error.headers))

    async def failed(request: Request, _: Exception) -> Response:
        told = "the server made a mistake, which its log shows; the request may be fine"
        return respond(request.url.path, RequestError(500, told, code="internal"))

    app.add_exception_handler(RequestError, refused)
    app.add_exception_handler(HTTPException, unrouted)
    app.add_exception_handler(Exception, failed)
