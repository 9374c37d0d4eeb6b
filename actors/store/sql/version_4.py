"""What version 4 of the tables adds to those of version 3: notes."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

VERSION_4: Final = sa.MetaData()
sa.Table(
    "notes",
    VERSION_4,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column(
        "name",
        sa.Text().with_variant(sa.Text(collation="C"), "postgresql"),
        unique=True,
        nullable=False,
    ),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
)
