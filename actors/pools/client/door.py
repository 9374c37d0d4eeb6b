"""The way of one try into a pool: actors are asked one after another until one takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from llmgine.actors.link import Connection, LinkError, NotSendable, Stream, StreamReset
from llmgine.actors.pools import wire
from llmgine.actors.pools.client.failures import breaker_open, not_sendable, not_taken, unreached
from llmgine.actors.pools.client.shared import Shared
from llmgine.actors.pools.failover.plan import By
from llmgine.actors.pools.routing import Router, Visit
from llmgine.providers import LlmgineError
from llmgine.providers.names import ModelName

# Seconds that an actor is passed over after it refused: what it wishes, within these.
_SHORTEST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
# Seconds that a link may take to stand where there are other actors.
_REACHED = 2.0
# So many actors are asked for a place that is free before a call waits at one.
_LOOKS = 2
# When to come back to a pool that has not said so.
_COME_BACK = 1.0


@dataclass(slots=True)
class Asked:
    """What is asked of a pool. Calls of one `key` go to one actor; `passed` hears of each that did not take
    it, and why. `ask` is the header's last field, where it has one."""

    kind: str
    header: list[Any]
    model: ModelName
    ask: wire.Ask | None = None
    session: str = ""
    key: bytes = b""
    avoided: frozenset[str] = frozenset()
    passed: Callable[[str, str], None] | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    """Nobody took it, for the "pool" has no place for it, its actors were all "unreached", or no actor can
    do better: the "provider".
    """

    error: LlmgineError
    by: By = "pool"


class Try:
    """A call that an actor has taken; `end` once, however it ends.

    One that `is_anothers` is answered with the answer to an equal request: it says nothing of its model, nor
    of how long calls take.
    """

    __slots__ = (
        "_generation",
        "_over",
        "_shared",
        "_visit",
        "began",
        "is_anothers",
        "model",
        "router",
        "stream",
    )

    def __init__(
        self,
        shared: Shared,
        model: ModelName,
        router: Router,
        visit: Visit,
        stream: Stream,
        *,
        is_anothers: bool,
    ) -> None:
        self.model = model
        self.router = router
        self.stream = stream
        self.is_anothers = is_anothers
        self._visit = visit
        self.began = now = asyncio.get_running_loop().time()
        self._shared = shared
        self._generation = shared.breakers.begin(str(model), now)
        self._over = False

    @property
    def actor(self) -> str:
        return self._visit.actor

    def first_chunk(self, now: float) -> None:
        """The actor has begun to answer."""
        if self.is_anothers:
            return
        self._visit.first_chunk(now)
        if self._shared.options.hedge.enabled:
            self._shared.first_tokens(self.model).add(now - self.began)

    def end(
        self, *, model_failed: bool | None = None, actor_failed: bool = False, whole: bool = False
    ) -> None:
        """What it says of its model, None for nothing, and of its actor; not `whole`, it is given up."""
        if self._over:
            return
        self._over = True
        now = asyncio.get_running_loop().time()
        failed = None if self.is_anothers else model_failed
        self._shared.breakers.ended(str(self.model), self._generation, now, failed=failed)
        if actor_failed:
            self._visit.failed(now)
        self._visit.finished()
        if not whole:
            self.stream.reset("cancelled", "the caller gave up")


async def admitted(shared: Shared, asked: Asked) -> Try | Declined:
    """The call at an actor of its model's pool; each actor is asked once."""
    clock = asyncio.get_running_loop().time
    closed_for = shared.breakers.closed_for(str(asked.model), clock())
    if closed_for:
        return Declined(breaker_open(asked.model, closed_for))
    try:
        router = await shared.places.router(asked.model.provider)
    except LlmgineError as error:
        return Declined(error)
    round_ = _Round(shared, asked, router)
    while (answer := await round_.next()) is None:
        pass
    gone = isinstance(answer, Declined) and answer.by != "provider" and round_.gone
    if gone and await shared.places.is_stale(asked.model.provider):
        while (answer := await round_.next()) is None:
            pass
    return answer


