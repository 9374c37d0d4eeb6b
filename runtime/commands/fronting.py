"""The gateway of a runtime that `llmgine up` starts: there unless the settings say that it shall not be."""

from __future__ import annotations

from llmgine.actors.gateway import GatewayError
from llmgine.runtime.runtime import Runtime
from llmgine.runtime.settings import Settings


def with_gateway(settings: Settings) -> Settings:
    """The same with a gateway, where they say nothing of it."""
    if "enabled" in settings.gateway.model_fields_set:
        return settings
    return settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"enabled": True})})


async def gateway_of(runtime: Runtime) -> dict[str, str]:
    """Where it listens as `gateway`, or as `trouble` why it does not; the runtime runs all the same."""
    try:
        url = await runtime.gateway.url()
    except GatewayError as error:
        return {"trouble": str(error)}
    return {} if url is None else {"gateway": url}
