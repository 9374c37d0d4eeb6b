"""The tables of the store."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

METADATA: Final = sa.MetaData()


def _number() -> sa.Column[int]:
    """Rows in the order of their arrival."""
    return sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)


def _text(name: str, *, unique: bool = False, null: bool = False, key: bool = False) -> sa.Column[str]:
    """Texts are the same, and stand in an order, by their bytes alone."""
    kind = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.Column(name, kind, unique=unique or None, nullable=null, primary_key=key)


def _integer(name: str, *, null: bool = False, key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null, primary_key=key, autoincrement=False)


def _bytes(name: str, *, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=null)


META: Final = sa.Table("meta", METADATA, _text("name", key=True), _text("value"))

WRITERS: Final = sa.Table(
    "writers",
    METADATA,
    _text("writer", key=True),
    _integer("ticket"),
    _integer("time"),
)

# Batches that were refused and may come again.
REFUSED: Final = sa.Table(
    "refused",
    METADATA,
    _text("writer", key=True),
    _integer("ticket", key=True),
    _text("code"),
    _text("text"),
    _integer("time"),
)

JOURNAL: Final = sa.Table(
    "journal",
    METADATA,
    _number(),
    _text("id", unique=True),
    _text("producer"),
    _integer("epoch"),
    _text("session"),
    _integer("sequence"),
    _text("lineage"),
    _integer("flags"),
    _integer("depth"),
    _bytes("body"),
    _bytes("pending"),
    _integer("time"),
    _text("replay_of", null=True),
    sa.Column("handed", sa.Boolean, nullable=False),
)

LETTERS: Final = sa.Table(
    "letters",
    METADATA,
    _number(),
    _text("id", unique=True),
    _text("message"),
    _text("lineage"),
    _text("session"),
    _text("handler"),
    _text("key"),
    sa.Column("command", sa.Boolean, nullable=False),
    _text("reason"),
    _integer("attempts"),
    _bytes("errors"),
    _integer("time"),
    _integer("published"),
    _bytes("trace", null=True),
    _bytes("body"),
    sa.Index("letters_by_time", "time"),
)

SCHEDULES: Final = sa.Table(
    "schedules",
    METADATA,
    _number(),
    _text("id", unique=True),
    _text("session"),
    _text("lineage"),
    _bytes("body"),
    _integer("at"),
    _integer("fired"),
    sa.Column("every", sa.Double, nullable=True),
    _text("cron", null=True),
    _text("zone"),
    _text("misfire"),
    _integer("until", null=True),
    _integer("created"),
    _bytes("extra"),
)

SUBSCRIPTIONS: Final = sa.Table(
    "subscriptions", METADATA, _number(), _text("key", unique=True), _bytes("record")
)

# `session` is whose the row was.
DAMAGED: Final = sa.Table(
    "damaged",
    METADATA,
    _number(),
    _text("kind"),
    _text("id"),
    _text("reason"),
    _bytes("content"),
    _text("session", null=True),
)

# `parent` and `code` stand in the record too.
SESSIONS: Final = sa.Table(
    "sessions",
    METADATA,
    _number(),
    _text("id", unique=True),
    _integer("epoch"),
    _text("owner"),
    _text("state"),
    _integer("opening"),
    _bytes("record"),
    _integer("pending"),
    _integer("turns"),
    _integer("messages"),
    _integer("created"),
    _integer("active"),
    _text("parent", null=True),
    _text("code", null=True),
)
sa.Index("sessions_by_state", SESSIONS.c.state, SESSIONS.c.active)
sa.Index("sessions_by_parent", SESSIONS.c.parent)
sa.Index("sessions_by_code", SESSIONS.c.code)
_WITH_TURNS: Final = SESSIONS.c.pending > 0
sa.Index("sessions_with_turns", SESSIONS.c.number, sqlite_where=_WITH_TURNS, postgresql_where=_WITH_TURNS)

# `crc` is the body's CRC-32.
ENTRIES: Final = sa.Table(
    "entries",
    METADATA,
    _text("session", key=True),
    _integer("number", key=True),
    _integer("crc"),
    _bytes("body"),
)
SNAPSHOTS: Final = sa.Table(
    "snapshots", METADATA, _text("session", key=True), _integer("upto"), _integer("crc"), _bytes("body")
)

TURNS: Final = sa.Table(
    "turns",
    METADATA,
    _number(),
    _text("id"),
    _text("session"),
    _text("state"),
    _bytes("request"),
    _bytes("outcome", null=True),
    _text("trace"),
    _integer("created"),
    _integer("ended", null=True),
    sa.UniqueConstraint("session", "id"),
    sa.Index("turns_by_session", "session", "number"),
    sa.Index("turns_by_end", "ended"),
)

APPROVALS: Final = sa.Table(
    "approvals",
    METADATA,
    _number(),
    _text("id", unique=True),
    _text("session"),
    _text("turn"),
    _text("call"),
    _text("tool"),
    _bytes("arguments"),
    _text("reason"),
    _text("state"),
    _integer("created"),
    _integer("expires", null=True),
    _integer("answered", null=True),
    _text("by"),
    _text("note"),
    sa.Index("approvals_by_session", "session", "number"),
    sa.Index("approvals_by_state", "state", "expires"),
    sa.Index("approvals_by_answer", "answered"),
)

BLOBS: Final = sa.Table("blobs", METADATA, _text("hash", key=True), _bytes("body"))
BLOB_USES: Final = sa.Table(
    "blob_uses",
    METADATA,
    _text("session", key=True),
    _text("hash", key=True),
    sa.Index("uses_by_hash", "hash"),
)
NOTES: Final = sa.Table(
    "notes", METADATA, _number(), _text("name", unique=True), _bytes("body"), _integer("expires")
)

# `size` is the body's, told without reading it.
RESPONSES: Final = sa.Table(
    "responses",
    METADATA,
    _number(),
    _text("key", unique=True),
    _text("pool"),
    _integer("made"),
    _integer("expires"),
    _integer("size"),
    _bytes("body"),
    sa.Index("responses_by_expiry", "expires"),
    sa.Index("responses_by_pool", "pool"),
    sa.Index("responses_by_size", "number", "size"),
)
CODE: Final = sa.Table("code", METADATA, _text("hash", key=True), _bytes("body"), _integer("time"))
