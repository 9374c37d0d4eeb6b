"""Traces, spans, tokens and cost."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from llmgine.actors.gateway.shapes.base import Shape


class Tokens(Shape):
    """Input includes what was cached, output includes reasoning."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0


class SpanRow(Shape):
    """One row of a waterfall, parents before children; `left` and `width` are shares of the whole."""

    id: str
    trace: str
    parent: str | None
    depth: int
    name: str
    kind: str
    source: str
    offset: float
    """Seconds since the waterfall's beginning."""
    seconds: float
    """How long it took, or has taken so far."""
    left: float
    width: float
    running: bool
    error: str | None
    orphan: bool
    attributes: dict[str, Any]


class Waterfall(Shape):
    """The spans of one trace or session as they stood at `now`; `truncated` of them were left out."""

    name: str
    rows: list[SpanRow]
    truncated: int
    now: datetime


class TraceRow(Shape):
    """One trace in a list."""

    id: str
    name: str
    session: str
    start: datetime
    seconds: float | None
    """Null while something in it runs."""
    spans: int
    errors: int
    error: str | None
    incomplete: bool
    running: int
    models: list[str]
    tokens: Tokens
    cost: Decimal | None
    unpriced: int
    """Calls whose price is not known, which the cost leaves out."""
    kept_because: str = ""


class CostRow(Shape):
    """What was used under one key: a session, a model or a provider."""

    key: str
    calls: int
    tokens: Tokens
    cost: Decimal | None
    """Null where no call was priced."""
    unpriced: int
    """Calls whose price is not known, which the cost leaves out."""


class CostTable(Shape):
    """Usage and cost by one of session, model and provider, the dearest first."""

    by: str
    rows: list[CostRow]
    total: Decimal | None
