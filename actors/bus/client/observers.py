"""Functions that see every event that this process publishes, exactly once, and can disturb nobody."""

from __future__ import annotations

import itertools
import logging
from asyncio import CancelledError
from collections.abc import Callable

from llmgine.actors.bus.messages import Event

logger = logging.getLogger(__name__)

Observer = Callable[[Event], object]


class Observers:
    """Synchronous observers; one that raises is counted, and its first failure logged."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        # Replaced, never changed: an observer may remove itself while it is called.
        self._observers: dict[int, Observer] = {}
        self.watching = False
        self.failures = 0

    def add(self, observer: Observer) -> Callable[[], None]:
        """Returns what removes it again; removing twice does nothing."""
        number = next(self._numbers)
        self._set({**self._observers, number: observer})

        def remove() -> None:
            self._set({key: one for key, one in self._observers.items() if key != number})

        return remove

    def _set(self, observers: dict[int, Observer]) -> None:
        self._observers = observers
        self.watching = bool(observers)

    def see(self, event: Event) -> None:
        for observer in self._observers.values():
            try:
                observer(event)
            except (Exception, CancelledError):
                self.failures += 1
                if self.failures == 1:
                    logger.exception("an observer failed; further failures are only counted")
