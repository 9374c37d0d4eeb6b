"""What is said to a turn while it runs."""

from __future__ import annotations

from collections.abc import Mapping

from llmgine.providers.contracts import Message


class Steering:
    """Messages that the turn's next model call is to read, each once, in the order of their coming.

    `said` are those of before, by their ids; None where the turn has read it.
    """

    def __init__(self, said: Mapping[str, Message | None] | None = None) -> None:
        self._said: dict[str, Message | None] = dict(said or {})
        self._ended = False

    @property
    def waiting(self) -> tuple[tuple[str, Message], ...]:
        """What has not been read, with its ids."""
        return tuple((id_, message) for id_, message in self._said.items() if message is not None)

    def knows(self, id_: str) -> bool:
        """Whether a message of this id was taken before."""
        return id_ in self._said

    def take(self, id_: str, message: Message) -> bool:
        """Keeps a message for the turn; False where the turn takes no more, and never reads it."""
        if self._ended:
            return False
        self._said.setdefault(id_, message)
        return True

    def read(self, id_: str) -> None:
        """The turn has read it."""
        self._said[id_] = None

    def end(self) -> bool:
        """The turn takes no more; False where something waits, which it is to read first."""
        if self.waiting:
            return False
        self._ended = True
        return True

    def close(self) -> None:
        """The turn takes no more, whatever waits."""
        self._ended = True
