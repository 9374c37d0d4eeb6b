"""What version 3 of the tables adds to those of version 2: models' answers."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

_TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

VERSION_3: Final = sa.MetaData()
sa.Table(
    "responses",
    VERSION_3,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("key", _TEXT, unique=True, nullable=False),
    sa.Column("pool", _TEXT, nullable=False),
    sa.Column("made", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("responses_by_expiry", "expires"),
    sa.Index("responses_by_pool", "pool"),
    sa.Index("responses_by_size", "number", "size"),
)
