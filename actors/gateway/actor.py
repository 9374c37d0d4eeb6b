"""The gateway as an actor: listens at once, and is ready when it has found its way into the runtime."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

from llmgine.actors.control import Boot
from llmgine.actors.gateway.app import app
from llmgine.actors.gateway.cargo import GatewayCargo
from llmgine.actors.gateway.guard import Guard
from llmgine.actors.gateway.options import GatewayOptions
from llmgine.actors.gateway.port import GatewayPort
from llmgine.actors.gateway.server import HttpServer
from llmgine.actors.gateway.tally import Tally
from llmgine.actors.telemetry import ObservedActor
from llmgine.telemetry.names import METRIC_GATEWAY_REFUSED

logger = logging.getLogger(__name__)

# Between two tries to come into the runtime, in seconds.
_PAUSE = 1.0


class GatewayActor(ObservedActor):
    """Holds the HTTP server on its own loop. After a crash it listens on the port that it had."""

    kind: ClassVar[str] = "gateway"

    def __init__(self, boot: Boot) -> None:
        super().__init__(boot)
        self._gateway = GatewayOptions.model_validate(self.settings["gateway"])
        self._cargo: GatewayCargo = boot.cargo
        self._app: Guard | None = None
        self._server: HttpServer | None = None
        self._listens = 0
        self._port: GatewayPort | None = None
        self._came_in = asyncio.Event()
        self._leaving = asyncio.Event()
        self._joining: asyncio.Task[None] | None = None

    def report(self) -> dict[str, Any]:
        return {"port": self._listens}

    async def opened(self) -> None:
        await super().opened()
        tally = Tally(lambda reason: self.recorder.count(METRIC_GATEWAY_REFUSED, reason=reason))
        self._app = app(lambda: self._port, self._gateway, recorder=self.recorder, tally=tally)
        self._server = HttpServer(self._app, self._gateway, tally)
        self._listens = await self._server.start(await self.control.call("gateway_port"))
        self._joining = asyncio.create_task(self._join(), name="gateway joins its runtime")

    async def ready(self) -> None:
        """Returns once it has come into its runtime, so that `/ready` says so."""
        await self.address()
        await self._came_in.wait()

    async def _join(self) -> None:
        while not self._leaving.is_set():
            try:
                opens = await asyncio.to_thread(self._cargo.load)
                async with opens(self.boot) as port:
                    self._port = port
                    self._came_in.set()
                    await self._leaving.wait()
            except Exception as error:
                logger.warning("the gateway has not come into its runtime: %s", error)
                await asyncio.sleep(_PAUSE)
            finally:
                self._port = None
                self._came_in.clear()

    async def drain(self, grace: float) -> None:
        """Takes nothing new; answers that are under way end first."""
        if self._server is not None and self._app is not None:
            self._app.end_watches()
            await self._server.stop(grace)
        self._leaving.set()
        if self._joining is not None:
            await asyncio.wait({self._joining}, timeout=grace)

    async def abandon(self) -> None:
        await super().abandon()
        if self._server is not None:
            await self._server.stop(0.0)
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)
