"""A client's question to the router, answered now or later, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmgine.actors.bus import wire

if TYPE_CHECKING:
    from llmgine.actors.bus.router.records import ClientState
    from llmgine.actors.bus.router.state import RouterState


class Question:
    """One ASK; a client whose link breaks before the answer asks again, so nobody misses it."""

    __slots__ = ("_answered", "_client", "_number", "_state", "body", "verb")

    def __init__(self, state: RouterState, client: ClientState, number: int, verb: str, body: Any) -> None:
        self._state = state
        self._client = client
        self._number = number
        self._answered = False
        self.verb = verb
        self.body = body

    def answer(self, body: Any) -> None:
        self._tell(True, body)

    def refuse(self, kind: str, text: str) -> None:
        """`text` names what mends it."""
        self._tell(False, [kind, text])

    def _tell(self, answered: bool, body: Any) -> None:
        if self._answered or not self._client.connected:
            return
        self._answered = True
        self._client.notices.append([wire.ANSWER, self._number, answered, body])
        self._state.touch(self._client)
