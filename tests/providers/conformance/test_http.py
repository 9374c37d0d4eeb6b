"""The protocols that are spoken over HTTP, each against a server that does everything wrong."""

from __future__ import annotations

from typing import ClassVar

from llmgine.providers.contracts import Reasoning
from llmgine.providers.errors import ErrorKind
from llmgine.providers.provider import Provider
from tests.providers.conformance.faults import FaultConformance

PENALTIES = {"presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty"}


class TestOpenAIResponses(FaultConformance):
    endpoint: ClassVar = {"kind": "openai"}
    path = "/v1"
    lacks: ClassVar = {"top_k": "top_k", "stop": "stop", "seed": "seed", "audio": "sound", **PENALTIES}


class TestOpenAIChat(FaultConformance):
    endpoint: ClassVar = {"kind": "openai", "api": "openai-chat"}
    path = "/v1"
    lacks: ClassVar = {"top_k": "top_k"}


class TestAnthropic(FaultConformance):
    endpoint: ClassVar = {"kind": "anthropic"}
    lacks: ClassVar = {"seed": "seed", "audio": "sound", **PENALTIES}


class TestGemini(FaultConformance):
    endpoint: ClassVar = {"kind": "gemini"}
    hints = (*FaultConformance.hints, "body")
    lacks: ClassVar = {"parallel_tool_calls": "parallel_tool_calls"}


class TestCompatible(FaultConformance):
    endpoint: ClassVar = {"kind": "openai-compatible"}
    path = "/v1"
    lacks: ClassVar = {"top_k": "top_k", "document": "documents"}


class TestGeminiLegacy(FaultConformance):
    """The package that reads answers into objects of its own throws away what these do not know."""

    endpoint: ClassVar = {"kind": "gemini", "transport": "google-generativeai"}
    hints = (*FaultConformance.hints, "body")
    request_id = None
    whole = ("bytewise", "unknown", "json", "reset-at-end")
    no_answer: ClassVar = {"html": ErrorKind.MALFORMED, "json-error": ErrorKind.MALFORMED}
    lacks: ClassVar = {
        "seed": "seed",
        "parallel_tool_calls": "parallel_tool_calls",
        "reasoning": "reasoning",
    }

    async def test_thinking(self, provider: Provider) -> None:
        """Thoughts cannot be told from the answer, so none are asked for."""
        request = self.ask("ok", reasoning=Reasoning(show=True))
        await self.refused(provider, request, "reasoning")

    async def test_a_block_that_nobody_knows(self, provider: Provider) -> None:
        """It is lost on the way, and never read as something else."""
        response = await self.done(provider, self.ask("unknown-block"))
        assert response.text == "Hello big world"
        assert [part.type for part in response.message.parts] == ["text"]
