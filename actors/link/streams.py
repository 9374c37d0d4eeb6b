"""One stream: credit on the way out, a bounded inbox on the way in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from llmgine.actors.link.address import Identity
from llmgine.actors.link.auth import Limits
from llmgine.actors.link.errors import EndOfStream, LinkBroken, LinkError, StreamEmpty, StreamReset
from llmgine.actors.link.flow import ReceiveWindow, SendWindow
from llmgine.actors.link.frames import CREDIT, DATA, FINISH, RESET


class Carrier(Protocol):
    """The connection, as far as its streams see it."""

    peer: Identity
    is_paused: bool

    def encode(self, frame: Any) -> bytes: ...
    def write(self, body: bytes) -> None: ...
    def hold(self, body: bytes) -> None: ...
    def write_control(self, frame: tuple[Any, ...]) -> None: ...
    def flush(self) -> None: ...
    def forget(self, stream_id: int) -> None: ...


class Waiters:
    """Futures of those who wait for a change; each looks again by itself when woken."""

    __slots__ = ("_futures",)

    def __init__(self) -> None:
        self._futures: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures.append(future)
        try:
            await future
        finally:
            if future in self._futures:
                self._futures.remove(future)

    def wake(self) -> None:
        if self._futures:
            futures, self._futures = self._futures, []
            for future in futures:
                if not future.done():
                    future.set_result(None)


class LinkStream:
    """A `Stream` over a connection.

    Whoever opened a stream and leaves it early calls `reset`; a handler's stream is over when the
    handler returns.
    """

    __slots__ = (
        "_carrier",
        "_failure",
        "_id",
        "_inbox",
        "_over",
        "_peer_finished",
        "_receivable",
        "_rest",
        "_sendable",
        "_taker",
        "_why_no_receive",
        "_why_no_send",
        "credit",
        "header",
        "kind",
        "lent",
    )

    def __init__(
        self, carrier: Carrier, stream_id: int, kind: str, header: Any, *, ours: Limits, theirs: Limits
    ) -> None:
        self.kind = kind
        self.header = header
        self.credit = SendWindow(theirs.window_messages, theirs.window_bytes)
        self.lent = ReceiveWindow(ours.window_messages, ours.window_bytes)
        self._carrier = carrier
        self._id = stream_id
        self._inbox: deque[tuple[Any, int]] = deque()
        self._peer_finished = False
        self._over = False
        self._why_no_send: tuple[type[LinkError], tuple[str, ...]] | None = None
        self._why_no_receive: tuple[type[LinkError], tuple[str, ...]] | None = None
        self._sendable = Waiters()
        self._receivable = Waiters()
        # Who takes messages as they arrive, and what that has raised.
        self._taker: Callable[[Any], None] | None = None
        self._rest: Callable[[], None] | None = self._receivable.wake
        self._failure: Exception | None = None

    def __repr__(self) -> str:
        return f"<Stream {self.kind!r} {self._id} with {self._carrier.peer.name!r}>"

    @property
    def peer(self) -> Identity:
        return self._carrier.peer

    @property
    def is_closed(self) -> bool:
        return self._over

    # --- sending

    def try_send(self, message: Any, *, hold: bool = False) -> bool:
        if self._why_no_send is not None:
            _raise(self._why_no_send)
        carrier, credit = self._carrier, self.credit
        if credit.messages <= 0 or credit.bytes <= 0 or carrier.is_paused:
            return False
        body = carrier.encode((DATA, self._id, message))
        credit.take(len(body))
        if hold:
            carrier.hold(body)
        else:
            carrier.write(body)
        return True

    async def send(self, message: Any) -> None:
        while not self.try_send(message):
            await self._sendable.wait()

    def flush(self) -> None:
        self._carrier.flush()

    async def ready(self) -> None:
        while True:
            if self._why_no_send is not None:
                _raise(self._why_no_send)
            if self.credit.is_open and not self._carrier.is_paused:
                return
            await self._sendable.wait()

    def finish(self) -> None:
        if self._why_no_send is None:
            self._why_no_send = (LinkError, ("this side of the stream is finished",))
            self._carrier.write_control((FINISH, self._id, False))
            self._sendable.wake()
            if self._peer_finished:
                self._end()

    def reset(self, code: str, reason: str = "") -> None:
        if not self._over:
            self._carrier.write_control((RESET, self._id, code, reason[:2000]))
            self.on_reset(code, reason)

    def leave(self) -> None:
        """The handler returned: finished, and whatever still comes is not read."""
        if not self._over:
            self._carrier.write_control((FINISH, self._id, True))
            self._why_no_send = self._why_no_receive = (LinkError, ("the stream's handler has returned",))
            self._inbox.clear()
            self._end()

    # --- receiving

    def receive_nowait(self) -> Any:
        if self._inbox:
            return self._take()
        if self._why_no_receive is not None:
            _raise(self._why_no_receive)
        raise StreamEmpty("nothing has arrived yet")

    async def receive(self) -> Any:
        while not self._inbox:
            if self._why_no_receive is not None:
                _raise(self._why_no_receive)
            await self._receivable.wait()
        return self._take()

    async def each(self, take: Callable[[Any], None], rest: Callable[[], None] | None = None) -> None:
        while self._inbox:
            take(self._take())
        if rest is not None:
            rest()
        self._taker, self._rest = take, rest
        try:
            while self._failure is None and self._why_no_receive is None:
                await self._receivable.wait()
        finally:
            self._taker, self._rest = None, self._receivable.wake
        if self._failure is not None:
            raise self._failure
        why = self._why_no_receive
        if why is not None and why[0] is not EndOfStream:
            _raise(why)

    def __aiter__(self) -> LinkStream:
        return self

    async def __anext__(self) -> Any:
        if self._inbox:
            return self._take()
        try:
            return await self.receive()
        except EndOfStream:
            raise StopAsyncIteration from None

    async def wait_closed(self) -> None:
        while not self._over:
            await self._sendable.wait()

    def _take(self) -> Any:
        message, size = self._inbox.popleft()
        self._give_back(self.lent.consumed(size))
        return message

    def _give_back(self, grant: tuple[int, int] | None) -> None:
        if grant is not None and not self._peer_finished and not self._over:
            self._carrier.write_control((CREDIT, self._id, *grant))

    # --- what the connection reports

    def on_data(self, message: Any, size: int) -> None:
        if self._taker is None:
            self.lent.arrived(size)
            self._inbox.append((message, size))
            return
        grant = self.lent.passed(size)
        try:
            self._taker(message)
        except Exception as error:
            self._failed(error)
        if grant is not None:
            self._give_back(grant)

    def on_rest(self) -> None:
        """Nothing more has come with what came last."""
        if self._rest is None:
            return
        try:
            self._rest()
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Whoever takes messages takes no more."""
        self._failure = error
        self._taker, self._rest = None, self._receivable.wake
        self._receivable.wake()

    def on_credit(self, messages: int, bytes: int) -> None:
        self.credit.grant(messages, bytes)
        self._sendable.wake()

    def on_writable(self) -> None:
        self._sendable.wake()

    def on_finish(self, gone: bool) -> None:
        self._peer_finished = True
        if self._why_no_receive is None:
            self._why_no_receive = (EndOfStream, ("the peer has finished",))
        if gone:
            if self._why_no_send is None:
                self._why_no_send = (StreamReset, ("closed", "the peer's handler has returned"))
            self._end()
        elif self._why_no_send is not None:
            self._end()
        else:
            self._receivable.wake()

    def on_reset(self, code: str, reason: str) -> None:
        self._why_no_send = self._why_no_receive = (StreamReset, (code, reason))
        self._inbox.clear()
        self._end()

    def on_broken(self, reason: str) -> None:
        """The connection is gone; what had arrived can still be received."""
        broken = (LinkBroken, (reason,))
        self._why_no_send = broken
        if not self._peer_finished:
            self._why_no_receive = broken
        self._end()

    def _end(self) -> None:
        self._over = True
        self._carrier.forget(self._id)
        self._sendable.wake()
        self._receivable.wake()


def _raise(why: tuple[type[LinkError], tuple[str, ...]]) -> None:
    raise why[0](*why[1])
