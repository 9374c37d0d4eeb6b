"""The gateway as an ASGI application over a port.

/health /ready /openapi.json     for whoever watches, and for makers of clients
/login /logout                   for the page, where there is a token
/api/v1/…                        the runtime's own interface (`routes/`)
/v1/…                            the vendors' wires (`vendor/`)
/ and /static/…                  the dashboard (`page/`)
"""

from __future__ import annotations

import functools
import importlib.metadata
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.staticfiles import StaticFiles

from llmgine.actors.gateway import vendor
from llmgine.actors.gateway.answers import VENDOR
from llmgine.actors.gateway.auth import Door
from llmgine.actors.gateway.errors import NotFound, NotReady, WrongMethod
from llmgine.actors.gateway.guard import Guard
from llmgine.actors.gateway.options import GatewayOptions
from llmgine.actors.gateway.port import GatewayPort
from llmgine.actors.gateway.routes.all import ENDPOINTS
from llmgine.actors.gateway.routes.login import login_routes
from llmgine.actors.gateway.routes.openapi import description
from llmgine.actors.gateway.routes.table import routes
from llmgine.actors.gateway.secrets import find_secrets
from llmgine.actors.gateway.tally import Tally
from llmgine.actors.gateway.tracing import Traced
from llmgine.actors.gateway.watching import Watching
from llmgine.telemetry import SpanRecorder

PAGE = Path(__file__).parent / "page" / "static"


def app(
    port: GatewayPort | Callable[[], GatewayPort | None],
    options: GatewayOptions,
    *,
    seal: bytes | None = None,
    recorder: SpanRecorder | None = None,
    tally: Tally | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> Guard:
    """The application; `port` may be a function that gives None while the runtime is not there.

    `seal` signs logins: those of an application with another one do not count. `SecretMissing` where a
    token or key that the options speak of is not there. `wall_clock` says when logins end.
    """
    give = port if callable(port) else lambda: port

    def ready() -> GatewayPort:
        found = give()
        if found is None:
            raise NotReady("the gateway is not connected to its runtime yet", retry_after=1.0)
        return found

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readiness(request: Request) -> Response:
        ready()
        return JSONResponse({"status": "ready"})

    async def openapi(request: Request) -> Response:
        return JSONResponse(_description())

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    tally = tally or Tally()
    watching = Watching(ready, options.max_watchers)
    door = Door(options, find_secrets(options), seal or secrets.token_bytes(32))
    wires = vendor.routes(ready, tally, wall_clock)
    table: list[BaseRoute] = [
        Route("/health", health),
        Route("/ready", readiness),
        Route("/openapi.json", openapi),
        *login_routes(door, wall_clock),
        *routes(ENDPOINTS, ready, watching),
        Mount(VENDOR, routes=wires),
        Route("/", page),
        Mount("/static", StaticFiles(directory=PAGE)),
    ]
    named = frozenset(f"{VENDOR}{one.path}" for one in wires if isinstance(one, Route))
    router = Router(table, redirect_slashes=False, default=_nothing)
    inner = _Told(router) if recorder is None else Traced(_Told(router), recorder, named)
    return Guard(inner, door, options, watching, tally, wall_clock=wall_clock)


@functools.cache
def _description() -> dict[str, Any]:
    return description(ENDPOINTS, importlib.metadata.version("llmgine-ray"))


class _Told:
    """The router's own refusals as ours."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope = {**scope, "app": self}
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            if error.status_code == WrongMethod.status:
                allowed = tuple((error.headers or {}).get("Allow", "").split(", "))
                raise WrongMethod(scope["method"], scope["path"], allowed) from None
            raise _not_found(scope["path"]) from None


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    raise _not_found(scope["path"])


def _not_found(path: str) -> NotFound:
    return NotFound(
        f"there is nothing at {path}", hint="/openapi.json describes the interface, and / is the dashboard"
    )
