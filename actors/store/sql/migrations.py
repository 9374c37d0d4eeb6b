"""The version of the tables: new ones have the latest, older ones are brought up to it step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa

from llmgine.actors.store.errors import StoreDamaged
from llmgine.actors.store.sql.tables import META, METADATA
from llmgine.actors.store.sql.version_2 import VERSION_2
from llmgine.actors.store.sql.version_3 import VERSION_3
from llmgine.actors.store.sql.version_4 import VERSION_4

Migration = Callable[[sa.Connection], None]


def _sessions(connection: sa.Connection) -> None:
    """Version 2: tables of sessions, refused batches, and whose the damaged rows were."""
    for statement in VERSION_2:
        connection.exec_driver_sql(statement)


def _responses(connection: sa.Connection) -> None:
    """Version 3: models' answers."""
    VERSION_3.create_all(connection, checkfirst=False)


def _notes(connection: sa.Connection) -> None:
    """Version 4: notes."""
    VERSION_4.create_all(connection, checkfirst=False)


# The first of them brings version 1 to version 2, and so on. None is ever changed.
MIGRATIONS: Final[tuple[Migration, ...]] = (_sessions, _responses, _notes)


def migrate(
    connection: sa.Connection, migrations: Sequence[Migration] = MIGRATIONS, tables: sa.MetaData = METADATA
) -> None:
    """Brings the tables to the latest version, inside the connection's transaction.

    `StoreDamaged` for a file that is not ours or of a later version, which is left as it is.
    """
    latest = 1 + len(migrations)
    present = sa.inspect(connection).get_table_names()
    if not present:
        tables.create_all(connection)
        connection.execute(META.insert().values(name="version", value=str(latest)))
        return
    if META.name not in present:
        raise StoreDamaged("the store's file holds somebody else's tables; set store.url to another file")
    found = connection.execute(sa.select(META.c.value).where(META.c.name == "version")).scalar() or ""
    if not found.isascii() or not found.isdigit() or int(found) < 1:
        raise StoreDamaged(f"the store's version is {found!r}, which is none; put a backup in its place")
    if int(found) > latest:
        raise StoreDamaged(
            f"the store's file has version {found} and this llmgine knows versions up to {latest}; "
            "install the llmgine that wrote it, or a later one, or set store.url to another file"
        )
    for migration in migrations[int(found) - 1 :]:
        migration(connection)
    connection.execute(META.update().where(META.c.name == "version").values(value=str(latest)))
