"""What one actor may use of its keys: calls take from its leases, which are renewed behind their backs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llmgine.actors.pools.quota import reasons
from llmgine.actors.pools.quota.book import LeaseBook
from llmgine.actors.pools.quota.book import Reservation as Booked
from llmgine.actors.pools.quota.estimates import Estimates, Guess, Price
from llmgine.actors.pools.quota.learning import lessons
from llmgine.actors.pools.quota.line import Waiting
from llmgine.actors.pools.quota.messages import QUOTA, Grant
from llmgine.actors.pools.quota.meters import Limit, Meter, Need, Used
from llmgine.actors.pools.quota.plan import Plan
from llmgine.actors.pools.serving.call import Call, R, now
from llmgine.providers import (
    Done,
    EmbeddingResponse,
    ErrorKind,
    ErrorPhase,
    ErrorScope,
    Failed,
    LLMRequest,
    ProviderError,
    RateLimit,
    Usage,
    UsageSource,
)
from llmgine.providers.catalogue.prices import price, price_at
from llmgine.providers.options import EndpointOptions, ProvidersOptions

logger = logging.getLogger(__name__)

_NOT_SENT = frozenset({ErrorPhase.REQUEST, ErrorPhase.CONNECT})
# An ask that has no answer after so long, in seconds, was lost, or the supervisor is away.
_PATIENCE = 2.0


@dataclass(eq=False, slots=True)
class Leased:
    """What one try at a call may use of a key; `booked` is None where nothing of the key is limited."""

    key: str
    model: str
    guess: Guess | None = None
    booked: Booked | None = None


class Leasing:
    """The leases of one life of an actor; `tell` says something to the supervisor, which owns the quotas.

    Where nothing is limited, nothing is counted and nobody is asked.
    """

    def __init__(
        self,
        actor: str,
        life: int,
        pool: str,
        providers: ProvidersOptions,
        tell: Callable[[str, Any], None],
        clock: Callable[[], float] = now,
    ) -> None:
        endpoint = providers.endpoints.get(pool, EndpointOptions(kind="scripted"))
        self._pool = pool
        self._only = not endpoint.keys
        self._plan = Plan(endpoint.limits_of_keys)
        self._estimates = Estimates(
            _price(pool, endpoint, providers) if self._plan.counts_dollars else None,
            cached_is_free=endpoint.protocol == "anthropic-messages",
        )
        self._book = LeaseBook(actor, life, self._plan, epoch=time.time() - clock())
        self._tell = tell
        self._clock = clock
        self._turns: dict[Waiting, asyncio.Future[Booked]] = {}
        self._changed = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._asked: float | None = None
        self._is_away = False

    # What calls do.

    def take(self, keys: Sequence[str], model: str, call: Call[R]) -> Leased | None:
        """What the call needs, of the first of the keys that has it; None where it must wait."""
        guess: Guess | None = None
        for key in keys:
            if not self._plan.meters(key, model):
                return Leased(key, model)
            guess = guess or self._estimates.guess(model, call.request)
            booked = self._book.take((key,), model, guess.need, self._clock())
            if booked is not None:
                self._look()
                return Leased(key, model, guess, booked)
        return None

    async def wait(self, keys: Sequence[str], model: str, call: Call[R], until: float) -> Leased:
        """As `take`, when it is the call's turn.

        Raises `ProviderError` at `until`, and at once where waiting so long, or at all, is in vain.
        """
        taken = self.take(keys, model, call)
        if taken is not None:
            return taken
        guess = self._estimates.guess(model, call.request)
        self._check(keys, model, guess.need)
        request = call.request
        batch = isinstance(request, LLMRequest) and request.priority == "batch"
        waiting = Waiting(tuple(keys), model, guess.need, self._clock(), until, batch, session=call.session)
        booked = await self._turn(waiting)
        return Leased(booked.key, model, guess, booked)

    def release(self, leased: Leased) -> None:
        """Nothing was sent."""
        if leased.booked is not None:
            self._book.release(leased.booked, self._clock())
            self._serve()

    def told(self, key: str, model: str, limits: Sequence[RateLimit]) -> None:
        """An answer has begun, and said this of the key's limits."""
        if limits:
            self._learn(key, model, limits)
            self._serve()

    def answered(self, leased: Leased) -> None:
        """The answer has begun."""
        if leased.booked is not None:
            self._book.answered(leased.booked, self._clock())
            self._serve()

    def settle(self, leased: Leased, end: Done | EmbeddingResponse | Failed | None) -> None:
        """The try is over, and came to that; None where it was given up."""
        if leased.booked is None or leased.guess is None:
            return
        now, booked, used = self._clock(), leased.booked, Used()
        if isinstance(end, Failed):
            used = self._failed(leased, leased.guess, end, now)
        elif end is not None:
            response = end.response if isinstance(end, Done) else end
            self._book.answered(booked, now)
            # What was left has changed since the answer began.
            self._learn(leased.key, leased.model, (_limit_of(one) for one in response.rate_limits))
            used = self._estimates.learn(leased.model, leased.guess, response.usage, response.cost)
        self._book.settle(booked, used, now)
        self._serve()

    # What the actor does.

    def granted(self, body: list[Any]) -> None:
        """What the owner answers."""
        self._asked, self._is_away = None, False
        self._book.granted(Grant.from_wire(body), self._clock())
        self._serve()

    def report(self) -> list[Any]:
        """What an owner that begins anew must know."""
        return self._book.report(self._clock()).to_wire()

    def statistics(self) -> dict[str, Any]:
        """Each limit that is known here, with what is leased and used of it; plain values."""
        return {**self._book.statistics(self._clock()), "away": self._is_away}

    def finish(self) -> None:
        """All calls have ended: the owner hears what came of them, and that nothing is wanted."""
        if self._keeping is not None:
            self._tell(QUOTA, self._book.ask(self._clock()).to_wire())

    async def aclose(self) -> None:
        """Renews nothing any more; leases end by themselves."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    # The parts of it.

    def _failed(self, leased: Leased, guess: Guess, end: Failed, now: float) -> Used:
        error = end.error
        self._learn(leased.key, leased.model, error.rate_limits)
        if error.kind is ErrorKind.RATE_LIMIT and error.retryable:
            self._book.refused(leased.key, leased.model, error.retry_after, now)
        if error.phase in _NOT_SENT or error.kind is ErrorKind.RATE_LIMIT:
            return Used(0.0, 0.0, 0.0)
        return self._estimates.learn(leased.model, guess, end.usage, None)

    def _learn(self, key: str, model: str, told: Iterable[RateLimit]) -> None:
        if self._plan.learns(key):
            for lesson in lessons(key, self._plan.group(key, model), told):
                self._book.learned(lesson, self._clock())

    async def _turn(self, waiting: Waiting) -> Booked:
        turn: asyncio.Future[Booked] = asyncio.get_running_loop().create_future()
        self._turns[waiting] = turn
        self._book.wait(waiting)
        self._serve()
        booked: Booked | None = None
        try:
            async with asyncio.timeout_at(waiting.until):
                booked = await turn
            return booked
        except TimeoutError:
            raise self._used_up(waiting) from None
        finally:
            del self._turns[waiting]
            self._book.leave(waiting)
            if booked is None:
                self._give_back(turn)

    def _give_back(self, turn: asyncio.Future[Booked]) -> None:
        """What a turn brought in the very moment in which its call was given up."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self._book.release(turn.result(), self._clock())
            self._serve()

    def _serve(self) -> None:
        """Whoever need wait no more goes on, and the owner is asked when that is due."""
        now = self._clock()
        for waiting, booked in self._book.serve(now):
            turn = self._turns.get(waiting)
            if turn is None or turn.done():
                self._book.release(booked, now)
            else:
                turn.set_result(booked)
        for waiting in self._book.vain(now):
            turn = self._turns.get(waiting)
            if turn is not None and not turn.done():
                turn.set_exception(self._used_up(waiting))
        self._look()

    def _look(self) -> None:
        """What is due may have changed; the first time, it begins to be done."""
        self._changed.set()
        if self._keeping is None and self._book.due(self._clock()) is not None:
            self._keeping = asyncio.create_task(self._keep(), name=f"keep leases of {self._pool}")

    async def _keep(self) -> None:
        """Asks the owner whenever that is due, and wakes those whose pause is over."""
        while True:
            self._changed.clear()
            now = self._clock()
            if self._asked is not None and now >= self._asked + _PATIENCE:
                self._unanswered(now)
            due = self._book.due(now)
            if due is not None and due <= now:
                self._asked, due = now, None
                self._tell(QUOTA, self._book.ask(now).to_wire())
            patience = None if self._asked is None else self._asked + _PATIENCE
            moments = [at for at in (due, self._book.wake(now), patience) if at is not None]
            try:
                async with asyncio.timeout_at(min(moments, default=None)):
                    await self._changed.wait()
            except TimeoutError:
                self._serve()

    def _unanswered(self, now: float) -> None:
        if not self._is_away:
            logger.warning("the supervisor does not share out the limits of %s", self._pool)
        self._asked, self._is_away = None, True
        self._book.unanswered(now)

    def _check(self, keys: Sequence[str], model: str, need: Need) -> None:
        """Raises where each of the keys has a limit that is smaller than the call."""
        beyond = [self._book.beyond(key, model, need) for key in keys]
        if all(beyond):
            meter, limit = next(one for one in beyond if one is not None)
            message = reasons.too_large(meter, limit, need)
            raise self._error(message, meter, limit, model=model, retryable=False)

    def _used_up(self, waiting: Waiting) -> ProviderError:
        meter = waiting.lacks or Meter(waiting.keys[0], waiting.model, "requests")
        limit = self._book.limit_of(meter)
        message = reasons.used_up(meter, limit)
        if self._is_away:
            message += "; the supervisor, who shares it out, does not answer"
        seconds = self._book.seconds(waiting, self._clock())
        return self._error(message, meter, limit, model=waiting.model, retry_after=seconds)

    def _error(
        self, message: str, meter: Meter, limit: Limit | None, *, model: str, **known: Any
    ) -> ProviderError:
        return ProviderError(
            message,
            kind=ErrorKind.RATE_LIMIT,
            phase=ErrorPhase.REQUEST,
            scope=ErrorScope.KEY,
            provider=self._pool,
            model=model,
            hint=reasons.setting(self._pool, meter, limit, only=self._only),
            **known,
        )


def _limit_of(one: RateLimit) -> RateLimit:
    return one.model_copy(update={"remaining": None})


def _price(pool: str, endpoint: EndpointOptions, providers: ProvidersOptions) -> Price:
    """Prices a usage before there is one."""
    kind = endpoint.preset or endpoint.kind

    def priced(model: str, input: int, output: int) -> Decimal | None:
        usage = Usage(input_tokens=input, output_tokens=output, source=UsageSource.REPORTED)
        own = providers.prices.get(f"{pool}/{model}")
        return price_at(own, usage) if own is not None else price(kind, model, usage)

    return priced
