"""What stands below /v1, and how refusals look there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from llmgine.actors.gateway.errors import NotFound, Refusal
from llmgine.actors.gateway.port import GatewayPort
from llmgine.actors.gateway.tally import Tally
from llmgine.actors.gateway.vendor.embeddings import embeddings, read_embedding
from llmgine.actors.gateway.vendor.endpoints import (
    Respond,
    answering,
    body_of,
    endpoint,
    request_id,
    target_of,
    trace_of,
)
from llmgine.actors.gateway.vendor.failures import Vendor, failure_of
from llmgine.actors.gateway.vendor.messages.request import read_count
from llmgine.actors.gateway.vendor.models import listed, shown
from llmgine.actors.gateway.vendor.wires import WIRES
from llmgine.providers.catalogue.tokens import estimate

_COUNT = "/messages/count_tokens"


def routes(port: Callable[[], GatewayPort], tally: Tally, clock: Callable[[], float]) -> list[BaseRoute]:
    """The routes below /v1; `port()` raises `NotReady` while the runtime is not there."""

    def route(
        path: str, vendor: Vendor | Callable[[Request], Vendor], respond: Respond, method: str = "POST"
    ) -> Route:
        return Route(path, endpoint(vendor, port, respond, tally), methods=[method])

    return [
        *(route(wire.path, wire.vendor, answering(wire, clock)) for wire in WIRES),
        route(_COUNT, "anthropic", _count),
        route("/embeddings", "openai", _embed),
        route("/models", _whose, _models, "GET"),
        route("/models/{id:path}", _whose, _model, "GET"),
    ]


def error_body(path: str, refusal: Refusal) -> dict[str, Any]:
    """A refusal in the shape of the vendor whose path it is; also for what is refused before a route."""
    vendor: Vendor = "anthropic" if path.startswith("/v1/messages") else "openai"
    return failure_of(vendor, refusal, request_id(vendor)[1]).body


async def _count(port: GatewayPort, request: Request) -> Response:
    """By a rule of thumb: true counts differ by model."""
    body = body_of(request)
    asked = read_count(body, await target_of(port, body), request.headers)
    return JSONResponse({"input_tokens": estimate(asked).input_tokens})


async def _embed(port: GatewayPort, request: Request) -> Response:
    asked, packed = read_embedding(body_of(request))
    response = await port.embed(asked, trace_of(request))
    return JSONResponse(embeddings(response, model=asked.model, packed=packed))


async def _models(port: GatewayPort, request: Request) -> Response:
    return JSONResponse(listed(await port.models(), _whose(request)))


async def _model(port: GatewayPort, request: Request) -> Response:
    name = request.path_params["id"]
    for model in await port.models():
        if model.id == name:
            return JSONResponse(shown(model, _whose(request)))
    raise NotFound(f"no model {name[:100]!r} is listed", hint="GET /v1/models shows those that are")


def _whose(request: Request) -> Vendor:
    """Anthropic's clients name their version in every request."""
    return "anthropic" if "anthropic-version" in request.headers else "openai"
