"""What stands below /v1, and how refusals look there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.routing import BaseRoute

from llmgine.actors.gateway.errors import Refusal
from llmgine.actors.gateway.port import GatewayPort


def routes(port: Callable[[], GatewayPort]) -> list[BaseRoute]:
    """The routes below /v1; `port()` raises `NotReady` while the runtime is not there."""
    return []


def error_body(path: str, refusal: Refusal) -> dict[str, Any]:
    """A refusal in the shape of the vendor whose path it is; also for what is refused before a route."""
    return {"error": {"type": refusal.type, "message": refusal.message}}