class _Round:
    """One round over the actors of a pool."""

    def __init__(self, shared: Shared, asked: Asked, router: Router) -> None:
        self._shared = shared
        self._asked = asked
        self._router = router
        self._reasons: dict[str, str] = {}
        self._hints: list[float] = []
        self._busy: dict[str, int] = {}  # actors that had no place, and what they carry
        self._answered = False
        self.gone = False

    async def next(self) -> Try | Declined | None:
        """What the next actor says; None where it does not take the call."""
        now = asyncio.get_running_loop().time()
        actor = self._choice(now)
        looks_around = actor is not None and self._looks_around()
        if actor is None and self._busy:
            actor = self._least_busy()
        if actor is None:
            return self._nobody()
        visit = self._router.started(actor, now)
        stream = None
        try:
            connection = await self._connection(actor, now)
            stream = connection.open(self._asked.kind, self._header(queue=not looks_around))
            stream.flush()
            answer = self._heard(visit, stream, await stream.receive(), looked=looks_around)
        except NotSendable as error:
            visit.finished()
            return Declined(not_sendable(error), "provider")
        except LinkError as error:
            self.gone = True
            visit.failed(asyncio.get_running_loop().time())
            self._pass(actor, "connection", error.reason if isinstance(error, StreamReset) else str(error))
            answer = None
        except BaseException:
            if stream is not None:
                stream.reset("cancelled", "the caller gave up")
            visit.finished()
            raise
        if not isinstance(answer, Try):
            visit.finished()
        return answer

    def _nobody(self) -> Declined:
        model, retry_after = self._asked.model, min(self._hints, default=_COME_BACK)
        if self.gone and not self._answered:
            return Declined(unreached(model, self._reasons, retry_after), "unreached")
        return Declined(not_taken(model, self._reasons, retry_after))

    async def _connection(self, actor: str, now: float) -> Connection:
        """The link to the actor; LinkError where it does not stand soon and there are others to ask."""
        peer = self._shared.peer(actor)
        if peer.current is not None:
            return peer.current
        others = self._router.choose(now, {*self._reasons, actor}) is not None
        try:
            async with asyncio.timeout(_REACHED if others else None):
                return await peer.connection()
        except TimeoutError:
            raise LinkError(f"it was not reached within {_REACHED:g} s") from None

    def _looks_around(self) -> bool:
        """Whether the call does not wait at this actor, for another may have a place free."""
        asked, left = self._asked, self._router.size - len(self._reasons)
        return asked.ask is not None and not asked.key and left > 1 and len(self._reasons) < _LOOKS

    def _header(self, *, queue: bool) -> list[Any]:
        asked = self._asked
        if asked.ask is None:
            return asked.header
        ask = asked.ask if queue else replace(asked.ask, queue=False)
        return [*asked.header, ask.to_wire()]

    def _heard(
        self, visit: Visit, stream: Stream, message: list[Any], *, looked: bool
    ) -> Try | Declined | None:
        verdict, *rest = message
        now = asyncio.get_running_loop().time()
        if verdict == wire.ACCEPTED:
            load, *anothers = rest
            visit.accepted(load, now)
            model, router = self._asked.model, self._router
            return Try(self._shared, model, router, visit, stream, is_anothers=anothers == [True])
        if verdict == wire.FAILED:
            return Declined(wire.failure_from_wire(*rest), "provider")
        self._answered = True
        load, retry_after, reason = rest
        pause = min(max(retry_after or 0.0, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        visit.refused(load, now, now if reason == wire.BUSY else now + pause)
        if looked and reason == wire.BUSY:
            self._busy[visit.actor] = load
        elif retry_after is not None:
            self._hints.append(retry_after)
        self.gone |= reason == wire.DRAINING
        self._pass(visit.actor, "refused", f"is {reason}, it carries {load}")
        return None

    def _choice(self, now: float) -> str | None:
        """An actor that was not asked yet; one where the call has failed before is better than none."""
        asked, router = self._asked, self._router
        if not asked.avoided:
            return router.choose(now, self._reasons, session=asked.session, key=asked.key)
        found = router.choose(now, asked.avoided | self._reasons.keys(), session=asked.session)
        return found or router.choose(now, self._reasons, session=asked.session)

    def _least_busy(self) -> str | None:
        """The one at which to wait, of those that had no place free; None where all have left the pool."""
        left = {actor: load for actor, load in self._busy.items() if actor in self._router}
        self._busy.clear()
        self.gone |= not left
        return min(left, key=lambda actor: left[actor], default=None)

    def _pass(self, actor: str, outcome: str, reason: str) -> None:
        self._reasons[actor] = reason
        if self._asked.passed is not None:
            self._asked.passed(actor, outcome)
