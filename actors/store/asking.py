"""How a process asks the store: one question at a time, pages put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

from llmgine.actors.link import Connection, LinkError, NotSendable, StreamReset, request
from llmgine.actors.store import wire
from llmgine.actors.store.coding import row_from_wire
from llmgine.actors.store.errors import EntryDamaged, StoreError, StoreUnavailable, error_of
from llmgine.actors.store.queries import ApprovalFilter, LetterFilter, Page, SessionFilter
from llmgine.actors.store.rows import (
    ApprovalRow,
    ApprovalState,
    JournalRow,
    LetterRow,
    ResponseRow,
    ScheduleRow,
    SessionRow,
    TurnRow,
)

_PAGE: Final = 500
# How long after a break the store is asked again.
_PAUSE: Final = 0.05
_EVERY: Final = LetterFilter()
_ALL: Final = SessionFilter()


class Connects(Protocol):
    """As much of a `Peer` as the store needs."""

    async def connection(self) -> Connection: ...


class Asker:
    """Puts a question to the store; `StoreUnavailable` where it has not answered within `timeout` seconds."""

    def __init__(self, peer: Connects, timeout: float) -> None:
        self._peer = peer
        self._timeout = timeout
        self._closed = False

    async def set_aside(self, limit: int = 100) -> list[tuple[str, str, str]]:
        """Kind, id and reason of rows that could not be read, the latest first."""
        return [(kind, id, reason) for kind, id, reason in await self._ask(["aside", limit])]

    async def status(self) -> dict[str, Any]:
        """Where the store is, how many rows of each kind, and what was done; plain values."""
        status: dict[str, Any] = await self._ask(["status"])
        return status

    async def response(self, key: str) -> ResponseRow | None:
        """A model's answer that is kept, which may have expired; no commit is waited for."""
        row: ResponseRow | None = await self._row(ResponseRow, ["response", key])
        return row

    async def note(self, name: str) -> bytes | None:
        """What is remembered under that name."""
        body: bytes | None = await self._ask(["note", name])
        return body

    async def _ask(self, question: list[Any]) -> Any:
        broke: LinkError | None = None
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    try:
                        return await self._put(question)
                    except LinkError as error:
                        # The store may be coming back, and a question changes nothing.
                        broke = error
                    await asyncio.sleep(_PAUSE)
        except TimeoutError:
            raise StoreUnavailable(
                f"the store did not answer within {self._timeout:g} s: {broke or 'it says nothing'}; "
                "`llmgine status` shows whether it runs"
            ) from broke

    async def _put(self, question: list[Any]) -> Any:
        if self._closed:
            raise closed()
        connection = await self._peer.connection()
        try:
            return await request(connection, wire.ASK, question, timeout=self._timeout)
        except StreamReset as error:
            raise error_of(error.code, error.reason or str(error)) from error
        except NotSendable as error:
            raise StoreError(f"the store cannot be asked that: {error}") from error

    async def _row(self, row: type[Any], question: list[Any]) -> Any:
        found = await self._ask(question)
        return None if found is None else row_from_wire(row, found)

    async def _page(self, row: type[Any], question: list[Any]) -> Page[Any]:
        rows, following = await self._ask(question)
        return Page(tuple(row_from_wire(row, values) for values in rows), following)


class BusReader(Asker):
    """What the bus keeps."""

    async def journal(self) -> AsyncIterator[tuple[JournalRow, ...]]:
        """Every message kept at this moment, in the order of arrival, page by page."""
        upto, after = await self._ask(["last_message"]), 0
        while after is not None:
            rows, after = await self._ask(["journal", after, upto, _PAGE])
            yield tuple(row_from_wire(JournalRow, row) for row in rows)

    async def letters(
        self, wanted: LetterFilter = _EVERY, *, before: int | None = None, limit: int = 100
    ) -> Page[LetterRow]:
        """Dead letters, the newest first; `before` is the cursor of the page that came before."""
        rows, following = await self._ask(["letters", wanted.to_wire(), before, limit])
        return Page(tuple(row_from_wire(LetterRow, row) for row in rows), following)

    async def letter(self, id: str) -> LetterRow | None:
        row = await self._ask(["letter", id])
        return None if row is None else row_from_wire(LetterRow, row)

    async def count_letters(self, wanted: LetterFilter = _EVERY) -> int:
        return int(await self._ask(["count_letters", wanted.to_wire()]))

    async def schedules(self) -> AsyncIterator[tuple[ScheduleRow, ...]]:
        """Every scheduled event, in the order of their making, page by page."""
        after = 0
        while after is not None:
            rows, after = await self._ask(["schedules", after, _PAGE])
            yield tuple(row_from_wire(ScheduleRow, row) for row in rows)

    async def subscriptions(self) -> list[dict[str, Any]]:
        """Every durable subscription, in its wire form."""
        records: list[dict[str, Any]] = []
        after = 0
        while after is not None:
            page, after = await self._ask(["subscriptions", after, _PAGE])
            records += page
        return records


