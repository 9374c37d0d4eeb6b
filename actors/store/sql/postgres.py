"""PostgreSQL as the store wants it: durable at each commit, and errors that say what mends them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

import sqlalchemy as sa

from llmgine.actors.store.errors import StoreDamaged, StoreError, StoreUnavailable

# Two that open the same database at once do so one after the other; any number that others do not use.
_OPENING: Final = 0x6C6C6D67
# What a server leaves undone for so many milliseconds is given up, so that a dead one is noticed.
_SILENCE: Final = 20_000

# By the beginning of an error's five characters, as the manual's appendix A has them.
_VALUES: Final = ("22", "23", "54")
_DAMAGE: Final = ("XX001", "XX002", "42P01", "42703", "42P10", "42804")
_MENDS: Final = {
    "08": "the server is not reached; start it, or mend the host and port in store.url",
    "28": "the server does not let the store in; mend user and password in store.url, or in ~/.pgpass",
    "3D": "there is no such database; make it with CREATE DATABASE, or mend store.url",
    "42501": "the user of store.url may not do that; grant it the tables, or CREATE on the schema",
    "25006": "the server is a copy that only reads; store.url must name the one that writes",
    "53100": "the server's disk is full; free some space there",
    "53300": "the server has no connection left; raise its max_connections",
    "53": "the server is short of something; look at its log",
    "55P03": "another process has locked the tables; end it",
    "57P": "the server is being stopped or started; it is tried again",
    "58": "the server's disk fails; look at its log",
}
_BUSY: Final = ("55P03", "40001", "40P01")


class PostgresDatabase:
    """A database of a server, in whose first schema the tables are made."""

    def __init__(self, url: str, busy_timeout: float, connect_timeout: float) -> None:
        self._url = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._password = self._url.password
        self._busy = round(busy_timeout * 1_000)
        self._connect = round(connect_timeout)

    @property
    def url(self) -> str:
        """Without its password, and of its parameters those alone that say where it is."""
        shown = {name: value for name, value in self._url.query.items() if name in ("host", "port")}
        given = self._url
        return sa.URL.create(
            "postgresql", given.username, None, given.host, given.port, given.database, shown
        ).render_as_string()

    def is_there(self) -> bool:
        return True

    def engine(self) -> sa.Engine:
        if find_spec("psycopg") is None:
            raise StoreUnavailable(
                f"the store at {self.url} needs psycopg: `pip install 'llmgine-ray[postgres]'` where it runs"
            )
        engine = sa.create_engine(
            self._url,
            poolclass=sa.NullPool,
            connect_args={
                "connect_timeout": self._connect,
                "tcp_user_timeout": _SILENCE,
                "keepalives_idle": 10,
                "application_name": "llmgine",
            },
        )
        sa.event.listen(engine, "connect", self._prepare)
        sa.event.listen(engine, "begin", _begin)
        return engine

    def check(self, connection: sa.Connection) -> None:
        """The server looks after its own pages."""

    def begin_opening(self, connection: sa.Connection) -> None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_OPENING)))

    def must_be_there(self) -> None:
        """A commit says so itself."""

    def written(self, connection: sa.Connection) -> None:
        """The server works its log off by itself."""

    def let_go(self) -> None:
        """Nothing goes on here."""

    def give_back(self, connection: sa.Connection) -> None:
        """The server does that by itself."""

    def leave(self, connection: sa.Connection) -> None:
        """Nothing is left to be done."""

    def size(self, connection: sa.Connection) -> int:
        asked = sa.select(sa.func.pg_database_size(sa.func.current_database()))
        return int(connection.execute(asked).scalar_one())

    def error(self, error: Exception) -> StoreError | None:
        if not isinstance(error, sa.exc.DBAPIError):
            return None
        state = getattr(error.orig, "sqlstate", None) or ""
        unanswered = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
        if state.startswith(_VALUES) or not (state or unanswered):
            return None
        said = " ".join(str(error.orig).split()) or type(error.orig).__name__
        if self._password:
            said = said.replace(str(self._password), "***")
        if state in _DAMAGE:
            return StoreDamaged(
                f"the store at {self.url} is damaged: {said}; end the runtime, and put a backup in its "
                "place, or set store.url to another database"
            )
        mends = [_MENDS[state[:length]] for length in (5, 3, 2) if state[:length] in _MENDS]
        return StoreUnavailable(f"the store at {self.url}: {said}; {[*mends, _mends(said)][0]}")

    def is_busy(self, error: Exception) -> bool:
        return getattr(getattr(error, "orig", None), "sqlstate", None) in _BUSY

    def _prepare(self, connection: Any, record: Any) -> None:
        """A commit is on the server's disk when it returns, whatever is set for others."""
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            if cursor.fetchone()[0] in ("off", "local"):
                cursor.execute("SET synchronous_commit = on")
            cursor.execute(f"SET lock_timeout = {self._busy}")
        connection.commit()


def _begin(connection: sa.Connection) -> None:
    """A question sees one state of the tables, whatever is committed meanwhile."""
    if connection.get_execution_options().get("reads", False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


def _mends(said: str) -> str:
    """What mends an error without a number: the server did not say it."""
    if any(part in said for part in ("password", "authentication", "role ")):
        return _MENDS["28"]
    return _MENDS["3D" if "does not exist" in said else "08"]
