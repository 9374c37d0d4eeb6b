"""One connection to a named actor, kept through its restarts and moves."""

from __future__ import annotations

import asyncio
import random as random_module
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from llmgine.actors.link.address import Address, Identity
from llmgine.actors.link.errors import LinkBroken, LinkError, PeerGone
from llmgine.actors.link.interfaces import Connection, StreamHandler, Transport

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 1.0
NO_HANDLERS: Mapping[str, StreamHandler] = {}

Hook = Callable[[Connection], None]


class Peer:
    """Keeps at most one connection to the actor `name`; dials when somebody needs it and it is not there.

    Each dial asks `resolve` again, because a restarted actor listens elsewhere. Attempts follow each other
    after a random pause of up to 20 ms, 40 ms … 1 s; after `give_up` seconds of failures those who wait get
    a `LinkError`, and the next call begins anew. `PeerGone` from `resolve` ends the attempts at once.
    `on_connect` is called with each new connection before anyone uses it, `on_break` with each that ended
    other than by `close()`; neither may raise.
    """

    def __init__(
        self,
        name: str,
        resolve: Callable[[], Awaitable[Address]],
        transport: Transport,
        identity: Identity,
        handlers: Mapping[str, StreamHandler] = NO_HANDLERS,
        *,
        give_up: float = 10.0,
        dial_timeout: float = 5.0,
        on_connect: Hook | None = None,
        on_break: Hook | None = None,
        random: Callable[[], float] = random_module.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.give_up = give_up
        self._resolve = resolve
        self._transport = transport
        self._identity = identity
        self._handlers = handlers
        self._dial_timeout = dial_timeout
        self._on_connect = on_connect
        self._on_break = on_break
        self._random = random
        self._sleep = sleep
        self._closed = False
        self._connection: Connection | None = None
        self._dialling: asyncio.Task[Connection] | None = None
        self._watching: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "connected" if self.current is not None else "not connected"
        return f"<Peer {self.name!r} {state}>"

    @property
    def current(self) -> Connection | None:
        """The connection if there is one now."""
        connection = self._connection
        return None if connection is None or connection.is_closed else connection

    async def connection(self) -> Connection:
        """The live connection; dials if there is none. All who call meanwhile share one dial."""
        if self._closed:
            raise LinkBroken(f"the peer {self.name!r} is closed on this side")
        connection = self._connection
        if connection is not None and not connection.is_closed:
            return connection
        if self._dialling is None:
            self._dialling = asyncio.create_task(self._dial(), name=f"dial {self.name}")
            self._dialling.add_done_callback(self._dialled)
        try:
            return await asyncio.shield(self._dialling)
        except asyncio.CancelledError:
            if self._closed:
                raise LinkBroken(f"the peer {self.name!r} is closed on this side") from None
            raise

    async def wait_broken(self) -> None:
        """Wait until the present connection is gone; returns at once when there is none."""
        connection = self.current
        if connection is not None:
            await connection.wait_closed()

    def close(self) -> None:
        """End the connection and every attempt to make one."""
        self._closed = True
        for task in (self._dialling, self._watching):
            if task is not None:
                task.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _dial(self) -> Connection:
        pause, last = FIRST_PAUSE, "no attempt ended"
        try:
            async with asyncio.timeout(self.give_up):
                while True:
                    try:
                        return await self._attempt()
                    except PeerGone:
                        raise
                    except Exception as error:  # whatever resolve() raises, the next may do better
                        last = f"{type(error).__name__}: {error}"
                    await self._sleep(pause * self._random())
                    pause = min(2 * pause, LONGEST_PAUSE)
        except TimeoutError:
            raise LinkError(
                f"{self.name!r} could not be reached for {self.give_up:g} s; at last: {last}"
            ) from None

    async def _attempt(self) -> Connection:
        address = await self._resolve()
        connection = await self._transport.dial(
            address, self._identity, self._handlers, timeout=self._dial_timeout
        )
        try:
            if self._on_connect is not None:
                self._on_connect(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._watching = asyncio.create_task(self._watch(connection), name=f"watch {self.name}")
        return connection

    async def _watch(self, connection: Connection) -> None:
        await connection.wait_closed()
        if self._on_break is not None and not self._closed:
            self._on_break(connection)

    def _dialled(self, task: asyncio.Task[Connection]) -> None:
        self._dialling = None
        if not task.cancelled():
            task.exception()  # those who wait have it; without any it is nobody's
