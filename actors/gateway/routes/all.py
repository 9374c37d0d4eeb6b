"""Every endpoint of the runtime's own interface."""

from __future__ import annotations

from llmgine.actors.gateway.routes import events, operations, sessions, traces
from llmgine.actors.gateway.routes.table import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *operations.ENDPOINTS,
    *sessions.ENDPOINTS,
    *traces.ENDPOINTS,
    *events.ENDPOINTS,
)
