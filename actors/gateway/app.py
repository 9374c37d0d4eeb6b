"""The gateway as an ASGI application over a port.

/health /ready /openapi.json     for whoever watches, and for clients' makers
/api/v1/…                        the runtime's own interface (`routes/`)
/v1/…                            the vendors' wires (`vendor/`)
/ and /static/…                  the dashboard (`page/`)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from llmgine.actors.gateway import vendor
from llmgine.actors.gateway.errors import NotFound, NotReady, Refusal, WrongMethod
from llmgine.actors.gateway.failures import refusal_of
from llmgine.actors.gateway.options import GatewayOptions
from llmgine.actors.gateway.port import GatewayPort
from llmgine.actors.gateway.routes.all import ENDPOINTS
from llmgine.actors.gateway.routes.table import routes

PAGE = Path(__file__).parent / "page" / "static"
VENDOR = "/v1"


def app(port: GatewayPort | Callable[[], GatewayPort | None], options: GatewayOptions) -> Starlette:
    """The application; `port` may be a function that gives None while the runtime is not there."""
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

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    table: list[BaseRoute] = [
        Route("/health", health),
        Route("/ready", readiness),
        *routes(ENDPOINTS, ready),
        Mount(VENDOR, routes=vendor.routes(ready)),
        Route("/", page),
        Mount("/static", StaticFiles(directory=PAGE)),
    ]
    return Starlette(
        routes=table,
        exception_handlers={HTTPException: _http_refused, Exception: _refused, Refusal: _refused},
    )


async def _refused(request: Request, error: Exception) -> Response:
    """The error in the words of the interface that was asked."""
    refusal = refusal_of(error)
    path = request.scope.get("path", "")
    if path.startswith(f"{VENDOR}/"):
        content: dict[str, Any] = vendor.error_body(path, refusal)
    else:
        said = {"type": refusal.type, "message": refusal.message, "hint": refusal.hint}
        content = {"error": said}
    headers = {}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(max(1, round(refusal.retry_after)))
    if isinstance(refusal, WrongMethod) and refusal.allowed:
        headers["allow"] = ", ".join(refusal.allowed)
    return JSONResponse(content, refusal.status, headers)


async def _http_refused(request: Request, error: Exception) -> Response:
    """What the router itself refuses."""
    assert isinstance(error, HTTPException)
    if error.status_code == WrongMethod.status:
        allowed = tuple((error.headers or {}).get("Allow", "").split(", "))
        return await _refused(request, WrongMethod(f"{request.method} is not for this path", allowed=allowed))
    return await _refused(request, NotFound(f"there is nothing at {request.url.path}"))
