"""Sessions: listed, shown, asked, replayed with another model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

from pydantic import Field

from llmgine.actors.gateway.port import GatewayPort, TurnAsk
from llmgine.actors.gateway.routes.table import Call, Endpoint, Paged
from llmgine.actors.gateway.shapes import (
    MessageRow,
    Page,
    ReplayBody,
    SessionDetail,
    SessionRow,
    TurnBody,
    Waterfall,
)
from llmgine.actors.gateway.sse import frame
from llmgine.actors.gateway.turns import turn_frame
from llmgine.actors.sessions import TurnFailed
from llmgine.providers import LlmgineError, Message
from llmgine.telemetry import current_trace


class SessionQuery(Paged):
    """`query` is part of a session's id."""

    query: str = Field(default="", max_length=200)


async def _sessions(call: Call) -> Page[SessionRow]:
    return await call.port.sessions(call.query.query, call.query.cursor, call.query.limit)


async def _session(call: Call) -> SessionDetail:
    return await call.port.session(call.path["id"])


async def _messages(call: Call) -> Page[MessageRow]:
    return await call.port.messages(call.path["id"], call.query.cursor, call.query.limit)


async def _waterfall(call: Call) -> Waterfall:
    return await call.port.waterfall(call.path["id"])


async def _turn(call: Call) -> AsyncIterator[bytes]:
    body: TurnBody = call.body
    await call.port.check_session(call.path["id"])  # a session that is not there is an answer, not an event
    return _told(
        call.port, TurnAsk(call.path["id"], [Message.user(body.prompt)], body.model, trace=current_trace())
    )


async def _replay(call: Call) -> AsyncIterator[bytes]:
    body: ReplayBody = call.body
    ask = await call.port.fork_before(call.path["id"], body.turn_id)
    return _told(call.port, replace(ask, model=body.model, trace=current_trace()), fork=ask.session)


async def _told(port: GatewayPort, ask: TurnAsk, *, fork: str | None = None) -> AsyncIterator[bytes]:
    """The turn's events; before those of a replay the id of the fork that it runs in."""
    if fork is not None:
        yield frame("fork", {"session": fork})
    try:
        async with aclosing(port.turn(ask)) as events:
            async for event in events:
                yield turn_frame(event)
    except LlmgineError as error:
        # The answer has begun, and this is the only way left to say it.
        yield turn_frame(TurnFailed(error))


ENDPOINTS = (
    Endpoint("GET", "/sessions", _sessions, Page[SessionRow], "Sessions, the newest first", SessionQuery),
    Endpoint("GET", "/sessions/{id}", _session, SessionDetail, "One session and what it has used"),
    Endpoint(
        "GET", "/sessions/{id}/messages", _messages, Page[MessageRow], "The session's conversation", Paged
    ),
    Endpoint("GET", "/sessions/{id}/waterfall", _waterfall, Waterfall, "The session's spans as a waterfall"),
    Endpoint(
        "POST", "/sessions/{id}/turns", _turn, None, "Run a turn; its events stream back", None, TurnBody
    ),
    Endpoint(
        "POST",
        "/sessions/{id}/replay",
        _replay,
        None,
        "Ask a turn again of another model, in a fork of the session",
        None,
        ReplayBody,
    ),
)
