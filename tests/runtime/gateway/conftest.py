"""A runtime in this process with its gateway, and the vendors' own clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest

from llmgine.runtime import Runtime

SCRIPTS: dict[str, Any] = {
    "thinks": {"replies": [{"thinking": "Let me think.", "text": "It is so."}]},
    "refuses": {"replies": [{"parts": [{"type": "refusal", "text": "I will not."}]}]},
    "cut": {"replies": [{"text": "It goes on and", "finish_reason": "length"}]},
    "cut-json": {"replies": [{"text": '{"city": "Pa', "finish_reason": "length"}]},
    "calls-both": {
        "replies": [
            {"text": "Let me see.", "tool_calls": [{"name": "find_order"}, {"name": "get_weather"}]},
            {},
        ],
        "after_last": "cycle",
    },
    "calls-own": {"replies": [{"text": "Let me see.", "tool_calls": [{"name": "look"}]}, {"text": "There."}]},
    "calls-two": {
        "replies": [
            {
                "tool_calls": [
                    {"name": "get_weather", "arguments": {"city": "Paris"}},
                    {"name": "get_weather", "arguments": {"city": "Rome"}},
                ]
            },
            {},
        ]
    },
    "breaks": {"replies": [{"text": "one two three", "fault": {"kind": "server", "after_chunks": 2}}]},
    "hangs": {"replies": [{"text": "one two three", "fault": {"kind": "stall", "after_chunks": 1}}]},
    "hangs-at-once": {"replies": [{"text": "one", "fault": {"kind": "stall"}}]},
    **{
        kind: {"replies": [{"text": "x", "fault": {"kind": kind, "message": f"it was {kind}"}}]}
        for kind in ("overloaded", "context_length", "permission", "authentication", "timeout", "unsupported")
    },
}


@dataclass
class Stage:
    """The runtime, where its gateway listens, and clients that try each request once."""

    runtime: Runtime
    url: str
    opened: AsyncExitStack

    async def openai(self, **headers: str) -> openai.AsyncOpenAI:
        client = openai.AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=20, default_headers=headers
        )
        return await self.opened.enter_async_context(client)

    async def anthropic(self, **headers: str) -> anthropic.AsyncAnthropic:
        client = anthropic.AsyncAnthropic(
            base_url=self.url, api_key="none", max_retries=0, timeout=20, default_headers=headers
        )
        return await self.opened.enter_async_context(client)


@pytest.fixture
async def stage(clean_environ: object) -> AsyncIterator[Stage]:
    settings = {
        "gateway": {"enabled": True, "port": 0},
        "providers": {"scripts": SCRIPTS},
        "pools": {"failover": {"tries": 1, "patience": 0}},
    }
    async with Runtime.in_process(settings) as runtime:
        url = await runtime.gateway.url()
        assert url is not None
        async with AsyncExitStack() as opened:
            yield Stage(runtime, url, opened)
