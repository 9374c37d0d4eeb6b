"""The sessions of one actor: which there are, where a stream belongs, and who has been quiet for how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmgine.actors.link import Stream
from llmgine.actors.sessions.client.asking import REFUSED
from llmgine.actors.sessions.errors import SessionClosed, SessionError, SessionMoved, error_to_wire
from llmgine.actors.sessions.hosting.host import SessionHost
from llmgine.actors.sessions.hosting.opening import Opening

# How many sessions that ended here are remembered by the reason.
_REMEMBERED = 1000


@dataclass(slots=True)
class Slot:
    """A session that lives here; `used` is when it was last seen at work or read."""

    opening: Opening
    host: SessionHost
    used: float

    @property
    def session_id(self) -> str:
        return self.opening.session_id


class Slots:
    """Every session of this actor by its id, and the last that have ended here."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._slots: dict[str, Slot] = {}
        self._ended: dict[str, str] = {}

    def __iter__(self) -> Iterator[Slot]:
        return iter(list(self._slots.values()))

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, session_id: str) -> Slot | None:
        return self._slots.get(session_id)

    def put(self, slot: Slot) -> None:
        self._ended.pop(slot.session_id, None)
        self._slots[slot.session_id] = slot

    def remove(self, slot: Slot, ended: str | None = None) -> bool:
        """The session lives here no more: it has ended for that reason, else somewhere else.

        False where it was removed before.
        """
        if self._slots.get(slot.session_id) is not slot:
            return False
        del self._slots[slot.session_id]
        if ended is not None:
            self._ended[slot.session_id] = ended
            while len(self._ended) > _REMEMBERED:
                del self._ended[next(iter(self._ended))]
        return True

    async def serve(self, stream: Stream, now: float) -> None:
        """Hands the stream to its session, or says why there is none."""
        header = stream.header if isinstance(stream.header, dict) else {}
        session_id = header.get("session")
        slot = self._slots.get(session_id) if isinstance(session_id, str) else None
        if slot is None:
            await stream.send([REFUSED, error_to_wire(self._missing(session_id))])
            return
        slot.used = now
        await slot.host.serve(stream)

    def idle(self, now: float, seconds: float) -> list[str]:
        """Those that nobody has used for so long, and those at rest that cannot be kept here."""
        quiet = []
        for slot in self._slots.values():
            if not slot.host.idle:
                slot.used = now
            elif now - slot.used >= seconds or not slot.host.is_kept:
                quiet.append(slot.session_id)
        return quiet

    def _missing(self, session_id: object) -> SessionError:
        if isinstance(session_id, str) and session_id in self._ended:
            return SessionClosed(f"session {session_id!r} has ended ({self._ended[session_id]})")
        return SessionMoved(f"session {session_id!r} does not live in {self._name}")
