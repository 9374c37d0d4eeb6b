"""Traces and what they cost."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, Field

from llmgine.actors.gateway.port import TraceChoice
from llmgine.actors.gateway.routes.table import Call, Endpoint, Paged, Query
from llmgine.actors.gateway.shapes import CostTable, Page, TraceRow, Waterfall
from llmgine.telemetry.answers import CostBy

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", re.ASCII)


def _moment(value: object) -> object:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _flag(value: object) -> object:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _number(value: object) -> object:
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_number)]


class TraceQuery(Paged):
    """What traces have in common; `text` is part of a span's name or attributes."""

    cursor: Annotated[str, Field(pattern="^-?[0-9]{1,20}:.{1,300}$")] | None = None
    session: str | None = Field(default=None, min_length=1)
    error: Flag | None = None
    min_seconds: Seconds | None = None
    model: str | None = Field(default=None, min_length=1)
    text: str | None = Field(default=None, min_length=1, max_length=200)
    since: Moment | None = None
    until: Moment | None = None


class CostQuery(Query):
    """What usage is added up by, and from when on."""

    by: CostBy = "model"
    since: Moment | None = None


async def _traces(call: Call) -> Page[TraceRow]:
    asked: TraceQuery = call.query
    chosen = {name: getattr(asked, name) for name in TraceChoice.__slots__}
    return await call.port.traces(TraceChoice(**chosen), asked.cursor, asked.limit)


async def _trace(call: Call) -> Waterfall:
    return await call.port.trace(call.path["id"])


async def _cost(call: Call) -> CostTable:
    asked: CostQuery = call.query
    return await call.port.cost(asked.by, asked.since)


ENDPOINTS = (
    Endpoint("GET", "/traces", _traces, Page[TraceRow], "Traces, the newest first", TraceQuery),
    Endpoint("GET", "/traces/{id}", _trace, Waterfall, "One trace as a waterfall"),
    Endpoint("GET", "/cost", _cost, CostTable, "Tokens and cost by session, model or provider", CostQuery),
)
