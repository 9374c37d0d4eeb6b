"""A server of batches that goes wrong on demand: those of OpenAI in files, those of Anthropic in one body."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.providers.faults.chat import ChatWire
from tests.providers.faults.listener import Call, End, Listener
from tests.providers.faults.messages import MessagesWire
from tests.providers.faults.responses import ResponsesWire
from tests.providers.faults.said import Heard, Said, Text, sample
from tests.providers.faults.wire import Wire

_WIRES: dict[str, Callable[[], Wire]] = {"/v1/responses": ResponsesWire, "/v1/chat/completions": ChatWire}


@dataclass
class Item:
    custom_id: str
    prompt: str
    body: dict[str, Any]
    wire: Wire
    heard: Heard
    fate: str = "ok"


@dataclass
class Batch:
    """A batch that the server took; it is over after `rounds` questions about it."""

    id: str
    items: list[Item]
    rounds: int
    tag: str | None = None
    created: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    cancelled: bool = False

    @property
    def over(self) -> bool:
        return self.asked >= self.rounds or bool(self.errors)

    def of(self, *fates: str) -> list[Item]:
        return [item for item in self.items if item.fate in fates]


class BatchServer(Listener):
    """What goes wrong stands in its fields.

    `fates` are what becomes of a prompt, one each time that it is asked: "ok", "400", "500", "expired",
    "missing" (no line tells of it), "unfit" (no JSON), "nonsense" (an answer that is none). `trouble` is
    what becomes of a step, one each time: a status, "lost" (done, and the connection breaks), "cut" (the
    connection breaks amid the body), "short" (the body ends a line early), "hold" and "held" (no answer, as
    long as the client waits, nothing or all being done; `reached` is set). "" is nothing. `rejects` are the
    errors of the next batches that are found to be invalid.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rounds = 2
        self.fates: dict[str, list[str]] = {}
        self.trouble: dict[str, list[str]] = {}
        self.rejects: list[list[dict[str, Any]]] = []
        self.batches: dict[str, Batch] = {}
        self.files: dict[str, bytes] = {}
        self.steps: list[str] = []
        self.reached = asyncio.Event()
        self.retry_after = "7"
        self._dropped = asyncio.Event()

    @property
    def asked(self) -> Counter[str]:
        """How often each prompt was taken into a batch."""
        return Counter(item.prompt for batch in self.batches.values() for item in batch.items)

    async def answer(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path, _, query = call.path.partition("?")
        anthropic = path.startswith("/v1/messages/batches")
        parts = path.removeprefix("/v1/messages/batches" if anthropic else "/v1").strip("/").split("/")
        step, item = (_anthropic_step if anthropic else _openai_step)(call.method, parts)
        self.steps.append(step)
        fault = self.trouble[step].pop(0) if self.trouble.get(step) else ""
        if fault.isdigit():
            error = {"type": "api_error", "message": f"fault {fault}"}
            headers = {"retry-after": self.retry_after} if fault == "429" else {}
            await _send(writer, json.dumps({"error": error}).encode(), int(fault), headers)
            return
        if fault == "hold":
            await self._hold(reader)
        names = dict(one.split("=") for one in query.split("&") if one)
        side = _Anthropic(self) if anthropic else _OpenAI(self)
        body = side.take(step, item, call, names)
        if fault == "held":
            await self._hold(reader)
        if fault == "lost":
            writer.transport.abort()
            raise End
        if fault == "short":
            body = body[: body.rstrip(b"\n").rfind(b"\n") + 1]
        await _send(writer, body, cut=fault == "cut")

    def drop(self) -> None:
        """Ends the connections that are held."""
        self._dropped.set()

    async def _hold(self, reader: asyncio.StreamReader) -> None:
        self.reached.set()
        waits = [asyncio.ensure_future(reader.read(1)), asyncio.create_task(self._dropped.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        raise End

    def admit(self, batch: Batch) -> Batch:
        for item in batch.items:
            fates = self.fates.get(item.prompt)
            item.fate = fates.pop(0) if fates else "ok"
        batch.created = int(time.time())
        if self.rejects:
            batch.errors = self.rejects.pop(0)
        self.batches[batch.id] = batch
        return batch

    def foreign(self, count: int) -> Batch:
        """A batch of somebody else, of so many requests."""
        heard = Heard(turns=[("user", "text", "theirs")])
        items = [Item(f"theirs-{n}", "theirs", {}, MessagesWire(), heard) for n in range(count)]
        return self.admit(Batch(f"batch_{len(self.batches)}", items, self.rounds, "theirs"))

    def cancel(self, batch: Batch) -> None:
        """What was not done by half of its rounds is not done any more."""
        assert not batch.over, "it is over"
        if not batch.cancelled:
            batch.cancelled = True
            for item in batch.items[len(batch.items) // 2 :]:
                item.fate = "cancelled"


class _OpenAI:
    def __init__(self, server: BatchServer) -> None:
        self.server = server

    def take(self, step: str, item: str, call: Call, query: dict[str, str]) -> bytes:
        batches = self.server.batches
        match step:
            case "upload":
                id = f"file_{len(self.server.files)}"
                self.server.files[id] = _file(call)
                return json.dumps({"id": id, "object": "file", "purpose": "batch"}).encode()
            case "create":
                return self._told(self._created(call.body))
            case "list":
                ids = list(reversed(batches))
                ids = ids[ids.index(query["after"]) + 1 :] if "after" in query else ids
                some = [json.loads(self._told(batches[id])) for id in ids[:2]]
                return json.dumps({"object": "list", "data": some, "has_more": len(ids) > 2}).encode()
            case "status":
                batches[item].asked += 1
            case "cancel":
                self.server.cancel(batches[item])
            case "results":
                return self.server.files[item]
        return self._told(batches[item])

    def _created(self, body: dict[str, Any]) -> Batch:
        wire, items = _WIRES[body["endpoint"]](), []
        for line in self.server.files[body["input_file_id"]].splitlines():
            one = json.loads(line)
            assert one["url"] == body["endpoint"]
            items.append(_item(one["custom_id"], one["body"], wire))
        id = f"batch_{len(self.server.batches)}"
        return self.server.admit(Batch(id, items, self.server.rounds, body["metadata"]["llmgine"]))

    def _told(self, batch: Batch) -> bytes:
        good, bad = batch.of("ok", "unfit", "nonsense"), batch.of("400", "500", "expired", "cancelled")
        files = {}
        if batch.over and not batch.errors:
            for name, some in (("output", good), ("error", bad)):
                if some:
                    files[f"{name}_file_id"] = f"{batch.id}_{name}"
                    lines = [json.dumps(_line(one)).encode() for one in reversed(some)]
                    self.server.files[f"{batch.id}_{name}"] = b"\n".join(lines) + b"\n"
        counts = {"total": len(batch.items), "completed": 0, "failed": 0}
        if batch.over:
            counts |= {"completed": len(good), "failed": len(batch.of("400", "500"))}
        told = {
            "id": batch.id,
            "object": "batch",
            "status": self._state(batch),
            "created_at": batch.created,
            "expires_at": batch.created + 86400,
            "metadata": {"llmgine": batch.tag},
            "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
            "request_counts": counts,
            **files,
        }
        return json.dumps(told).encode()

    def _state(self, batch: Batch) -> str:
        if batch.errors:
            return "failed"
        if not batch.over:
            return "cancelling" if batch.cancelled else ("validating" if batch.asked < 1 else "in_progress")
        return "cancelled" if batch.cancelled else "expired" if batch.of("expired") else "completed"


class _Anthropic:
    def __init__(self, server: BatchServer) -> None:
        self.server = server

    def take(self, step: str, item: str, call: Call, query: dict[str, str]) -> bytes:
        batches, wire = self.server.batches, MessagesWire()
        match step:
            case "create":
                items = [_item(one["custom_id"], one["params"], wire) for one in call.body["requests"]]
                batch = Batch(f"batch_{len(batches)}", items, self.server.rounds)
                return json.dumps(self._told(self.server.admit(batch))).encode()
            case "list":
                ids = list(reversed(batches))
                ids = ids[ids.index(query["after_id"]) + 1 :] if "after_id" in query else ids
                some = [self._told(batches[id]) for id in ids[:2]]
                last = some[-1]["id"] if some else None
                return json.dumps({"data": some, "has_more": len(ids) > 2, "last_id": last}).encode()
            case "status":
                batches[item].asked += 1
            case "cancel":
                self.server.cancel(batches[item])
            case "results":
                lines = [_message_line(one) for one in reversed(batches[item].items) if one.fate != "missing"]
                return b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        return json.dumps(self._told(batches[item])).encode()

    def _told(self, batch: Batch) -> dict[str, Any]:
        counts = {
            "processing": 0,
            "succeeded": len(batch.of("ok", "unfit", "nonsense")),
            "errored": len(batch.of("400", "500")),
            "expired": len(batch.of("expired")),
            "canceled": len(batch.of("cancelled")),
        }
        if not batch.over:
            counts = {**dict.fromkeys(counts, 0), "processing": len(batch.items)}
        made = datetime.fromtimestamp(batch.created, UTC).isoformat().replace("+00:00", "Z")
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if batch.over else "canceling" if batch.cancelled else "in_progress",
            "created_at": made,
            "expires_at": made,
            "cancel_initiated_at": made if batch.cancelled else None,
            "request_counts": counts,
            "results_url": f"https://elsewhere.invalid/{batch.id}" if batch.over else None,
        }


def _openai_step(method: str, parts: list[str]) -> tuple[str, str]:
    match (method, parts):
        case ("POST", ["files"]):
            return "upload", ""
        case ("GET", ["files", item, "content"]):
            return "results", item
        case (_, ["batches", *rest]):
            return _anthropic_step(method, rest or [""])
    raise AssertionError((method, parts))


def _anthropic_step(method: str, parts: list[str]) -> tuple[str, str]:
    match (method, parts):
        case ("POST", [""]):
            return "create", ""
        case ("GET", [""]):
            return "list", ""
        case ("GET", [item]):
            return "status", item
        case ("POST", [item, "cancel"]):
            return "cancel", item
        case ("GET", [item, "results"]):
            return "results", item
    raise AssertionError((method, parts))


def _item(custom_id: str, body: dict[str, Any], wire: Wire) -> Item:
    assert "stream" not in body
    heard = wire.heard(body)
    return Item(custom_id, heard.turns[-1][2], body, wire, heard)


def _answered(item: Item) -> Any:
    if item.fate == "nonsense":
        return {"nonsense": True}
    text = f"re: {item.prompt}" if item.heard.output is None else json.dumps(sample(item.heard.output))
    if item.fate == "unfit":
        text = "no JSON"
    return item.wire.body(Said((Text((text,)),)))


def _line(item: Item) -> dict[str, Any]:
    line: dict[str, Any] = {"id": "r", "custom_id": item.custom_id, "response": None, "error": None}
    match item.fate:
        case "expired" | "cancelled":
            line["error"] = {"code": f"batch_{item.fate}", "message": f"it was {item.fate}"}
        case "400" | "500":
            word = "invalid_request_error" if item.fate == "400" else "server_error"
            body = item.wire.error(int(item.fate), word, "no luck with sk-thekeyitself")
            line["response"] = {"status_code": int(item.fate), "request_id": "req-1", "body": body}
        case _:
            line["response"] = {"status_code": 200, "request_id": "req-1", "body": _answered(item)}
    return line


def _message_line(item: Item) -> dict[str, Any]:
    result: dict[str, Any] = {"type": {"cancelled": "canceled"}.get(item.fate, item.fate)}
    match item.fate:
        case "400" | "500":
            word = "invalid_request_error" if item.fate == "400" else "api_error"
            error = item.wire.error(int(item.fate), word, "no luck with sk-thekeyitself")
            result = {"type": "errored", "error": error}
        case "ok" | "unfit" | "nonsense":
            result = {"type": "succeeded", "message": _answered(item)}
    return {"custom_id": item.custom_id, "result": result}


def _file(call: Call) -> bytes:
    boundary = call.headers["content-type"].partition("boundary=")[2].encode()
    for part in call.raw.split(b"--" + boundary):
        head, _, body = part.partition(b"\r\n\r\n")
        if b"filename=" in head:
            return body.removesuffix(b"\r\n")
    raise AssertionError("no file came")


async def _send(
    writer: asyncio.StreamWriter,
    body: bytes,
    status: int = 200,
    headers: dict[str, str] | None = None,
    *,
    cut: bool = False,
) -> None:
    fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    head = f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode()
    writer.write(head + (body[: len(body) * 2 // 3] if cut else body))
    await writer.drain()
    if cut:
        raise End
