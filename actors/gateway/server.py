"""The HTTP server of the gateway: uvicorn on the loop that runs, with bounds on what a client may do.

Uvicorn bounds neither how long a head may take to come nor how long an answer may stay unread, nor how
many connections may stand; the protocol here does.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import socket
import sys
from collections.abc import Generator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from llmgine.actors.gateway.errors import PortTaken
from llmgine.actors.gateway.options import DEFAULT_PORT, GatewayOptions
from llmgine.actors.gateway.tally import Tally

logger = logging.getLogger(__name__)

_BACKLOG = 256
# Seconds in which who reads a body may tell that it is late, before its connection is cut.
_SLACK = 5.0


class HttpServer:
    """Serves an application from `start` to `stop`; `tally` counts whom it had to cut off."""

    def __init__(self, application: Any, options: GatewayOptions, tally: Tally | None = None) -> None:
        self._application = application
        self._options = options
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.tally = tally or Tally()

    async def start(self, port: int | None = None) -> int:
        """Listens; the port that it does. `port` goes before the settings'; `PortTaken` where it is."""
        taken = listening(self._options, port)
        options, counts = self._options, self.tally

        class Protocol(_GuardedProtocol):
            bounds = options
            tally = counts

        config = uvicorn.Config(
            self._application,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=options.max_head,
            timeout_keep_alive=options.idle_timeout,  # type: ignore[arg-type]  # seconds, given to call_later
            backlog=_BACKLOG,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[taken]), name="gateway http")
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
                raise RuntimeError("the HTTP server ended before it had begun")
            await asyncio.sleep(0)
        return int(taken.getsockname()[1])

    async def stop(self, grace: float) -> None:
        """Takes nothing new, and lets what is under way end for `grace` seconds."""
        server, serving = self._server, self._serving
        self._server = self._serving = None
        if server is None or serving is None:
            return
        server.config.timeout_graceful_shutdown = grace  # type: ignore[assignment]  # given to wait_for
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)


def listening(options: GatewayOptions, port: int | None = None) -> socket.socket:
    """A socket that is bound as the settings say; `PortTaken` where somebody else has the port."""
    wanted = options.port if port is None else port
    try:
        return _bound(options.host, DEFAULT_PORT if wanted is None else wanted)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and wanted is None:
            return _bound(options.host, 0)
        raise PortTaken(
            f"the gateway cannot listen on {options.host} port {wanted or DEFAULT_PORT}: {error.strerror}; "
            f"set gateway.port to another, or leave it out for any that is free"
        ) from None


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are for the process, which is not the server's."""
        yield


class _GuardedProtocol(H11Protocol):
    """One connection. A head that is late, and an answer that stays unread, end it."""

    bounds: GatewayOptions
    tally: Tally

    _head_timer: asyncio.TimerHandle | None = None
    _body_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _unread: int = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.logger = logger
        if len(self.connections) > self.bounds.max_connections:
            self.tally.add("connections_refused")
            self._refuse(503, "not_ready", "the gateway has as many connections as it takes")
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        else:
            self._cancel_head()
        if self.conn.their_state is not h11.SEND_BODY:
            self._cancel_body()
        elif self._body_timer is None:
            # Of a body that a route does not read, nobody else would notice that it never ends.
            self._body_timer = self.loop.call_later(self.bounds.body_timeout + _SLACK, self._endless)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._expect_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def send_400_response(self, msg: str) -> None:
        """In the shape of all refusals; what is too long is told apart from what is malformed."""
        self.tally.add("malformed")
        error = sys.exception()
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431:
            self._refuse(431, "too_large", f"the head has more than {self.bounds.max_head} bytes")
        else:
            self._refuse(400, "malformed_request", "this is no HTTP request")

    def _expect_head(self) -> None:
        if self._head_timer is None and self.timeout_keep_alive_task is None:
            self._head_timer = self.loop.call_later(self.bounds.head_timeout, self._late)

    def _cancel_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cancel_body(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _stop_timers(self) -> None:
        self._cancel_head()
        self._cancel_body()
        if self._write_timer is not None:
            self._write_timer.cancel()

    def _late(self) -> None:
        self._head_timer = None
        if not self.conn.trailing_data[0]:
            self.transport.close()  # it has asked for nothing, and expects no answer
            return
        self.tally.add("slow_heads")
        self._refuse(408, "too_slow", f"the head took longer than {self.bounds.head_timeout:g} s")

    def _endless(self) -> None:
        self._body_timer = None
        self.tally.add("slow_bodies")
        self.transport.abort()

    def _expect_reading(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(self.bounds.write_timeout, self._still_unread)

    def _still_unread(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread:
            self._expect_reading()  # it reads, however much there is to read
            return
        self._write_timer = None
        self.tally.add("slow_readers")
        self.transport.abort()

    def _refuse(self, status: int, kind: str, message: str) -> None:
        """Answers where no answer has begun, and closes the connection."""
        self._stop_timers()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": {"type": kind, "message": message, "hint": ""}}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            for event in (
                h11.Response(status_code=status, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
