"""A model server with a limit of calls, which refuses all beyond it."""

from __future__ import annotations

import asyncio

from tests.providers.faults.listener import Call
from tests.providers.faults.server import FaultServer

_BUSY = {"model": "status.429"}


class LimitedServer(FaultServer):
    """Answers so many calls, tells so in its headers where it shall, and refuses all others."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = 1_000
        self.refused = self.inside = self.most = 0
        self.tells = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    def told(self) -> dict[str, str]:
        left = max(0, self.limit - len(self.calls))
        told = {"x-ratelimit-limit-requests": str(self.limit), "x-ratelimit-remaining-requests": str(left)}
        return told if self.tells else {}

    async def answer(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self.calls) > self.limit:
            self.refused += 1
            call.body.update(_BUSY)
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.go_on.wait()
            await super().answer(call, reader, writer)
        finally:
            self.inside -= 1
