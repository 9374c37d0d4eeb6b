"""How anything is asked of a session over its link: one stream, accepted or refused, then answered."""

from __future__ import annotations

from typing import Any, Protocol

from llmgine.actors.link import Connection, LinkBroken, LinkError, Stream, StreamReset
from llmgine.actors.sessions.errors import SessionError, SessionLost, error_from_wire

# The first message of each answer is this with a body, or REFUSED with an error as wire.
ACCEPTED, REFUSED = "accepted", "refused"

# Breaks in a row without a single new message before the session counts as lost.
FRUITLESS = 5


class Link(Protocol):
    """Where connections to the session's actor come from: a `Peer`."""

    async def connection(self) -> Connection: ...


async def open_stream(link: Link, kind: str, header: dict[str, Any]) -> Stream:
    """A stream to the session's actor on which this side says no more; SessionLost where none is reached."""
    try:
        connection = await link.connection()
    except LinkError as error:
        raise lost(header["session"], error) from error
    stream = connection.open(kind, header)
    stream.finish()
    return stream


async def accepted(stream: Stream) -> None:
    """Reads the first message of an answer; raises what the session refused with."""
    verdict, body = await stream.receive()
    if verdict != ACCEPTED:
        raise error_from_wire(body)


async def ask_link(link: Link, kind: str, header: dict[str, Any]) -> list[Any]:
    """All messages of a short answer; asked again where the link broke before it was whole."""
    for attempt in range(FRUITLESS):
        stream = await open_stream(link, kind, header)
        try:
            await accepted(stream)
            return [message async for message in stream]
        except LinkBroken as error:
            if attempt == FRUITLESS - 1:
                raise lost(header["session"], error) from error
        except StreamReset as error:
            raise SessionError(f"session {header['session']!r} gave up on {kind}: {error}") from error
        finally:
            stream.reset("left", "the reader has gone")
    raise AssertionError("the last attempt returns or raises")


def lost(session_id: str, error: Exception) -> SessionLost:
    """The error that says what went with the session's process."""
    return SessionLost(
        f"the process of session {session_id!r} is gone or cannot be reached ({error}); its conversation "
        "and its turns were kept in that process only"
    )
