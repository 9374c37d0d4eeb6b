"""One verb of a batch: a stream to an actor that has taken it, which is not tried again here."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from llmgine.actors.link import LinkError, Stream
from llmgine.actors.pools.client.door import Asked, Declined, admitted
from llmgine.actors.pools.client.failures import lost, unreadable
from llmgine.actors.pools.client.shared import Shared
from llmgine.providers import ErrorPhase
from llmgine.providers.names import ModelName


@asynccontextmanager
async def opened(
    shared: Shared, model: ModelName, kind: str, header: list[Any]
) -> AsyncGenerator[Stream, None]:
    """A stream that an actor of the pool has accepted; what breaks it is raised as `ProviderError`."""
    tried = await admitted(shared, Asked(kind, header, model))
    if isinstance(tried, Declined):
        raise tried.error
    actor_failed, whole = False, False
    try:
        yield tried.stream
        whole = True
    except LinkError as error:
        actor_failed = True
        raise lost(tried.actor, model, ErrorPhase.PRE_TOKEN, error) from None
    except ValueError as error:
        raise unreadable(tried.actor, model, ErrorPhase.PRE_TOKEN, error) from None
    finally:
        tried.end(actor_failed=actor_failed, whole=whole)
