"""A model that does what its prompt says, word by word, so that anybody knows what its answer must be.

A prompt is `t<number> [step …] [slow]`: for each step the model calls one tool per letter (`e` may run
twice, `n` may not, `a` needs leave), then it says `answer t<number>`. While it is flaky, calls may fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import TYPE_CHECKING

from llmgine.providers.contracts import (
    EmbeddingRequest,
    EmbeddingResponse,
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    TextPart,
    ToolCallPart,
    Usage,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError
from llmgine.providers.events import Done, Failed, PartDone, StreamEvent, TextDelta, ToolCallStart

if TYPE_CHECKING:
    from tests.simulation.sessions.account import Account

TOOLS = {"e": "look", "n": "act", "a": "dare"}


def answer_to(prompt: str) -> str:
    return f"answer {prompt.split()[0]}"


class ObedientModel:
    """A `Provider` whose answers follow from the request alone."""

    def __init__(self, name: str, account: Account) -> None:
        self.name = name
        self._account = account
        self._loop = account.loop

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncIterator[StreamEvent]:
        self._account.asked(session, request)
        loop = self._loop
        prompt, done = _position(request.messages)
        words = prompt.split()
        await asyncio.sleep(loop.between(0.001, 2.0 if "slow" in words else 0.05))
        if loop.chance(self._account.flaky):
            yield Failed(_overloaded(self.name, request.model))
            return
        steps = [word for word in words[1:] if set(word) <= TOOLS.keys()]
        if done < len(steps):
            async for event in self._calls(words[0], done, steps[done]):
                yield event
            return
        for index, word in enumerate(answer_to(prompt).split(" ")):
            yield TextDelta(0, word if index == 0 else f" {word}")
            await asyncio.sleep(loop.between(0.0, 0.02))
        part = TextPart(text=answer_to(prompt))
        yield PartDone(0, part)
        yield Done(_response(request.model, (part,), FinishReason.STOP))

    async def _calls(self, turn: str, step: int, letters: str) -> AsyncIterator[StreamEvent]:
        calls = []
        for index, letter in enumerate(letters):
            key = f"{turn}.{step}.{index}"
            calls.append(ToolCallPart(id=f"call-{key}", name=TOOLS[letter], arguments={"key": key}))
            yield ToolCallStart(index, calls[-1].id, calls[-1].name)
            await asyncio.sleep(0)
            yield PartDone(index, calls[-1])
        yield Done(_response(self.name, tuple(calls), FinishReason.TOOL_CALLS))

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is held open."""


def _position(messages: tuple[Message, ...]) -> tuple[str, int]:
    """The last prompt, and how many answers followed it."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].role == "user":
            prompt = "".join(part.text for part in messages[place].parts if isinstance(part, TextPart))
            return prompt, sum(one.role == "assistant" for one in messages[place:])
    raise AssertionError("a request without a prompt")


def _response(model: str, parts: tuple[TextPart | ToolCallPart, ...], reason: FinishReason) -> LLMResponse:
    return LLMResponse(
        message=Message(role="assistant", parts=parts),
        finish_reason=reason,
        usage=Usage(input_tokens=1, output_tokens=1, source=UsageSource.REPORTED),
        cost=Decimal(0),
        model=model,
        provider="scripted",
    )


def _overloaded(provider: str, model: str) -> ProviderError:
    return ProviderError(
        "the model is overloaded",
        kind=ErrorKind.OVERLOADED,
        phase=ErrorPhase.PRE_TOKEN,
        scope=ErrorScope.ENDPOINT,
        provider=provider,
        model=model,
    )
