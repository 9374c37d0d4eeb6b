"""Every session that the runtime knows, open or not: listed, shown, ended, deleted, copied."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self

from llmgine.actors.control import SessionNotFound
from llmgine.actors.store import SessionFilter
from llmgine.actors.store.rows import TurnRow
from llmgine.providers import InvalidRequest, Message
from llmgine.runtime import session_copies as copies
from llmgine.runtime.checks import checked_id, checked_kind, checked_number
from llmgine.runtime.driver import Driver

State = Literal["opening", "open", "passive", "ending", "closed"]

# Sessions asked for at a time, and turns that `show` tells of.
_PAGE = 200
_TURNS = 20


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session as it stands.

    A passive one is open, sleeps in the store, and wakes when it is asked for; a closed one has its
    history and opens with it again. `pending` counts turns that were taken on and have not ended.
    """

    id: str
    state: State
    model: str
    host: str | None
    stay: bool
    parent: str | None
    opening: int
    turns: int
    pending: int
    messages: int
    created: datetime
    active: datetime

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        return cls(
            id=told["session_id"],
            state=told["state"],
            model=told["model"] or "",
            host=told["actor"],
            stay=bool(told["stay"]),
            parent=told["parent"],
            opening=told["opening"],
            turns=told["turns"],
            pending=told["pending"],
            messages=told["messages"],
            created=_time(told["created"]),
            active=_time(told["active"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, times as ISO 8601."""
        told = dataclasses.asdict(self)
        return {**told, "created": self.created.isoformat(), "active": self.active.isoformat()}


@dataclass(frozen=True, slots=True)
class TurnInfo:
    """One turn of a session; `trace` is the id of its trace."""

    id: str
    state: str
    trace: str
    created: datetime
    ended: datetime | None

    @classmethod
    def of(cls, row: TurnRow) -> Self:
        ended = None if row.ended is None else _time(row.ended)
        return cls(row.id, row.state, row.trace, _time(row.created), ended)

    def to_json(self) -> dict[str, Any]:
        """Plain values, times as ISO 8601."""
        ended = None if self.ended is None else self.ended.isoformat()
        return {**dataclasses.asdict(self), "created": self.created.isoformat(), "ended": ended}


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Some of many sessions; `next` is the cursor of those that follow, None at the end."""

    sessions: tuple[SessionInfo, ...]
    next: int | None


class Sessions:
    """`runtime.sessions`: what is kept of sessions, whoever opened them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def list(
        self,
        *,
        state: Literal["open", "closed"] | None = None,
        pending: bool | None = None,
        prefix: str | None = None,
        parent: str | None = None,
    ) -> AsyncIterator[SessionInfo]:
        """The sessions in the order of their making.

        `state` "open" are those that have not ended, passive ones included; `pending` says whether turns
        have been taken on and not ended; `prefix` begins the id; `parent` is the session that asks it.
        """
        if state not in (None, "open", "closed"):
            raise InvalidRequest(f'state= is "open" or "closed", not {state!r}')
        checked_kind("pending", pending, bool, "True or False")
        checked_kind("prefix", prefix, str, "the beginning of an id")
        checked_kind("parent", parent, str, "a session's id")
        wanted = SessionFilter(state, pending, prefix, parent).to_wire()
        after: int | None = 0
        while after is not None:
            page = await self._driver.control.call("list_sessions", wanted, after, _PAGE)
            for told in page["sessions"]:
                yield SessionInfo.of(told)
            after = page["next"]

    async def page(self, *, text: str = "", cursor: int | None = None, limit: int = 50) -> SessionPage:
        """Some sessions, the newest first: those in whose id the text stands; `cursor` is a page's `next`."""
        wanted = SessionFilter(part=text or None).to_wire()
        told = await self._driver.control.call("list_sessions", wanted, cursor, limit, True)
        return SessionPage(tuple(map(SessionInfo.of, told["sessions"])), told["next"])

    async def history(self, id: str) -> tuple[Message, ...]:
        """The session's messages as the store has them, whether it is open or not."""
        found = await copies.read(self._driver.store, checked_id(id))
        if found is None:
            raise _unknown(id)
        return found.context.view()

    async def show(self, id: str) -> SessionInfo:
        """One session; `SessionNotFound` where none of that id is kept."""
        async for found in self.list(prefix=checked_id(id)):
            if found.id == id:
                return found
        raise _unknown(id)

    async def turns(self, id: str, *, limit: int = _TURNS) -> tuple[TurnInfo, ...]:
        """The session's newest turns, the last one first."""
        page = await self._driver.store.turns(checked_id(id), limit=checked_number("limit", limit, 1))
        return tuple(TurnInfo.of(row) for row in page.rows)

    async def close(self, id: str) -> None:
        """Ends the session, whoever is attached; its history stays."""
        await self._driver.control.call("close_session", checked_id(id))

    async def delete(self, id: str) -> None:
        """Ends the session and takes everything of it out of the store, for good."""
        await self._driver.control.call("delete_session", checked_id(id))

    async def fork(self, id: str, new_id: str | None = None, *, at: int | None = None) -> str:
        """A new session with this one's history, up to message number `at`; returns its id.

        It is closed until somebody opens it, and neither knows of the other from then on.
        """
        if at is not None:
            checked_number("at", at, 0)
        found = await copies.read(self._driver.store, checked_id(id))
        if found is None:
            raise _unknown(id)
        return await self._write(dataclasses.replace(found, context=found.context.fork(at)), new_id)

    async def export(self, id: str) -> str:
        """The session as JSON: what it was opened with, its history, notes and summaries; for `import_`."""
        found = await copies.read(self._driver.store, checked_id(id))
        if found is None:
            raise _unknown(id)
        return json.dumps(copies.to_json(found), ensure_ascii=False, indent=1)

    async def import_(self, data: str | bytes, id: str | None = None) -> str:
        """A new session of what `export` gave; returns its id. It is closed until somebody opens it."""
        return await self._write(copies.from_json(data), id)

    async def _write(self, copy: copies.SessionCopy, id: str | None) -> str:
        chosen = checked_id(id or f"s-{uuid.uuid4().hex[:12]}")
        await copies.write(self._driver.store, chosen, copy, self._driver.id)
        return chosen


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def _unknown(id: str) -> SessionNotFound:
    return SessionNotFound(
        f"no session {id!r} is kept in this runtime; `llmgine sessions ls` shows those that are"
    )
