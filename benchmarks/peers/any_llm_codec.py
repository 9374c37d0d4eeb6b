"""Streams of any-llm's providers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from benchmarks.answers import client, us_per_chunk
from benchmarks.contract import Effort, Measure, Round

_ASKED: Final[list[Any]] = [{"role": "user", "content": "Go on."}]


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    import httpx
    import httpx2
    from any_llm import AnyLLM
    from google.genai import types

    chat = AnyLLM.create("openai", api_key="none", http_client=client(httpx2, "openai_chat"))
    responses = AnyLLM.create("openai", api_key="none", http_client=client(httpx2, "openai_responses"))
    claude = AnyLLM.create("anthropic", api_key="none", http_client=client(httpx, "anthropic"))
    http = types.HttpOptions(httpx_async_client=client(httpx2, "gemini"))
    gemini = AnyLLM.create("gemini", api_key="none", http_options=http)
    readers = {
        "openai_chat": lambda: _completion(chat, "gpt-4o"),
        "openai_responses": lambda: _responses(responses),
        "anthropic": lambda: _completion(claude, "claude-sonnet-4-0"),
        "gemini": lambda: _completion(gemini, "gemini-2.5-pro"),
    }

    async def measure(effort: Effort) -> Round:
        return Round(await us_per_chunk(readers, effort))

    yield measure


async def _completion(provider: Any, model: str) -> str:
    stream = await provider.acompletion(model=model, messages=_ASKED, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def _responses(provider: Any) -> str:
    stream = await provider.aresponses(model="gpt-4o", input_data="Go on.", stream=True)
    return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])
