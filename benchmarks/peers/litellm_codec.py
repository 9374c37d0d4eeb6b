"""LiteLLM's streams, each over the HTTP client that it takes for that vendor."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from benchmarks.answers import client, us_per_chunk
from benchmarks.contract import Effort, Measure, Round

_ASKED: Final = [{"role": "user", "content": "Go on."}]


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import fetches it
    import httpx
    import litellm
    import openai
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    litellm.telemetry = False
    sdk = openai.AsyncOpenAI(api_key="none", http_client=client(httpx, "openai_chat"), max_retries=0)

    def handler(wire: str) -> Any:
        made = AsyncHTTPHandler()
        made.client = client(httpx, wire)
        return made

    async def completion(model: str, over: Any) -> str:
        stream = await litellm.acompletion(
            model=model, messages=_ASKED, stream=True, client=over, api_key="none"
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def responses(over: Any) -> str:
        stream = await litellm.aresponses(
            model="openai/gpt-4o", input="Go on.", stream=True, client=over, api_key="none"
        )
        return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])

    over = {wire: handler(wire) for wire in ("openai_responses", "anthropic", "gemini")}
    readers = {
        "openai_chat": lambda: completion("openai/gpt-4o", sdk),
        "openai_responses": lambda: responses(over["openai_responses"]),
        "anthropic": lambda: completion("anthropic/claude-sonnet-4-20250514", over["anthropic"]),
        "gemini": lambda: completion("gemini/gemini-2.5-pro", over["gemini"]),
    }

    async def measure(effort: Effort) -> Round:
        return Round(await us_per_chunk(readers, effort))

    yield measure
