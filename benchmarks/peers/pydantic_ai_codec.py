"""Streams of pydantic-ai's models, asked directly and without an agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.answers import Read, client, us_per_chunk
from benchmarks.contract import Effort, Measure, Round


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    readers = {wire: _reader(model) for wire, model in _models().items()}

    async def measure(effort: Effort) -> Round:
        return Round(await us_per_chunk(readers, effort))

    yield measure


def _models() -> dict[str, Any]:
    import httpx2
    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.google import GoogleProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    def openai_over(wire: str) -> Any:
        return OpenAIProvider(openai_client=AsyncOpenAI(api_key="none", http_client=client(httpx2, wire)))

    claude = AsyncAnthropic(api_key="none", http_client=client(httpx2, "anthropic"))
    gemini = GoogleProvider(api_key="none", http_client=client(httpx2, "gemini"))
    return {
        "openai_chat": OpenAIChatModel("gpt-4o", provider=openai_over("openai_chat")),
        "openai_responses": OpenAIResponsesModel("gpt-4o", provider=openai_over("openai_responses")),
        "anthropic": AnthropicModel("claude-sonnet-4-0", provider=AnthropicProvider(anthropic_client=claude)),
        "gemini": GoogleModel("gemini-2.5-pro", provider=gemini),
    }


def _reader(model: Any) -> Read:
    from pydantic_ai import ModelRequest
    from pydantic_ai.direct import model_request_stream
    from pydantic_ai.messages import PartDeltaEvent, PartStartEvent

    async def read() -> str:
        texts: list[str] = []
        async with model_request_stream(model, [ModelRequest.user_text_prompt("Go on.")]) as stream:
            async for event in stream:
                if isinstance(event, PartStartEvent):
                    texts.append(event.part.content)
                elif isinstance(event, PartDeltaEvent):
                    texts.append(event.delta.content_delta)
        return "".join(texts)

    return read
