"""The local model, a real one: what it says is its own affair, how it says it is ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import pytest

from llmgine.providers.contracts import LLMRequest, Message
from llmgine.providers.local.provider import _Key, _load, _unload
from llmgine.providers.local.weights import find_weights
from llmgine.providers.options import LocalOptions, ProvidersOptions
from llmgine.providers.provider import Provider
from llmgine.providers.registry import open_provider
from tests.providers.conformance.suite import ProviderConformance


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
