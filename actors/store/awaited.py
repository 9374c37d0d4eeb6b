"""What is read from a store that may be away when it is asked first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from llmgine.providers.errors import LlmgineError

T = TypeVar("T")

# Seconds to leave a store alone that could not be read.
PAUSE = 0.5

logger = logging.getLogger(__name__)


async def read_once_there(
    what: str,
    read: Callable[[], Awaitable[T]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """What `read` gives, however long the store is away; why it is not read yet is logged once a reason."""
    told: set[str] = set()
    while True:
        try:
            return await read()
        except LlmgineError as error:
            if str(error) not in told:
                told.add(str(error))
                logger.warning("%s cannot be read yet: %s", what, error)
            await sleep(PAUSE)
