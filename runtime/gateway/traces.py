"""Traces and cost, for the gateway."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from llmgine.actors.control import names
from llmgine.actors.gateway.errors import NotFound, NotReady
from llmgine.actors.gateway.port import TraceChoice
from llmgine.actors.gateway.shapes import CostRow, CostTable, Page, SpanRow, Tokens, TraceRow, Waterfall
from llmgine.actors.link import LinkError
from llmgine.actors.telemetry import TelemetryClient
from llmgine.actors.telemetry.query import View
from llmgine.runtime.driver import Driver
from llmgine.telemetry import Row, TraceQuery, TraceSummary
from llmgine.telemetry import Tokens as Counted
from llmgine.telemetry.answers import CostBy, nanoseconds

# What says that telemetry is off, or away.
AWAY = (NotReady, LinkError)
_ID = re.compile("[0-9a-fA-F]{1,32}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TraceAnswers:
    """A `TracePort` over a driver."""

    _driver: Driver

    async def traces(self, choice: TraceChoice, cursor: str | None, limit: int) -> Page[TraceRow]:
        asked = TraceQuery(
            choice.session,
            choice.error,
            choice.min_seconds,
            choice.model,
            choice.text,
            nanoseconds(choice.since),
            nanoseconds(choice.until),
        )
        page = await telemetry_of(self._driver).traces(asked, limit=limit, cursor=cursor)
        return Page[TraceRow](items=[_trace(one) for one in page.items], next=page.next)

    async def trace(self, id: str) -> Waterfall:
        # What is no trace's id cannot be asked for, and is kept as little as what has gone.
        view = await telemetry_of(self._driver).trace(id) if _ID.fullmatch(id) else None
        if view is None or not view.spans:
            raise NotFound(f"no trace {id[:64]!r} is kept")
        return waterfall_of(view)

    async def cost(self, by: CostBy, since: datetime | None) -> CostTable:
        rows = await telemetry_of(self._driver).cost(by, nanoseconds(since))
        told = [
            CostRow(
                key=row.key, calls=row.calls, tokens=tokens(row.tokens), cost=row.cost, unpriced=row.unpriced
            )
            for row in sorted(rows, key=lambda row: (-(row.cost or 0), row.key))
        ]
        costs = [row.cost for row in told if row.cost is not None]
        return CostTable(by=by, rows=told, total=sum(costs, Decimal(0)) if costs else None)


def telemetry_of(driver: Driver) -> TelemetryClient:
    """Whom to ask what telemetry keeps; `NotReady` where it is off."""
    if not driver.settings.telemetry.enabled:
        raise NotReady("telemetry is off", hint="a runtime launched with telemetry.enabled keeps traces")
    return TelemetryClient(driver.ground.peer(names.TELEMETRY))


def waterfall_of(view: View) -> Waterfall:
    """What telemetry shows of a trace or a session, as rows."""
    return Waterfall(
        name=view.name,
        rows=[_row(row) for row in view.rows()],
        truncated=view.truncated,
        now=moment(view.now),
    )


def tokens(counted: Counted) -> Tokens:
    return Tokens(**{name: getattr(counted, name) for name in Tokens.model_fields})


def moment(time: int) -> datetime:
    """Nanoseconds since 1970 as a time in UTC, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=time // 1_000)


def _row(row: Row) -> SpanRow:
    span = row.span
    return SpanRow(
        id="" if span is None else f"{span.span_id:016x}",
        trace="" if span is None else f"{span.trace_id:032x}",
        parent=None if span is None or not span.parent_id else f"{span.parent_id:016x}",
        depth=row.depth,
        name=row.name,
        kind=row.kind,
        source=row.source,
        offset=row.offset,
        seconds=row.seconds,
        left=row.left,
        width=row.width,
        running=row.running,
        error=row.error,
        orphan=row.orphan,
        attributes={} if span is None else span.attributes,
    )


def _trace(told: TraceSummary) -> TraceRow:
    return TraceRow(
        id=told.id,
        name=told.name,
        session=told.session,
        start=moment(told.start),
        seconds=told.seconds,
        spans=told.spans,
        errors=told.errors,
        error=told.error,
        incomplete=told.incomplete,
        running=told.running,
        models=list(told.models),
        tokens=tokens(told.tokens),
        cost=told.cost,
        unpriced=told.unpriced,
        kept_because=told.kept_because,
    )
