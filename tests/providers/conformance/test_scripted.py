"""The scripted double keeps the promises of the real ones, so that tests with it mean something."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from llmgine.providers.options import ProvidersOptions
from llmgine.providers.provider import Provider
from llmgine.providers.registry import open_provider
from tests.providers.conformance.suite import ProviderConformance

SCRIPTS: dict[str, Any] = {
    "ok": {"replies": [{"text": "Hello big world"}]},
    "parallel": {"replies": [{"tool_calls": [{"name": "add"}, {"name": "get_weather"}]}]},
    "structured": {"replies": [{}]},
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
