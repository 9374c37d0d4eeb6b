"""The gateway as a driver holds it."""

from __future__ import annotations

from llmgine.actors.control import ControlClient
from llmgine.actors.gateway import GatewayError
from llmgine.actors.gateway.options import GatewayOptions

# How long the first start of the gateway is waited for, in seconds.
_PATIENCE = 60.0


class Gateway:
    """`runtime.gateway`: the dashboard and HTTP in front of the runtime, where settings want it."""

    def __init__(self, control: ControlClient, options: GatewayOptions) -> None:
        self._control = control
        self._options = options

    async def url(self) -> str | None:
        """Where it listens, once it does; None where the settings want none. `GatewayError` says why not."""
        if not self._options.enabled:
            return None
        try:
            told = await self._control.call("gateway", timeout=_PATIENCE)
        except TimeoutError:
            raise GatewayError(
                f"the gateway has not come up within {_PATIENCE:g} s; does the Ray cluster have CPUs free?"
            ) from None
        if told["port"] is None or told["failure"] is not None:
            raise GatewayError(f"the gateway has not come up: {told['failure']}")
        host = self._options.host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
        return f"http://{shown}:{told['port']}"
