"""Many streams over one wire: frames in, frames out, whatever carries them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from llmgine.actors.link.address import Identity
from llmgine.actors.link.auth import Limits
from llmgine.actors.link.errors import LinkBroken, LinkError, MalformedFrame, StreamReset
from llmgine.actors.link.frames import CREDIT, DATA, FINISH, HEADER_BYTES, OPEN, RESET, Encoder, decode
from llmgine.actors.link.interfaces import StreamHandler, Wire
from llmgine.actors.link.options import LinkOptions
from llmgine.actors.link.streams import LinkStream

log = logging.getLogger(__name__)

FLUSH_BYTES: Final = 128 * 1024  # more than this is not held back for the end of the loop's turn
UNREAD_BYTES: Final = 16 * 1024 * 1024  # of frames that need no credit, while the peer reads nothing


class LinkConnection:
    """A `Connection` over a wire.

    What is written during one turn of the loop leaves in one piece at its end, so the first byte of an
    idle connection waits for nothing and a busy one makes few system calls.
    """

    def __init__(
        self,
        wire: Wire,
        handlers: Mapping[str, StreamHandler],
        options: LinkOptions,
        *,
        dialled: bool,
        on_lost: Callable[[LinkConnection], None] | None = None,
        tasks: set[asyncio.Task[None]] | None = None,
    ) -> None:
        self.peer: Identity = wire.peer.identity
        self.is_closed = False
        self.is_paused = False
        self.encode = Encoder(wire.peer.limits.max_frame_bytes)
        self._wire = wire
        self._handlers = handlers
        self._options = options
        self._ours = Limits.of(options)
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._lost = self._loop.create_future()
        self._streams: dict[int, LinkStream] = {}
        self._next_id = 1 if dialled else 2
        self._last_inbound = 0 if dialled else -1
        self._inbound = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._owners_tasks = self._tasks if tasks is None else tasks
        self._out: list[bytes] = []
        self._flushing = False
        self._out_bytes = 0
        self._unread_bytes = 0
        wire.attach(self)

    def __repr__(self) -> str:
        return f"<Connection with {self.peer.name!r}{' closed' if self.is_closed else ''}>"

    # --- for those who use it

    def open(self, kind: str, header: Any = None) -> LinkStream:
        if self.is_closed:
            raise LinkBroken(f"the connection with {self.peer.name!r} is closed")
        if len(self._streams) - self._inbound >= self._options.max_streams:
            raise LinkError(
                f"{self._options.max_streams} streams are open with {self.peer.name!r}; "
                "end some, or raise link.max_streams"
            )
        stream_id = self._next_id
        self.write_control((OPEN, stream_id, kind, header))
        self._next_id += 2
        return self._add(stream_id, kind, header)

    def close(self) -> None:
        if not self.is_closed:
            self.flush()
            self._break("this side closed the connection")
            self._wire.close()
            running = _current_task()
            for task in list(self._tasks):
                if task is not running:
                    task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.shield(self._lost)

    # --- for its streams

    def write(self, body: bytes) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush_at_end)
        self.hold(body)

    def hold(self, body: bytes) -> None:
        """Write with the next flush, which the caller sees to."""
        out = self._out
        size = len(body)
        out.append(size.to_bytes(HEADER_BYTES, "big"))
        out.append(body)
        self._out_bytes += size
        if self._out_bytes > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        out = self._out
        if out:
            data = b"".join(out)
            out.clear()
            self._out_bytes = 0
            self._wire.write(data)

    def _flush_at_end(self) -> None:
        self._flushing = False
        self.flush()

    def write_control(self, frame: tuple[Any, ...]) -> None:
        """Write a frame that needs no credit; a peer that reads none of many is dropped."""
        body = self.encode(frame)
        if self.is_paused:
            self._unread_bytes += len(body)
            if self._unread_bytes > UNREAD_BYTES:
                self._loop.call_soon(self._drop, LinkBroken("the peer does not read"))
        self.write(body)

    def forget(self, stream_id: int) -> None:
        if self._streams.pop(stream_id, None) is not None and self._is_inbound(stream_id):
            self._inbound -= 1

    # --- what the wire reports

    def frames(self, bodies: list[bytes]) -> None:
        if self.is_closed:
            return
        streams = self._streams
        fed: LinkStream | None = None
        try:
            for body in bodies:
                frame = decode(body)
                if frame[0] == DATA:
                    _, stream_id, message = frame
                    stream = streams.get(stream_id)
                    if stream is not fed and fed is not None:
                        fed.on_rest()
                        fed = None
                    if stream is not None:
                        fed = stream
                        stream.on_data(message, len(body))
                else:
                    self._control(frame)
            if fed is not None:
                fed.on_rest()
        except (MalformedFrame, ValueError, TypeError, IndexError) as error:
            self._drop(error)

    def paused(self, paused: bool) -> None:
        self.is_paused = paused
        self._unread_bytes = 0
        if not paused:
            for stream in list(self._streams.values()):
                stream.on_writable()

    def lost(self, reason: str) -> None:
        self._break(reason)
        if not self._lost.done():
            self._lost.set_result(None)

    # --- inside

    def _break(self, reason: str) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._out.clear()
        for stream in list(self._streams.values()):
            stream.on_broken(f"the connection with {self.peer.name!r} broke: {reason}")
        if self._on_lost is not None:
            self._on_lost(self)

    def _control(self, frame: list[Any]) -> None:
        match frame:
            case [int(kind), int(stream_id), *_] if kind != OPEN and kind in _FIELDS:
                if len(frame) != _FIELDS[kind]:
                    raise MalformedFrame(f"a frame of kind {kind} has {len(frame)} fields")
                stream = self._streams.get(stream_id)
                if stream is not None:
                    self._on_stream(stream, kind, frame)
            case [2, int(stream_id), str(kind), header]:
                self._on_open(stream_id, kind, header)
            case _:
                raise MalformedFrame("a frame of an unknown kind or with wrong fields")

    def _on_stream(self, stream: LinkStream, kind: int, frame: list[Any]) -> None:
        match kind, frame[2:]:
            case 3, [bool(gone)]:
                stream.on_finish(gone)
            case 4, [str(code), str(reason)]:
                stream.on_reset(code, reason)
            case 5, [int(messages), int(bytes_)]:
                stream.on_credit(messages, bytes_)
            case _:
                raise MalformedFrame(f"a frame of kind {kind} with wrong fields")

    def _on_open(self, stream_id: int, kind: str, header: Any) -> None:
        if not self._is_inbound(stream_id) or stream_id <= self._last_inbound:
            raise MalformedFrame(f"stream {stream_id} cannot be opened by the peer")
        self._last_inbound = stream_id
        handler = self._handlers.get(kind)
        if handler is None:
            known = ", ".join(sorted(self._handlers)) or "none"
            self._refuse(stream_id, "unknown_kind", f"{kind!r} is not served here (served: {known})")
        elif self._inbound >= self._options.max_streams:
            self._refuse(
                stream_id, "too_many_streams", f"{self._inbound} streams are open (link.max_streams)"
            )
        else:
            stream = self._add(stream_id, kind, header)
            self._inbound += 1
            task = self._loop.create_task(self._serve(handler, stream), name=f"link {kind} {self.peer.name}")
            for tasks in (self._tasks, self._owners_tasks):
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    def _refuse(self, stream_id: int, code: str, reason: str) -> None:
        self.write_control((RESET, stream_id, code, reason))

    async def _serve(self, handler: StreamHandler, stream: LinkStream) -> None:
        try:
            await handler(stream)
        except StreamReset as reset:
            stream.reset(reset.code, reset.reason)
        except LinkBroken as broken:
            stream.reset("error", f"LinkBroken: {broken}")
        except Exception as error:
            log.exception("the handler of %r failed", stream)
            stream.reset("error", f"{type(error).__name__}: {error}")
        except BaseException:
            stream.reset("cancelled", "the handler was cancelled")
            raise
        else:
            stream.leave()

    def _add(self, stream_id: int, kind: str, header: Any) -> LinkStream:
        stream = LinkStream(self, stream_id, kind, header, ours=self._ours, theirs=self._wire.peer.limits)
        self._streams[stream_id] = stream
        return stream

    def _is_inbound(self, stream_id: int) -> bool:
        return stream_id % 2 != self._next_id % 2

    def _drop(self, error: Exception) -> None:
        if self.is_closed:
            return
        reason = (
            error if isinstance(error, LinkError) else MalformedFrame(f"a frame has wrong fields: {error}")
        )
        log.warning("dropping the connection with %r: %s", self.peer.name, reason)
        self._break(f"dropped: {reason}")
        self._wire.close(reason)


_FIELDS: Final = {FINISH: 3, RESET: 4, CREDIT: 4}


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
