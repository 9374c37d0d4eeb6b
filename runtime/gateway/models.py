"""Models by their names, and turns of sessions, for the gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from llmgine.actors.gateway.errors import NotFound, Unprocessable
from llmgine.actors.gateway.port import TurnAsk
from llmgine.actors.gateway.shapes import ModelRow
from llmgine.actors.sessions import SessionClient, TurnEvent
from llmgine.providers import EmbeddingRequest, EmbeddingResponse, LLMRequest, StreamEvent
from llmgine.providers.names import full_chain, known_names
from llmgine.runtime.checks import checked_id
from llmgine.runtime.driver import Driver
from llmgine.runtime.session import Session


class ModelAnswers:
    """A `ModelPort` over a driver."""

    _driver: Driver

    async def models(self) -> list[ModelRow]:
        """Every alias, and every endpoint with the models that it is known to have."""
        names = known_names(self._driver.settings.providers)
        return [ModelRow(id=name, provider=name.partition("/")[0]) for name in names]

    def complete(self, request: LLMRequest) -> AsyncIterator[StreamEvent]:
        return self._driver.models.stream(request)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        return await self._driver.models.embed(request)

    async def turn(self, ask: TurnAsk) -> AsyncGenerator[TurnEvent]:
        if len(ask.messages) != 1 or ask.messages[0].role != "user" or ask.tools:
            raise Unprocessable("a turn takes one prompt of the user")
        client = await self._asked(ask)
        options = dict(ask.options)
        model = None
        if ask.model is not None:
            model, _ = full_chain(ask.model, self._driver.settings.providers)
        async with aclosing(client.stream(ask.messages[0], model=model, options=options)) as events:
            async for event in events:
                yield event

    async def _asked(self, ask: TurnAsk) -> SessionClient:
        """The session, opened where it is not; it stays from then on, and sleeps while nobody asks it."""
        driver, id = self._driver, checked_id(ask.session)
        row = await driver.store.session(id)
        if row is None or row.state == "closed":
            record = {} if row is None else row.record
            model = record.get("model") or ask.model
            if model is None:
                raise NotFound(f"no session {id!r} is kept; one that is asked with a model is opened")
            system = record.get("system") if ask.system is None else ask.system
            await self._open(id, model, system)
        return SessionClient(id, driver.link(id))

    async def _open(self, id: str, model: str, system: str | None) -> None:
        session = Session(
            self._driver,
            id,
            model=model,
            system=system,
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
