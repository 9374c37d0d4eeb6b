"""The keys of one provider actor: found, opened, chosen and waited for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from llmgine.actors.pools.keys import Blocked, KeyRing, KeysOptions, Take
from llmgine.actors.pools.serving.allowance import Allowance
from llmgine.actors.pools.serving.call import Call, R
from llmgine.actors.pools.serving.holder import KeyHolder, OpenKey
from llmgine.providers import Done, EmbeddingResponse, ErrorKind, Failed, InvalidRequest, ProviderError
from llmgine.providers.keys import KeyPlace
from llmgine.providers.provider import Provider

_NEVER = float("inf")


@dataclass(eq=False, slots=True)
class Taken:
    """What one try at a call goes with; it is settled once."""

    key: str
    opened: OpenKey
    take: Take
    reservation: Any

    @property
    def provider(self) -> Provider:
        return self.opened.provider


class Keychain:
    """A ring of keys with hands.

    `open_` opens a provider with a key, by its name and text, in a thread; one that was replaced is closed
    when its last call ends.
    """

    def __init__(
        self,
        places: tuple[KeyPlace, ...],
        open_: Callable[[str, SecretStr | None], Provider],
        options: KeysOptions,
        clock: Callable[[], float],
        allowance: Allowance,
    ) -> None:
        self.is_open = False
        self._clock = clock
        self._allowance = allowance
        self._ring = KeyRing((place.name for place in places), options, random.random)
        self._open_provider = open_
        self._holders = {place.name: KeyHolder(place, self._open, self._changed, clock) for place in places}
        self._opened: set[OpenKey] = set()
        self._on_ring: dict[str, OpenKey | None] = {}
        self._due = _NEVER
        self._resting: set[asyncio.Future[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def holders(self) -> tuple[KeyHolder, ...]:
        return tuple(self._holders.values())

    def place(self, key: str) -> KeyPlace:
        return self._holders[key].place

    async def open(self) -> None:
        """Looks for every key that may be found now, until there is one; none may be there afterwards."""
        now = self._clock()
        looks = {holder.look() for holder in self.holders if holder.may_look(now)}
        while looks and not self.is_open:
            _, looks = await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)

    def take(self, model: str, call: Call[R], excluded: frozenset[str]) -> Taken | None:
        """The best key for a call, where one can be had at once."""
        now = self._clock()
        if now >= self._due:
            self._tend(now)
        keys = self._ring.order(model, now, call.session, excluded)
        reservation = self._allowance.take(keys, model, call) if keys else None
        return None if reservation is None else self._taken(reservation, model)

    async def wait(
        self, model: str, call: Call[R], excluded: frozenset[str], until: float
    ) -> Taken | Blocked:
        """The best key once one can be had; why none can, at the latest at `until`, and at once where
        waiting so long is in vain. `ProviderError` says that what may be used of the keys is used up."""
        while True:
            now = self._clock()
            self._tend(now)
            keys = self._ring.order(model, now, call.session, excluded)
            if keys:
                taken = await self._allowed(keys, model, call, excluded, until)
                if taken is not None:
                    return taken
                continue
            blocked = self._ring.blocked(model, now, excluded)
            if blocked.why in ("refused", "absent"):
                if await self._found_anew(now, until):
                    continue
                return blocked
            if blocked.why != "resting" or blocked.until is None or blocked.until > until:
                return blocked
            await self._rest(blocked.until)

    async def look_for(self, key: str) -> None:
        """Waits until the key of that name is open, where it can be found."""
        holder = self._holders.get(key)
        if holder is not None and holder.opened is None and holder.may_look(self._clock()):
            await asyncio.wait([holder.look()])

    @contextmanager
    def held(self, key: str, model: str) -> Iterator[tuple[str, Provider]]:
        """A key by its name, or with "" the best for the model, open within the block. `InvalidRequest`
        says that there is none."""
        best = self._ring.order(model, self._clock()) or list(self._holders)
        name = key or best[0]
        holder = self._holders.get(name)
        if holder is None or holder.opened is None:
            known = ", ".join(self._holders)
            raise InvalidRequest(f"there is no key {name!r} now; there are: {known}")
        opened = holder.opened.enter()
        try:
            yield name, opened.provider
        finally:
            opened.leave()

    def answered(self, taken: Taken) -> None:
        """The answer has begun."""
        self._allowance.answered(taken.reservation)

    def settle(
        self, taken: Taken, end: Done | EmbeddingResponse | Failed | None, *, late: bool = False
    ) -> None:
        """The try is over, and came to that; None where it was given up. With `late` the call's own
        deadline ended it, which tells nothing of the key."""
        now, ring, take = self._clock(), self._ring, taken.take
        if isinstance(end, Failed) and not (late and end.error.kind is ErrorKind.TIMEOUT):
            ring.failed(take, end.error, now)
            if end.error.kind is ErrorKind.AUTHENTICATION:
                self._holders[taken.key].refuse(taken.opened)
                self._due = min(self._due, now)
        elif end is None or isinstance(end, Failed):
            ring.released(take)
        else:
            ring.succeeded(take, now)
        taken.opened.leave()
        self._allowance.settle(taken.reservation, end)

    async def aclose(self) -> None:
        """Looks no more, and closes every provider, whatever goes on with it."""
        for holder in self.holders:
            await holder.aclose()
        for opened in tuple(self._opened):
            self._over(opened)
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)

    def statistics(self) -> dict[str, Any]:
        """What the ring says of each key, and where the key is found."""
        figures = self._ring.statistics(self._clock())
        return {
            name: {**one, "place": str(self.place(name)), "looked": list(self._holders[name].looked)}
            for name, one in figures.items()
        }

    async def _allowed(
        self, keys: list[str], model: str, call: Call[R], excluded: frozenset[str], until: float
    ) -> Taken | None:
        """One of these keys; None where it is time to look at all of them anew."""
        others = self._ring.blocked(model, self._clock(), excluded.union(keys)).until or _NEVER
        try:
            waited = await self._allowance.wait(keys, model, call, min(others, until))
        except ProviderError:
            if others >= until:
                raise
            await self._rest(others)
            return None
        if waited.key in self._ring.order(model, self._clock(), call.session, excluded):
            return self._taken(waited, model)
        self._allowance.release(waited)
        return None

    def _taken(self, reservation: Any, model: str) -> Taken:
        key = reservation.key
        opened = self._holders[key].opened
        assert opened is not None, "the ring holds keys that are open"
        return Taken(key, opened.enter(), self._ring.take(key, model), reservation)

    def _tend(self, now: float) -> None:
        for holder in self._holders.values():
            holder.tend(now)
        self._due = min(holder.due for holder in self._holders.values())

    async def _found_anew(self, now: float, until: float) -> bool:
        """Whether a look at the places of keys that are missing, or were refused, has found another."""
        before = dict(self._on_ring)
        looks = {holder.look() for holder in self.holders if holder.may_look(now)}
        while looks and self._on_ring == before and (left := until - self._clock()) > 0:
            _, looks = await asyncio.wait(looks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        return self._on_ring != before

    async def _rest(self, until: float) -> None:
        """Until that time, or until something is new."""
        loop = asyncio.get_running_loop()
        rested = loop.create_future()
        timer = loop.call_later(until - self._clock(), _wake, rested)
        self._resting.add(rested)
        try:
            await rested
        finally:
            timer.cancel()
            self._resting.discard(rested)

    def _changed(self, holder: KeyHolder) -> None:
        opened = holder.opened
        if opened is None:
            self._ring.absent(holder.name)
        elif opened is not self._on_ring.get(holder.name):
            self._ring.renewed(holder.name)
        self._on_ring[holder.name] = opened
        self.is_open = self._ring.any_present
        self._due = min(one.due for one in self._holders.values())
        for rested in self._resting:
            _wake(rested)

    def _open(self, name: str, secret: SecretStr | None) -> OpenKey:
        opened = OpenKey(self._open_provider(name, secret), self._over)
        self._opened.add(opened)
        return opened

    def _over(self, opened: OpenKey) -> None:
        if opened in self._opened:
            self._opened.discard(opened)
            task = asyncio.get_running_loop().create_task(opened.provider.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _wake(rested: asyncio.Future[None]) -> None:
    if not rested.done():
        rested.set_result(None)
