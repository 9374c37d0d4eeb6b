"""A model server whose answers are long, known in advance, and held up where a test wants them to be."""

from __future__ import annotations

import asyncio

from tests.providers.faults.chat import ChatWire
from tests.providers.faults.listener import Call, End, Listener
from tests.providers.faults.wire import sse

PIECES = 40
# Where answers are held up, in pieces.
HALF = 17


def whole(name: str) -> str:
    """The answer to a prompt."""
    return "".join(f"{name}:{number} " for number in range(PIECES))


class CountingServer(Listener):
    """Counts in the prompt's name, up to a half until `go_on`; goes on with an answer that was begun."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.held = 0
        self.ended = 0

    async def answer(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turns = ChatWire().heard(call.body).turns
        name = turns[0][2]
        begun = "".join(text for role, _, text in turns if role == "assistant")
        text = whole(name)[len(begun) :]
        half = len(whole(name)) * HALF // PIECES - len(begun)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        if half > 0:
            _say(writer, text[:half])
            text = text[half:]
            await self._hold(reader)
        _say(writer, text)
        end = {"id": "c1", "object": "chat.completion.chunk", "model": "count"}
        _frame(writer, {**end, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        _write(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _hold(self, reader: asyncio.StreamReader) -> None:
        """Until the test lets all go on, or the client has left."""
        self.held += 1
        left = asyncio.ensure_future(reader.read(1))
        gate = asyncio.ensure_future(self.go_on.wait())
        try:
            await asyncio.wait({left, gate}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            gate.cancel()
            await asyncio.gather(left, gate, return_exceptions=True)
        if not self.go_on.is_set():
            self.ended += 1
            raise End


def _say(writer: asyncio.StreamWriter, text: str) -> None:
    for start in range(0, len(text), 5):
        chunk = {"id": "c1", "object": "chat.completion.chunk", "model": "count"}
        delta = {"content": text[start : start + 5]}
        _frame(writer, {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


def _frame(writer: asyncio.StreamWriter, data: dict[str, object]) -> None:
    _write(writer, sse(data).encode())


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
