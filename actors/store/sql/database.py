"""What each database has in its own way: how it is opened, what its errors say, how it is left."""

from __future__ import annotations

from typing import Protocol

import sqlalchemy as sa

from llmgine.actors.store.errors import StoreError


class Database(Protocol):
    """Where the tables are. `url` is for people: no password is in it."""

    @property
    def url(self) -> str: ...

    def is_there(self) -> bool:
        """Whether there is anything to read; a question makes nothing."""
        ...

    def engine(self) -> sa.Engine:
        """Connections to it; one with the execution option `reads` only reads. What is missing is made."""
        ...

    def check(self, connection: sa.Connection) -> None:
        """`StoreDamaged` where it is not whole; once in a life, before anything is read or written."""
        ...

    def begin_opening(self, connection: sa.Connection) -> None:
        """Of two that open it at the same time the second waits, until this transaction ends."""
        ...

    def must_be_there(self) -> None:
        """`StoreDamaged` where what is written would be lost."""
        ...

    def written(self, connection: sa.Connection) -> None:
        """A transaction was committed; what that leaves to be done is begun, and waited for by nobody."""
        ...

    def let_go(self) -> None:
        """Nothing goes on any more beside the connection of the writer, which is closed next."""
        ...

    def give_back(self, connection: sa.Connection) -> None:
        """Space that is not used any more, a little of it, outside of transactions."""
        ...

    def leave(self, connection: sa.Connection) -> None:
        """What is to be done before the last connection goes."""
        ...

    def size(self, connection: sa.Connection) -> int:
        """Bytes it takes up."""
        ...

    def error(self, error: Exception) -> StoreError | None:
        """What an error says about the store; None where it is about the values, or not the database's."""
        ...

    def is_busy(self, error: Exception) -> bool:
        """Whether another process writes just now: all is well with the connection."""
        ...
