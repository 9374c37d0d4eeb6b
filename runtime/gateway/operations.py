"""The bus, dead letters, approvals, pools and schedules, for the gateway."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from llmgine.actors.bus.letters import DeadLetter, to_plain
from llmgine.actors.gateway.errors import NotFound
from llmgine.actors.gateway.shapes import (
    ActorRow,
    ApprovalRow,
    BusState,
    HandlerRow,
    LetterDetail,
    LetterError,
    LetterRow,
    Overview,
    Page,
    PoolActorRow,
    PoolRow,
    Replayed,
    ScheduleRow,
    Tokens,
)
from llmgine.actors.pools.errors import PoolNotReady
from llmgine.actors.store import StoreError
from llmgine.actors.store.queries import LetterFilter, SessionFilter
from llmgine.actors.store.rows import ApprovalState
from llmgine.runtime.approvals import Approval, Approvals
from llmgine.runtime.bus import Bus
from llmgine.runtime.driver import Driver
from llmgine.runtime.gateway.cursors import page_number
from llmgine.runtime.gateway.masking import masked
from llmgine.runtime.gateway.traces import AWAY, telemetry_of, tokens
from llmgine.runtime.pool_statistics import PoolStatistics
from llmgine.runtime.pools import PoolHandle, Pools

# Seconds that a request waits for a pool to follow; it goes on afterwards.
_WAIT = 5.0
# Seconds that the outcome of a replay is waited for: fewer than those after which browsers give up.
_REPLAY = 20.0
# Approvals that are counted at most.
_COUNTED = 100


class OperationAnswers:
    """An `OperationsPort` over a driver."""

    _driver: Driver

    async def overview(self) -> Overview:
        driver = self._driver
        status = await driver.control.call("status", False)
        bus = await Bus(driver).statistics()
        used, cost = await self._used()
        return Overview(
            runtime=status["name"],
            started=datetime.fromtimestamp(status["started"], UTC),
            now=datetime.fromtimestamp(time.time(), UTC),
            actors=[ActorRow(**actor) for actor in status["actors"]],
            drivers=len(status["drivers"]),
            **await self._stored(),
            dead_letters=bus["dead_letter_queue_size"],
            breakers_open=bus["circuit_breakers_open"],
            queue_size=bus["queue_size"],
            bus=_numbers(bus),
            pools=await self._used_pools(),
            tokens=used,
            cost=cost,
        )

    async def _stored(self) -> dict[str, int | None]:
        """What the store counts; None of each while it is away."""
        store = self._driver.store
        try:
            pending = await store.approvals(state="pending", limit=_COUNTED)
            return {
                "sessions": await store.count_sessions(SessionFilter(state="open")),
                "turns_pending": await store.count_sessions(SessionFilter(pending=True)),
                "approvals_pending": len(pending.rows),
            }
        except StoreError:
            return {"sessions": None, "turns_pending": None, "approvals_pending": None}

    async def _used(self) -> tuple[Tokens, Decimal | None]:
        """What all model calls came to; nothing where telemetry is off or away."""
        try:
            stats = await telemetry_of(self._driver).stats()
        except AWAY:
            return Tokens(), None
        return tokens(stats.total.tokens), stats.total.cost

    async def bus(self) -> BusState:
        found = await Bus(self._driver).statistics()
        handlers = [_handler(key, row) for key, row in found["per_handler"].items()]
        return BusState(counters=_numbers(found), handlers=sorted(handlers, key=lambda row: row.name))

    # Dead letters

    async def letters(
        self,
        cursor: str | None,
        limit: int,
        *,
        handler: str | None = None,
        reason: str | None = None,
        session: str | None = None,
        type: str | None = None,
    ) -> Page[LetterRow]:
        page = await self._driver.store.letters(
            LetterFilter(handler, reason, session, type), before=page_number(cursor), limit=limit
        )
        rows = [LetterRow(**_letter(DeadLetter.from_row(row))) for row in page.rows]
        return Page[LetterRow](items=rows, next=None if page.next is None else str(page.next))

    async def letter(self, id: str) -> LetterDetail:
        found = await Bus(self._driver).dead_letters.show(id)
        errors = [LetterError(kind=one.kind, text=one.text, time=one.time) for one in found.errors]
        return LetterDetail(
            **_letter(found),
            errors=errors,
            metadata=to_plain(found.metadata),
            fields=to_plain(found.fields),
            undecodable=found.undecodable,
        )

    async def replay_letter(self, id: str) -> Replayed:
        (answer,) = await Bus(self._driver).dead_letters.replay(id, timeout=_REPLAY)
        return Replayed(id=answer.id, handled=answer.handled, attempts=answer.attempts, text=answer.text)

    async def discard_letter(self, id: str) -> None:
        await Bus(self._driver).dead_letters.discard(id)

    # Approvals

    async def approvals(
        self, state: ApprovalState | None, cursor: str | None, limit: int
    ) -> Page[ApprovalRow]:
        page = await self._driver.store.approvals(state=state, after=page_number(cursor) or 0, limit=limit)
        rows = [_approval(Approval.from_row(row)) for row in page.rows]
        return Page[ApprovalRow](items=rows, next=None if page.next is None else str(page.next))

    async def answer(self, id: str, *, approve: bool, note: str, by: str) -> ApprovalRow:
        approvals = Approvals(self._driver)
        await (approvals.approve if approve else approvals.deny)(id, note=note, by=by)
        return _approval(await approvals.get(id))

    # Pools

    async def pools(self) -> list[PoolRow]:
        used = {row.provider: row for row in await self._used_pools()}
        return [used.get(name) or PoolRow(provider=name) for name in self._pools()]

    async def _used_pools(self) -> list[PoolRow]:
        return [_pool(one) for one in (await self._pools().statistics()).values()]

    async def scale(self, pool: str, size: int) -> PoolRow:
        handle = self._pool(pool)
        try:
            await handle.scale(size, wait=_WAIT)
        except PoolNotReady:
            pass  # it goes on, and what is told below shows how far it is
        return _pool(await handle.statistics())

    async def drain(self, pool: str) -> None:
        try:
            await self._pool(pool).drain(wait=_WAIT)
        except PoolNotReady:
            pass  # it goes on

    def _pool(self, name: str) -> PoolHandle:
        pools = self._pools()
        if name not in pools:
            raise NotFound(f"no provider is called {name[:64]!r}")
        return pools[name]

    def _pools(self) -> Pools:
        return Pools(self._driver.control, self._driver.settings.providers)

    # What is kept for later, and what was set

    async def schedules(self) -> list[ScheduleRow]:
        found = await self._driver.schedules.scheduled()
        return [ScheduleRow.model_validate(one, from_attributes=True) for one in found]

    async def settings(self) -> dict[str, Any]:
        shown: dict[str, Any] = masked(self._driver.settings.to_wire())
        return shown


def _numbers(found: Mapping[str, Any]) -> dict[str, int | float]:
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _handler(key: str, row: Mapping[str, Any]) -> HandlerRow:
    session, kind, type_, name = key.split("\x1f")
    return HandlerRow(
        name=name,
        kind=kind,
        type=type_,
        session=session,
        queue_size=row["held"],
        in_flight=row["in_flight"],
        breaker=row["circuit_breaker_state"],
        counts=_numbers(row),
    )


def _letter(found: DeadLetter) -> dict[str, Any]:
    last = found.errors[-1] if found.errors else None
    return {
        **{name: getattr(found, name) for name in LetterRow.model_fields if name != "error"},
        "error": "" if last is None else f"{last.kind}: {last.text}",
    }


def _approval(found: Approval) -> ApprovalRow:
    return ApprovalRow(
        id=found.id,
        session=found.session_id,
        turn=found.turn_id,
        tool=found.tool,
        arguments=found.arguments,
        reason=found.reason,
        state=found.state,
        created=found.created,
        expires=found.expires,
        answered=found.answered,
        by=found.by,
        note=found.note,
    )


def _pool(found: PoolStatistics) -> PoolRow:
    told = {name: getattr(found, name) for name in PoolRow.model_fields if name not in ("actors", "scaling")}
    return PoolRow(
        **{**told, "quota": to_plain(found.quota), "changes": to_plain(found.changes)},
        scaling=None if found.scaling is None else list(found.scaling),
        actors=[PoolActorRow.model_validate(one, from_attributes=True) for one in found.actors],
    )
