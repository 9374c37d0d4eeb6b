"""Sessions that nobody serves now and for whom something waits: they are to be woken. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmgine.actors.bus.router.mailbox import Mailbox
    from llmgine.actors.bus.router.state import RouterState

# How long a session may take to come before it is asked for again; each time twice as long.
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 60.0


class Sleepers:
    """Names each such session once, and again and again while nobody comes for what waits."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self._asked: set[Mailbox] = set()
        self._due: dict[str, None] = {}

    def notice(self, mailbox: Mailbox) -> None:
        """Nobody serves it; if something waits here, its session is to be woken."""
        if mailbox.size and mailbox not in self._asked:
            self._ask(mailbox, _FIRST_PAUSE)

    def take(self) -> tuple[str, ...]:
        """The sessions to be woken now, each once."""
        if not self._due:
            return ()
        due = tuple(self._due)
        self._due.clear()
        return due

    def _ask(self, mailbox: Mailbox, pause: float) -> None:
        self._asked.add(mailbox)
        self._due[mailbox.subscription.session] = None
        self._state.timers.at(self._state.now + pause, partial(self._again, mailbox, pause))

    def _again(self, mailbox: Mailbox, pause: float) -> None:
        self._asked.discard(mailbox)
        if not mailbox.closing and not mailbox.members and mailbox.size:
            self._ask(mailbox, min(2 * pause, _LONGEST_PAUSE))
