from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from llmgine.actors.pools.serving import keyed
from tests.actors.pools.serving.stage import Stage


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    stage = Stage()
    monkeypatch.setattr(keyed, "open_provider", stage.open_provider)
    yield stage
    await stage.close()
