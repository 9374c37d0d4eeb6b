"""A session whose processes come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.actors.sessions.stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        stage = Stage(stack)
        await stage.start()
        stack.push_async_callback(stage.stop_store)
        yield stage
