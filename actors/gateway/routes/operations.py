"""The whole at a glance, the bus, dead letters, approvals, pools, schedules, settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llmgine.actors.gateway.routes.table import Call, Endpoint, Paged
from llmgine.actors.gateway.shapes import (
    AnswerBody,
    ApprovalRow,
    BusState,
    Done,
    LetterDetail,
    LetterRow,
    Overview,
    Page,
    PoolRow,
    Replayed,
    ScaleBody,
    ScheduleRow,
    SettingsTree,
)
from llmgine.actors.store.rows import ApprovalState


class LetterQuery(Paged):
    """What letters have in common."""

    handler: str | None = Field(default=None, min_length=1)
    reason: str | None = Field(default=None, min_length=1)
    session: str | None = Field(default=None, min_length=1)
    type: str | None = Field(default=None, min_length=1)


class ApprovalQuery(Paged):
    """`state` all gives those that were answered, too."""

    state: Literal[ApprovalState, "all"] = "pending"


async def _overview(call: Call) -> Overview:
    return await call.port.overview()


async def _bus(call: Call) -> BusState:
    return await call.port.bus()


async def _letters(call: Call) -> Page[LetterRow]:
    asked: LetterQuery = call.query
    return await call.port.letters(
        asked.cursor,
        asked.limit,
        handler=asked.handler,
        reason=asked.reason,
        session=asked.session,
        type=asked.type,
    )


async def _letter(call: Call) -> LetterDetail:
    return await call.port.letter(call.path["id"])


async def _replay_letter(call: Call) -> Replayed:
    return await call.port.replay_letter(call.path["id"])


async def _discard_letter(call: Call) -> Done:
    await call.port.discard_letter(call.path["id"])
    return Done(message=f"{call.path['id']} is discarded")


async def _approvals(call: Call) -> Page[ApprovalRow]:
    asked: ApprovalQuery = call.query
    state = None if asked.state == "all" else asked.state
    return await call.port.approvals(state, asked.cursor, asked.limit)


async def _answer(call: Call) -> ApprovalRow:
    body: AnswerBody = call.body
    return await call.port.answer(call.path["id"], approve=body.approve, note=body.note, by=call.client)


async def _pools(call: Call) -> Page[PoolRow]:
    return Page(items=await call.port.pools())


async def _scale(call: Call) -> PoolRow:
    body: ScaleBody = call.body
    return await call.port.scale(call.path["name"], body.size)


async def _drain(call: Call) -> Done:
    await call.port.drain(call.path["name"])
    return Done(message=f"{call.path['name']} lets its streams end; the next call starts it again")


async def _schedules(call: Call) -> Page[ScheduleRow]:
    return Page(items=await call.port.schedules())


async def _settings(call: Call) -> SettingsTree:
    return SettingsTree(settings=await call.port.settings())


ENDPOINTS = (
    Endpoint("GET", "/overview", _overview, Overview, "The runtime at a glance"),
    Endpoint("GET", "/bus", _bus, BusState, "The bus: handlers, mailboxes, breakers, counters"),
    Endpoint(
        "GET", "/dead-letters", _letters, Page[LetterRow], "Dead letters, the newest first", LetterQuery
    ),
    Endpoint("GET", "/dead-letters/{id}", _letter, LetterDetail, "One dead letter"),
    Endpoint(
        "POST",
        "/dead-letters/{id}/replay",
        _replay_letter,
        Replayed,
        "Run a dead letter for its handler again",
    ),
    Endpoint("DELETE", "/dead-letters/{id}", _discard_letter, Done, "Throw a dead letter away"),
    Endpoint("GET", "/approvals", _approvals, Page[ApprovalRow], "Tool calls that need leave", ApprovalQuery),
    Endpoint(
        "POST", "/approvals/{id}", _answer, ApprovalRow, "Approve or deny a tool call", None, AnswerBody
    ),
    Endpoint("GET", "/pools", _pools, Page[PoolRow], "Provider pools and their actors"),
    Endpoint("POST", "/pools/{name}/scale", _scale, PoolRow, "Change a pool's size", None, ScaleBody),
    Endpoint("POST", "/pools/{name}/drain", _drain, Done, "Let a pool's actors end their streams and go"),
    Endpoint("GET", "/schedules", _schedules, Page[ScheduleRow], "Events that are kept for later"),
    Endpoint("GET", "/settings", _settings, SettingsTree, "The runtime's settings, secrets masked"),
)
