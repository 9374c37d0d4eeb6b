"""A port with much to show: thousands of sessions, a trace of thousands of spans, something of everything."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from llmgine.actors.gateway import shapes
from llmgine.actors.gateway.port import TraceChoice, TurnAsk
from llmgine.actors.sessions import Reply, StepStarted, TurnDone, TurnEvent
from llmgine.providers import FinishReason, TextPart
from llmgine.providers.events import TextDelta
from llmgine.telemetry.answers import CostBy
from tests.actors.gateway.fakes import FakePort, approval, letter, session_row

SESSIONS = 10_000
SPANS = 2_000
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>window.pwned=1</script>"
MODELS = ("anthropic/claude-sonnet-4-5", "openai/gpt-4o-mini", "gemini/gemini-2.5-flash", "local/smollm2")
TRACE = "4" * 32

_COUNTS = ("accepted", "handled", "failed", "retried", "dropped", "coalesced", "expired", "rejected")


class ShownPort(FakePort):
    """Its rows never change by themselves, and are the same each time."""

    def __init__(self) -> None:
        super().__init__()
        self.dice = random.Random(7)
        self.now = datetime.now(UTC)
        self.session_rows = {row.id: row for row in map(self._session, range(SESSIONS))}
        names = shapes.SessionRow.model_fields
        self.listed = [
            shapes.SessionRow(**{name: getattr(row, name) for name in names})
            for row in self.session_rows.values()
        ]
        self.message_rows = _conversation()
        self.letter_rows = {
            row.id: row
            for row in (
                letter(f"l-{number}").model_copy(
                    update={
                        "type": f"shop.events.{kind}",
                        "handler": handler,
                        "reason": reason,
                        "error": error,
                        "time": self.now - timedelta(minutes=7 * number + 1),
                        "published": self.now - timedelta(minutes=7 * number + 2),
                        "fields": {"order": 1000 + number, "note": HOSTILE if number == 1 else "express"},
                        "metadata": {"tenant": "north", "attempted_by": "host-2"},
                        "errors": [
                            shapes.LetterError(kind=error.partition(":")[0], text=error, time=self.now)
                        ],
                    }
                )
                for number, (kind, handler, reason, error) in enumerate(_LETTERS)
            )
        }
        self.approval_rows = {
            "a-1": approval(
                "a-1", session="s-00003", tool="transfer", created=self.now - timedelta(minutes=3),
                expires=self.now + timedelta(minutes=27), reason="it moves money",
                arguments={"from": "ops", "to": "supplier-42", "euros": 1250, "memo": "invoice 7781"},
            ),
            "a-2": approval(
                "a-2", session="s-00017", tool="delete_branch", created=self.now - timedelta(seconds=40),
                reason="it cannot be undone", arguments={"repository": "site", "branch": HOSTILE},
            ),
        }  # fmt: skip
        self.pool_rows = {row.provider: row for row in self._pools()}
        self.span_rows = _spans(SPANS)

    async def models(self) -> list[shapes.ModelRow]:
        return [shapes.ModelRow(id=model, provider=model.partition("/")[0]) for model in MODELS]

    async def sessions(self, query: str, cursor: str | None, limit: int) -> shapes.Page[shapes.SessionRow]:
        rows = [row for row in self.listed if query in row.id] if query else self.listed
        start = int(cursor or 0)
        more = str(start + limit) if start + limit < len(rows) else None
        return shapes.Page[shapes.SessionRow](items=rows[start : start + limit], next=more)

    async def turn(self, ask: TurnAsk) -> AsyncGenerator[TurnEvent]:
        self._note("turn", ask)
        yield StepStarted(1, ask.model or MODELS[0])
        for word in ("It ", "is ", "on ", "its ", "way."):
            yield TextDelta(0, word)
        yield TurnDone(
            Reply(
                text="It is on its way.", parts=(TextPart(text="It is on its way."),), model=MODELS[0],
                finish_reason=FinishReason.STOP, turn_id="t", trace_id=TRACE, session_id=ask.session,
            )
        )  # fmt: skip

    async def overview(self) -> shapes.Overview:
        kinds = (
            "supervisor",
            "store",
            "telemetry",
            "router",
            "gateway",
            *("session",) * 6,
            *("provider",) * 5,
        )
        found = await super().overview()
        return found.model_copy(
            update={
                "runtime": "production",
                "started": self.now - timedelta(hours=31),
                "now": datetime.now(UTC),
                "actors": [
                    shapes.ActorRow(name=f"{kind}-{at}", kind=kind, pid=100 + at)
                    for at, kind in enumerate(kinds)
                ],
                "drivers": 3,
                "turns_pending": 42,
                "approvals_pending": len(self.approval_rows),
                "dead_letters": len(self.letter_rows),
                "breakers_open": 1,
                "queue_size": 318,
                "bus": {
                    "events_published_total": 1_204_551,
                    "events_processed_total": self._grown(),
                    "events_failed_total": 212,
                },
                "tokens": shapes.Tokens(
                    input=48_200_114, output=9_204_876, cached=31_002_400, reasoning=2_100_400
                ),
                "cost": Decimal("214.0731"),
            }
        )

    async def bus(self) -> shapes.BusState:
        overview = await self.overview()
        counters = {**overview.bus, "commands_sent_total": 88_120, "retries_total": 431, "queue_size": 318}
        return shapes.BusState(counters=counters, handlers=[_handler(*row) for row in _HANDLERS])

    async def schedules(self) -> list[shapes.ScheduleRow]:
        return [
            shapes.ScheduleRow(
                id=id, type=type, session="BUS", next_at=self.now + timedelta(minutes=minutes), fired=fired,
                every=every, cron=cron, zone="Europe/Berlin", until=None, misfire="fire",
            )
            for id, type, minutes, fired, every, cron in (
                ("nightly", "shop.events.CloseBooks", 410, 93, None, "0 3 * * *"),
                ("pulse", "shop.events.Pulse", 1, 9120, 60.0, None),
                ("reminder-7", "shop.events.Remind", 55, 0, None, None),
            )
        ]  # fmt: skip

    async def settings(self) -> dict[str, Any]:
        return {
            "name": "production",
            "data_dir": None,
            "bus": {"shards": 2, "mailbox": {"capacity": 10000, "high": 0.8, "low": 0.5}},
            "gateway": {"enabled": True, "host": "127.0.0.1", "port": 8700, "token": "**********"},
            "providers": {"endpoints": {"anthropic": {"keys": ["**********"], "timeout": 60}}},
            "telemetry": {"enabled": True, "content": False},
        }

    async def waterfall(self, id: str) -> shapes.Waterfall:
        return shapes.Waterfall(name=id, rows=self.span_rows[:60], truncated=0, now=datetime.now(UTC))

    async def trace(self, id: str) -> shapes.Waterfall:
        if id != TRACE:
            return await super().trace(id)
        return shapes.Waterfall(name=id, rows=self.span_rows, truncated=0, now=datetime.now(UTC))

    async def traces(
        self, choice: TraceChoice, cursor: str | None, limit: int
    ) -> shapes.Page[shapes.TraceRow]:
        self._note("traces", choice, cursor, limit)
        rows = [self._trace(number) for number in range(60)]
        if choice.error:
            rows = [row for row in rows if row.error]
        if choice.text:
            rows = [row for row in rows if choice.text in row.name]
        return shapes.Page[shapes.TraceRow](items=rows)

    async def cost(self, by: CostBy, since: datetime | None) -> shapes.CostTable:
        keys = {
            "model": MODELS,
            "provider": tuple(model.partition("/")[0] for model in MODELS),
            "session": tuple(f"s-{number:05}" for number in range(40)),
        }[by]
        rows = [
            shapes.CostRow(
                key=key, calls=9000 // (at + 1),
                tokens=shapes.Tokens(
                    input=30_000_000 // (at + 1), output=5_000_000 // (at + 1),
                    cached=18_000_000 // (at + 1), reasoning=900_000 // (at + 1),
                ),
                cost=None if key.startswith("local") else Decimal("141.2") / (at + 1) ** 2,
                unpriced=9000 // (at + 1) if key.startswith("local") else 0,
            )
            for at, key in enumerate(keys)
        ]  # fmt: skip
        return shapes.CostTable(by=by, rows=rows, total=Decimal("214.0731"))

    def _grown(self) -> int:
        self.processed = getattr(self, "processed", 1_204_300) + self.dice.randrange(300, 900)
        return self.processed

    def _session(self, number: int) -> shapes.SessionDetail:
        dice = self.dice
        turns = dice.randrange(0, 40)
        usage = shapes.Tokens(input=turns * 912, output=turns * 210, cached=turns * 400)
        return session_row(
            f"s-{number:05}" if number != 1 else f"s-00001 {HOSTILE}",
            state=dice.choice(("open", "open", "passive", "closed")),
            pending=int(dice.random() < 0.1),
            model=dice.choice(MODELS),
            turns=turns,
            messages=2 * turns,
            active=self.now - timedelta(seconds=number * 31),
            errors=int(dice.random() < 0.05),
            tokens=usage,
            cost=Decimal(turns) * Decimal("0.00412"),
            newest_turns=[],
            usage=[
                shapes.ModelUsage(
                    model=MODELS[0], calls=turns, tokens=usage, cost=Decimal("0.061"), unpriced=0
                )
            ],
        )

    def _trace(self, number: int) -> shapes.TraceRow:
        error = "rate_limit" if number % 9 == 4 else None
        return shapes.TraceRow(
            id=TRACE if number == 0 else f"{number:032x}", name="turn", session=f"s-{number:05}",
            start=self.now - timedelta(seconds=20 * number),
            seconds=None if number == 2 else 0.8 + number % 7,
            spans=12 if number else SPANS, errors=int(error is not None), error=error,
            incomplete=number % 13 == 5, running=int(number == 2), models=[MODELS[0]],
            tokens=shapes.Tokens(input=1200, output=300), cost=Decimal("0.0051"), unpriced=0,
            kept_because="ratio",
        )  # fmt: skip

    def _pools(self) -> list[shapes.PoolRow]:
        rows = []
        for provider, size, flight, failure in (
            ("anthropic", 4, 118, None), ("gemini", 1, 6, None), ("openai", 2, 61, None),
            ("local", 1, 3, None), ("mistral", 0, 0, None), ("groq", 0, 0, None),
        ):  # fmt: skip
            actors = [
                shapes.PoolActorRow(
                    name=f"provider-{provider}-{at}", state="ready", node="node-1", age=0.4,
                    in_flight=flight // size, waiting=0, limit=40, done=4000 + 311 * at, failed=at,
                    loop_lag=0.0012, cpu=0.21,
                )
                for at in range(size)
            ]  # fmt: skip
            rows.append(
                shapes.PoolRow(
                    provider=provider, size=size, ready=size, starting=0, draining=0, in_flight=flight,
                    waiting=flight // 20, max_in_flight=32, done=sum(one.done for one in actors),
                    failed=sum(one.failed for one in actors), usable=96.0 if provider == "openai" else None,
                    scaling=[1, 8] if provider == "anthropic" else None, failure=failure, actors=actors,
                )
            )  # fmt: skip
        return rows


_LETTERS = (
    ("OrderPlaced", "billing.charge", "handler", "PaymentDeclined: the card was refused"),
    ("OrderPlaced", "mail.confirm", "handler", "SMTPServerDisconnected: connection closed"),
    ("StockChanged", "search.reindex", "breaker", "the breaker was open for 60 s"),
    ("Refunded", "ledger.book", "undecodable", "ValidationError: amount is no number"),
    ("OrderPlaced", "billing.charge", "deadline", "TimeoutError: 30 s"),
)

_HANDLERS = (
    ("billing.charge", "event", "shop.events.OrderPlaced", "BUS", 12, 2, "closed", 41_200, 8, 0),
    ("mail.confirm", "event", "shop.events.OrderPlaced", "BUS", 302, 1, "open", 39_870, 204, 12),
    ("search.reindex", "event", "shop.events.StockChanged", "BUS", 4, 1, "half_open", 120_044, 9, 0),
    ("ledger.book", "command", "shop.commands.Book", "BUS", 0, 0, "closed", 12_009, 0, 0),
    ("on_tool", "event", "llmgine.ToolCompleted", "s-00003", 0, 0, "closed", 77, 0, 0),
    ("audit.write", "event", "llmgine.Event", "BUS", 0, 3, "closed", 1_130_022, 0, 0),
)


def _handler(
    name: str, kind: str, type: str, session: str, queue: int, flight: int, breaker: str,
    handled: int, failed: int, dropped: int,
) -> shapes.HandlerRow:  # fmt: skip
    counts: dict[str, int | float] = dict.fromkeys(_COUNTS, 0)
    counts |= {"accepted": handled + queue, "handled": handled, "failed": failed, "retried": failed * 2}
    return shapes.HandlerRow(
        name=name, kind=kind, type=type, session=session, queue_size=queue, in_flight=flight,
        breaker=breaker, counts={**counts, "dropped": dropped},
    )  # fmt: skip


def _conversation() -> list[shapes.MessageRow]:
    found = {"state": "shipped", "carrier": "DHL", "eta": "Thursday"}
    arrival = (
        "Good news: order 1007 left our warehouse this morning.\n\n"
        "The carrier expects to deliver it on Thursday, a day before you need it."
    )
    said: list[tuple[str, list[dict[str, Any]]]] = [
        ("system", [_text("You help customers of a small shop. Be brief.")]),
        ("user", [_text("Where is my order 1007? I need it before Friday.")]),
        (
            "assistant",
            [
                {"type": "thinking", "text": "The order's state has to be looked up first."},
                _text("Let me look that up."),
                {"type": "tool_call", "id": "c1", "name": "find_order", "arguments": {"order": 1007}},
            ],
        ),
        (
            "tool",
            [
                {
                    "type": "tool_result",
                    "call_id": "c1",
                    "name": "find_order",
                    "is_error": False,
                    "content": [_text(json.dumps(found))],
                }
            ],
        ),
        ("assistant", [_text(arrival)]),
        ("user", [_text(HOSTILE)]),
        ("assistant", [_text("That looks like markup; I read it as plain text.")]),
    ]
    return [
        shapes.MessageRow(
            number=number, role=role, parts=parts, turn=f"turn-{number}" if role == "user" else None
        )
        for number, (role, parts) in enumerate(said)
    ]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "origin": {"model": "claude-sonnet-4-5"}}


def _spans(count: int) -> list[shapes.SpanRow]:
    """Turns of some steps each, in which a model is called and tools run; the last still does."""
    rows: list[shapes.SpanRow] = []
    dice = random.Random(3)
    at, number = 0.0, 0

    def add(depth: int, name: str, begin: float, took: float, **more: Any) -> None:
        nonlocal number
        number += 1
        rows.append(
            shapes.SpanRow(
                id=f"{number:016x}", trace=TRACE, parent=None, depth=depth, name=name, kind="internal",
                source="host-1", offset=begin, seconds=took, left=0.0, width=0.0,
                running=more.get("running", False), error=more.get("error"), orphan=False,
                attributes=more.get("attributes", {}),
            )
        )  # fmt: skip

    while len(rows) + 9 < count:
        took = dice.uniform(0.6, 1.8)
        add(0, "turn", at, took, attributes={"gen_ai.conversation.id": "s-00003"})
        add(1, "chat claude-sonnet-4-5", at + 0.01, took * 0.4, attributes={
            "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.usage.input_tokens": 912,
            "gen_ai.usage.output_tokens": 210, "llmgine.cost.usd": "0.00412",
        })  # fmt: skip
        add(2, "pool anthropic", at + 0.012, 0.004)
        add(2, "call provider-anthropic-1", at + 0.017, took * 0.4 - 0.01)
        failed = "timeout" if dice.random() < 0.08 else None
        add(1, "execute_tool find_order", at + took * 0.42, took * 0.2, error=failed)
        add(1, "execute_tool find_carrier", at + took * 0.42, took * 0.13)
        add(2, "publish ToolCompleted", at + took * 0.6, 0.003)
        add(1, "chat claude-sonnet-4-5", at + took * 0.64, took * 0.35)
        at += took + 0.15
    while len(rows) < count:
        add(1 if rows[-1].name.startswith("turn") else 0, "turn", at, 0.4, running=True)
        at += 0.01
    return rows
