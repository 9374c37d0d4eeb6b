"""Exporters run in threads of their own, so that one that blocks or fails disturbs nobody."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from llmgine.telemetry import Span
from llmgine.telemetry.exporters import Exporter

BATCH_SPANS = 512
IDLE_SECONDS = 0.5

logger = logging.getLogger(__name__)


class ExportThread:
    """One exporter behind a bounded queue; what does not fit, and what it failed on, is counted."""

    def __init__(self, exporter: Exporter, capacity: int, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self.exporter = exporter
        self.exported = 0
        self.failed = 0  # spans that were lost with an exception of the exporter
        self.dropped = 0  # spans that found the queue full
        self.last_error = ""
        self._capacity = capacity
        self._idle_seconds = idle_seconds
        self._queue: deque[Span] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._closing = False
        self._thread: threading.Thread | None = None

    def put(self, spans: Sequence[Span]) -> None:
        """Hand over spans; never waits."""
        with self._changed:
            room = 0 if self._closing else self._capacity - len(self._queue)
            self._queue.extend(spans[:room])
            self.dropped += max(0, len(spans) - room)
            if self._thread is None and not self._closing:
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
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            self._guarded(self.exporter.close)
            return True
        thread.join(timeout)
        if not thread.is_alive():
            return True
        with self._changed:
            self.dropped += len(self._queue)
            self._queue.clear()
        return False

    def counters(self) -> dict[str, int | str]:
        return {
            "exporter": self.exporter.name,
            "exported": self.exported,
            "failed": self.failed,
            "dropped": self.dropped,
            "waiting": len(self._queue),
            "last_error": self.last_error,
        }

    def _run(self) -> None:
        idle = True
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                woken = self._changed.wait_for(
                    lambda: self._queue or self._closing, None if idle else self._idle_seconds
                )
                spans = [self._queue.popleft() for _ in range(min(BATCH_SPANS, len(self._queue)))]
                self._busy = True
            if spans:
                idle = False
                self._export(spans)
            elif not woken:
                idle = True
                self._guarded(self.exporter.idle)
            else:
                break
        self._guarded(self.exporter.close)
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _export(self, spans: list[Span]) -> None:
        try:
            self.exporter.export(spans)
            self.exported += len(spans)
        except Exception as error:  # an exporter may fail in any way
            self.failed += len(spans)
            self._note(error)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # an exporter may fail in any way
            self._note(error)

    def _note(self, error: Exception) -> None:
        if not self.last_error:
            logger.warning("exporter %s fails: %s", self.exporter.name, error)
        self.last_error = f"{type(error).__name__}: {error}"[:500]
