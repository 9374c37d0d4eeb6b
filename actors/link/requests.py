"""One question, one answer."""

from __future__ import annotations

import asyncio
from typing import Any

from llmgine.actors.link.errors import EndOfStream, LinkError, RequestTimeout
from llmgine.actors.link.interfaces import Connection


async def request(connection: Connection, kind: str, header: Any = None, *, timeout: float) -> Any:
    """The first message that the handler of `kind` sends for `header`; the stream is over afterwards."""
    stream = connection.open(kind, header)
    try:
        stream.finish()
        async with asyncio.timeout(timeout):
            return await stream.receive()
    except TimeoutError as error:
        raise RequestTimeout(
            f"{connection.peer.name!r} did not answer {kind!r} within {timeout:g} s"
        ) from error
    except EndOfStream as error:
        raise LinkError(f"{connection.peer.name!r} ended {kind!r} without an answer") from error
    finally:
        stream.reset("done")
