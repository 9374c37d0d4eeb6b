"""Which database a URL names."""

from __future__ import annotations

from llmgine.actors.store.options import StoreOptions, is_postgres
from llmgine.actors.store.sql.database import Database
from llmgine.actors.store.sql.sqlite import SqliteDatabase


def database_of(options: StoreOptions) -> Database:
    """The database of the options' URL, which names a file or a server."""
    assert options.url is not None
    if is_postgres(options.url):
        from llmgine.actors.store.sql.postgres import PostgresDatabase

        return PostgresDatabase(options.url, options.busy_timeout, options.connect_timeout)
    return SqliteDatabase(options.url, options.busy_timeout)
