"""The door of a provider actor: calls that have a place go in at once, others wait for their turn."""

from __future__ import annotations

import asyncio
from typing import Any

from llmgine.actors.pools import wire
from llmgine.actors.pools.admission import Admission, Refused, Ticket
from llmgine.actors.pools.options import PoolOptions
from llmgine.actors.pools.serving.call import now
from llmgine.providers import ErrorKind, ErrorPhase, ErrorScope, ProviderError


class Door:
    """`Admission` with the loop's clock, and with those that wait for it."""

    def __init__(self, pool: str, options: PoolOptions) -> None:
        self._pool = pool
        self._admission = Admission(options.admission, options.max_in_flight)
        self._turns: dict[Ticket, asyncio.Future[None]] = {}

    @property
    def load(self) -> int:
        """Calls that run or wait."""
        return self._admission.load

    def enter(self, session: str, ask: wire.Ask) -> Ticket | Refused:
        began = now()
        expires = float("inf") if ask.wait is None else began + ask.wait
        entered = self._admission.enter(session, ask.priority, began, expires, queue=ask.queue)
        self._wake()
        return entered

    async def turn(self, ticket: Ticket, until: float) -> None:
        """Returns once the call may run; raises why it may not."""
        if ticket.tried is None and ticket.refused is None:
            ticket.expires = min(ticket.expires, until)
            self._turns[ticket] = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout_at(ticket.expires):
                    await self._turns[ticket]
            except TimeoutError:
                pass  # Its turn may have come in the same moment.
            finally:
                del self._turns[ticket]
        if ticket.tried is None:
            raise self._not_run(ticket, until)

    def leave(self, ticket: Ticket) -> None:
        """The call is over, or is given up; the place is free at once."""
        self._admission.leave(ticket, now())
        self._wake()

    def answered(self, ticket: Ticket) -> None:
        """The provider has begun to answer the call."""
        self._admission.answered(ticket, now())
        self._wake()

    def overloaded(self, ticket: Ticket) -> None:
        """The provider could not bear the call."""
        self._admission.overloaded(ticket, now())

    def close(self) -> None:
        """Nothing goes in any more; those that wait are told so."""
        self._admission.close(now())
        self._wake()

    def statistics(self) -> dict[str, Any]:
        return self._admission.statistics(now())

    def _wake(self) -> None:
        if not self._admission.settled:
            return
        for ticket in self._admission.settled:
            turn = self._turns.get(ticket)
            if turn is not None and not turn.done():
                turn.set_result(None)
        self._admission.settled.clear()

    def _not_run(self, ticket: Ticket, until: float) -> ProviderError:
        reason = ticket.refused.reason if ticket.refused else "busy"
        retry_after = ticket.refused.retry_after if ticket.refused else None
        kind, what = ErrorKind.OVERLOADED, _WHY[reason]
        if ticket.refused is None:
            retry_after = self._admission.retry_after(now())
            if ticket.expires >= until:
                kind, what = ErrorKind.TIMEOUT, "its deadline passed while the call waited for a place"
        return ProviderError(
            what,
            kind=kind,
            phase=ErrorPhase.REQUEST,
            scope=ErrorScope.ENDPOINT,
            provider=self._pool,
            retry_after=retry_after,
            hint=f"scale it with runtime.pools[{self._pool!r}].scale(n), or raise "
            "pools.default.max_in_flight",
        )


_WHY = {
    wire.BUSY: "no place was free in the time that the call would wait",
    wire.SHED: "the call had to leave a full queue for one that goes before it",
    wire.DRAINING: "the actor where the call waited takes no more calls",
}
