"""The supervisor's end of the member streams: what is pushed to whom, and who is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from llmgine.actors.link import LinkBroken, LinkError, Stream, StreamReset

logger = logging.getLogger(__name__)

# How long a push may take to be applied before its member is cut off.
_PATIENCE = 2.0


class Member:
    """One connected process: its report, and an ordered lane of pushes to it."""

    def __init__(self, stream: Stream) -> None:
        self.report: dict[str, Any] = stream.header
        self.name: str = self.report["name"]
        self.kind: str = self.report["kind"]
        self.epoch: int = self.report["epoch"]
        self._stream = stream
        self._pushes: asyncio.Queue[tuple[int, str, Any]] = asyncio.Queue()
        self._unacknowledged: dict[int, asyncio.Future[None]] = {}
        self._number = 0
        self.push("welcome", None)

    def wants(self, table: str) -> bool:
        return table in self.report.get("wants", ())

    def push(self, kind: str, body: Any) -> asyncio.Future[None]:
        """Queues a push; the future is done once it was applied, or `LinkBroken` if the member went."""
        self._number += 1
        applied: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A push that nobody waits for is no error when its member goes.
        applied.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._unacknowledged[self._number] = applied
        self._pushes.put_nowait((self._number, kind, body))
        return applied

    def cut_off(self, code: str, reason: str) -> None:
        """Ends the stream; a process that lives opens another, and is told everything anew."""
        self._stream.reset(code, reason)

    async def serve(self, told: Callable[[Member, str, Any], None]) -> None:
        """Runs until the stream ends; every open push then fails. `told` gets what the process says."""
        sender = asyncio.create_task(self._send(), name=f"pushes to {self.name}")
        try:
            async for message in self._stream:
                if isinstance(message, list):
                    told(self, *message)
                    continue
                applied = self._unacknowledged.pop(message, None)
                if applied is not None and not applied.done():
                    applied.set_result(None)
        except LinkError as error:
            logger.info("the member stream of %s ended: %s", self.name, error)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            for applied in self._unacknowledged.values():
                if not applied.done():
                    applied.set_exception(LinkBroken(f"{self.name} went away"))

    async def _send(self) -> None:
        try:
            while True:
                number, kind, body = await self._pushes.get()
                await self._stream.send([number, kind, body])
        except LinkError as error:
            self.cut_off("unsendable", str(error))


class Members:
    """All connected processes, by name; the newest stream of a name's newest life counts."""

    def __init__(
        self,
        joined: Callable[[Member], None],
        lost: Callable[[Member], None],
        told: Callable[[Member, str, Any], None],
    ) -> None:
        self._joined = joined
        self._lost = lost
        self._told = told
        self._members: dict[str, Member] = {}
        self._changed = asyncio.Event()

    async def serve(self, stream: Stream) -> None:
        """Serves one member stream until it breaks."""
        member = Member(stream)
        former = self._members.get(member.name)
        if former is not None:
            if former.epoch > member.epoch:
                raise StreamReset("stale", f"a later life of {member.name} is here")
            former.cut_off("replaced", f"a newer stream of {member.name} has taken over")
        self._members[member.name] = member
        try:
            self._joined(member)
            self._announce()
            await member.serve(self._told)
        finally:
            if self._members.get(member.name) is member:
                del self._members[member.name]
                self._lost(member)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def all(self) -> list[Member]:
        return sorted(self._members.values(), key=lambda member: member.name)

    async def here(self, names: Iterable[str]) -> None:
        """Returns once each of these is connected."""
        missing = set(names)
        while missing := missing - self._members.keys():
            changed = self._changed
            await changed.wait()

    async def push(self, table: str, body: Any, *, patience: float = _PATIENCE) -> None:
        """Pushes to every member that wants the table; returns once each applied it or went away.

        A member that does not within `patience` seconds is cut off, so that it holds up nobody: it gets
        the whole table when it comes back. A driver is not waited for, as its user's code may keep it busy.
        """
        pushed = {member.push(table, body): member for member in self.all() if member.wants(table)}
        told = {applied: member for applied, member in pushed.items() if member.kind != "driver"}
        if not told:
            return
        _, silent = await asyncio.wait(told, timeout=patience)
        for applied in silent:
            logger.warning("%s did not take in %s within %g s", told[applied].name, table, patience)
            told[applied].cut_off("silent", f"a push of {table} was not applied within {patience:g} s")

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
