"""The local model, a real one: what it says is its own affair, how it says it is ours."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from llmgine.providers.contracts import LLMRequest, Message
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope
from llmgine.providers.events import Failed
from llmgine.providers.local.provider import _Key, _load, _unload
from llmgine.providers.local.weights import find_weights
from llmgine.providers.options import LocalOptions, ProvidersOptions
from llmgine.providers.provider import Provider
from llmgine.providers.registry import open_provider
from tests.providers.conformance.faults import BROKEN, STATUSES
from tests.providers.conformance.suite import ProviderConformance, outcome

if TYPE_CHECKING:
    from tests.providers.faults.server import FaultServer


@pytest.fixture(scope="module")
def engine(weights: None) -> Iterator[None]:
    """The model stays loaded over all tests."""
    options = LocalOptions()
    key = _Key.of(find_weights("smollm2", options), options)
    _load(key, "smollm2")
    yield
    _unload(key)


class TestLocal(ProviderConformance):
    parallel = False
    lacks: ClassVar = {"image": "images", "audio": "sound", "document": "documents"}

    @pytest.fixture
    async def provider(self, engine: None) -> AsyncIterator[Provider]:
        provider = open_provider("local", ProvidersOptions())
        yield provider
        await provider.aclose()

    def model(self, case: str) -> str:
        return "local/smollm2"

    def ask(self, case: str, *messages: Message, **fields: Any) -> LLMRequest:
        """Few words, unless they are JSON that must come to its end, or must not be over soon."""
        words = 64 if case in ("tools", "parallel", "structured", "stall") else 8
        return super().ask(case, *messages, **{"max_output_tokens": words, **fields})


class TestEngineThatFails:
    """The engine is a server like any other, and so are its faults."""

    @pytest.fixture
    async def provider(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault_server: FaultServer
    ) -> AsyncIterator[Provider]:
        module = "llmgine.providers.local.provider"
        monkeypatch.setattr(f"{module}.check_engine", lambda: None)
        monkeypatch.setattr(f"{module}.installed_models", lambda options: ["any"])
        monkeypatch.setattr(f"{module}.find_weights", lambda name, options: tmp_path / name)
        engine = types.SimpleNamespace(listening_address=fault_server.base_url)
        monkeypatch.setattr(f"{module}._start", lambda key, model: engine)
        provider = open_provider("local", ProvidersOptions())
        yield provider
        await provider.aclose()

    async def failed(self, provider: Provider, fault: str) -> Failed:
        request = LLMRequest(
            model=f"local/{fault}",
            messages=(Message.user("Hi"),),
            idle_timeout=0.3 if fault == "stall" else None,
        )
        last = outcome([event async for event in provider.stream(request)])
        assert isinstance(last, Failed)
        assert (last.error.provider, last.error.model) == ("local", fault)
        return last

    @pytest.mark.parametrize("fault", BROKEN)
    async def test_a_broken_stream_keeps_what_had_arrived(self, provider: Provider, fault: str) -> None:
        """Cut, reset, no end marker, malformed, failed inside, stalled: an error with the text so far."""
        last = await self.failed(provider, fault)
        assert (last.error.kind, last.error.phase) == (BROKEN[fault], ErrorPhase.MID_STREAM)
        assert last.error.retryable
        assert last.partial is not None
        assert last.partial.text == "Hello"

    async def test_an_empty_answer_is_none(self, provider: Provider) -> None:
        """A stream without a word is truncated, not an empty reply."""
        error = (await self.failed(provider, "empty")).error
        assert (error.kind, error.phase) == (ErrorKind.TRUNCATED, ErrorPhase.PRE_TOKEN)

    @pytest.mark.parametrize(("status", "kind", "scope", "retryable"), STATUSES)
    async def test_an_error_status(
        self, provider: Provider, status: int, kind: ErrorKind, scope: ErrorScope, retryable: bool
    ) -> None:
        """A refused call says kind, scope and the engine's own words."""
        error = (await self.failed(provider, f"status.{status}")).error
        assert (error.kind, error.scope, error.retryable, error.status) == (kind, scope, retryable, status)
        assert f"fault {status}" in error.message
