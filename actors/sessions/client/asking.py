"""How anything is asked of a session over its link: one stream, accepted or refused, then answered.

A session may sleep and wake elsewhere, and its process may die. Whoever asks looks it up again and asks
again until its patience is over; nothing that is asked here takes effect twice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from llmgine.actors.control.errors import ActorAway, ActorGone
from llmgine.actors.link import Connection, LinkError, NotSendable, Stream, StreamReset
from llmgine.actors.sessions.errors import SessionError, SessionLost, SessionMoved, error_from_wire
from llmgine.providers.errors import LlmgineError

# The first message of each answer is this with a body, or REFUSED with an error as wire.
ACCEPTED, REFUSED = "accepted", "refused"
# The code with which a session that leaves its process gives up the streams of its readers.
MOVED = "moved"
# What a link says where the process ends under its handlers.
_CUT_SHORT: Final = "cancelled"

# Seconds that a session is looked for before it counts as lost.
PATIENCE: Final = 60.0
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
# Seconds after which a stream that breaks had been a sound one.
_SOUND: Final = 5.0


class Place(Protocol):
    """Where connections to one actor come from: a `Peer`."""

    async def connection(self) -> Connection: ...


class Link:
    """Where a session is reached now; `locate` finds it by its id, and wakes it where it sleeps.

    `ended` tells the last event of a turn whose session cannot be found any more, None where it is unknown.
    """

    def __init__(
        self,
        locate: Callable[[], Awaitable[Place]],
        at: Place | None = None,
        *,
        ended: Callable[[str], Awaitable[list[Any] | None]] | None = None,
    ) -> None:
        self.ended = ended
        self._locate = locate
        self._at = at
        self._locating = asyncio.Lock()

    async def connection(self) -> Connection:
        """A connection to where the session is, or was when it was last looked up."""
        return await (await self._place()).connection()

    async def find(self) -> None:
        """Looks the session up, unless it is known where it was when it was last looked up."""
        await self._place()

    async def _place(self) -> Place:
        place = self._at
        if place is None:
            async with self._locating:
                place = self._at or await self._locate()
                self._at = place
        return place

    def look_again(self) -> None:
        """The session is not where it was; the next connection is to where it is by then."""
        self._at = None


class Patience:
    """How long one asks for a session that does not answer: `seconds` without any sound answer."""

    def __init__(self, session_id: str, link: Link, seconds: float) -> None:
        self._session_id = session_id
        self._link = link
        self._seconds = seconds
        self._since: float | None = None
        self._answered: float | None = None
        self._pause = _FIRST_PAUSE
        self._looked = False

    def answered(self) -> None:
        """The session has taken the question."""
        self._answered = asyncio.get_running_loop().time()

    def told(self) -> None:
        """Something new came."""
        self._since = None
        self._pause = _FIRST_PAUSE
        self._looked = False

    async def after(self, error: Exception) -> None:
        """Returns when it is time to ask again; SessionLost once the patience is over."""
        now = asyncio.get_running_loop().time()
        if self._answered is not None and now - self._answered >= _SOUND:
            self.told()
        self._answered = None
        if self._since is None:
            self._since = now
        if now - self._since >= self._seconds:
            raise lost(self._session_id, self._seconds, error) from error
        self._link.look_again()
        if has_moved(error) and not self._looked:
            # It sleeps, most likely, and looking it up wakes it.
            self._looked = True
            return
        await asyncio.sleep(self._pause * random.random())
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


def has_moved(error: Exception) -> bool:
    """Whether the process where the session was said that it is not there any more."""
    return isinstance(error, SessionMoved) or (isinstance(error, StreamReset) and error.code == MOVED)


def is_passing(error: Exception) -> bool:
    """Whether the session may answer when it is looked up and asked again."""
    if isinstance(error, StreamReset):
        return error.code in (MOVED, _CUT_SHORT)
    if isinstance(error, NotSendable):
        return False
    return isinstance(error, LinkError | SessionMoved | ActorAway | ActorGone)


async def open_stream(link: Link, kind: str, header: dict[str, Any]) -> Stream:
    """A stream to the session's actor on which this side says no more."""
    connection = await link.connection()
    stream = connection.open(kind, header)
    stream.finish()
    return stream


async def accepted(stream: Stream) -> Any:
    """What the first message of an answer says; raises what the session refused with."""
    verdict, body = await stream.receive()
    if verdict != ACCEPTED:
        raise error_from_wire(body)
    return body


async def ask_link(link: Link, kind: str, header: dict[str, Any], patience: float) -> list[Any]:
    """All messages of a short answer; asked again where it did not come whole."""
    waiting = Patience(header["session"], link, patience)
    while True:
        stream: Stream | None = None
        try:
            stream = await open_stream(link, kind, header)
            await accepted(stream)
            return [message async for message in stream]
        except LlmgineError as error:
            if not is_passing(error):
                raise broken_off(header["session"], kind, error) from None
            await waiting.after(error)
        finally:
            if stream is not None:
                stream.reset("left", "the reader has gone")


def broken_off(session_id: str, asked: str, error: LlmgineError) -> LlmgineError:
    """The error to raise where asking again would not help."""
    if isinstance(error, StreamReset):
        return SessionError(f"session {session_id!r} gave up on {asked}: {error}")
    return error


def lost(session_id: str, seconds: float, error: Exception) -> SessionLost:
    """The error for a session that could not be found in time."""
    return SessionLost(
        f"session {session_id!r} could not be reached for {seconds:g} s ({error}); what it had taken on is "
        "in the store and goes on where it wakes"
    )
