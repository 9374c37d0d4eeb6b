"""A port that answers from what a test puts into it, and notes what it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from llmgine.actors.gateway import shapes
from llmgine.actors.gateway.errors import NotFound
from llmgine.actors.gateway.port import TraceChoice, TurnAsk
from llmgine.actors.sessions import TurnEvent
from llmgine.actors.store.rows import ApprovalState
from llmgine.providers import EmbeddingRequest, EmbeddingResponse, LLMRequest, Message, Origin, StreamEvent
from llmgine.telemetry import TraceContext
from llmgine.telemetry.answers import CostBy

R = TypeVar("R")

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def session_row(id: str = "s-1", **fields: Any) -> shapes.SessionDetail:
    given = {
        "id": id,
        "state": "open",
        "model": "scripted/x",
        "host": "host-0",
        "stay": True,
        "parent": None,
        "turns": 1,
        "pending": 0,
        "messages": 2,
        "created": T0,
        "active": T0,
        **fields,
    }
    return shapes.SessionDetail(**given)


def letter(id: str = "l-1") -> shapes.LetterDetail:
    return shapes.LetterDetail(
        id=id,
        message="m-1",
        type="app.Ordered",
        session="BUS",
        handler="app.bill",
        command=False,
        reason="handler",
        attempts=2,
        time=T0,
        published=T0,
        error="ValueError: no",
        errors=[shapes.LetterError(kind="ValueError", text="no", time=T0)],
        metadata={},
        fields={"order": 7},
    )


def approval(id: str = "a-1", **fields: Any) -> shapes.ApprovalRow:
    given = {
        "id": id,
        "session": "s-1",
        "turn": "s-1:t",
        "tool": "pay",
        "arguments": {"sum": 3},
        "reason": "it pays",
        "state": "pending",
        "created": T0,
        "expires": None,
        "answered": None,
        "by": "",
        "note": "",
        **fields,
    }
    return shapes.ApprovalRow(**given)


def pool(provider: str = "scripted", size: int = 1) -> shapes.PoolRow:
    return shapes.PoolRow(
        provider=provider,
        size=size,
        ready=size,
        starting=0,
        draining=0,
        in_flight=0,
        waiting=0,
        max_in_flight=8,
        done=3,
        failed=0,
    )


def waterfall(name: str) -> shapes.Waterfall:
    return shapes.Waterfall(name=name, rows=[], truncated=0, now=T0)


class FakePort:
    """A `GatewayPort` without a runtime; `asked` holds what was asked of it, verb first."""

    def __init__(
        self,
        *,
        turn_events: Sequence[TurnEvent] = (),
        stream_events: Sequence[StreamEvent] = (),
        embedding: EmbeddingResponse | None = None,
        error: Exception | None = None,
    ) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.turn_events = turn_events
        self.stream_events = stream_events
        self.embedding = embedding
        self.error = error
        self.session_rows = {"s-1": session_row()}
        self.letter_rows = {"l-1": letter()}
        self.approval_rows = {"a-1": approval()}
        self.pool_rows = {"scripted": pool()}
        self.message_rows = [
            shapes.MessageRow(number=0, role="user", parts=[{"type": "text", "text": "Hi"}]),
            shapes.MessageRow(number=1, role="assistant", parts=[{"type": "text", "text": "Hello"}]),
        ]

    def _note(self, *asked: Any) -> None:
        self.asked.append(asked)
        if self.error is not None:
            raise self.error

    async def models(self) -> list[shapes.ModelRow]:
        self._note("models")
        return [shapes.ModelRow(id="scripted/x", provider="scripted")]

    async def target(self, model: str) -> Origin:
        self._note("target", model)
        return Origin(provider="scripted", api="scripted", model=model)

    async def complete(self, request: LLMRequest, trace: TraceContext | None) -> AsyncGenerator[StreamEvent]:
        self._note("complete", request, trace)
        for event in self.stream_events:
            yield event

    async def embed(self, request: EmbeddingRequest, trace: TraceContext | None) -> EmbeddingResponse:
        self._note("embed", request, trace)
        assert self.embedding is not None
        return self.embedding

    async def turn(self, ask: TurnAsk) -> AsyncGenerator[TurnEvent]:
        self._note("turn", ask)
        for event in self.turn_events:
            yield event

    async def last_turn(self, session: str) -> str | None:
        self._note("last_turn", session)
        return None

    async def sessions(self, query: str, cursor: str | None, limit: int) -> shapes.Page[shapes.SessionRow]:
        self._note("sessions", query, cursor, limit)
        rows = [row for id, row in sorted(self.session_rows.items()) if query in id]
        start = int(cursor or 0)
        more = str(start + limit) if start + limit < len(rows) else None
        return shapes.Page[shapes.SessionRow](items=list(rows[start : start + limit]), next=more)

    async def session(self, id: str) -> shapes.SessionDetail:
        self._note("session", id)
        return _found(self.session_rows, id, "session")

    async def check_session(self, id: str) -> None:
        self._note("check_session", id)
        _found(self.session_rows, id, "session")

    async def messages(self, id: str, cursor: str | None, limit: int) -> shapes.Page[shapes.MessageRow]:
        self._note("messages", id, cursor, limit)
        _found(self.session_rows, id, "session")
        return shapes.Page[shapes.MessageRow](items=self.message_rows)

    async def waterfall(self, id: str) -> shapes.Waterfall:
        self._note("waterfall", id)
        _found(self.session_rows, id, "session")
        return waterfall(id)

    async def fork_before(self, id: str, turn_id: str) -> TurnAsk:
        self._note("fork_before", id, turn_id)
        _found(self.session_rows, id, "session")
        return TurnAsk(f"{id}-fork", [Message.user("Hi")])

    async def overview(self) -> shapes.Overview:
        self._note("overview")
        return shapes.Overview(
            runtime="default",
            started=T0,
            now=T0,
            actors=[shapes.ActorRow(name="store", kind="store", pid=1)],
            drivers=1,
            sessions=len(self.session_rows),
            turns_pending=0,
            approvals_pending=1,
            dead_letters=1,
            breakers_open=0,
            queue_size=0,
            bus={"events_published_total": 4},
            pools=list(self.pool_rows.values()),
            tokens=shapes.Tokens(input=3, output=5),
            cost=None,
        )

    async def bus(self) -> shapes.BusState:
        self._note("bus")
        return shapes.BusState(counters={"events_published_total": 4}, handlers=[])

    async def letters(
        self, cursor: str | None, limit: int, **which: str | None
    ) -> shapes.Page[shapes.LetterRow]:
        self._note("letters", cursor, limit, which)
        rows = [shapes.LetterRow(**_base(shapes.LetterRow, row)) for row in self.letter_rows.values()]
        return shapes.Page[shapes.LetterRow](items=rows)

    async def letter(self, id: str) -> shapes.LetterDetail:
        self._note("letter", id)
        return _found(self.letter_rows, id, "dead letter")

    async def replay_letter(self, id: str) -> shapes.Replayed:
        self._note("replay_letter", id)
        _found(self.letter_rows, id, "dead letter")
        return shapes.Replayed(id=id, handled=True, attempts=3, text="")

    async def discard_letter(self, id: str) -> None:
        self._note("discard_letter", id)
        _found(self.letter_rows, id, "dead letter")

    async def approvals(
        self, state: ApprovalState | None, cursor: str | None, limit: int
    ) -> shapes.Page[shapes.ApprovalRow]:
        self._note("approvals", state, cursor, limit)
        return shapes.Page[shapes.ApprovalRow](items=list(self.approval_rows.values()))

    async def answer(self, id: str, *, approve: bool, note: str, by: str) -> shapes.ApprovalRow:
        self._note("answer", id, approve, note, by)
        _found(self.approval_rows, id, "approval")
        return approval(id, state="approved" if approve else "denied", answered=T0, by=by, note=note)

    async def pools(self) -> list[shapes.PoolRow]:
        self._note("pools")
        return list(self.pool_rows.values())

    async def scale(self, pool: str, size: int) -> shapes.PoolRow:
        self._note("scale", pool, size)
        return _found(self.pool_rows, pool, "pool").model_copy(update={"size": size})

    async def drain(self, pool: str) -> None:
        self._note("drain", pool)
        _found(self.pool_rows, pool, "pool")

    async def schedules(self) -> list[shapes.ScheduleRow]:
        self._note("schedules")
        return []

    async def settings(self) -> dict[str, Any]:
        self._note("settings")
        return {"bus": {"shards": 1}}

    async def traces(
        self, choice: TraceChoice, cursor: str | None, limit: int
    ) -> shapes.Page[shapes.TraceRow]:
        self._note("traces", choice, cursor, limit)
        return shapes.Page[shapes.TraceRow](items=[])

    async def trace(self, id: str) -> shapes.Waterfall:
        self._note("trace", id)
        if id != "0" * 31 + "1":
            raise NotFound(f"no trace {id!r} is kept")
        return waterfall(id)

    async def cost(self, by: CostBy, since: datetime | None) -> shapes.CostTable:
        self._note("cost", by, since)
        return shapes.CostTable(by=by, rows=[], total=None)


def _found(rows: dict[str, R], id: str, what: str) -> R:
    if id not in rows:
        raise NotFound(f"there is no {what} {id!r}")
    return rows[id]


def _base(kind: type[shapes.Shape], row: shapes.Shape) -> dict[str, Any]:
    return {name: getattr(row, name) for name in kind.model_fields}
