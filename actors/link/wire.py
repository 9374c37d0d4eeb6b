"""A wire over a socket: authenticates, cuts bytes into frames, notices a silent peer."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import Final, cast

from llmgine.actors.link.auth import MAX_BODY_BYTES, Handshake, Party
from llmgine.actors.link.errors import (
    AuthenticationFailed,
    FrameTooLarge,
    LinkBroken,
    LinkError,
    MalformedFrame,
)
from llmgine.actors.link.frames import LONGEST_SIGN_OF_LIFE, PING, PING_BODY, PONG, Splitter, framed
from llmgine.actors.link.interfaces import Sink
from llmgine.actors.link.options import LinkOptions

WRITE_BUFFER_HIGH: Final = 1024 * 1024
WRITE_BUFFER_LOW: Final = 256 * 1024


class SocketWire(asyncio.Protocol):
    """A `Wire` over one socket, on the loop that serves it.

    `on_end` is called exactly once with None when the peer is authenticated, or with the error that
    prevented it. Before that nothing but the four small bodies of the handshake is accepted.
    """

    def __init__(
        self,
        handshake: Handshake,
        options: LinkOptions,
        counters: Counter[str],
        on_end: Callable[[SocketWire, LinkError | None], None],
    ) -> None:
        self._handshake = handshake
        self._options = options
        self._counters = counters
        self._on_end: Callable[[SocketWire, LinkError | None], None] | None = on_end
        self._loop = asyncio.get_running_loop()
        self._splitter = Splitter(MAX_BODY_BYTES)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._party: Party | None = None
        self._sink: Sink | None = None
        self._early: list[bytes] = []
        self._paused = False
        self._lost: str | None = None
        self._reason = "the peer closed the connection"
        self._ending = False
        self._heard = True
        self._silent_ticks = 0
        self._ticks_allowed = max(1, math.ceil(options.silence_limit / options.ping_idle))

    # --- for the connection

    @property
    def peer(self) -> Party:
        if self._party is None:
            raise LinkError("the wire is not authenticated yet")
        return self._party

    def attach(self, sink: Sink) -> None:
        self._sink = sink
        bodies, self._early = self._early, []
        if bodies:
            sink.frames(bodies)
        if self._paused:
            sink.paused(True)
        if self._lost is not None:
            self._loop.call_soon(sink.lost, self._lost)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self, error: LinkError | None = None) -> None:
        transport = self._transport
        if error is not None:
            self._fail(error)
        elif transport is not None and not transport.is_closing():
            self._ending = True
            self._reason = "this side closed the connection"
            transport.close()
            self._set_timer(self._options.linger, transport.abort)

    # --- what the loop reports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = self._transport = cast(asyncio.Transport, transport)  # uvloop's lacks the base
        if self._ending:  # given up before the connection was there
            transport.abort()
            return
        transport.set_write_buffer_limits(high=WRITE_BUFFER_HIGH, low=WRITE_BUFFER_LOW)
        self._set_timer(self._options.authentication_timeout, self._on_deadline)
        first = self._handshake.start()
        if first is not None:
            transport.write(framed(first))

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._ending:
            return
        try:
            if self._party is None and not self._authenticate(data):
                return
            bodies = self._splitter.feed(b"" if self._on_end is not None else data)
        except (MalformedFrame, AuthenticationFailed) as error:
            self._fail(error)
            return
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end(self, None)
        if bodies:
            self._deliver(bodies)

    def pause_writing(self) -> None:
        self._set_paused(True)

    def resume_writing(self) -> None:
        self._heard = True  # it reads
        self._set_paused(False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._lost = f"{type(exc).__name__}: {exc}" if exc is not None else self._reason
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            self._counters["ended_unauthenticated"] += 1
            on_end(self, LinkBroken(f"{self._lost} during authentication; do both sides have one secret?"))
        elif self._sink is not None:
            self._sink.lost(self._lost)

    # --- inside

    def _authenticate(self, data: bytes) -> bool:
        body = self._splitter.first(data)
        while body is not None:
            answer = self._handshake.receive(body)
            if answer is not None:
                self.write(framed(answer))
            if self._handshake.peer is not None:
                self._party = self._handshake.peer
                self._splitter.limit = self._options.max_frame_bytes
                self._set_timer(self._options.ping_idle, self._tick)
                return True
            body = self._splitter.first(b"")
        return False

    def _deliver(self, bodies: list[bytes]) -> None:
        if min(map(len, bodies)) <= LONGEST_SIGN_OF_LIFE:
            if PING_BODY in bodies and not self._paused:
                self.write(PONG)
            bodies = [body for body in bodies if len(body) > LONGEST_SIGN_OF_LIFE]
        if self._sink is None:
            self._early += bodies
        else:
            self._sink.frames(bodies)

    def _tick(self) -> None:
        # Ticks, not seconds: a loop that was held up must not take its own absence for the peer's.
        self._silent_ticks = 0 if self._heard else self._silent_ticks + 1
        self._heard = False
        if self._silent_ticks > self._ticks_allowed:
            self._fail(LinkBroken(f"the peer was silent for {self._options.silence_limit:g} s"), "silent")
            return
        if self._silent_ticks:
            self.write(PING)
        self._set_timer(self._options.ping_idle, self._tick)

    def _on_deadline(self) -> None:
        limit = self._options.authentication_timeout
        self._fail(
            AuthenticationFailed(f"the peer did not prove itself within {limit:g} s"), "late_authentication"
        )

    def _fail(self, error: LinkError, counter: str | None = None) -> None:
        self._ending = True
        self._count(error, counter)
        self._reason = str(error)
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end(self, error)
        if self._transport is not None:
            self._transport.abort()

    def _count(self, error: LinkError, counter: str | None = None) -> None:
        self._counters[counter or _COUNTERS.get(type(error), "dropped")] += 1

    def _set_paused(self, paused: bool) -> None:
        self._paused = paused
        if self._sink is not None:
            self._sink.paused(paused)

    def _set_timer(self, delay: float, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, callback)


_COUNTERS: Final[dict[type[LinkError], str]] = {
    AuthenticationFailed: "failed_authentication",
    FrameTooLarge: "too_large",
    MalformedFrame: "malformed",
    LinkBroken: "unread",
}
