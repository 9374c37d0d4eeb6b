"""The scripted double keeps the promises of the real ones, so that tests with it mean something."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from llmgine.providers.contracts import LLMRequest, Message
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope
from llmgine.providers.events import Failed
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.provider import Provider
from llmgine.providers.registry import open_provider
from tests.providers.conformance.faults import BROKEN, STATUSES
from tests.providers.conformance.suite import ProviderConformance, outcome

SCRIPTS: dict[str, Any] = {
    "ok": {"replies": [{"text": "Hello big world"}]},
    "parallel": {"replies": [{"tool_calls": [{"name": "add"}, {"name": "get_weather"}]}]},
    "structured": {"replies": [{}]},
    "stall": {"replies": [{"text": "Hello big world", "fault": {"kind": "stall", "after_chunks": 1}}]},
}


class TestScripted(ProviderConformance):
    lacks: ClassVar = {}

    @pytest.fixture
    async def provider(self) -> AsyncIterator[Provider]:
        provider = open_provider("scripted", ProvidersOptions.model_validate({"scripts": SCRIPTS}))
        yield provider
        await provider.aclose()

    def model(self, case: str) -> str:
        return f"scripted/{'tool' if case == 'tools' else case}"

    async def failed(self, provider: Provider, fault: dict[str, Any], **fields: Any) -> Failed:
        script = {"replies": [{"text": "Hello big world", "fault": fault}]}
        request = LLMRequest(
            model="scripted/inline",
            messages=(Message.user("Hi"),),
            provider_options={"scripted": {"script": script}},
            **fields,
        )
        last = outcome(await self.events(provider, request))
        assert isinstance(last, Failed), last
        assert last.error.provider == "scripted"
        return last

    @pytest.mark.parametrize("fault", list(BROKEN))
    async def test_a_broken_stream_keeps_what_had_arrived(self, provider: Provider, fault: str) -> None:
        """Each way in which a real stream breaks has a script, and fails alike."""
        kind = "stall" if fault == "stall" else BROKEN[fault].value
        last = await self.failed(provider, {"kind": kind, "after_chunks": 1}, idle_timeout=0.01)
        assert (last.error.kind, last.error.phase) == (BROKEN[fault], ErrorPhase.MID_STREAM)
        assert last.error.retryable
        assert last.partial is not None
        assert last.partial.text.strip() == "Hello"

    @pytest.mark.parametrize(("status", "kind", "scope", "retryable"), STATUSES)
    async def test_an_error_status(
        self, provider: Provider, status: int, kind: ErrorKind, scope: ErrorScope, retryable: bool
    ) -> None:
        """A refused call says what a real one does, the wait that the script names included."""
        fault = {"kind": kind.value, "status": status, "message": f"fault {status}", "retry_after": 7}
        last = await self.failed(provider, fault)
        error = last.error
        assert (error.kind, error.scope, error.retryable, error.status) == (kind, scope, retryable, status)
        assert (error.phase, error.message, error.retry_after) == (ErrorPhase.PRE_TOKEN, f"fault {status}", 7)
        assert last.partial is None
