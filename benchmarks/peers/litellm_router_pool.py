"""LiteLLM's Router in the process that wants the answers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.contract import Measure
from benchmarks.peers.between import measured
from benchmarks.requests import MODEL, PROMPT, bare
from benchmarks.streams import load


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import fetches it
    import litellm

    litellm.telemetry = False
    async with load() as server, bare(server.url) as sdk:
        parameters = {"model": f"openai/{MODEL}", "api_base": server.url, "api_key": "none"}
        router = litellm.Router(
            model_list=[{"model_name": "bench", "litellm_params": parameters}], num_retries=0
        )
        messages: list[Any] = [{"role": "user", "content": PROMPT}]

        async def ask() -> str | None:
            answer = await router.acompletion(model="bench", messages=messages)
            text: str | None = answer.choices[0].message.content
            return text

        yield measured(ask, sdk, server)
