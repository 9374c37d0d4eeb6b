"""Bodies of requests, bounded in bytes and in time, whether they tell their length or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from llmgine.actors.gateway.errors import MalformedRequest, TooLarge, TooSlow

Receive = Callable[[], Awaitable[dict[str, Any]]]

# Of a body that is too large so many times the bound is read and thrown away, for who is still sending
# does not hear an answer.
_THROWN_AWAY = 4


class BoundedBody:
    """A `receive` that raises `TooLarge` and `TooSlow` in place of going on."""

    def __init__(self, receive: Receive, headers: Mapping[str, str], limit: int, timeout: float) -> None:
        self._receive = receive
        self._limit = limit
        self._timeout = timeout
        self._until: float | None = None
        self._read = 0
        self._over = False
        self._patient = headers.get("expect", "").lower() == "100-continue"
        length = headers.get("content-length")
        if length is not None and not (length.isascii() and length.isdigit()):
            raise MalformedRequest("content-length is no number")
        self._announced = 0 if length is None else int(length)

    async def __call__(self) -> dict[str, Any]:
        if self._announced > self._limit:
            await self._refuse()
        message = await self._next()
        if self._read > self._limit:
            await self._refuse()
        return message

    async def _next(self) -> dict[str, Any]:
        if self._over:
            return await self._receive()  # the end of the connection, whenever that comes
        loop = asyncio.get_running_loop()
        if self._until is None:
            self._until = loop.time() + self._timeout
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow(f"the body took longer than {self._timeout:g} s to come") from None
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._over = True
        self._read += len(message.get("body", b""))
        return message

    async def _refuse(self) -> None:
        bound = _THROWN_AWAY * self._limit
        if not self._patient and self._announced <= bound:
            while not self._over and self._read <= bound:
                await self._next()
        raise TooLarge(
            f"a body may have {self._limit} bytes here",
            hint="send less, or raise gateway.max_body, which bounds all but logins",
        )