class SessionReader(Asker):
    """What sessions keep."""

    async def session(self, id: str) -> SessionRow | None:
        row: SessionRow | None = await self._row(SessionRow, ["session", id])
        return row

    async def sessions(
        self, wanted: SessionFilter = _ALL, *, after: int = 0, limit: int = 100
    ) -> Page[SessionRow]:
        """In the order of their making; `after` is the cursor of the page that came before."""
        return await self._page(SessionRow, ["sessions", wanted.to_wire(), after, limit])

    async def newest_sessions(
        self, wanted: SessionFilter = _ALL, *, before: int | None = None, limit: int = 100
    ) -> Page[SessionRow]:
        """The last made first; `before` is the cursor of the page that came before."""
        return await self._page(SessionRow, ["newest_sessions", wanted.to_wire(), before, limit])

    async def every_session(self, wanted: SessionFilter = _ALL) -> AsyncIterator[tuple[SessionRow, ...]]:
        """All of them, page by page."""
        after: int | None = 0
        while after is not None:
            page = await self.sessions(wanted, after=after, limit=_PAGE)
            yield page.rows
            after = page.next

    async def count_sessions(self, wanted: SessionFilter = _ALL) -> int:
        return int(await self._ask(["count_sessions", wanted.to_wire()]))

    async def snapshot(self, session: str) -> tuple[int, bytes] | None:
        """The number of the last entry in it, and its body; `EntryDamaged` where it cannot be read."""
        found = await self._ask(["snapshot", session])
        return None if found is None else (found[0], found[1])

    async def entries(self, session: str, after: int = 0) -> AsyncIterator[tuple[tuple[int, bytes], ...]]:
        """The entries of its journal with their numbers, which rise by one, page by page.

        `EntryDamaged` where the next one cannot be read, after all that come before it.
        """
        following: int | None = after
        while following is not None:
            rows, following, damage = await self._ask(["entries", session, following, _PAGE])
            if rows:
                yield tuple((number, body) for number, body in rows)
            if damage is not None:
                raise EntryDamaged(damage)

    async def turn(self, session: str, id: str) -> TurnRow | None:
        row: TurnRow | None = await self._row(TurnRow, ["turn", session, id])
        return row

    async def turns(self, session: str, *, before: int | None = None, limit: int = 100) -> Page[TurnRow]:
        """The newest first; `before` is the cursor of the page that came before."""
        return await self._page(TurnRow, ["turns", session, before, limit])

    async def approval(self, id: str) -> ApprovalRow | None:
        row: ApprovalRow | None = await self._row(ApprovalRow, ["approval", id])
        return row

    async def approvals(
        self,
        *,
        state: ApprovalState | None = None,
        session: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Page[ApprovalRow]:
        """In the order of their asking; `after` is the cursor of the page that came before."""
        wanted = ApprovalFilter(state, session)
        return await self._page(ApprovalRow, ["approvals", wanted.to_wire(), after, limit])

    async def blob(self, hash: str) -> bytes | None:
        body: bytes | None = await self._ask(["blob", hash])
        return body

    async def code(self, hash: str) -> bytes | None:
        """A session's code."""
        body: bytes | None = await self._ask(["code", hash])
        return body


def closed() -> StoreUnavailable:
    return StoreUnavailable("the store's client was closed; use it before its runtime is left")
