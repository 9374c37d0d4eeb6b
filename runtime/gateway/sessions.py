"""Sessions, for the gateway: what the store has, with what telemetry knows beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from llmgine.actors.gateway.errors import NotFound, Unprocessable
from llmgine.actors.gateway.port import TurnAsk
from llmgine.actors.gateway.shapes import (
    MessageRow,
    ModelUsage,
    Page,
    SessionDetail,
    SessionRow,
    TurnRow,
    Waterfall,
)
from llmgine.actors.sessions.journal.loading import request_of
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.actors.store.rows import TurnRow as StoredTurn
from llmgine.providers import AnyPart, Message, ToolResultPart
from llmgine.providers.contracts import MediaPart
from llmgine.runtime.driver import Driver
from llmgine.runtime.gateway.cursors import page_number
from llmgine.runtime.gateway.places import turn_places
from llmgine.runtime.gateway.traces import AWAY, telemetry_of, tokens, waterfall_of
from llmgine.runtime.sessions import SessionInfo, Sessions
from llmgine.telemetry import SessionSummary
from llmgine.telemetry.answers import ModelStats

# Turns whose beginnings are told with the messages.
_NEWEST = 20


class SessionAnswers:
    """A `SessionPort` over a driver."""

    _driver: Driver

    async def sessions(self, query: str, cursor: str | None, limit: int) -> Page[SessionRow]:
        page = await Sessions(self._driver).page(text=query, cursor=page_number(cursor), limit=limit)
        known = await self._summaries([info.id for info in page.sessions])
        rows = [SessionRow(**_fields(info), **_told(known.get(info.id))) for info in page.sessions]
        return Page[SessionRow](items=rows, next=None if page.next is None else str(page.next))

    async def session(self, id: str) -> SessionDetail:
        sessions = Sessions(self._driver)
        info = await sessions.show(id)
        turns = [TurnRow.model_validate(one, from_attributes=True) for one in await sessions.turns(id)]
        known = (await self._summaries([id])).get(id)
        return SessionDetail(**_fields(info), **_told(known), newest_turns=turns, usage=await self._usage(id))

    async def check_session(self, id: str) -> None:
        if await self._driver.store.session(id) is None:
            raise NotFound(f"no session {id!r} is kept in this runtime")

    async def messages(self, id: str, cursor: str | None, limit: int) -> Page[MessageRow]:
        history = await Sessions(self._driver).history(id)
        first = page_number(cursor) or 0
        begun = {place: turn for turn, place in (await self._places(id, history)).items()}
        told = [
            MessageRow(
                number=number,
                role=message.role,
                turn=begun.get(number),
                parts=[_shown(part) for part in message.parts],
            )
            for number, message in enumerate(history[first : first + limit], first)
        ]
        following = first + len(told)
        return Page[MessageRow](items=told, next=str(following) if following < len(history) else None)

    async def _places(self, id: str, history: Sequence[Message]) -> dict[str, int]:
        """Where the newest turns begin in the history."""
        page = await self._driver.store.turns(id, limit=_NEWEST)
        asked = [(row.id, await request_of(self._driver.store, row)) for row in page.rows if _told_of(row)]
        return turn_places(history, _prompts(asked))

    async def waterfall(self, id: str) -> Waterfall:
        await self.check_session(id)
        if not self._driver.settings.telemetry.enabled:
            return Waterfall(name=id, rows=[], truncated=0, now=datetime.now(UTC))
        return waterfall_of(await telemetry_of(self._driver).session(id))

    async def fork_before(self, id: str, turn_id: str) -> TurnAsk:
        asked = await self._asked_since(id, turn_id)
        request = asked[-1][1]
        if request is not None and request.prompt.role != "user":
            raise Unprocessable(
                f"turn {turn_id!r} went on from results of its client's tools, which are no prompt",
                hint="replay the turn that made the calls",
            )
        at = turn_places(await Sessions(self._driver).history(id), _prompts(asked)).get(turn_id)
        if request is None or at is None:
            raise Unprocessable(f"the prompt of turn {turn_id!r} is not in the conversation any more")
        return TurnAsk(
            await Sessions(self._driver).fork(id, at=at),
            request.messages,
            system=request.system,
            tools=request.tools,
            output=request.output,
            # Those stand behind the turn's own model, and it is another that is asked.
            options={name: value for name, value in request.options.items() if name != "fallbacks"},
            limits=request.limits,
        )

    async def _asked_since(self, id: str, turn_id: str) -> list[tuple[str, TurnRequest | None]]:
        """What the session's turns were asked, the newest first, down to that one."""
        before: int | None = None
        asked: list[tuple[str, TurnRequest | None]] = []
        while True:
            page = await self._driver.store.turns(id, before=before, limit=100)
            for row in page.rows:
                if row.id == turn_id or _told_of(row):
                    asked.append((row.id, await request_of(self._driver.store, row)))
                if row.id == turn_id:
                    return asked
            if page.next is None:
                raise NotFound(f"session {id!r} has no turn {turn_id!r}")
            before = page.next

    async def _summaries(self, ids: list[str]) -> dict[str, SessionSummary]:
        """What telemetry knows of these sessions; nothing where it is off or away."""
        if not ids:
            return {}
        try:
            page = await telemetry_of(self._driver).sessions(limit=len(ids), ids=ids)
        except AWAY:
            return {}
        return {one.session: one for one in page.items}

    async def _usage(self, id: str) -> list[ModelUsage]:
        try:
            return [_usage(told) for told in await telemetry_of(self._driver).usage(id)]
        except AWAY:
            return []


def _shown(part: AnyPart) -> dict[str, Any]:
    """The part without the bytes of media, which may be millions and are looked at by nobody."""
    hidden: Any = None
    if isinstance(part, MediaPart):
        hidden = {"data"}
    elif isinstance(part, ToolResultPart):
        hidden = {"content": {"__all__": {"data"}}}
    return part.model_dump(mode="json", exclude=hidden)


def _told_of(row: StoredTurn) -> bool:
    """Whether the turn's prompt is in the history."""
    return row.state in ("done", "running")


def _prompts(asked: Sequence[tuple[str, TurnRequest | None]]) -> list[tuple[str, Message | None]]:
    return [(turn, None if request is None else request.prompt) for turn, request in asked]


def _fields(info: SessionInfo) -> dict[str, Any]:
    told = dataclasses.asdict(info)
    del told["opening"]
    return told


def _told(known: SessionSummary | None) -> dict[str, Any]:
    if known is None:
        return {}
    return {
        "spans": known.spans,
        "running": known.running,
        "errors": known.errors,
        "tokens": tokens(known.tokens),
        "cost": known.cost,
    }


def _usage(told: ModelStats) -> ModelUsage:
    return ModelUsage(
        model=f"{told.provider}/{told.model}",
        calls=told.calls,
        tokens=tokens(told.tokens),
        cost=told.cost,
        unpriced=told.unpriced,
    )
