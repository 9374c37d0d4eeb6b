"""Who watches: each watcher has a bounded queue of changes, and is told what it missed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from llmgine.actors.link import Stream, StreamReset
from llmgine.actors.telemetry import sizes
from llmgine.telemetry import Change, Span

LIVE = "telemetry.live"
MAX_WATCHERS = 256
QUEUE_SPANS = 2000
_MESSAGE_SPANS = 500


class Watcher:
    """One who watches all sessions or one of them."""

    def __init__(self, session: str | None, capacity: int = QUEUE_SPANS) -> None:
        self.missed = 0
        self._session = session
        self._capacity = capacity
        self._waiting: deque[Span] = deque()
        self._woken = asyncio.Event()

    def put(self, spans: Iterable[Span], traces: Iterable[int] = ()) -> None:
        """Changes of any session; `traces` are those in which the watched session took part before."""
        for span in spans:
            if self._session is not None and span.session != self._session and span.trace_id not in traces:
                continue
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self.missed += 1
            self._waiting.append(span)
        if self._waiting:
            self._woken.set()

    async def take(self) -> list[Change]:
        """What has changed since, by trace, once anything has."""
        await self._woken.wait()
        wires = (span.to_wire() for span in islice(self._waiting, _MESSAGE_SPANS))
        fit, _ = sizes.fitting(wires, sizes.MAX_BYTES)
        spans = [self._waiting.popleft() for _ in range(max(1, fit))]
        if not self._waiting:
            self._woken.clear()
        traces: dict[int, list[Span]] = {}
        for span in spans:
            traces.setdefault(span.trace_id, []).append(span)
        return [
            Change(f"{trace_id:032x}", tuple(changed), self.missed) for trace_id, changed in traces.items()
        ]


class Watchers:
    """All who watch."""

    def __init__(self) -> None:
        self._watchers: dict[Watcher, str | None] = {}
        self._missed = 0  # of watchers that are gone

    def put(self, spans: Sequence[Span], traces_of: Any) -> None:
        """Tell of changes; `traces_of` gives the ids of a session's traces."""
        for watcher, session in self._watchers.items():
            watcher.put(spans, () if session is None else traces_of(session))

    async def serve(self, stream: Stream) -> None:
        """Changes of `{session: id or None}` for as long as the stream is open."""
        match stream.header:
            case {"session": str() | None as session}:
                pass
            case _:
                raise StreamReset("bad_request", "watch {session: id}, or {session: None} for all")
        if len(self._watchers) >= MAX_WATCHERS:
            raise StreamReset("overloaded", f"{MAX_WATCHERS} watch already")
        watcher = Watcher(session)
        self._watchers[watcher] = session
        try:
            await stream.send({"watching": True})
            while True:
                for change in await watcher.take():
                    await stream.send(change.to_wire())
        finally:
            del self._watchers[watcher]
            self._missed += watcher.missed

    def counters(self) -> dict[str, int]:
        return {
            "watchers": len(self._watchers),
            "missed": self._missed + sum(watcher.missed for watcher in self._watchers),
        }
