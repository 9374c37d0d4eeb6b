"""Sessions, for the gateway: what the store has, with what telemetry knows beside it."""

from __future__ import annotations

import dataclasses
import logging
from decimal import Decimal
from typing import Any

from llmgine.actors.control import names
from llmgine.actors.gateway.errors import NotFound, Unprocessable
from llmgine.actors.gateway.shapes import (
    MessageRow,
    ModelUsage,
    Page,
    SessionDetail,
    SessionRow,
    Tokens,
    TurnRow,
    Waterfall,
)
from llmgine.actors.link import LinkError
from llmgine.actors.sessions.journal.loading import prompt_of
from llmgine.actors.supervisor.entries import SessionNotFound
from llmgine.actors.telemetry import TelemetryClient
from llmgine.providers import Message
from llmgine.runtime.driver import Driver
from llmgine.runtime.gateway.cursors import page_number
from llmgine.runtime.gateway.traces import waterfall_of
from llmgine.runtime.sessions import SessionInfo, Sessions
from llmgine.telemetry import SessionSummary

logger = logging.getLogger(__name__)


class SessionAnswers:
    """A `SessionPort` over a driver."""

    _driver: Driver

    async def sessions(self, query: str, cursor: str | None, limit: int) -> Page[SessionRow]:
        page = await Sessions(self._driver).page(text=query, cursor=page_number(cursor), limit=limit)
        known = await self._summaries(query, [info.id for info in page.sessions])
        rows = [SessionRow(**_fields(info), **_told(known.get(info.id))) for info in page.sessions]
        return Page[SessionRow](items=rows, next=None if page.next is None else str(page.next))

    async def session(self, id: str) -> SessionDetail:
        sessions = Sessions(self._driver)
        try:
            info = await sessions.show(id)
        except SessionNotFound as error:
            raise NotFound(str(error)) from None
        turns = [
            TurnRow(id=turn.id, state=turn.state, trace=turn.trace, created=turn.created, ended=turn.ended)
            for turn in await sessions.turns(id)
        ]
        known = (await self._summaries(id, [id])).get(id)
        return SessionDetail(**_fields(info), **_told(known), newest_turns=turns, usage=await self._usage(id))

    async def messages(self, id: str, cursor: str | None, limit: int) -> Page[MessageRow]:
        history = await self._history(id)
        first = page_number(cursor) or 0
        rows = [
            MessageRow(
                number=number,
                role=message.role,
                parts=[part.model_dump(mode="json", exclude_defaults=False) for part in message.parts],
            )
            for number, message in enumerate(history[first : first + limit], first)
        ]
        following = first + len(rows)
        return Page[MessageRow](items=rows, next=str(following) if following < len(history) else None)

    async def waterfall(self, id: str) -> Waterfall:
        if await self._driver.store.session(id) is None:
            raise NotFound(f"no session {id!r} is kept in this runtime")
        return waterfall_of(await self._telemetry().session(id))

    async def fork_before(self, id: str, turn_id: str) -> tuple[str, Message]:
        prompt, later = await self._prompt(id, turn_id)
        history = await self._history(id)
        places = [number for number, message in enumerate(history) if message == prompt]
        if len(places) <= later:
            raise Unprocessable(f"the prompt of turn {turn_id!r} is not in the conversation any more")
        at = places[len(places) - 1 - later]
        return await Sessions(self._driver).fork(id, at=at), prompt

    async def _prompt(self, id: str, turn_id: str) -> tuple[Message, int]:
        """What the turn was asked, and how many later turns of the session were asked the same."""
        before: int | None = None
        prompts: list[Message] = []
        while True:
            page = await self._driver.store.turns(id, before=before, limit=100)
            for row in page.rows:
                prompt = await prompt_of(self._driver.store, row)
                if row.id == turn_id and prompt is not None:
                    return prompt, sum(one == prompt for one in prompts)
                if prompt is not None and row.state in ("done", "running"):
                    prompts.append(prompt)
            if page.next is None:
                raise NotFound(f"session {id!r} has no turn {turn_id!r}")
            before = page.next

    async def _history(self, id: str) -> tuple[Message, ...]:
        try:
            return await Sessions(self._driver).history(id)
        except SessionNotFound as error:
            raise NotFound(str(error)) from None

    async def _summaries(self, query: str, ids: list[str]) -> dict[str, SessionSummary]:
        """What telemetry knows of these sessions; nothing where it is off or away."""
        if not ids or not self._driver.settings.telemetry.enabled:
            return {}
        try:
            if len(ids) == 1:
                query = ids[0]
            page = await self._telemetry().sessions(query, limit=500)
        except LinkError as error:
            logger.info("telemetry does not tell of sessions: %s", error)
            return {}
        return {one.session: one for one in page.items}

    async def _usage(self, id: str) -> list[ModelUsage]:
        if not self._driver.settings.telemetry.enabled:
            return []
        try:
            view = await self._telemetry().session(id)
        except LinkError:
            return []
        return [_usage(told) for told in view.usage]

    def _telemetry(self) -> TelemetryClient:
        return TelemetryClient(self._driver.ground.peer(names.TELEMETRY))


def _fields(info: SessionInfo) -> dict[str, Any]:
    told = dataclasses.asdict(info)
    del told["opening"]
    return told


def _told(known: SessionSummary | None) -> dict[str, Any]:
    if known is None:
        return {}
    tokens = {name: getattr(known.tokens, name) for name in Tokens.model_fields}
    return {
        "running": known.running,
        "errors": known.errors,
        "tokens": Tokens(**tokens),
        "cost": known.cost,
    }


def _usage(told: dict[str, Any]) -> ModelUsage:
    tokens = Tokens(
        input=told["input_tokens"],
        output=told["output_tokens"],
        cached=told["cache_read_tokens"],
        cache_write=told["cache_write_tokens"],
        reasoning=told["reasoning_tokens"],
    )
    cost = Decimal(told["cost"]) if told["priced"] == told["calls"] else None
    return ModelUsage(
        model=f"{told['provider']}/{told['model']}", calls=told["calls"], tokens=tokens, cost=cost
    )
