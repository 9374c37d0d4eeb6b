"""Live topics: each is looked at by one task for all who watch it, and told where it has changed.

A watcher holds at most one frame of each topic, the latest; who reads slowly misses what came between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter

from llmgine.actors.gateway.errors import NotFound, Refusal, TooManyRequests, Unprocessable
from llmgine.actors.gateway.failures import refusal_of
from llmgine.actors.gateway.port import GatewayPort
from llmgine.actors.gateway.shapes import (
    ApprovalRow,
    BusState,
    LetterRow,
    Overview,
    Page,
    PoolRow,
    SessionDetail,
    SessionRow,
)

logger = logging.getLogger(__name__)

SESSION = "session:"
# Rows of a list that are looked at for changes.
_ROWS = 50
_INTERVAL = 2.0
_SESSION_INTERVAL = 0.5
# However much is changed from here, a look is followed by a rest, the longer the longer it took.
_REST = 0.05
_SHARE = 4.0

Look = Callable[[GatewayPort], Awaitable[Any]]


async def _pools(port: GatewayPort) -> Page[PoolRow]:
    return Page[PoolRow](items=await port.pools())


_TOPICS: dict[str, tuple[Look, TypeAdapter[Any]]] = {
    "overview": (lambda port: port.overview(), TypeAdapter(Overview)),
    "sessions": (lambda port: port.sessions("", None, _ROWS), TypeAdapter(Page[SessionRow])),
    "bus": (lambda port: port.bus(), TypeAdapter(BusState)),
    "pools": (_pools, TypeAdapter(Page[PoolRow])),
    "approvals": (lambda port: port.approvals("pending", None, _ROWS), TypeAdapter(Page[ApprovalRow])),
    "dead-letters": (lambda port: port.letters(None, _ROWS), TypeAdapter(Page[LetterRow])),
}
TOPICS = tuple(_TOPICS)
_DETAIL: TypeAdapter[Any] = TypeAdapter(SessionDetail)


class Watching:
    """All live topics of one gateway, and who watches them."""

    def __init__(self, port: Callable[[], GatewayPort], most: int) -> None:
        self._port = port
        self._most = most
        self._looks: dict[str, _Looking] = {}
        self._watchers: set[_Watcher] = set()

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    def watch(self, topics: Iterable[str]) -> AsyncIterator[bytes]:
        """Frames of these topics, the present state of each first; closing it ends the watch.

        `Unprocessable` for what is no topic, `TooManyRequests` where as many watch as may.
        """
        named = list(dict.fromkeys(topics))
        for topic in named:
            if topic not in _TOPICS and not (topic.startswith(SESSION) and topic != SESSION):
                raise Unprocessable(
                    f"{topic[:64]!r} is no topic; there are {', '.join(TOPICS)} and {SESSION}ID"
                )
        if len(self._watchers) >= self._most:
            raise TooManyRequests(
                f"{self._most} live views are open, and no more are taken",
                hint="close one, or raise gateway.max_watchers",
                retry_after=5.0,
            )
        return self._frames(_Watcher(), named)

    def stir(self) -> None:
        """Something was changed from here: every topic that is watched is looked at now."""
        for look in self._looks.values():
            look.stir()

    def close(self) -> None:
        """Ends every watch."""
        for watcher in self._watchers:
            watcher.close()

    async def _frames(self, watcher: _Watcher, topics: list[str]) -> AsyncIterator[bytes]:
        # Not before: of an iterator that is never begun, nobody would learn that it is over.
        self._watchers.add(watcher)
        try:
            for topic in topics:
                self._look(topic).watchers.add(watcher)
                self._looks[topic].tell(watcher)
            while (frames := await watcher.next()) is not None:
                for one in frames:
                    yield one
        finally:
            self._watchers.discard(watcher)
            for topic in topics:
                look = self._looks.get(topic)
                if look is not None:
                    look.watchers.discard(watcher)
                    if not look.watchers:
                        del self._looks[topic]
                        look.end()

    def _look(self, topic: str) -> _Looking:
        look = self._looks.get(topic)
        if look is None:
            look = self._looks[topic] = _Looking(topic, self._port)
        return look


class _Watcher:
    """The latest frame of each topic that was not read yet."""

    def __init__(self) -> None:
        self._waiting: dict[str, bytes] = {}
        self._woken = asyncio.Event()
        self._closed = False

    def tell(self, topic: str, frame: bytes) -> None:
        self._waiting[topic] = frame
        self._woken.set()

    def close(self) -> None:
        self._closed = True
        self._woken.set()

    async def next(self) -> list[bytes] | None:
        """What there is once there is something; None after the end."""
        await self._woken.wait()
        if self._closed:
            return None
        self._woken.clear()
        frames, self._waiting = list(self._waiting.values()), {}
        return frames


class _Looking:
    """One topic: the task that looks, and the last that it saw."""

    def __init__(self, topic: str, port: Callable[[], GatewayPort]) -> None:
        self._topic = topic
        self._port = port
        self._last: bytes | None = None
        self._stirred = asyncio.Event()
        self.watchers: set[_Watcher] = set()
        self._task = asyncio.create_task(self._run(), name=f"look at {topic}")

    def tell(self, watcher: _Watcher) -> None:
        if self._last is not None:
            watcher.tell(self._topic, self._last)

    def stir(self) -> None:
        self._stirred.set()

    def end(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        interval = _SESSION_INTERVAL if self._topic.startswith(SESSION) else _INTERVAL
        while True:
            began = loop.time()
            self._stirred.clear()
            told = await self._told()
            if told != self._last:
                self._last = told
                for watcher in self.watchers:
                    watcher.tell(self._topic, told)
            rest = max(_REST, _SHARE * (loop.time() - began))
            await asyncio.sleep(rest)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, interval - rest)):
                    await self._stirred.wait()

    async def _told(self) -> bytes:
        """What there is to see, as a frame; an error is seen as one."""
        try:
            port = self._port()
            if self._topic in _TOPICS:
                look, shape = _TOPICS[self._topic]
                seen = await look(port)
            else:
                shape, seen = _DETAIL, await port.session(self._topic.removeprefix(SESSION))
            return _frame(self._topic, b'"data":%s' % shape.dump_json(seen))
        except Exception as error:
            return _frame(self._topic, b'"error":%s' % _refusal(error))


def _frame(topic: str, said: bytes) -> bytes:
    return b'data: {"topic":%s,%s}\n\n' % (_TEXT.dump_json(topic), said)


def _refusal(error: Exception) -> bytes:
    refusal: Refusal = refusal_of(error)
    if not isinstance(refusal, NotFound):
        logger.info("a live topic cannot be seen: %s", refusal.message)
    said = {"type": refusal.type, "message": refusal.message, "hint": refusal.hint}
    return _SAID.dump_json(said)


_TEXT: TypeAdapter[str] = TypeAdapter(str)
_SAID: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])
