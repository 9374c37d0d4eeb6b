"""A turn that ends with the command that began it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from llmgine.providers import LlmgineError

if TYPE_CHECKING:
    from llmgine.actors.sessions import TurnClient
    from llmgine.runtime import Session

_PATIENCE = 2.0


@asynccontextmanager
async def submitted(session: Session, prompt: str, model: str | None = None) -> AsyncIterator[TurnClient]:
    """The turn that asks `prompt`. Ctrl-C and errors in the block cancel it, so that no stop waits for it."""
    turn = await session.submit(prompt, model=model)
    try:
        yield turn
    except BaseException:
        with suppress(LlmgineError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await turn.cancel()
        raise
