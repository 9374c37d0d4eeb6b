"""What the bus had to give up, handler by handler: read, run again, discard, export."""

from __future__ import annotations

import asyncio
import json
import math
import os
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict, Unpack

from llmgine.actors.bus import BusClient, Message
from llmgine.actors.bus.errors import AskRefused, UnknownLetter
from llmgine.actors.bus.letters import REASONS, DeadLetter
from llmgine.actors.store import LetterFilter, StoreClient
from llmgine.actors.store.coding import row_to_wire
from llmgine.actors.store.operations import DropLetters
from llmgine.actors.store.rows import LetterRow
from llmgine.providers import InvalidRequest
from llmgine.runtime.checks import check_names

# There are a field and a method of these names.
Class = type[Message]
Letters = list["DeadLetter"]

# Letters read, dropped or replayed at a time.
_PAGE = 200
_AT_ONCE = 64
# How long a router that has enough replays waiting is left alone.
_BUSY = 0.2


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one replay: `handled`, and the letter is gone; or `text` says why it is still there."""

    id: str
    handled: bool
    attempts: int = 0
    text: str = ""


class LetterChoice(TypedDict, total=False):
    """What letters have in common; of one that says nothing there are all.

    `handler` is a handler's name, `type` a message class or its wire name, subclasses included, `reason`
    one of those in `DeadLetter.reason`, and `since` a time, or how long ago as a timedelta.
    """

    handler: str | None
    reason: str | None
    session: str | None
    type: Class | str | None
    since: datetime | timedelta | None


class DeadLetters:
    """`runtime.bus.dead_letters`: every message that was given up for a handler.

    Where letters can be chosen, it is by any of `handler`, `reason`, `session`, `type` and `since`, as
    `LetterChoice` explains them. Raises StoreUnavailable where the store cannot be asked.
    """

    def __init__(self, client: BusClient, store: StoreClient) -> None:
        self._client = client
        self._store = store

    async def list(
        self, *, limit: int | None = None, **which: Unpack[LetterChoice]
    ) -> AsyncIterator[DeadLetter]:
        """The letters, the newest first."""
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise InvalidRequest(f"limit={limit!r}: how many letters at most, from 0; None for all")
        async for row in self._rows(_filter(which), limit):
            yield DeadLetter.from_row(row)

    async def count(self, **which: Unpack[LetterChoice]) -> int:
        """How many letters there are."""
        return await self._store.count_letters(_filter(which))

    async def show(self, id: str) -> DeadLetter:
        """One letter with all that is known of it; raises UnknownLetter."""
        return DeadLetter.from_row(await self._row(id))

    async def replay(
        self,
        *ids: str,
        everything: bool = False,
        timeout: float = 60.0,
        **which: Unpack[LetterChoice],
    ) -> tuple[Replayed, ...]:
        """Runs letters again for the handler that failed, and says what came of each.

        Each has `timeout` seconds from its turn on. It runs as a new message, outside of its session's
        order; bus option `replay_rate` says how many a second begin.
        The letter goes where its handler succeeds; else it stays, with its attempts added.
        """
        chosen = _filter(which)
        _check_choice("replay", ids, chosen, everything)
        if not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
            raise InvalidRequest(f"timeout={timeout!r}: seconds above 0 for each letter")
        rows = [row async for row in self._chosen(ids, chosen)]
        places = asyncio.Semaphore(_AT_ONCE)
        # The oldest first, as they had come.
        return tuple(await asyncio.gather(*(self._replay(row, places, timeout) for row in reversed(rows))))

    async def discard(self, *ids: str, everything: bool = False, **which: Unpack[LetterChoice]) -> int:
        """Takes letters out of the store for good; how many that were."""
        chosen = _filter(which)
        _check_choice("discard", ids, chosen, everything)
        found = [row.id async for row in self._chosen(ids, chosen)]
        for start in range(0, len(found), _PAGE):
            await self._store.write([DropLetters(tuple(found[start : start + _PAGE]))])
        return len(found)

    async def export(self, path: str | os.PathLike[str], **which: Unpack[LetterChoice]) -> int:
        """Writes letters to a file, one JSON object a line, the newest first; how many that were.

        Messages are written as plain values, so nobody needs their classes; the letters stay. The file
        is there when it is complete.
        """
        chosen = _filter(which)
        target = Path(path)
        partial = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.partial")
        count = 0
        try:
            page: Letters = []
            await asyncio.to_thread(_begin, target, partial)
            async for row in self._rows(chosen, None):
                page.append(DeadLetter.from_row(row))
                if len(page) == _PAGE:
                    count += await asyncio.to_thread(_append, partial, page)
                    page = []
            count += await asyncio.to_thread(_append, partial, page)
            await asyncio.to_thread(partial.replace, target)
        finally:
            partial.unlink(missing_ok=True)
        return count

    # Below

    async def _rows(self, chosen: LetterFilter, limit: int | None) -> AsyncIterator[LetterRow]:
        before: int | None = None
        while limit is None or limit > 0:
            wanted = _PAGE if limit is None else min(limit, _PAGE)
            page = await self._store.letters(chosen, before=before, limit=wanted)
            for row in page.rows:
                yield row
            before = page.next
            if before is None:
                return
            if limit is not None:
                limit -= len(page.rows)

    async def _chosen(self, ids: Iterable[str], chosen: LetterFilter) -> AsyncIterator[LetterRow]:
        if ids:
            for id_ in dict.fromkeys(ids):
                yield await self._row(id_)
            return
        async for row in self._rows(chosen, None):
            yield row

    async def _row(self, id: str) -> LetterRow:
        row = await self._store.letter(id) if isinstance(id, str) else None
        if row is None:
            raise UnknownLetter(
                f"there is no dead letter {id!r}: it was replayed, discarded or dropped for its age;"
                " `llmgine dead-letters ls` shows those that are kept"
            )
        return row

    async def _replay(self, row: LetterRow, places: asyncio.Semaphore, timeout: float) -> Replayed:
        body = {"letter": row_to_wire(row), "token": uuid.uuid4().hex}
        async with places:
            try:
                async with asyncio.timeout(timeout):
                    answer = await self._ask(row.session, body, timeout)
            except AskRefused as error:
                return Replayed(row.id, False, row.attempts, error.text)
            except TimeoutError:
                text = f"no outcome within {timeout:g} s; it goes on, and the letter goes if it succeeds"
                return Replayed(row.id, False, row.attempts, text)
        return Replayed(row.id, answer["handled"], answer["attempts"], answer["text"])

    async def _ask(self, session: str, body: dict[str, Any], timeout: float) -> dict[str, Any]:
        while True:
            try:
                answer: dict[str, Any] = await self._client.ask(
                    "replay", body, session=session, timeout=2 * timeout
                )
                return answer
            except AskRefused as error:
                if error.kind != "busy":
                    raise
                await asyncio.sleep(_BUSY)


def _filter(which: LetterChoice) -> LetterFilter:
    check_names(which, LetterChoice, "dead letters are chosen by", InvalidRequest)
    reason, type_, since = which.get("reason"), which.get("type"), which.get("since")
    if reason is not None and reason not in REASONS:
        raise InvalidRequest(f"reason={reason!r} is none; use one of {', '.join(REASONS)}")
    name = type_.__wire_name__ if isinstance(type_, type) and issubclass(type_, Message) else type_
    texts = {"handler": which.get("handler"), "session": which.get("session"), "type": name}
    for option, text in texts.items():
        if not isinstance(text, str | None):
            or_class = " or a class of messages" if option == "type" else ""
            raise InvalidRequest(f"{option}={text!r}: a text{or_class}")
    moment = None if since is None else _since(since)
    return LetterFilter(texts["handler"], reason, texts["session"], texts["type"], moment)


def _since(since: datetime | timedelta) -> int:
    moment = datetime.now(UTC) - since if isinstance(since, timedelta) else since
    if not isinstance(moment, datetime):
        raise InvalidRequest(f"since={since!r}: a datetime with a zone, or a timedelta for how long ago")
    if moment.utcoffset() is None:
        raise InvalidRequest(
            f"since={since} has no time zone; give it one, as in datetime(..., tzinfo=timezone.utc)"
        )
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


def _check_choice(verb: str, ids: tuple[str, ...], chosen: LetterFilter, everything: bool) -> None:
    narrowed = chosen != LetterFilter()
    if ids and (narrowed or everything):
        raise InvalidRequest(f"{verb} takes letters by their ids or by what they have in common, not both")
    if not ids and not narrowed and not everything:
        raise InvalidRequest(
            f"{verb} which letters? name their ids or what they have in common; everything=True means all"
        )
    if everything and narrowed:
        raise InvalidRequest(f"{verb}: everything=True means all letters; leave the rest out")


def _begin(target: Path, partial: Path) -> None:
    """Nobody else may read it: it holds what was published."""
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise InvalidRequest(f"{target}: name a file, in a folder that exists")
    partial.touch(0o600)


def _append(path: Path, letters: Iterable[DeadLetter]) -> int:
    lines = [json.dumps(letter.to_json(), allow_nan=False) + "\n" for letter in letters]
    with path.open("a", encoding="ascii") as file:
        file.writelines(lines)
    return len(lines)
