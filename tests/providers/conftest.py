"""A model server that goes wrong on demand: the model's name in the request says how."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

TEXT = ("Hello", " big ", "world")


@dataclass
class Call:
    """A request that the server got. `gone` is set when the client leaves before the end."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    connection: int
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class FaultServer:
    """Speaks Chat Completions and Messages over HTTP/1.1, and every fault of a real network."""

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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection = self.connections
        try:
            while call := await _request(reader, connection):
                self.calls.append(call)
                self.called.set()
                await _Answer(call, reader, writer).give()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, _End):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


class _End(Exception):
    """The connection is over."""


async def _request(reader: asyncio.StreamReader, connection: int) -> Call | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Call(first.split()[1], headers, json.loads(body), connection)


class _Answer:
    def __init__(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._call, self._reader, self._writer = call, reader, writer
        self._chat = call.path.endswith("/chat/completions")
        self._frames = chat_frames() if self._chat else message_frames()
        self._some = self._frames[: 2 if self._chat else 4]  # up to the first delta

    async def give(self) -> None:
        fault, _, argument = self._call.body["model"].partition(":")
        if fault == "status":
            await self._status(int(argument))
            return
        await getattr(self, "_" + fault.replace("-", "_"))()

    async def _ok(self) -> None:
        await self._stream(self._frames)
        await self._finish()

    async def _status(self, status: int) -> None:
        headers = {"retry-after": "7"} if status == 429 else {}
        text = f"fault {status} for {self._call.headers.get('authorization', '')}"
        error = {"type": "fault", "message": text}
        body = {"error": error} if self._chat else {"type": "error", "error": error}
        await self._whole(json.dumps(body), status=status, headers=headers)

    async def _error_frame(self) -> None:
        error = {"type": "overloaded_error", "message": "too much to do"}
        frame = f"data: {json.dumps({'error': error})}\n\n"
        if not self._chat:
            frame = f"event: error\ndata: {json.dumps({'type': 'error', 'error': error})}\n\n"
        await self._stream([*self._some, frame])
        await self._finish()

    async def _cut(self) -> None:
        await self._stream(self._some)
        raise _End

    async def _reset(self) -> None:
        await self._stream(self._some)
        self._writer.transport.abort()
        raise _End

    async def _clean_end(self) -> None:
        await self._stream(self._some)
        await self._finish()

    async def _malformed(self) -> None:
        await self._stream([*self._some, 'data: {"broken\n\n', *self._frames[-2:]])
        await self._finish()

    async def _unknown(self) -> None:
        odd = 'event: novelty\ndata: {"type": "novelty", "object": "chat.completion.novelty", "x": 1}\n\n'
        await self._stream([*self._some, odd, ": a comment\n\n", *self._frames[len(self._some) :]])
        await self._finish()

    async def _bytewise(self) -> None:
        await self._stream([])
        for byte in "".join(self._frames).encode():
            self._write(bytes([byte]))
            await self._writer.drain()
        await self._finish()

    async def _slow(self) -> None:
        await self._wait()

    async def _slow_body(self) -> None:
        await self._stream([])
        await self._wait()

    async def _stall(self) -> None:
        await self._stream(self._some)
        await self._wait()

    async def _linger(self) -> None:
        await self._stream(self._frames)
        await self._wait()

    async def _reset_at_end(self) -> None:
        await self._stream(self._frames)
        self._writer.transport.abort()
        raise _End

    async def _json(self) -> None:
        await self._whole(json.dumps(chat_body() if self._chat else message_body()))

    async def _json_error(self) -> None:
        await self._whole(json.dumps({"error": {"message": "no luck", "type": "server_error"}}))

    async def _redirect(self) -> None:
        await self._whole("", status=307, headers={"location": "/elsewhere"})

    async def _tell_key(self) -> None:
        key = self._call.headers.get("authorization", self._call.headers.get("x-api-key", "")).split()[-1]
        error = {"type": f"no {key}", "code": f"no {key}", "message": key}
        await self._whole(json.dumps({"error": error}), status=400)

    async def _endless(self) -> None:
        await self._stream(self._frames[: 1 if self._chat else 3])
        frame = self._frames[1 if self._chat else 3].encode()
        try:
            while not self._writer.is_closing():
                self._write(frame)
                await self._writer.drain()
        finally:
            self._call.gone.set()

    async def _html(self) -> None:
        await self._whole("<html>please sign in</html>", media="text/html; charset=utf-8")

    async def _stream(self, frames: Iterable[str]) -> None:
        self._writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"x-request-id: req-1\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for frame in frames:
            self._write(frame.encode())
        await self._writer.drain()

    def _write(self, data: bytes) -> None:
        self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def _finish(self) -> None:
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def _whole(
        self,
        text: str,
        status: int = 200,
        media: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        body = text.encode()
        fields = {
            "content-type": media,
            "content-length": str(len(body)),
            "x-request-id": "req-1",
            **(headers or {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._writer.write(f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode() + body)
        await self._writer.drain()

    async def _wait(self) -> None:
        """Until the client leaves."""
        try:
            await self._reader.read(1)
        except ConnectionError:
            pass
        self._call.gone.set()
        raise _End


def chat_frames() -> list[str]:
    def frame(choice: dict[str, Any] | None, **more: Any) -> str:
        data = {"id": "c1", "object": "chat.completion.chunk", "model": "served", "choices": [], **more}
        if choice is not None:
            data["choices"] = [{"index": 0, "finish_reason": None, **choice}]
        return f"data: {json.dumps(data)}\n\n"

    return [
        frame({"delta": {"role": "assistant", "content": ""}}),
        *(frame({"delta": {"content": text}}) for text in TEXT),
        frame({"delta": {}, "finish_reason": "stop"}),
        frame(None, usage={"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}),
        "data: [DONE]\n\n",
    ]


def message_frames() -> list[str]:
    def frame(kind: str, **more: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n"

    begun = {
        **message_body(),
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }
    return [
        frame("message_start", message=begun),
        frame("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        frame("ping"),
        *(frame("content_block_delta", index=0, delta={"type": "text_delta", "text": text}) for text in TEXT),
        frame("content_block_stop", index=0),
        frame("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3}),
        frame("message_stop"),
    ]


def chat_body() -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(TEXT)}
    return {
        "id": "c1",
        "object": "chat.completion",
        "model": "served",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }


def message_body() -> dict[str, Any]:
    return {
        "id": "c1",
        "type": "message",
        "role": "assistant",
        "model": "served",
        "content": [{"type": "text", "text": "".join(TEXT)}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 3},
    }


@pytest.fixture
async def fault_server() -> AsyncIterator[FaultServer]:
    """A running `FaultServer`."""
    server = FaultServer()
    await server.start()
    yield server
    await server.stop()
