"""The tables of the trace store.

Sums are added to by functions of ours that the connection knows: costs are exact decimals as text, and
sketches are msgpack.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

METADATA: Final = sa.MetaData()
VERSION: Final = 1

_text, _integer, _bytes = sa.Text, sa.BigInteger, sa.LargeBinary


def _key(name: str, kind: type[sa.types.TypeEngine[Any]]) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _value(name: str, kind: type[sa.types.TypeEngine[Any]], *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=null)


# What traces are searched by; `kept` is when it was written the last time.
TRACES: Final = sa.Table(
    "traces",
    METADATA,
    _key("id", _text),
    sa.Column("start", _integer, nullable=False, index=True),
    _value("seconds", sa.Float, null=True),
    _value("errors", _integer),
    _value("models", _text),
    _value("searched", _text),
    _value("size", _integer),
    _value("kept", _integer),
    _value("summary", _bytes),
)

# Apart from what is searched, so that a search need not read past them.
BODIES: Final = sa.Table("bodies", METADATA, _key("id", _text), _value("body", _bytes))

TRACE_SESSIONS: Final = sa.Table(
    "trace_sessions",
    METADATA,
    _key("session", _text),
    sa.Column("trace", _text, primary_key=True, index=True),
    sqlite_with_rowid=False,
)

SESSIONS: Final = sa.Table(
    "sessions",
    METADATA,
    _key("session", _text),
    _value("started", _integer),
    sa.Column("last", _integer, nullable=False, index=True),
    _value("traces", _integer),
    _value("spans", _integer),
    _value("errors", _integer),
)

SPENT: Final = sa.Table(
    "spent",
    METADATA,
    _key("hour", _integer),
    sa.Column("session", _text, primary_key=True, index=True),
    _key("provider", _text),
    _key("model", _text),
    *(
        _value(name, _integer)
        for name in (
            "calls",
            "failed",
            "input",
            "output",
            "cached",
            "cache_write",
            "reasoning",
            "unmetered",
            "priced",
        )
    ),
    _value("cost", _text),
    sqlite_with_rowid=False,
)

MODELS: Final = sa.Table(
    "models",
    METADATA,
    _key("hour", _integer),
    _key("provider", _text),
    _key("model", _text),
    _value("usage", _bytes),
)

WAITS: Final = sa.Table(
    "waits", METADATA, _key("hour", _integer), _key("pool", _text), _value("sketch", _bytes)
)

ERRORS: Final = sa.Table(
    "errors", METADATA, _key("hour", _integer), _key("error", _text), _value("number", _integer)
)

COUNTS: Final = sa.Table("counts", METADATA, _key("name", _text), _value("number", _integer))
