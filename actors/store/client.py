"""How a process writes to the store and asks it.

Batches are written in the order in which they were handed over, each once in effect: what was not
acknowledged is sent again with its number after a break, and the store knows what it has committed.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from llmgine.actors.link import LinkError, NotSendable, Stream
from llmgine.actors.store import wire
from llmgine.actors.store.asking import BusReader, Connects, SessionReader, closed
from llmgine.actors.store.coding import to_wire
from llmgine.actors.store.errors import OperationRefused, StoreError, StoreUnavailable, error_of
from llmgine.actors.store.operations import Operation

logger = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0

Done = Callable[[], None]
Failed = Callable[[StoreError], None]


class StoreClient(BusReader, SessionReader):
    """One writer and reader, on the running loop; `away` says why nothing is written now, None when it is.

    A question or a `write` that has no answer within `timeout` seconds raises `StoreUnavailable`.
    """

    def __init__(
        self,
        peer: Connects,
        *,
        timeout: float = 5.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(peer, timeout)
        self.away: str | None = None
        self._sleep = sleep
        self._instance = secrets.randbits(63)
        self._tickets = itertools.count(1)
        self._unsent: deque[_Batch] = deque()
        self._sent: deque[_Batch] = deque()
        self._stream: Stream | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._progress = False  # whether the present stream has settled anything

    async def write(self, operations: Sequence[Operation], *, timeout: float | None = None) -> None:
        """Returns once the operations are committed, together.

        After `StoreUnavailable` they may still be, unless an operation that follows undoes them.
        """
        limit = self._timeout if timeout is None else timeout
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        batch = self._hand_over(
            operations, lambda: _resolve(future, None), lambda error: _resolve(future, error)
        )
        try:
            async with asyncio.timeout(limit):
                await future
        except TimeoutError:
            if batch in self._unsent:
                self._unsent.remove(batch)
            why = self.away or "it does not answer"
            raise StoreUnavailable(
                f"the store has not committed within {limit:g} s: {why}; `llmgine status` shows its state"
            ) from None

    def write_soon(self, operations: Sequence[Operation], on_done: Done, on_failed: Failed) -> None:
        """Commit the operations together, as soon as the store can; one of the two is called, on this loop.

        `on_failed` is called only where these operations will never be written through this client; a
        store that is away is waited for. How much may wait is up to the caller.
        """
        self._hand_over(operations, on_done, on_failed)

    async def flush(self, timeout: float) -> bool:
        """Whether everything handed over is settled within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while waiting := [*self._sent, *self._unsent]:
                    await waiting[-1].settled.wait()
            return True
        except TimeoutError:
            return False

    async def close(self, timeout: float = 0.0) -> bool:
        """Wait for what was handed over, and stop; whether everything was settled. The rest has failed."""
        flushed = await self.flush(timeout) if timeout else not (self._sent or self._unsent)
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        left = [*self._sent, *self._unsent]
        self._sent.clear()
        self._unsent.clear()
        for batch in left:
            batch.fail(StoreUnavailable("the store's client was closed before the store had answered"))
        return flushed

    def _hand_over(self, operations: Sequence[Operation], done: Done, failed: Failed) -> _Batch:
        if self._closed:
            raise closed()
        batch = _Batch([to_wire(operation) for operation in operations], done, failed)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="write to the store")
        if self._stream is None or self._unsent or not self._try_send(self._stream, batch):
            self._unsent.append(batch)
            self._wake.set()
        return batch

    def _try_send(self, stream: Stream, batch: _Batch) -> bool:
        """Whether the batch is dealt with: sent, or not sendable at all."""
        if not batch.ticket:
            batch.ticket = next(self._tickets)
        try:
            sent = stream.try_send([batch.ticket, batch.operations])
        except LinkError as error:
            if isinstance(error, NotSendable):
                batch.fail(OperationRefused(f"too much for one message: {error}"))
                return True
            return False
        if sent:
            self._sent.append(batch)
        return sent

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            while not self._sent and not self._unsent:
                self._wake.clear()
                await self._wake.wait()
            self._progress = False
            try:
                await self._talk()
            except Exception as error:  # whatever the peer raises, the next attempt may do better
                # While nothing waits, nobody misses it: a store that leaves first is no trouble.
                if self._sent or self._unsent:
                    if self.away is None:
                        logger.warning("the store is away: %s", error)
                    self.away = str(error)
            pause = _FIRST_PAUSE if self._progress else min(2 * pause, _LONGEST_PAUSE)
            await self._sleep(pause)

    async def _talk(self) -> None:
        """One stream, until it breaks: first again what was not acknowledged, then what comes."""
        connection = await self._peer.connection()
        stream = connection.open(wire.STREAM, [self._instance])
        reading = asyncio.create_task(self._read(stream), name="read acknowledgements of the store")
        reading.add_done_callback(lambda _: self._wake.set())
        again, self._sent = self._sent, deque()
        self._unsent.extendleft(reversed(again))
        try:
            while not reading.done():
                self._wake.clear()
                while self._unsent:
                    if self._try_send(stream, self._unsent[0]):
                        self._unsent.popleft()
                    else:
                        await stream.ready()
                self._stream = stream
                stream.flush()
                await self._wake.wait()
            await reading
        finally:
            self._stream = None
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            stream.reset("done")

    async def _read(self, stream: Stream) -> None:
        async for message in stream:
            self._told(message)
        raise LinkError("the store ended the stream")

    def _told(self, message: Any) -> None:
        match message:
            case [wire.ACK, int(ticket)]:
                self.away, self._progress = None, True
                while self._sent and self._sent[0].ticket <= ticket:
                    self._sent.popleft().succeed()
            case [wire.REFUSED, int(ticket), str(code), str(text)]:
                self._progress = True
                for batch in [one for one in self._sent if one.ticket == ticket]:
                    self._sent.remove(batch)
                    batch.fail(error_of(code, text))
            case [wire.AWAY, str(text)]:
                self.away = text
            case [wire.BACK]:
                self.away = None


class _Batch:
    """Operations in wire form, and who waits for them; numbered when they are first sent."""

    __slots__ = ("_done", "_failed", "operations", "settled", "ticket")

    def __init__(self, operations: list[Any], done: Done, failed: Failed) -> None:
        self.ticket = 0
        self.operations = operations
        self.settled = asyncio.Event()
        self._done = done
        self._failed = failed

    def succeed(self) -> None:
        self.settled.set()
        self._done()

    def fail(self, error: StoreError) -> None:
        self.settled.set()
        self._failed(error)


def _resolve(future: asyncio.Future[None], error: StoreError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
