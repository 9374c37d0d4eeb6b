"""Exporters run in threads of their own, so that one that blocks or fails disturbs nobody."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmgine.telemetry import Span
from llmgine.telemetry.exporters import Exporter, Taken

BATCH_SPANS: Final = 512
IDLE_SECONDS: Final = 0.5
_LONGEST_ASKED: Final = 300.0  # a receiver that asks for a longer pause than this is not believed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How spans are offered again that could not be taken: pauses double from `first` to `longest`.

    Nothing is offered again once its first offer was `seconds` ago.
    """

    seconds: float = 60.0
    first: float = 0.5
    longest: float = 8.0

    def pause(self, failures: int, asked: float | None, jitter: float) -> float:
        """Seconds until the next offer, never less than the receiver asked for; `jitter` from 0 to 1."""
        own = min(self.longest, self.first * 2.0 ** min(failures - 1, 30)) * (0.75 + jitter / 2)
        return max(own, min(asked or 0.0, _LONGEST_ASKED))


class ExportThread:
    """One exporter behind a bounded queue, and exact books of what became of every span.

    What was handed over is `exported`, `failed` (refused, or not taken in time), `dropped` (found the
    queue full, or the end came before it was its turn), or still waits.
    """

    def __init__(
        self,
        exporter: Exporter,
        capacity: int,
        *,
        patience: Patience = Patience(),
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.exporter = exporter
        self.exported = 0
        self.failed = 0
        self.dropped = 0
        self.retries = 0  # how often spans were offered again
        self.last_error = ""
        self._capacity = capacity
        self._patience = patience
        self._idle_seconds = idle_seconds
        self._queue: deque[Span] = deque()
        self._under_way: Sequence[Span] = ()
        self._changed = threading.Condition()
        self._busy = False
        self._ends: float | None = None  # by when all must be done; None while it is open
        self._abandoned = False
        self._thread: threading.Thread | None = None

    def put(self, spans: Sequence[Span]) -> None:
        """Hand over spans; never waits."""
        with self._changed:
            room = 0 if self._ends is not None else self._capacity - len(self._queue)
            self._queue.extend(spans[:room])
            self.dropped += max(0, len(spans) - room)
            if self._thread is None and self._ends is None:
                name = f"export to {self.exporter.name}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait, in the calling thread, until all that was handed over has been exported or has failed."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._busy, timeout)

    def close(self, timeout: float) -> bool:
        """Export what is queued and end; False, and the rest counted as dropped, if that takes too long."""
        with self._changed:
            self._ends = time.monotonic() + timeout
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            self._guarded(self.exporter.close)
            return True
        thread.join(timeout)
        if not thread.is_alive():
            return True
        with self._changed:
            self._abandoned = True
            self.dropped += len(self._queue) + len(self._under_way)
            self._queue.clear()
            self._under_way = ()
            self._changed.notify_all()
        return False

    def counters(self) -> dict[str, Any]:
        with self._changed:
            return {
                "exporter": self.exporter.name,
                "exported": self.exported,
                "failed": self.failed,
                "dropped": self.dropped,
                "retries": self.retries,
                "waiting": len(self._queue) + len(self._under_way),
                "last_error": self.last_error,
            }

    def _run(self) -> None:
        idle = True
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                woken = self._changed.wait_for(
                    lambda: self._queue or self._ends is not None, None if idle else self._idle_seconds
                )
                spans = [self._queue.popleft() for _ in range(min(BATCH_SPANS, len(self._queue)))]
                self._under_way = spans
                self._busy = True
            if spans:
                idle = False
                self._offer(spans)
            elif not woken:
                idle = not self._guarded(self.exporter.idle)
            else:
                break
        self._guarded(self.exporter.close)
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _offer(self, spans: Sequence[Span]) -> None:
        """Offers the spans until all are taken or refused, or patience ends."""
        began, failures = time.monotonic(), 0
        while spans:
            try:
                taken = self.exporter.export(spans) or Taken()
            except Exception as error:  # an exporter may fail in any way
                self._note(f"{type(error).__name__}: {error}")
                taken = Taken(refused=len(spans))
            if taken.reason:
                self._note(taken.reason)
            self._book(len(spans) - len(taken.again) - taken.refused, taken.refused, taken.again)
            spans = taken.again
            if not spans:
                return
            failures += 1
            pause = self._patience.pause(failures, taken.after, random.random())
            if time.monotonic() - began >= self._patience.seconds or not self._wait(pause):
                self._book(0, len(spans), ())
                return
            self.retries += 1

    def _book(self, exported: int, failed: int, left: Sequence[Span]) -> None:
        with self._changed:
            if not self._abandoned:  # else the end has counted them already
                self.exported += exported
                self.failed += failed
                self._under_way = left

    def _wait(self, pause: float) -> bool:
        """Whether another offer can be made after so many seconds; the end may come before."""
        due = time.monotonic() + pause
        with self._changed:
            while (left := due - time.monotonic()) > 0:
                if self._abandoned or (self._ends is not None and due > self._ends):
                    return False
                self._changed.wait(left)
        return True

    def _guarded(self, step: Callable[[], bool | None]) -> bool | None:
        try:
            return step()
        except Exception as error:  # an exporter may fail in any way
            self._note(f"{type(error).__name__}: {error}")
            return None

    def _note(self, reason: str) -> None:
        if not self.last_error:
            logger.warning("exporter %s: %s", self.exporter.name, reason)
        self.last_error = reason[:500]
