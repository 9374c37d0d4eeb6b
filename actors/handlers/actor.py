"""A replica of a deployment: constructs the user's class and serves its marked methods on the bus."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any, ClassVar

from llmgine.actors.bus import BusClient, BusOptions, Mark, Subscription, marks_of
from llmgine.actors.control import Boot, names
from llmgine.actors.handlers.bus import HandlerBus
from llmgine.actors.handlers.deployment import Cargo, DeployedCode, DeploymentRefused
from llmgine.actors.telemetry import ObservedActor
from llmgine.telemetry import TelemetryOptions

logger = logging.getLogger(__name__)


class HandlerActor(ObservedActor):
    """One of several actors that share the sessions of a deployment's subscriptions.

    It comes up only once its class is constructed, its `start` (if there is one) has returned and every
    marked method is registered. After a crash Ray brings it back with the same code; its class begins anew.
    """

    kind: ClassVar[str] = "handler"

    def __init__(self, boot: Boot) -> None:
        super().__init__(boot)
        self._cargo: Cargo = boot.cargo
        self._bus: BusClient | None = None
        self._instance: Any = None
        self._subscriptions: list[Subscription] = []

    def report(self) -> dict[str, Any]:
        cargo = self._cargo
        return {"deployment": cargo.deployment, "version": cargo.version, "num_cpus": cargo.num_cpus}

    async def opened(self) -> None:
        await super().opened()
        await self._let_down()  # what an attempt to open that failed has left
        code = await asyncio.to_thread(DeployedCode.load, self._cargo.code)
        options = BusOptions.model_validate(self.settings["bus"])
        self._bus = BusClient(
            self.name,
            self.identity.epoch,
            [self.peer(name) for name in names.routers(options.shards)],
            self.control,
            options=options,
            member_of=self._cargo.deployment,
            recorder=self.recorder,
            sample=TelemetryOptions.model_validate(self.settings["telemetry"]).sample_loose,
        )
        await self._bus.start()
        await self._construct(code, self._bus)
        for mark in marks_of(code.handler_class):
            self._subscriptions.append(await self._register(self._bus, mark))

    async def _construct(self, code: DeployedCode, bus: BusClient) -> None:
        try:
            self._instance = code.handler_class(**code.arguments)
            await self._tell("start", HandlerBus(bus))
        except Exception as error:
            # The user's own error class may be known to nobody else.
            what = "started" if self._instance is not None else "constructed"
            raise DeploymentRefused(
                f"{code.handler_class.__qualname__} could not be {what}: {type(error).__name__}: {error}"
            ) from None

    async def _register(self, bus: BusClient, mark: Mark) -> Subscription:
        method = getattr(self._instance, mark.method)
        options = {"name": f"{self._cargo.deployment}.{mark.method}", **mark.options}
        if mark.is_command:
            return await bus.register_command_handler(mark.message_class, method, **options)  # type: ignore[arg-type]  # the mark says so
        return await bus.register_event_handler(mark.message_class, method, **options)  # type: ignore[type-var]  # the mark says so

    async def cargo(self) -> Cargo:
        """What it was born with, for a restarted supervisor that starts more of its kind."""
        return self._cargo

    async def subscriptions(self) -> list[int]:
        """The numbers of the subscriptions that it serves."""
        return [subscription.number for subscription in self._subscriptions]

    async def drain(self, grace: float) -> None:
        """Takes nothing new, and lets the handlers that run end, and what they have published be taken."""
        until = asyncio.get_running_loop().time() + grace
        if self._bus is not None:
            left = await self._bus.retire(grace)
            if left:
                logger.warning("%s: %d handlers still ran after %g s", self.name, left, grace)
        limit = BusOptions.model_validate(self.settings["bus"]).drain_timeout
        await self._let_down(min(limit, max(0.0, until - asyncio.get_running_loop().time())))

    async def abandon(self) -> None:
        await super().abandon()
        if self._bus is not None:
            await self._bus.close(0.0)

    async def _let_down(self, timeout: float = 0.0) -> None:
        bus, self._bus = self._bus, None
        self._subscriptions.clear()
        if bus is not None:
            await bus.close(timeout)
        if self._instance is not None:
            try:
                await self._tell("stop")
            except Exception:
                logger.exception("%s: stop() of %s failed", self.name, type(self._instance).__qualname__)
            self._instance = None

    async def _tell(self, verb: str, *given: Any) -> None:
        """Calls the user's `start` or `stop` where the class has it, with what is given if it takes that."""
        method = getattr(self._instance, verb, None)
        if callable(method):
            result = method(*given) if inspect.signature(method).parameters else method()
            if inspect.isawaitable(result):
                await result
