"""A telemetry host on a memory link, and sources that ship to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from llmgine.actors.link import Address, Endpoint, Identity, MemoryTransport, Peer
from llmgine.actors.telemetry import TelemetryClient, TelemetryHost, TelemetryShipper
from llmgine.actors.telemetry.observing import Observation
from llmgine.telemetry import SpanRecorder, TelemetryOptions, open_recorder
from llmgine.telemetry.exporters import Exporter

OPTIONS = TelemetryOptions(flush_seconds=0.01, death_grace=0)


class Net:
    """One telemetry host at a time and any number of sources."""

    def __init__(self) -> None:
        self.transport = MemoryTransport()
        self.endpoint: Endpoint | None = None
        self.host = TelemetryHost(OPTIONS)
        self.peers: list[Peer] = []
        self.shippers: list[TelemetryShipper] = []

    async def open(
        self,
        exporters: Sequence[Exporter] = (),
        options: TelemetryOptions = OPTIONS,
        observers: Sequence[Observation] = (),
    ) -> TelemetryHost:
        """A telemetry actor begins a life, with nothing in its memory."""
        self.host = TelemetryHost(options, exporters, observers=observers)
        self.host.open()
        self.endpoint = await self.transport.listen(Identity("telemetry", "telemetry"), self.host.handlers())
        return self.host

    async def kill(self) -> None:
        """The telemetry actor is gone."""
        assert self.endpoint is not None
        await self.endpoint.close()
        self.endpoint = None
        await self.host.close(5)

    def source(self, name: str, options: TelemetryOptions = OPTIONS) -> tuple[SpanRecorder, TelemetryShipper]:
        recorder = open_recorder(name, options)
        shipper = TelemetryShipper(recorder, self.peer(name), options)
        shipper.start()
        self.shippers.append(shipper)
        return recorder, shipper

    def peer(self, name: str) -> Peer:
        async def resolve() -> Address:
            if self.endpoint is None:
                raise ConnectionError("telemetry is not there")
            return self.endpoint.address

        peer = Peer("telemetry", resolve, self.transport, Identity(name, "test"), give_up=0.05)
        self.peers.append(peer)
        return peer

    def client(self) -> TelemetryClient:
        return TelemetryClient(self.peer("driver"), timeout=20)

    async def close(self) -> None:
        for shipper in self.shippers:
            await shipper.close(timeout=0)
        for peer in self.peers:
            peer.close()
        if self.endpoint is not None:
            await self.kill()


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    net = Net()
    yield net
    await net.close()


@pytest.fixture
def until() -> Callable[..., object]:
    """Waits until something holds; the one place of these tests that polls."""

    async def wait(condition: Callable[[], object], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - conditions of many objects; none has an event
                await asyncio.sleep(0.002)

    return wait
