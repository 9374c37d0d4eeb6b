"""A call of a tool in another process: what is sent there, and the frames that come back.

Arguments go as the model gave them, results come as content, so no object of one side is ever made
up by the other. Only the tool itself travels as code, once for many calls.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from llmgine.actors import code as travelling
from llmgine.actors.sessions.tools.context import Call, ToolContext
from llmgine.actors.sessions.tools.driving import Progress, Report, driven, exhausted, runs_on_loop
from llmgine.actors.sessions.tools.failing import CallFailed, raised
from llmgine.actors.sessions.tools.results import Content, as_content, masked
from llmgine.actors.sessions.tools.secrets import Secrets
from llmgine.actors.sessions.tools.tool import Tool
from llmgine.providers.contracts import ToolResultPart
from llmgine.telemetry import SpanRecorder, TraceContext, names
from llmgine.telemetry.current import adopt, standing_in

BEGAN, PROGRESS, SPANS, RETURNED, FAILED = b"b", b"p", b"s", b"r", b"f"
_SPANS_AT_ONCE = 256

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt of a call, as it is sent; `memory` is what its process may take, in bytes.

    `trace` is the call's span as a `traceparent`.
    """

    tool: str
    arguments: dict[str, Any]
    call: Call
    result_bytes: int
    progress_bytes: int
    memory: int | None = None
    secrets_folder: str | None = None
    trace: str | None = None

    def to_wire(self) -> bytes:
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        call = self.call
        whose = [call.session_id, call.turn_id, call.call_id, call.attempt]
        return to_json({**fields, "call": whose})

    @classmethod
    def from_wire(cls, wire: bytes) -> Order:
        fields = from_json(wire)
        return cls(**{**fields, "call": Call(*fields["call"])})


def pack_tools(tools: Mapping[str, Tool[..., Any]]) -> bytes:
    """Tools as bytes, by name, for `travelling.unpack`; UnsendableCode names what cannot go along."""
    return travelling.pack(
        dict(tools), parts=list(tools.values()), roots=[tool.function for tool in tools.values()]
    )


def carry_out(tool: Tool[..., Any], order: Order, emit: Callable[[bytes], None]) -> None:
    """Runs the call in this process, and emits how it begins, how far it is, and what it comes to."""
    secrets = Secrets(None if order.secrets_folder is None else Path(order.secrets_folder))
    progress = Progress(lambda data: emit(PROGRESS + to_json(data)), order.progress_bytes, secrets.masked)
    emit(BEGAN)
    # What may leave of its spans is for the session's process to say.
    recorder = SpanRecorder(tool.name, content=True)
    try:
        context = ToolContext(order.call, report=progress, secrets=secrets)
        with _spanned(recorder, order, secrets):
            value = _value(tool, order.arguments, context, progress)
        content = masked(as_content(tool.name, value, order.result_bytes), secrets.masked)
        result = ToolResultPart(call_id=order.call.call_id, name=tool.name, content=content)
        frame = RETURNED + result.model_dump_json().encode()
    except BaseException as error:
        failed = _out_of_memory(order) if isinstance(error, MemoryError) else raised(tool.name, error)
        frame = FAILED + to_json([secrets.masked(str(failed)), failed.again])
    for spans in _packed(recorder):
        emit(SPANS + spans)
    emit(frame)


def _packed(recorder: SpanRecorder) -> Iterator[bytes]:
    """All that was recorded, its figures in the last batch; what fails here is no failure of the tool."""
    try:
        # No more than a full ring: a thread that the tool has left behind may record for ever.
        for _ in range(-(-recorder.capacity // _SPANS_AT_ONCE)):
            batch = recorder.drain(_SPANS_AT_ONCE, metrics=False)
            if batch is None:
                break
            yield batch.pack()
        last = recorder.drain(_SPANS_AT_ONCE)
        if last is not None:
            yield last.pack()
    except Exception:
        log.warning("spans of %s are lost", recorder.source, exc_info=True)


@contextmanager
def _spanned(recorder: SpanRecorder, order: Order, secrets: Secrets) -> Iterator[None]:
    """The tool's work in here, as a span below the call's in the session's process."""
    trace = TraceContext.parse(order.trace)
    if trace is None:
        yield
        return
    attributes: dict[str, Any] = {names.PROCESS_PID: os.getpid(), names.HOST_NAME: socket.gethostname()}
    span = recorder.start(
        names.tool_run_span(order.tool),
        parent=trace,
        session=order.call.session_id,
        attributes=attributes,
        mask=secrets.masked,
    )
    with span, standing_in(span):
        yield


def _value(tool: Tool[..., Any], arguments: dict[str, Any], context: ToolContext, report: Report) -> Any:
    given = tool.validate(arguments)
    if tool.context_parameter is not None:
        given[tool.context_parameter] = context
    value = tool.function(**given)
    if inspect.isgenerator(value):
        return exhausted(value, report, lambda: False)
    return asyncio.run(driven(value, report)) if runs_on_loop(value) else value


def _out_of_memory(order: Order) -> CallFailed:
    return CallFailed(
        f"{order.tool} failed: its process may take {order.memory} bytes of memory and asked for more "
        f"(@tool(memory=...) or sessions.process_memory)."
    )


async def followed(
    frames: AsyncGenerator[bytes], tool: Tool[..., Any], report: Report, *, timeout: float, patience: float
) -> Content:
    """What the call comes to; CallFailed where it failed, or is late.

    `timeout` counts from when the call began over there, which may take `patience`. Both end the work.
    """
    clock = asyncio.get_running_loop().time
    begun = False
    try:
        async with asyncio.timeout(patience) as limit, aclosing(frames):
            async for frame in frames:
                kind, body = frame[:1], frame[1:]
                if kind == BEGAN:
                    begun = True
                    limit.reschedule(clock() + timeout)
                elif kind == PROGRESS:
                    report(from_json(body))
                elif kind == SPANS:
                    adopt(body)
                elif kind == RETURNED:
                    return ToolResultPart.model_validate_json(body).content
                elif kind == FAILED:
                    text, again = from_json(body)
                    raise CallFailed(text, again=again)
    except TimeoutError:
        if begun:
            raise CallFailed(f"{tool.name} did not answer within {timeout:g} seconds.", again=True) from None
        raise CallFailed(_not_begun(tool, patience), again=True) from None
    raise CallFailed(f"{tool.name} ended without a result.", again=True)


def _not_begun(tool: Tool[..., Any], patience: float) -> str:
    if not tool.remote:
        return f"{tool.name} did not begin within {patience:g} seconds: its process did not start in time."
    asked = {"CPU": tool.num_cpus, "GPU": tool.num_gpus, **tool.resources}
    told = ", ".join(f"{name}: {amount:g}" for name, amount in asked.items() if amount)
    return f"{tool.name} did not begin within {patience:g} seconds: no node of the cluster has {told} free."
