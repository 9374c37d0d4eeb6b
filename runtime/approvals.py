"""Tool calls that wait for somebody's leave: read, approved, denied."""

from __future__ import annotations

import asyncio
import getpass
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self, get_args

from llmgine.actors.bus import SessionFilter
from llmgine.actors.sessions import ApprovalRequested
from llmgine.actors.store import UnknownApproval
from llmgine.actors.store.rows import ApprovalRow, ApprovalState
from llmgine.providers import InvalidRequest
from llmgine.runtime.driver import Driver

_STATES = get_args(ApprovalState)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Approvals read at a time, and how many new ones may wait for who watches.
_PAGE = 100
_AHEAD = 1_000


@dataclass(frozen=True, slots=True)
class Approval:
    """One tool call that waits, or waited, for somebody's leave.

    `expires` is None where it waits for ever; `answered`, `by` and `note` say when it was answered, by whom
    and what they said.
    """

    id: str
    session_id: str
    turn_id: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    reason: str
    state: ApprovalState
    created: datetime
    expires: datetime | None = None
    answered: datetime | None = None
    by: str = ""
    note: str = ""

    @classmethod
    def from_row(cls, row: ApprovalRow) -> Self:
        return cls(
            row.id,
            row.session,
            row.turn,
            row.call,
            row.tool,
            json.loads(row.arguments) or {},
            row.reason,
            row.state,
            _moment(row.created),
            None if row.expires is None else _moment(row.expires),
            None if row.answered is None else _moment(row.answered),
            row.by,
            row.note,
        )

    def to_json(self) -> dict[str, Any]:
        """Values of JSON; times in ISO 8601."""
        moments = {name: getattr(self, name) for name in ("created", "expires", "answered")}
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            **{name: moment and moment.isoformat() for name, moment in moments.items()},
        }


class Approvals:
    """`runtime.approvals`: every tool call that needs somebody's leave.

    They are kept in the store, whoever asked and whatever has died since. Each is answered once; a turn
    goes on with the answer, wherever its session wakes. Raises StoreUnavailable where the store is away.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def list(
        self,
        *,
        state: ApprovalState | None = "pending",
        session: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Approval]:
        """Approvals in the order in which they were asked for; `state=None` for those answered, too."""
        if state is not None and state not in _STATES:
            raise InvalidRequest(f"state={state!r} is none; use one of {', '.join(_STATES)}, or None for all")
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise InvalidRequest(f"limit={limit!r}: how many approvals at most, from 0; None for all")
        left, after = math.inf if limit is None else limit, 0
        while left > 0:
            wanted = int(min(left, _PAGE))
            page = await self._driver.store.approvals(state=state, session=session, after=after, limit=wanted)
            for row in page.rows:
                yield Approval.from_row(row)
            left -= len(page.rows)
            if page.next is None:
                return
            after = page.next

    async def get(self, id: str) -> Approval:
        """One approval with its arguments; raises UnknownApproval."""
        row = await self._driver.store.approval(id) if isinstance(id, str) else None
        if row is None:
            raise UnknownApproval(
                f"no approval {id!r} is known; `llmgine approvals ls` shows those that are pending"
            )
        return Approval.from_row(row)

    async def approve(self, id: str, *, note: str = "", by: str | None = None) -> None:
        """The call is run; `by` is told to whoever asks, by default the user's name on this machine.

        Raises AlreadyAnswered, whose text says how and when, and UnknownApproval.
        """
        await self._answer(id, "approved", note, by)

    async def deny(self, id: str, *, note: str = "", by: str | None = None) -> None:
        """The call is not run, and the model is told so with the note; raises as `approve` does."""
        await self._answer(id, "denied", note, by)

    async def watch(self, *, session: str | None = None) -> AsyncGenerator[Approval]:
        """What is pending now, and then each new one as it is asked for, without end; each once."""
        asked: asyncio.Queue[str] = asyncio.Queue(_AHEAD)

        async def hear(event: ApprovalRequested) -> None:
            await asked.put(event.approval_id)

        only = None if session is None else SessionFilter(session)
        subscription = await self._driver.bus.register_event_handler(ApprovalRequested, hear, filter=only)
        seen: set[str] = set()
        try:
            async for approval in self.list(session=session):
                seen.add(approval.id)
                yield approval
            while True:
                id_ = await asked.get()
                if id_ in seen:
                    continue
                with suppress(UnknownApproval):  # its session was deleted meanwhile
                    approval = await self.get(id_)
                    seen.add(id_)
                    if approval.state == "pending":
                        yield approval
        finally:
            await subscription.remove()

    async def _answer(self, id: str, state: ApprovalState, note: str, by: str | None) -> None:
        for option, text in {"id": id, "note": note}.items():
            if not isinstance(text, str):
                raise InvalidRequest(f"{option}={text!r}: a text")
        await self._driver.control.call("answer_approval", id, state, by or _user(), note)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def _moment(time_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_ns // 1_000)
