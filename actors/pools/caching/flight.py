"""One call under way and those who read it: a log that each reads at its own pace. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

# What is put down for a message beside its own bytes.
_MESSAGE_BYTES: Final = 64


class Reader:
    """How far one reader of a flight has come.

    The first of them `leads`. One is `cut` once it has fallen too far behind; the one that `pays` is told the
    last message as it is.
    """

    __slots__ = ("bytes", "cut", "leads", "pays", "place")

    def __init__(self, *, leads: bool) -> None:
        self.leads = leads
        self.place = 0
        self.bytes = 0
        self.cut = False
        self.pays = False


class Flight:
    """The messages of one call, from the first on, for each of its readers once.

    Who makes the call goes on while `may_go_on`: the fastest reader sets the pace, and one that falls more
    than `max_bytes` behind is cut off. Nobody joins once more than `max_bytes` have been said; of what all
    have read nothing is then held.
    """

    def __init__(self, window: int, max_bytes: int) -> None:
        self._window = min(window, max_bytes)  # so that the fastest reader is never cut off
        self._max_bytes = max_bytes
        self._log: deque[tuple[Any, int]] = deque()
        self._dropped = 0  # messages before the log's first
        self._bytes = 0
        self._readers: list[Reader] = []
        self._shared_last: Any = None
        self._joined = False
        self.ended = False

    @property
    def readers(self) -> int:
        return len(self._readers)

    @property
    def said(self) -> int:
        """How many messages there were."""
        return self._dropped + len(self._log)

    @property
    def is_whole(self) -> bool:
        """Whether everything that was said is still here."""
        return self._bytes <= self._max_bytes

    @property
    def messages(self) -> list[Any]:
        """What is here, in its order."""
        return [message for message, _ in self._log]

    @property
    def may_go_on(self) -> bool:
        return any(self._bytes - reader.bytes < self._window for reader in self._readers)

    def join(self) -> Reader | None:
        """A reader from the beginning on; None where it is too late.

        Once all readers have left it is: whoever makes the call gives it up.
        """
        if not self.is_whole or (self._joined and not self._readers):
            return None
        reader = Reader(leads=not self._joined)
        self._joined = True
        self._readers.append(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """The reader wants no more."""
        if reader in self._readers:
            self._readers.remove(reader)
            self._forget()

    def add(self, message: Any, size: int) -> None:
        """The next message, of about so many bytes."""
        for reader in self._readers:
            reader.cut = self._bytes - reader.bytes > self._max_bytes
        self._log.append((message, _MESSAGE_BYTES + size))
        self._bytes += _MESSAGE_BYTES + size
        self._readers = [reader for reader in self._readers if not reader.cut]
        self._forget()

    def end(self, last: Any, shared: Any, size: int) -> None:
        """The last message, told to the first who still reads as it is, and to all others as `shared`."""
        self.add(last, size)
        self._shared_last = shared
        for payer in self._readers[:1]:
            payer.pays = True
        self.ended = True

    def stop(self) -> None:
        """Nothing follows."""
        self.ended = True

    def take(self, reader: Reader) -> Any:
        """The reader's next message; None where there is none for now, and none ever for one cut off."""
        if reader.cut or reader.place - self._dropped >= len(self._log):
            return None
        message, size = self._log[reader.place - self._dropped]
        reader.place += 1
        reader.bytes += size
        is_last = self._shared_last is not None and reader.bytes == self._bytes
        if is_last and not reader.pays:
            message = self._shared_last
        self._forget()
        return message

    def _forget(self) -> None:
        """What all have read of a log that nobody can join any more."""
        if self.is_whole:
            return
        read = min((reader.place for reader in self._readers), default=self._dropped + len(self._log))
        while self._dropped < read:
            self._log.popleft()
            self._dropped += 1
