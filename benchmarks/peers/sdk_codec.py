"""The official SDKs' own streaming iterators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from benchmarks.answers import client, us_per_chunk
from benchmarks.contract import Effort, Measure, Round

_ASKED: Final[list[Any]] = [{"role": "user", "content": "Go on."}]


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    import anthropic
    import httpx2
    import openai
    from google import genai

    def openai_over(wire: str) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(api_key="none", http_client=client(httpx2, wire), max_retries=0)

    claude = anthropic.AsyncAnthropic(
        api_key="none", http_client=client(httpx2, "anthropic"), max_retries=0, open_telemetry=False
    )
    http = genai.types.HttpOptions(httpx_async_client=client(httpx2, "gemini"))
    gemini = genai.Client(api_key="none", http_options=http)
    chat, responses = openai_over("openai_chat"), openai_over("openai_responses")
    readers = {
        "openai_chat": lambda: _chat(chat),
        "openai_responses": lambda: _responses(responses),
        "anthropic": lambda: _messages(claude),
        "gemini": lambda: _gemini(gemini),
    }

    async def measure(effort: Effort) -> Round:
        return Round(await us_per_chunk(readers, effort))

    yield measure
    for sdk in (chat, responses, claude):
        await sdk.close()
    await gemini.aio.aclose()


async def _chat(sdk: Any) -> str:
    stream = await sdk.chat.completions.create(model="gpt-4o", messages=_ASKED, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def _responses(sdk: Any) -> str:
    stream = await sdk.responses.create(model="gpt-4o", input="Go on.", stream=True)
    return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])


async def _messages(sdk: Any) -> str:
    stream = await sdk.messages.create(
        model="claude-sonnet-4-0", max_tokens=4096, messages=_ASKED, stream=True
    )
    return "".join([event.delta.text async for event in stream if event.type == "content_block_delta"])


async def _gemini(sdk: Any) -> str:
    stream = await sdk.aio.models.generate_content_stream(model="gemini-2.5-pro", contents="Go on.")
    return "".join([chunk.text or "" async for chunk in stream])
