"""Credit in messages and bytes: how much may be under way on one stream. Pure.

A sender may send while both credits are above zero; the message that crosses the byte limit is
still allowed, so the bytes may go below zero by one message. The receiver gives credit back for what
its consumer has taken, and does so in portions of half the window, to save frames.
"""

from __future__ import annotations

from llmgine.actors.link.errors import MalformedFrame


class SendWindow:
    """What the peer still allows."""

    __slots__ = ("_limit_bytes", "_limit_messages", "bytes", "messages")

    def __init__(self, messages: int, bytes: int) -> None:
        self.messages = self._limit_messages = messages
        self.bytes = self._limit_bytes = bytes

    @property
    def is_open(self) -> bool:
        return self.messages > 0 and self.bytes > 0

    def take(self, size: int) -> None:
        """One message of `size` bytes is sent; only called while open."""
        self.messages -= 1
        self.bytes -= size

    def grant(self, messages: int, bytes: int) -> None:
        """The peer gave credit back; more than it ever lent is `MalformedFrame`."""
        if messages < 0 or bytes < 0:
            raise MalformedFrame("a grant of credit is negative")
        self.messages += messages
        self.bytes += bytes
        if self.messages > self._limit_messages or self.bytes > self._limit_bytes:
            raise MalformedFrame("a grant of credit exceeds what was used")


class ReceiveWindow:
    """What this side has lent to the peer, and what it owes back."""

    __slots__ = (
        "_lent_bytes",
        "_lent_messages",
        "_owed_bytes",
        "_owed_messages",
        "_portion_bytes",
        "_portion_messages",
    )

    def __init__(self, messages: int, bytes: int) -> None:
        self._lent_messages = messages
        self._lent_bytes = bytes
        self._owed_messages = 0
        self._owed_bytes = 0
        self._portion_messages = max(1, messages // 2)
        self._portion_bytes = max(1, bytes // 2)

    def arrived(self, size: int) -> None:
        """One message of `size` bytes came; one that was not allowed is `MalformedFrame`."""
        if self._lent_messages <= 0 or self._lent_bytes <= 0:
            raise MalformedFrame("a message came without credit")
        self._lent_messages -= 1
        self._lent_bytes -= size

    def passed(self, size: int) -> tuple[int, int] | None:
        """One message of `size` bytes came and is taken at once: as `arrived` and `consumed`."""
        if self._lent_messages <= 0 or self._lent_bytes <= 0:
            raise MalformedFrame("a message came without credit")
        self._lent_messages -= 1
        self._lent_bytes -= size
        self._owed_messages += 1
        self._owed_bytes += size
        if self._owed_messages < self._portion_messages and self._owed_bytes < self._portion_bytes:
            return None
        return self._grant()

    def consumed(self, size: int) -> tuple[int, int] | None:
        """The consumer took one message of `size` bytes; the grant to send, if one is due."""
        self._owed_messages += 1
        self._owed_bytes += size
        if self._owed_messages < self._portion_messages and self._owed_bytes < self._portion_bytes:
            return None
        return self._grant()

    def _grant(self) -> tuple[int, int]:
        messages, bytes_ = self._owed_messages, self._owed_bytes
        self._owed_messages = self._owed_bytes = 0
        self._lent_messages += messages
        self._lent_bytes += bytes_
        return messages, bytes_
