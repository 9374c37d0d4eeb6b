"""Models by their names, and turns of sessions, for the gateway."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from llmgine.actors.control import SessionNotFound
from llmgine.actors.gateway.errors import NotFound
from llmgine.actors.gateway.port import TurnAsk
from llmgine.actors.gateway.shapes import ModelRow
from llmgine.actors.sessions import SessionClient, SessionClosed, TurnClient, TurnEvent
from llmgine.actors.sessions.client.asking import Link
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
    # A session's link, the same each time, so that only the first turn has to find out where it lives.
    _link: Callable[[str], Link]

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
        link = self._link(checked_id(ask.session))
        turn = self._turn_of(ask, link)
        ends_itself = ask.goes_on
        try:
            async with aclosing(self._events(ask, turn, link)) as events:
                async for event in events:
                    ends_itself = ends_itself or is_terminal(event)
                    yield event
        except (GeneratorExit, asyncio.CancelledError):
            if not ends_itself:
                turn.cancel_soon()
            raise

    def _turn_of(self, ask: TurnAsk, link: Link) -> TurnClient:
        options, model = dict(ask.options), None
        if ask.model is not None:
            model, behind = full_chain(ask.model, self._driver.settings.providers)
            options |= {"fallbacks": [one.model_dump() for one in behind]} if behind else {}
        return SessionClient(ask.session, link).turn_of(
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

    async def _events(self, ask: TurnAsk, turn: TurnClient, link: Link) -> AsyncGenerator[TurnEvent]:
        """What the turn says; the session may have been closed since it was found."""
        for again in (True, False):
            await self._find(ask, link)
            told = False
            try:
                async with aclosing(turn.stream()) as events:
                    async for event in events:
                        told = True
                        yield event
                return
            except (SessionNotFound, SessionClosed):
                if told or not again:
                    raise
                link.look_again()

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

    async def _find(self, ask: TurnAsk, link: Link) -> None:
        """Opens the session where it is not; it stays from then on, and sleeps while nobody asks it."""
        id = ask.session
        try:
            await link.find()
        except SessionNotFound:
            row = await self._driver.store.session(id)
            model = (None if row is None else row.record.get("model")) or ask.model
            if model is None:
                told = f"no session {id!r} is kept; one that is asked with a model is opened"
                raise NotFound(told) from None
            await (self._open(id, model) if row is None else self._open_again(row, model))

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
