"""What was remarkable of late, per handler and per session: why a message was not handled as one thought.

What goes well is not in it. Both the length of a story and the number of stories are bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

What = Literal[
    "attempt failed",
    "retry",
    "breaker opened",
    "breaker half-open",
    "breaker closed",
    "dropped",
    "coalesced",
    "refused",
    "filtered",
    "dead letter",
    "discarded",
    "taken over",
    "no handler",
    # Of where a message is now.
    "is handed out",
    "is queued",
    "is held back",
]

Line = tuple[float, What, str, str, str, str]
"""When (seconds since 1970), what, the handler's name, the session, the message's id, and more in words."""


class Stories:
    """The latest lines by handler and by session; what nothing was noted of for longest goes first."""

    def __init__(self, length: int, limit: int, wall: Callable[[], int]) -> None:
        self._length = length
        self._limit = limit
        self._wall = wall
        self._stories: dict[tuple[str, str], deque[Line]] = {}
        # Rows of messages that nobody handles: producer, session, first and last number, and the class.
        self._unheard: deque[tuple[float, str, str, int, int, str]] = deque(maxlen=limit)

    def __len__(self) -> int:
        return len(self._stories)

    def note(
        self, what: What, *, handler: str = "", session: str = "", message: str = "", text: str = ""
    ) -> None:
        if not (self._length and self._limit):
            return
        line: Line = (self._wall() / 1e9, what, handler, session, message, text[:500])
        if handler:
            self._append(("handler", handler), line)
        if session:
            self._append(("session", session), line)

    def _append(self, key: tuple[str, str], line: Line) -> None:
        stories = self._stories
        story = stories.pop(key, None)
        if story is None:
            story = deque(maxlen=self._length)
            if len(stories) >= self._limit:
                del stories[next(iter(stories))]
        stories[key] = story
        story.append(line)

    def of_handler(self, name: str) -> list[Line]:
        return list(self._stories.get(("handler", name), ()))

    def of_session(self, session: str) -> list[Line]:
        return list(self._stories.get(("session", session), ()))

    def unheard(self, producer: str, session: str, first: int, last: int, name: str) -> None:
        """Nobody handles this row of messages of the class; `producer` is name and epoch."""
        self._unheard.append((self._wall() / 1e9, producer, session, first, last, name))

    def of_message(self, id_: str, session: str) -> list[Line]:
        """What its session's story has of one message, and whether nobody handled it."""
        told = [line for line in self.of_session(session) if line[4] == id_]
        producer, _, number = id_.partition(f":{session}:")
        if not number.isdigit():
            return told
        for at, who, where, first, last, name in self._unheard:
            if who == producer and where == session and first <= int(number) <= last:
                text = f"nobody handles {name}, neither in session {session!r} nor in the bus scope"
                told.append((at, "no handler", "", session, id_, text))
        return told

    def tell(self, question: Any) -> list[Line]:
        """The story that was asked for: of a `handler`, a `session` or an `event` by its id."""
        match question:
            case {"handler": str(name)}:
                return self.of_handler(name)
            case {"session": str(session)}:
                return self.of_session(session)
            case {"event": str(id_)} if id_.count(":") >= 3:
                return self.of_message(id_, session_of(id_))
            case {"event": id_}:
                raise ValueError(f"{id_!r} is no id of an event or command, as its receipt or a story has it")
            case _:
                raise ValueError("a story is asked for by handler, session or event (its id)")


def session_of(message: str) -> str:
    """The session in a message's id, `producer:epoch:session:sequence`; the producer may hold colons, too."""
    parts = message.split(":")
    for position in range(1, len(parts) - 2):
        if parts[position].isdigit():
            return ":".join(parts[position + 1 : -1])
    return ":".join(parts[2:-1])
