"""What every server under test shares: it listens on loopback, reads requests, and ends all it began."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

_MODEL = re.compile(r"models/([^/]+):\w+")


@dataclass
class Call:
    """A request that the server got. `gone` is set when the client leaves before the end."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    connection: int
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    method: str = "POST"
    raw: bytes = b""
    pieces_after_pause: int = 0

    @property
    def model(self) -> str:
        """The model that is asked, wherever the protocol names it."""
        found = _MODEL.search(self.path)
        return found[1] if found else str(self.body["model"])


class End(Exception):
    """The connection is over."""


class Listener:
    """Answers each request by `answer`, which raises `End` where the connection is over."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.called = asyncio.Event()
        self.connections = 0
        self.base_url = ""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answer(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection = self.connections
        try:
            while True:
                call = await _request(reader, connection)
                self.calls.append(call)
                self.called.set()
                await self.answer(call, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, End):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def _request(reader: asyncio.StreamReader, connection: int) -> Call:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, path, _ = first.split()
    is_json = body and headers.get("content-type", "").startswith("application/json")
    return Call(
        unquote(path), headers, json.loads(body) if is_json else {}, connection, method=method, raw=body
    )
