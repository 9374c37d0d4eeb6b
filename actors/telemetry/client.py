"""How a process ships what it records to the telemetry actor.

Nothing here raises into the application or makes it wait. While the telemetry actor is away the
recorder's ring keeps what it can, and what it cannot keep is counted and told in the next batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

from llmgine.actors.link import Connection, NotSendable, Stream
from llmgine.telemetry import Batch, SpanRecorder, TelemetryOptions

SPANS = "spans"  # the stream's kind; its header is [source, instance, records that have arrived]
HELLO = "hello"  # [HELLO, the telemetry actor's instance]
ACK = "ack"  # [ACK, number of the last batch taken]
REFUSED = "refused"  # [REFUSED, reason]: the batch after the last acknowledged one cannot be read

BATCH_RECORDS = 256
METRICS_SECONDS = 1.0  # metrics travel whole, so they go less often than spans
WINDOW = 8  # batches that wait for their acknowledgement; they are sent again after a break
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0

logger = logging.getLogger(__name__)


class Connects(Protocol):
    """As much of a `Peer` as shipping needs."""

    async def connection(self) -> Connection: ...


class TelemetryShipper:
    """Ships a recorder's batches over one stream: at `flush_count` records, each `flush_seconds`, on `flush`.

    Metrics that have changed go along each second, and on `flush`.

    `start` and everything after belong to one loop; the recorder may be used from any thread.
    """

    def __init__(
        self,
        recorder: SpanRecorder,
        peer: Connects,
        options: TelemetryOptions | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.recorder = recorder
        self._peer = peer
        self._options = options or TelemetryOptions()
        self._sleep = sleep
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._stream: Stream | None = None
        self._unacknowledged: deque[Batch] = deque()
        self._sent = 0  # how many of these have been sent on the present stream
        self._last = 0  # number of the last batch drained
        self._arrived = 0  # records that were acknowledged
        self._reopen = False
        self._flushes: list[_Flush] = []
        self._server: int | None = None
        self._failures = 0
        self._metrics_due = 0.0
        self.breaks = 0  # how often the telemetry actor could not be reached or was lost
        self.discarded = 0  # records of batches that could not travel
        self.last_error = ""

    def start(self) -> None:
        """Begin to ship, on the running loop."""
        if self._task is None:
            loop = asyncio.get_running_loop()
            self.recorder.notify_at(self._options.flush_count, lambda: self._notify(loop))
            self._task = loop.create_task(self._run(), name=f"ship telemetry of {self.recorder.source}")

    async def flush(self, timeout: float = 2.0) -> bool:
        """Whether all that was recorded before this call has reached the telemetry actor in time."""
        if self._task is None or self._task.done():
            return False
        flush = _Flush(asyncio.get_running_loop().create_future())
        self._flushes.append(flush)
        self._wake.set()
        try:
            async with asyncio.timeout(timeout):
                await flush.future
            return True
        except TimeoutError:
            return False
        finally:
            if flush in self._flushes:
                self._flushes.remove(flush)

    async def close(self, timeout: float = 2.0) -> bool:
        """Flush, say farewell, and stop; whether everything has arrived."""
        arrived = await self.flush(timeout)
        if self._stream is not None:
            self._stream.finish()
        tasks = [task for task in (self._task, self._reader) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = self._reader = self._stream = None
        return arrived

    def counters(self) -> dict[str, int]:
        """Where this process's records stand."""
        return {
            "waiting": self.recorder.pending,
            "unacknowledged": sum(len(batch.spans) for batch in self._unacknowledged),
            "lost": self.recorder.lost,
            "discarded": self.discarded,
            "breaks": self.breaks,
        }

    def _notify(self, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended; the ring keeps the records
            loop.call_soon_threadsafe(self._wake.set)

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._options.flush_seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._ship()
            except Exception as error:  # whatever the peer raises: the application goes on without telemetry
                self._failed(error)
            if self._failures:
                await self._sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures - 1, 10)))

    async def _ship(self) -> None:
        self._fill()
        if self._reopen:
            await self._open()  # also with nothing to say: a source that stays away is taken for dead
        while self._sent < len(self._unacknowledged):
            stream = self._stream or await self._open()
            batch = self._unacknowledged[self._sent]
            self._sent += 1
            await self._send(stream, batch)
            self._fill()

    async def _send(self, stream: Stream, batch: Batch) -> None:
        """Sends a batch, in parts where it is too large; a record that cannot travel goes alone."""
        parts = [batch]
        while parts:
            part = parts.pop()
            try:
                await stream.send(part.pack())
            except (NotSendable, OverflowError, TypeError, ValueError) as error:
                if not part.spans:
                    self._discard(batch, error)
                    return
                if len(part.spans) == 1:
                    self._lose(1, error)
                parts += _halves(part)

    def _fill(self) -> None:
        while len(self._unacknowledged) < WINDOW:
            batch = self.recorder.drain(BATCH_RECORDS, metrics=self._with_metrics())
            if batch is None:
                for flush in self._flushes:
                    if flush.target is None:
                        flush.target = self._last
                break
            self._last = batch.number
            self._unacknowledged.append(batch)
        self._settle()

    def _with_metrics(self) -> bool:
        """Whether the next batch takes metrics along."""
        now = time.monotonic()
        due = now >= self._metrics_due or bool(self._flushes)
        if due:
            self._metrics_due = now + METRICS_SECONDS
        return due

    async def _open(self) -> Stream:
        connection = await self._peer.connection()
        stream = connection.open(SPANS, [self.recorder.source, self.recorder.instance, self._arrived])
        self._stream, self._sent, self._reopen = stream, 0, False
        self._reader = asyncio.create_task(self._read(stream), name="read acknowledgements of telemetry")
        return stream

    async def _read(self, stream: Stream) -> None:
        try:
            async for message in stream:
                self._told(message)
            raise ConnectionError("the telemetry actor ended the stream")
        except Exception as error:  # the same for a break, a reset and an end: begin anew
            if self._stream is stream:
                self._failed(error)
                self._wake.set()

    def _told(self, message: Any) -> None:
        kind, value = message
        if kind == HELLO:
            if self._server not in (None, value):
                self.recorder.metrics.ship_all()  # another life of the telemetry actor knows none of them
            self._server = value
        elif kind == ACK:
            self._failures = 0
            was_full = len(self._unacknowledged) == WINDOW
            while self._unacknowledged and self._unacknowledged[0].number <= value:
                self._arrived += len(self._unacknowledged.popleft().spans)
                self._sent = max(0, self._sent - 1)
            self._settle()
            if self._flushes or was_full:
                self._wake.set()
        elif kind == REFUSED and self._unacknowledged:
            self._discard(self._unacknowledged[0], value)

    def _settle(self) -> None:
        arrived = self._unacknowledged[0].number - 1 if self._unacknowledged else self._last
        for flush in self._flushes:
            if flush.target is not None and flush.target <= arrived and not flush.future.done():
                flush.future.set_result(None)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self.breaks += 1
        self.last_error = f"{type(error).__name__}: {error}"
        if self._failures == 1:
            logger.info("%s: telemetry is not reached: %s", self.recorder.source, self.last_error)
        stream, self._stream, self._sent = self._stream, None, 0
        self._reopen = True
        if stream is not None:
            stream.reset("broken")

    def _discard(self, batch: Batch, reason: object) -> None:
        self._lose(len(batch.spans), reason)
        self._unacknowledged.remove(batch)
        self._sent = max(0, self._sent - 1)
        self.recorder.metrics.ship_all()
        self._settle()

    def _lose(self, records: int, reason: object) -> None:
        logger.warning("%s: %d records cannot travel: %s", self.recorder.source, records, reason)
        self.discarded += records


def _halves(batch: Batch) -> list[Batch]:
    """The batch in two, the later part first; of one record nothing is left but what goes with it.

    The earlier part bears the number of the batch before, so that only the whole is acknowledged.
    """
    middle = len(batch.spans) // 2
    earlier = replace(batch, number=max(0, batch.number - 1), spans=batch.spans[:middle], metrics=())
    rest = batch.spans[middle:] if middle else ()
    later = replace(batch, first=batch.next - len(rest), spans=rest)
    return [later, earlier] if middle else [later]


class _Flush:
    """Someone who waits until batch `target` is acknowledged; known once all was drained."""

    __slots__ = ("future", "target")

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future
        self.target: int | None = None
