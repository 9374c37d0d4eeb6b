"""What the rooms above code against, and the seam below a connection: wires and their sinks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

from llmgine.actors.link.address import Address, Identity
from llmgine.actors.link.auth import Party
from llmgine.actors.link.errors import LinkError


class Stream(Protocol):
    """One exchange of messages in both directions, each in order, bounded by the receiver's credit."""

    @property
    def kind(self) -> str: ...

    @property
    def header(self) -> Any: ...

    @property
    def peer(self) -> Identity: ...

    @property
    def is_closed(self) -> bool:
        """Both directions are over, whatever the reason; what arrived before can still be received."""

    async def send(self, message: Any) -> None:
        """Send any msgpack value; waits for credit; raises `LinkBroken` or `StreamReset`."""

    def try_send(self, message: Any, *, hold: bool = False) -> bool:
        """Send now, or return False when there is no credit; never waits.

        With `hold` it leaves with the `flush` that the caller promises, or before.
        """

    def flush(self) -> None:
        """Let what was sent over this connection leave now, not at the end of the loop's turn."""

    async def ready(self) -> None:
        """Wait until `try_send` would succeed."""

    def finish(self) -> None:
        """Nothing more comes from this side; what the peer sends can still be received."""

    def reset(self, code: str, reason: str = "") -> None:
        """Give up both directions; does nothing on a stream that is over."""

    async def receive(self) -> Any:
        """The next message; raises `EndOfStream` when the peer has finished."""

    def receive_nowait(self) -> Any:
        """The next message if it is here; raises `StreamEmpty` when it is not."""

    async def each(self, take: Callable[[Any], None], rest: Callable[[], None] | None = None) -> None:
        """Give every message to `take` in the very turn in which it arrives, in place of `receive`.

        `rest` follows the last of those that came together. Returns when the peer has finished; raises
        what a break or a reset raises, and whatever one of the two has raised.
        """

    async def wait_closed(self) -> None:
        """Wait until both directions are over, whatever the reason."""

    def __aiter__(self) -> AsyncIterator[Any]:
        """Messages until the peer has finished; a break or a reset raises."""


# Runs as one task per stream that the peer opened; the stream is over when it returns. An exception that
# escapes it resets the stream with code "error"; a StreamReset that it raises keeps its own code.
StreamHandler = Callable[[Stream], Awaitable[None]]


class Connection(Protocol):
    """Many streams with one peer; either side may open them."""

    @property
    def peer(self) -> Identity: ...

    @property
    def is_closed(self) -> bool: ...

    def open(self, kind: str, header: Any = None) -> Stream:
        """A new stream, at once; whether the peer serves this kind shows on the stream.

        Who opens a stream ends it: by `finish` and reading to the end, or by `reset`.
        """

    def close(self) -> None:
        """End after sending what is written; streams raise `LinkBroken`, handlers here are cancelled."""

    async def wait_closed(self) -> None:
        """Wait until the connection is gone, whatever the reason; after `close` until all is sent."""


class Endpoint(Protocol):
    """A listening mailbox."""

    @property
    def address(self) -> Address: ...

    @property
    def connections(self) -> Collection[Connection]: ...

    @property
    def counters(self) -> Mapping[str, int]:
        """How many connections were accepted, and how many were dropped for which reason."""

    async def close(self) -> None:
        """Stop listening, end the connections; handlers have ended and all is sent when this returns."""


class Transport(Protocol):
    """How processes, or parts of one, reach each other."""

    async def listen(self, identity: Identity, handlers: Mapping[str, StreamHandler]) -> Endpoint: ...

    async def dial(
        self,
        address: Address,
        identity: Identity,
        handlers: Mapping[str, StreamHandler] = ...,
        *,
        timeout: float = 5.0,
    ) -> Connection: ...


class Sink(Protocol):
    """Takes what a wire brings; all calls come on one loop."""

    def frames(self, bodies: list[bytes]) -> None: ...

    def paused(self, paused: bool) -> None:
        """Whether the wire's buffer is full."""

    def lost(self, reason: str) -> None:
        """The wire is gone; nothing follows."""


class Wire(Protocol):
    """An authenticated, ordered carrier of frames that notices a silent peer by itself."""

    @property
    def peer(self) -> Party: ...

    def attach(self, sink: Sink) -> None:
        """Give what arrives to this sink, beginning with what has arrived already."""

    def write(self, data: bytes) -> None: ...

    def close(self, error: LinkError | None = None) -> None:
        """End after sending what is written, or at once if `error` says that the peer broke the rules."""


class WireEndpoint(Protocol):
    @property
    def address(self) -> Address: ...

    @property
    def counters(self) -> Mapping[str, int]: ...

    async def close(self) -> None:
        """Stop listening; wires that were handed over live on."""


class WireTransport(Protocol):
    """Makes wires; a transport is one of these with connections on top."""

    async def dial_wire(self, address: Address, identity: Identity, *, timeout: float) -> Wire: ...

    async def listen_wires(self, identity: Identity, accept: Callable[[Wire], None]) -> WireEndpoint: ...
