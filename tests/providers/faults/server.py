"""A model server that goes wrong on demand: the model's name in the request says how."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

from tests.providers.faults import embeddings
from tests.providers.faults.chat import ChatWire
from tests.providers.faults.gemini import GeminiWire
from tests.providers.faults.listener import Call, End, Listener
from tests.providers.faults.messages import MessagesWire
from tests.providers.faults.refusals import HINTS, WORDS, details, word
from tests.providers.faults.responses import ResponsesWire
from tests.providers.faults.said import Said, answer
from tests.providers.faults.wire import Wire

_PAUSE = 1.0  # seconds between two pieces of a slow answer


class FaultServer(Listener):
    """Speaks the four wires over HTTP/1.1, embeddings too, and every fault of a real network."""

    async def answer(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Answer(call, reader, writer, self.told()).give()

    def told(self) -> dict[str, str]:
        """Headers of each answer beside those that it must have."""
        return {}


def _lines(headers: dict[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _wire(path: str) -> Wire:
    path, _, query = path.partition("?")
    if path.endswith("/chat/completions"):
        return ChatWire()
    if path.endswith("/responses"):
        return ResponsesWire()
    if path.endswith("/messages"):
        return MessagesWire()
    return GeminiWire(array=path.endswith(":streamGenerateContent") and "alt=sse" not in query)


class _Answer:
    def __init__(
        self,
        call: Call,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        told: dict[str, str],
    ) -> None:
        self._told = told
        self._call, self._reader, self._writer = call, reader, writer
        self._wire = _wire(call.path)
        self._fault, _, self._argument = call.model.partition(".")
        self._said: Said = Said(())
        self._frames: list[str] = []
        self._some: list[str] = []  # up to the first delta

    async def give(self) -> None:
        if self._fault == "status":
            await self._status()
            return
        if embeddings.is_asked(self._call.path):
            await self._whole(json.dumps(embeddings.answer(self._call.path, self._call.body)))
            return
        self._said = answer(self._call.model, self._wire.heard(self._call.body))
        self._frames = self._wire.frames(self._said)
        first = next((n for n, frame in enumerate(self._frames) if '"Hello"' in frame), 0)
        self._some = self._frames[: first + 1]
        await getattr(self, "_" + self._fault.replace("-", "_"), self._ok)()

    async def _ok(self) -> None:
        await self._stream(self._frames)
        await self._finish()

    async def _status(self) -> None:
        number, _, hint = self._argument.partition(".")
        status = int(number)
        message = f"fault {status} for {self._call.headers.get('authorization', '')}"
        message += WORDS if hint == "words" else ""
        body = self._wire.error(status, word(self._wire, status), message)
        if hint == "body":
            body["error"] |= details()
        await self._whole(json.dumps(body), status=status, headers=HINTS.get(hint, {}))

    async def _error_frame(self) -> None:
        await self._stream([*self._some, self._wire.error_frame("too much to do")])
        await self._finish()

    async def _cut(self) -> None:
        await self._stream(self._some)
        raise End

    async def _reset(self) -> None:
        await self._stream(self._some)
        self._writer.transport.abort()
        raise End

    async def _clean_end(self) -> None:
        await self._stream(self._some)
        await self._finish()

    async def _empty(self) -> None:
        await self._stream([])
        await self._finish()

    async def _malformed(self) -> None:
        await self._stream([*self._some, self._wire.broken_frame(), *self._frames[len(self._some) :]])
        await self._finish()

    async def _unknown(self) -> None:
        odd = self._wire.odd_frame()
        await self._stream([*self._some, odd, *self._frames[len(self._some) :]])
        await self._finish()

    async def _comments(self) -> None:
        """As proxies keep a connection awake."""
        await self._stream(
            [": ping\n\n", *(text for frame in self._frames for text in (frame, ": ping\n\n"))]
        )
        await self._finish()

    async def _crlf(self) -> None:
        await self._stream(frame.replace("\n", "\r\n") for frame in self._frames)
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

    async def _drip(self) -> None:
        """The first words, and after a pause more of them, as long as the client listens."""
        await self._stream(self._some)
        while True:
            try:
                async with asyncio.timeout(_PAUSE):
                    await self._wait()
            except TimeoutError:
                self._call.pieces_after_pause += 1
                self._write(self._some[-1].encode())
                await self._writer.drain()

    async def _linger(self) -> None:
        await self._stream(self._frames)
        await self._wait()

    async def _reset_at_end(self) -> None:
        await self._stream(self._frames)
        self._writer.transport.abort()
        raise End

    async def _json(self) -> None:
        await self._whole(json.dumps(self._wire.body(self._said)))

    async def _json_error(self) -> None:
        body = self._wire.error(500, word(self._wire, 500), "no luck")
        await self._whole(json.dumps(body))

    async def _redirect(self) -> None:
        await self._whole("", status=307, headers={"location": "/elsewhere"})

    async def _tell_key(self) -> None:
        names = ("authorization", "x-api-key", "x-goog-api-key")
        key = next(self._call.headers[name] for name in names if name in self._call.headers).split()[-1]
        error = {"type": f"no {key}", "code": f"no {key}", "message": key}
        await self._whole(json.dumps({"error": error}), status=400)

    async def _endless(self) -> None:
        await self._stream(self._some)
        frame = self._some[-1].encode()
        try:
            while not self._writer.is_closing():
                self._write(frame)
                await self._writer.drain()
        finally:
            self._call.gone.set()

    async def _html(self) -> None:
        await self._whole("<html>please sign in</html>", media="text/html; charset=utf-8")

    async def _stream(self, frames: Iterable[str]) -> None:
        array = isinstance(self._wire, GeminiWire) and self._wire.array
        media = "application/json" if array else "text/event-stream"
        self._writer.write(
            f"HTTP/1.1 200 OK\r\ncontent-type: {media}; charset=utf-8\r\n"
            f"x-request-id: req-1\r\ntransfer-encoding: chunked\r\n{_lines(self._told)}\r\n".encode()
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
            **self._told,
            **(headers or {}),
        }
        self._writer.write(f"HTTP/1.1 {status} Status\r\n{_lines(fields)}\r\n".encode() + body)
        await self._writer.drain()

    async def _wait(self) -> None:
        """Until the client leaves."""
        try:
            await self._reader.read(1)
        except ConnectionError:
            pass
        self._call.gone.set()
        raise End
