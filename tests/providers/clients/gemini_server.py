"""A Gemini server that goes wrong on demand: the model's name in the path says how."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

TEXT = ("Hello", " big ", "wörld")


@dataclass
class Asked:
    """A request that the server got. `gone` is set when the client leaves before the end."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    connection: int
    gone: asyncio.Event = field(default_factory=asyncio.Event)


def frames() -> list[dict[str, Any]]:
    """The objects of a whole answer."""
    return [
        {
            "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}],
            "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
            "modelVersion": "served",
        }
        for text in TEXT
    ] + [
        {
            "candidates": [{"finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8},
        }
    ]


class GeminiServer:
    """Streams events where `alt=sse` is asked for, else a JSON array."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection = self.connections
        try:
            while await self._one(reader, writer, connection):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        asked = Asked(head[0].split()[1], headers, json.loads(body), connection)
        self.asked.append(asked)
        self.called.set()
        name = asked.path.partition("?")[0].rpartition("/")[2].partition(":")[0]
        fault, _, argument = name.partition("-")
        if fault == "slow":
            await reader.read(1)
            asked.gone.set()
            return False
        if fault == "status":
            error = {"code": int(argument), "status": "FAULT", "message": f"fault {argument}"}
            _whole(writer, {"error": error}, int(argument))
        elif fault == "redirect":
            _head(writer, 307, "location: /elsewhere\r\ncontent-length: 0\r\n")
        elif asked.path.endswith("batchEmbedContents") or "batchEmbedContents?" in asked.path:
            _whole(writer, {"embeddings": [{"values": [0.5, 1.5]}]})
        elif fault == "object":
            whole = {**frames()[-1], "candidates": [{**frames()[0]["candidates"][0], "finishReason": "STOP"}]}
            _whole(writer, whole)
        else:
            return await self._stream(fault, asked, reader, writer)
        await writer.drain()
        return True

    async def _stream(
        self, fault: str, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        sse = "alt=sse" in asked.path and fault != "array"
        media = "text/event-stream" if sse else "application/json; charset=UTF-8"
        _head(writer, 200, f"content-type: {media}\r\ntransfer-encoding: chunked\r\n")
        pieces = [json.dumps(frame, ensure_ascii=False) for frame in frames()]
        if sse:
            texts = [f"data: {piece}\r\n\r\n" for piece in pieces]
        else:
            texts = [("[" if not at else "\n,\r\n") + piece for at, piece in enumerate(pieces)] + ["\n]"]
        if fault == "error":
            error = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "too much to do"}}
            texts[1:] = [f"data: {json.dumps(error)}\r\n\r\n" if sse else f",{json.dumps(error)}]"]
        if fault == "call":
            part = {"functionCall": {"name": "f", "args": {"whole": 1, "half": 0.5, "text": "ü"}, "id": "i"}}
            answer = {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}
            texts = [f"data: {json.dumps(answer)}\r\n\r\n" if sse else json.dumps([answer])]
        if fault in ("stall", "cut", "short"):
            del texts[2:]
        for text in texts:
            data = text.encode()
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            await writer.drain()
        if fault == "stall":
            await reader.read(1)
            asked.gone.set()
        if fault in ("stall", "cut"):
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def _head(writer: asyncio.StreamWriter, status: int, fields: str) -> None:
    writer.write(f"HTTP/1.1 {status} Status\r\n{fields}\r\n".encode())


def _whole(writer: asyncio.StreamWriter, value: Any, status: int = 200) -> None:
    body = json.dumps(value).encode()
    _head(writer, status, f"content-type: application/json\r\ncontent-length: {len(body)}\r\n")
    writer.write(body)


@pytest.fixture
async def gemini_server() -> AsyncIterator[GeminiServer]:
    """A running `GeminiServer`."""
    server = GeminiServer()
    await server.start()
    yield server
    await server.stop()
