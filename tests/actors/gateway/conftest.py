"""A client of an application over a fake port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from llmgine.actors.gateway import GatewayOptions
from llmgine.actors.gateway.app import app
from tests.actors.gateway.fakes import FakePort


@pytest.fixture
def port() -> FakePort:
    return FakePort()


@pytest_asyncio.fixture
async def client(port: FakePort) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app(port, GatewayOptions()), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8700") as opened:
        yield opened
