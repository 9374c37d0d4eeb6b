"""What the tests of all actors share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest


async def settled(condition: Callable[[], Any]) -> None:
    """Lets the loop turn until the condition holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - conditions of any kind
            await asyncio.sleep(0)


@pytest.fixture
def until() -> Callable[..., Any]:
    return settled
