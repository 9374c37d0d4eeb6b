"""A span for each request that models or sessions are asked with, below the client's own.

It bears the status of the answer, and is an error where that says that the mistake is on this side.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers

from llmgine.actors.gateway.failures import refusal_of
from llmgine.actors.gateway.routes.table import PREFIX
from llmgine.actors.gateway.vendor.endpoints import SESSION
from llmgine.telemetry import OpenSpan, SpanRecorder, TraceContext
from llmgine.telemetry.current import standing_in
from llmgine.telemetry.names import HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE


class Traced:
    """An ASGI application around another. What is inside finds the span's place in `traceparent`.

    `vendors` are the paths of the vendors' wires: spans are named by what is there, not by what is asked.
    """

    def __init__(self, inner: Any, recorder: SpanRecorder, vendors: frozenset[str]) -> None:
        self._inner = inner
        self._recorder = recorder
        self._vendors = vendors

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = Headers(scope=scope)
        route, session = self._asked(scope["method"], scope["path"], headers)
        if not route:
            await self._inner(scope, receive, send)
            return
        span = self._recorder.start(
            f"{scope['method']} {route}",
            kind="server",
            parent=TraceContext.parse(headers.get("traceparent")),
            session=session,
            attributes={HTTP_REQUEST_METHOD: scope["method"], HTTP_ROUTE: route},
        )

        status = 0

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with span, standing_in(span):
            place = (b"traceparent", span.context.traceparent.encode())
            others = [one for one in scope["headers"] if one[0] != b"traceparent"]
            try:
                await self._inner({**scope, "headers": [*others, place]}, receive, noting)
            except Exception as error:
                if status:
                    span.set({HTTP_RESPONSE_STATUS_CODE: status})
                    raise
                refusal = refusal_of(error)
                _answered(span, refusal.status)
                raise refusal from error
            _answered(span, status)

    def _asked(self, method: str, path: str, headers: Headers) -> tuple[str, str]:
        """The route, and the session; "" for what asks no model."""
        if method != "POST":
            return "", ""
        if path in self._vendors:
            return path, headers.get(SESSION, "")
        parts = path.removeprefix(f"{PREFIX}/").split("/")
        if len(parts) == 3 and parts[0] == "sessions" and parts[2] in ("turns", "replay"):
            return f"{PREFIX}/sessions/{{id}}/{parts[2]}", unquote(parts[1])
        return "", ""


def _answered(span: OpenSpan, status: int) -> None:
    span.end(error=str(status) if status >= 500 else None, attributes={HTTP_RESPONSE_STATUS_CODE: status})
