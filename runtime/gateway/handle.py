"""The gateway as a driver holds it."""

from __future__ import annotations

from contextlib import suppress

from llmgine.actors.control import ActorAway, ActorGone, names
from llmgine.actors.gateway import GatewayError
from llmgine.runtime.driver import Driver

# How long the first start of the gateway is waited for, in seconds.
_PATIENCE = 60.0


class Gateway:
    """`runtime.gateway`: the dashboard and HTTP in front of the runtime, where settings want it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def url(self) -> str | None:
        """Where it serves, once it does; None where the settings want none. `GatewayError` says why not."""
        options = self._driver.settings.gateway
        if not options.enabled:
            return None
        try:
            told = await self._driver.control.call("gateway", timeout=_PATIENCE)
            if told["port"] is None or told["failure"] is not None:
                raise GatewayError(f"the gateway has not come up: {told['failure']}")
            # One that is being started again will listen on the same port.
            with suppress(ActorAway, ActorGone):
                await self._driver.ground.cluster.call(names.GATEWAY, "ready", timeout=_PATIENCE)
        except TimeoutError:
            raise GatewayError(
                f"the gateway has not come up within {_PATIENCE:g} s; does the Ray cluster have CPUs free?"
            ) from None
        host = options.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        return f"http://{shown}:{told['port']}"
