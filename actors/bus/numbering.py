"""Numbers on the messages of one stream, so that what is missing, doubled or out of place shows. Pure."""

from __future__ import annotations

from typing import Any

from llmgine.actors.bus.errors import ProtocolViolation


class Numbering:
    """One side of a stream: numbers what it sends from 1, and checks what it receives."""

    __slots__ = ("_received", "_sent")

    def __init__(self) -> None:
        self._sent = 0
        self._received = 0

    def number(self, message: list[Any]) -> list[Any]:
        """The message with its number in front; it is the same list."""
        self._sent += 1
        message.insert(0, self._sent)
        return message

    def take(self, message: Any) -> list[Any] | None:
        """The message without its number; None where it has come before.

        Raises ProtocolViolation where one before it is missing: nobody may act on what follows.
        """
        try:
            number: int = message[0]
            if number == self._received + 1:
                self._received = number
                del message[0]
                return message  # type: ignore[no-any-return]  # a list, or `del` would have failed
            doubled = number <= self._received
        except (TypeError, IndexError, KeyError) as error:
            raise ProtocolViolation(f"not a numbered message: {message!r:.200}") from error
        if doubled:
            return None
        raise ProtocolViolation(f"message {number} came where {self._received + 1} was due")
