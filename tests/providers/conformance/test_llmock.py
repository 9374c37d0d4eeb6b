"""The same promises against an independent server of the vendors' wires, whose verdict is asserted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply, ToolCall

from llmgine.providers.contracts import LLMRequest, Message
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.provider import Provider
from llmgine.providers.registry import open_provider
from tests.providers.conformance.suite import ProviderConformance

PENALTIES = {"presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty"}
CALLS = (ToolCall("add", {"a": 2, "b": 2}), ToolCall("get_weather", {"city": "Paris"}))
BEFORE_A_STALL = 8  # chunks; the Responses protocol begins with several that bring no words


class MockConformance(ProviderConformance):
    """One of each protocol; the server finds nothing to blame in any of its tests."""

    kind: ClassVar[str]
    api: ClassVar[str]
    served: ClassVar[str]
    profile: ClassVar[dict[str, Any]] = {}
    server: LLMock

    @pytest.fixture
    async def provider(self, llmock: LLMock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
        monkeypatch.setenv("THERE_KEY", "sk-none")
        for name in llmock.env():
            monkeypatch.delenv(name)
        self.server = llmock
        place = {"base_url": llmock.base_url(self.kind), "key_env": "THERE_KEY"}
        settings = {
            "endpoints": {"there": {"kind": self.kind, "api": self.api, **place}},
            "profiles": {self.model(""): self.profile},
        }
        provider = open_provider("there", ProvidersOptions.model_validate(settings))
        yield provider
        await provider.aclose()
        assert llmock.verdict().findings == ()

    def model(self, case: str) -> str:
        return f"there/{self.served}"

    def ask(self, case: str, *messages: Message, **fields: Any) -> LLMRequest:
        """Words enough to be counted as tokens; what the server does not do by itself it is told."""
        if case == "parallel":
            self.server.add(Reply(text=None, tool_calls=CALLS))
        if case == "stall":
            self.server.reply("One two three four five six seven eight nine ten.")
            self.server.stall(after_chunks=BEFORE_A_STALL)
        return super().ask(case, *(messages or (Message.user("Tell me a story."),)), **fields)


class TestOpenAIResponses(MockConformance):
    kind, api, served = "openai", "openai-responses", "gpt-4.1"
    lacks: ClassVar = {"top_k": "top_k", "stop": "stop", "seed": "seed", "audio": "sound", **PENALTIES}


class TestOpenAIChat(MockConformance):
    kind, api, served = "openai", "openai-chat", "gpt-4o-mini"
    lacks: ClassVar = {"top_k": "top_k", "audio": "sound"}


class TestAnthropic(MockConformance):
    """The server has not heard of the vendor's own way to force a schema."""

    kind, api, served = "anthropic", "anthropic-messages", "claude-sonnet-4-5"
    profile: ClassVar = {"output": "tool"}
    lacks: ClassVar = {"seed": "seed", "audio": "sound", **PENALTIES}


class TestGemini(MockConformance):
    kind, api, served = "gemini", "gemini", "gemini-2.5-flash"
    lacks: ClassVar = {"parallel_tool_calls": "parallel_tool_calls"}
