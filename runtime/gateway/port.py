"""The runtime as its gateway asks for it: each part over what drivers use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache

from llmgine.actors.control import Boot
from llmgine.actors.gateway.port import GatewayPort
from llmgine.runtime import opening
from llmgine.runtime.driver import Driver
from llmgine.runtime.gateway.models import ModelAnswers
from llmgine.runtime.gateway.operations import OperationAnswers
from llmgine.runtime.gateway.sessions import SessionAnswers
from llmgine.runtime.gateway.traces import TraceAnswers

# Sessions whose actors are remembered; of others the supervisor is asked again.
_REMEMBERED = 4096


class RuntimePort(ModelAnswers, SessionAnswers, OperationAnswers, TraceAnswers):
    """A `GatewayPort` over one driver's place in the runtime."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._link = lru_cache(_REMEMBERED)(driver.link)


@asynccontextmanager
async def open_port(boot: Boot) -> AsyncIterator[GatewayPort]:
    """The port of the runtime that this actor belongs to, which it enters as a driver and leaves again."""
    async with opening.within(boot) as driver:
        yield RuntimePort(driver)
