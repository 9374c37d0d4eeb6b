"""Models' answers that are kept, as plain values. Pure."""

from __future__ import annotations

from llmgine.actors.store.numbered import Rows
from llmgine.actors.store.rows import ResponseRow


class ResponseLedger:
    """The newest answers, in the order in which they were kept."""

    def __init__(self) -> None:
        self.rows: Rows[ResponseRow] = Rows()
        self.bytes = 0

    def copy(self) -> ResponseLedger:
        twin = ResponseLedger()
        twin.rows, twin.bytes = self.rows.copy(), self.bytes
        return twin

    def put(self, row: ResponseRow) -> None:
        """It is the newest now."""
        self._drop(row.key)
        self.rows.put(row.key, row)
        self.bytes += len(row.body)

    def drop_pool(self, pool: str) -> None:
        for row in [row for row in self.rows.values() if row.pool == pool]:
            self._drop(row.key)

    def expire(self, now: int) -> None:
        for row in [row for row in self.rows.values() if row.expires <= now]:
            self._drop(row.key)

    def trim(self, most: int, most_bytes: int) -> None:
        """The oldest go first."""
        while len(self.rows) > most or self.bytes > most_bytes:
            self._drop(next(iter(self.rows)))

    def _drop(self, key: str) -> None:
        row = self.rows.get(key)
        if row is not None:
            self.rows.drop(key)
            self.bytes -= len(row.body)
