"""A Gemini server that goes wrong on demand: the model's name in the path says how."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.providers.faults.listener import Call, End, Listener

TEXT = ("Hello", " big ", "wörld")


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


class GeminiServer(Listener):
    """Streams events where `alt=sse` is asked for, else a JSON array."""

    async def answer(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = call.path.partition("?")[0].rpartition("/")[2].partition(":")[0]
        fault, _, argument = name.partition("-")
        if fault == "slow":
            await reader.read(1)
            call.gone.set()
            raise End
        if fault == "status":
            error = {"code": int(argument), "status": "FAULT", "message": f"fault {argument}"}
            _whole(writer, {"error": error}, int(argument))
        elif fault == "redirect":
            _head(writer, 307, "location: /elsewhere\r\ncontent-length: 0\r\n")
        elif call.path.endswith("batchEmbedContents") or "batchEmbedContents?" in call.path:
            _whole(writer, {"embeddings": [{"values": [0.5, 1.5]}]})
        elif fault == "object":
            whole = {**frames()[-1], "candidates": [{**frames()[0]["candidates"][0], "finishReason": "STOP"}]}
            _whole(writer, whole)
        else:
            await self._stream(fault, call, reader, writer)
        await writer.drain()

    async def _stream(
        self, fault: str, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        sse = "alt=sse" in call.path and fault != "array"
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
            call.gone.set()
        if fault in ("stall", "cut"):
            raise End
        writer.write(b"0\r\n\r\n")


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
