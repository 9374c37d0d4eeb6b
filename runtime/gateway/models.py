"""Models by their names, and turns of sessions, for the gateway."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing

from llmgine.actors.control import SessionNotFound
from llmgine.actors.gateway.errors import NotFound
from llmgine.actors.gateway.port import TurnAsk
from llmgine.actors.gateway.shapes import ModelRow
from llmgine.actors.sessions import SessionClient, TurnEvent
from llmgine.actors.sessions.turns.events import is_terminal
from llmgine.actors.store.rows import SessionRow
from llmgine.providers import EmbeddingRequest, EmbeddingResponse, LLMRequest, Origin, StreamEvent
from llmgine.providers.names import full_chain, known_names, resolve
from llmgine.runtime.checks import checked_id
from llmgine.runtime.driver import Driver
from llmgine.runtime.session import Session
from llmgine.telemetry import TraceContext

# Turns of a session that are looked at together for the last one with an answer.
_TURNS = 20
# How a session without code is opened; copies from elsewhere have none.
_PLAIN = {"placement": "pooled", "runs": "", "fingerprint": ""}


class ModelAnswers:
    """A `ModelPort` over a driver."""

    _driver: Driver

    async def models(self) -> list[ModelRow]:
        """Every alias, and every endpoint with the models that it is known to have."""
        providers = self._driver.settings.providers
        names = known_names(providers)
        return [ModelRow(id=name, provider=resolve(name, providers).provider) for name in names]

    async def target(self, model: str) -> Origin:
        providers = self._driver.settings.providers
        name = resolve(model, providers)
        endpoint = providers.endpoints[name.provider]
        api = endpoint.kind if endpoint.kind in ("local", "scripted") else endpoint.protocol
        return Origin(provider=name.provider, api=api, model=name.model)

    def complete(self, request: LLMRequest, trace: TraceContext | None) -> AsyncGenerator[StreamEvent]:
        return self._driver.models.stream(request, trace=trace)

    async def embed(self, request: EmbeddingRequest, trace: TraceContext | None) -> EmbeddingResponse:
        return await self._driver.models.embed(request, trace=trace)

    async def turn(self, ask: TurnAsk) -> AsyncGenerator[TurnEvent]:
        client = await self._asked(ask)
        options, model = dict(ask.options), None
        if ask.model is not None:
            model, behind = full_chain(ask.model, self._driver.settings.providers)
            options |= {"fallbacks": [one.model_dump() for one in behind]} if behind else {}
        turn = client.turn_of(
            ask.messages,
            key=ask.key,
            model=model,
            system=ask.system,
            tools=ask.tools,
            output=ask.output,
            options=options,
            limits=ask.limits,
            trace=ask.trace,
        )
        ends_itself = ask.goes_on
        try:
            async with aclosing(turn.stream()) as events:
                async for event in events:
                    ends_itself = ends_itself or is_terminal(event)
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            if not ends_itself:
                turn.cancel_soon()
            raise

    async def last_turn(self, session: str) -> str | None:
        id = checked_id(session)
        before: int | None = None
        while True:
            page = await self._driver.store.turns(id, before=before, limit=_TURNS)
            for row in page.rows:
                if row.state not in ("failed", "cancelled"):
                    return row.id
            if page.next is None:
                return None
            before = page.next

    async def _asked(self, ask: TurnAsk) -> SessionClient:
        """The session, opened where it is not; it stays from then on, and sleeps while nobody asks it."""
        driver, id = self._driver, checked_id(ask.session)
        try:
            actor = (await driver.control.call("locate_session", id))["actor"]
        except SessionNotFound:
            actor = None
            row = await driver.store.session(id)
            model = (None if row is None else row.record.get("model")) or ask.model
            if model is None:
                told = f"no session {id!r} is kept; one that is asked with a model is opened"
                raise NotFound(told) from None
            await (self._open(id, model) if row is None else self._open_again(row, model))
        return SessionClient(id, driver.link(id, actor))

    async def _open_again(self, row: SessionRow, model: str) -> None:
        """Opens the session as it was opened last, with its code and what bounds it; but it stays."""
        driver, handle, kept = self._driver, uuid.uuid4().hex, row.record.get("code")
        code = await driver.store.code(kept) if kept else None
        model = str(resolve(model, driver.settings.providers))
        spec = {**_PLAIN, **row.record, "session_id": row.id, "model": model, "stay": True, "parent": None}
        await driver.control.call("open_session", driver.id, handle, spec, code)
        await driver.control.call("detach_session", row.id, handle, None)

    async def _open(self, id: str, model: str) -> None:
        session = Session(
            self._driver,
            id,
            model=model,
            system=None,
            tools=(),
            engine=None,
            policy=None,
            handlers=(),
            stay=True,
            placement="pooled",
            trusted=False,
            window=None,
            limits=None,
            when_busy=None,
            recovery=None,
            priority=None,
            response_cache=None,
        )
        async with session:
            pass
