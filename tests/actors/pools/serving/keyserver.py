"""A model server to which each key is another customer, and the means to call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from llmgine.actors.pools.admission import Ticket
from llmgine.actors.pools.keys import KeyBreakerPolicy, KeysOptions
from llmgine.actors.pools.serving.allowance import Allowance
from llmgine.actors.pools.serving.call import Call
from llmgine.actors.pools.serving.keyed import KeyedCalls
from llmgine.providers import Done, EmbeddingRequest, Failed, LLMRequest, Message, ProviderError, StreamEvent
from llmgine.providers.contracts import Attempt
from llmgine.providers.options import ProvidersOptions
from llmgine.telemetry import OpenSpan
from tests.actors.pools.serving.unlimited import Unlimited
from tests.providers.faults.listener import Call as Heard
from tests.providers.faults.server import FaultServer

KEYS = {"a": "sk-of-account-a-0123456789", "b": "sk-of-account-b-0123456789"}


class KeyServer(FaultServer):
    """Gives each key the faults that are planned for it, one for each call, and serves it well after that."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, list[str]] = {}

    def keys(self) -> list[str]:
        """The texts of the keys, in the order in which calls came with them."""
        return [heard.headers["authorization"].removeprefix("Bearer ") for heard in self.calls]

    def named(self) -> str:
        """The same by their names."""
        names = {text: name for name, text in KEYS.items()}
        return "".join(names[text] for text in self.keys())

    async def answer(self, call: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        planned = self.faults.get(self.keys()[-1])
        if planned:
            call.body["model"] = planned.pop(0)
        await super().answer(call, reader, writer)


class Clock:
    """The loop's time, which a test may have pass."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self._skipped

    def skip(self, seconds: float) -> None:
        self._skipped += seconds


class Caller:
    """Makes calls of the endpoint "there" as a provider actor would."""

    def __init__(self, endpoint: dict[str, Any], allowance: Allowance | None = None, **breaker: Any) -> None:
        settings = {"kind": "openai", "api": "openai-chat", **endpoint}
        options = ProvidersOptions.model_validate({"endpoints": {"there": settings}})
        self.clock = Clock()
        keys = KeysOptions(breaker=KeyBreakerPolicy(**breaker))
        self.calls = KeyedCalls("there", options, keys, clock=self.clock, allowance=allowance or Unlimited())
        self.failed: list[ProviderError] = []

    def call(self, request: Any, wait: float | None = None, session: str = "") -> Call[Any]:
        now = self.clock()
        ends = now + (request.deadline or 60.0)
        until = ends if wait is None else now + wait
        ticket, span = cast("Ticket", None), cast("OpenSpan", None)
        return Call(request, session, ends, until, ticket, span, lambda _, error: self.failed.append(error))

    def opened(self) -> bool:
        """Whether every key is there."""
        return all(one["state"] == "ok" for one in self.calls.statistics().values())

    async def begun(self, **fields: Any) -> AsyncIterator[StreamEvent]:
        """A call that goes on."""
        if not self.calls.is_open:
            await self.calls.open()
        wait, session = fields.pop("wait", None), fields.pop("session", "")
        fields = {"model": "there/ok", "messages": (Message.user("Hi"),), **fields}
        return self.calls.stream(self.call(LLMRequest(**fields), wait, session))

    async def events(self, **fields: Any) -> list[StreamEvent]:
        return [event async for event in await self.begun(**fields)]

    async def end(self, **fields: Any) -> Done | Failed:
        end = (await self.events(**fields))[-1]
        assert isinstance(end, Done | Failed)
        return end

    async def told(self, **fields: Any) -> list[tuple[str, str]]:
        """A call's tries: with which key, and to what end."""
        return tries(await self.end(**fields))

    async def failure(self, **fields: Any) -> ProviderError:
        end = await self.end(**fields)
        assert isinstance(end, Failed)
        return end.error

    async def vectors(self, wait: float | None = None) -> list[tuple[str, str]]:
        if not self.calls.is_open:
            await self.calls.open()
        request = EmbeddingRequest(model="there/ok", inputs=("one", "two"))
        response = await self.calls.embed(self.call(request, wait))
        assert len(response.vectors) == 2
        return [(one.key, one.outcome) for one in response.attempts]


def tries(end: Done | Failed) -> list[tuple[str, str]]:
    attempts: tuple[Attempt, ...] = end.response.attempts if isinstance(end, Done) else end.attempts
    return [(one.key, one.outcome) for one in attempts]
