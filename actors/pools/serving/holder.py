"""One key of a provider actor: looked for anew when it may have changed, and the provider opened with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pydantic import SecretStr

from llmgine.providers.keys import Found, KeyPlace, KeySource, Missing
from llmgine.providers.provider import Provider

logger = logging.getLogger(__name__)

Open = Callable[[str, SecretStr | None], "OpenKey"]
Changed = Callable[["KeyHolder"], None]

# Seconds between two looks at a file, or at a place whose key is missing or was refused.
_PACE = 1.0
# A key that ends is looked for anew in the last part of its time, and so many seconds before at most.
_LAST_PART, _LONGEST_BEFORE = 0.2, 60.0
_NEVER = float("inf")


class OpenKey:
    """A provider opened with one text of one key. Retired, it is `over` when its last call ends."""

    __slots__ = ("_over", "_retired", "_users", "provider")

    def __init__(self, provider: Provider, over: Callable[[OpenKey], None]) -> None:
        self.provider = provider
        self._over = over
        self._users = 0
        self._retired = False

    def enter(self) -> OpenKey:
        self._users += 1
        return self

    def leave(self) -> None:
        self._users -= 1
        if self._retired and not self._users:
            self._over(self)

    def retire(self) -> None:
        self._retired = True
        if not self._users:
            self._over(self)


class KeyHolder:
    """Holds a key from the first look at its place on.

    `changed` is called after each look, and when the key's time is over; `opened` is what calls go with,
    None where there is no key. A look never fails: `looked` says where nothing was found, `error` why no
    provider could be opened.
    """

    def __init__(
        self,
        place: KeyPlace,
        open_: Open,
        changed: Changed,
        clock: Callable[[], float],
    ) -> None:
        self.name = place.name
        self.place = place
        self.opened: OpenKey | None = None
        self.looked: tuple[str, ...] = ()
        self.error: Exception | None = None
        self._source = KeySource(place)
        self._open, self._changed, self._clock = open_, changed, clock
        self._secret: SecretStr | None = None
        self._refused = False
        self._looking: asyncio.Task[None] | None = None
        self._is_looking = False
        self._next_look, self._expires = -_NEVER, _NEVER

    @property
    def due(self) -> float:
        """When `tend` has something to do."""
        return self._expires if self._is_looking else min(self._expires, self._next_look)

    def tend(self, now: float) -> None:
        """Gives up a key whose time is over, and looks where it is time to look."""
        if now >= self._expires:
            self._give_up()
        if now >= self._next_look:
            self.look()

    def may_look(self, now: float) -> bool:
        """Whether who needs the key shall look: functions are not asked again for each call in vain."""
        if self._is_looking or now >= self._next_look:
            return True
        return self.opened is None and (self.place.function is None or self.error is not None)

    def look(self) -> asyncio.Task[None]:
        """Looks for the key and opens what is new; one look at a time."""
        if self._looking is None or not self._is_looking:
            self._is_looking = True
            self._looking = asyncio.create_task(self._look(), name=f"look for key {self.name}")
        return self._looking

    def refuse(self, opened: OpenKey) -> None:
        """The provider did not accept the key that this was opened with: perhaps there is a new one."""
        if opened is self.opened and not self._refused:
            self._refused = True
            self._next_look = self._clock()

    async def aclose(self) -> None:
        """Looks no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look(self) -> None:
        pause = _PACE
        try:
            found = await self._source.look()
            if isinstance(found, Missing):
                if self.opened is not None and found.looked != self.looked:
                    logger.warning("key %s is no more where it was: %s", self.name, ", ".join(found.looked))
                self.looked = found.looked
            else:
                self.looked = ()
                await self._take_up(found)
                pause = self._pause(found)
            self.error = None
        except Exception as error:  # of whatever was to be opened, and for whoever waits for it
            self.error = error
            if self.opened is not None:
                logger.warning("key %s cannot be taken up: %s", self.name, type(error).__name__)
        finally:
            self._is_looking = False
        self._next_look = self._clock() + pause
        self._changed(self)

    async def _take_up(self, found: Found) -> None:
        if self.opened is None or found.secret != self._secret:
            # In a thread: loading an SDK takes a second or two, in which other links must not fall silent.
            before, self.opened = self.opened, await asyncio.to_thread(self._open, self.name, found.secret)
            self._secret, self._refused = found.secret, False
            if before is not None:
                before.retire()
        self._expires = _NEVER if found.holds_for is None else self._clock() + found.holds_for

    def _give_up(self) -> None:
        opened, self.opened = self.opened, None
        self._secret, self._expires = None, _NEVER
        if opened is not None:
            opened.retire()
            self._changed(self)

    def _pause(self, found: Found) -> float:
        """Seconds until the next look."""
        if self._refused or self.place.file is not None:
            return _PACE
        if found.holds_for is None:
            return _NEVER
        return found.holds_for - min(found.holds_for * _LAST_PART, _LONGEST_BEFORE)
