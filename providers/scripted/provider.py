"""The scripted double: a provider that answers from a script, for tests, demos and drills.

It is stateless but for faults that fail a number of `times`: which reply answers follows from the
number of assistant messages in the request, so the same request always gets the same answer.
Built in are `scripted/echo` (the last user message, a word at a time), `scripted/slow` (the same,
20 words a second), `scripted/tool` (calls the tool offered with arguments made from its schema, then
answers with its result) and `scripted/inline` (`provider_options["scripted"]["script"]`). Usage is counted in
words and marked as reported; the cost is zero.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from llmgine.providers.contracts import (
    AnyPart,
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    NamedTool,
    Origin,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    Usage,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError
from llmgine.providers.events import (
    Done,
    Failed,
    PartDone,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)
from llmgine.providers.options import EndpointOptions, ProvidersOptions
from llmgine.providers.scripted.samples import sample
from llmgine.providers.scripted.script import BUILT_IN, INLINE, Fault, Reply, Script

_WORDS = re.compile(r"\s*\S+\s*")
_ARGUMENT_CHUNK = 16

Sleep = Callable[[float], Awaitable[None]]


class ScriptedProvider:
    """Plays the scripts of `options`; `sleep` is how its delays pass."""

    def __init__(self, name: str, options: ProvidersOptions, *, sleep: Sleep = asyncio.sleep) -> None:
        self.name = name
        self._endpoint = options.endpoints.get(name, EndpointOptions(kind="scripted"))
        self._scripts = {**BUILT_IN, **options.scripts}
        self._sleep = sleep
        self._failures: Counter[tuple[str, int]] = Counter()

    async def stream(self, request: LLMRequest) -> AsyncGenerator[StreamEvent, None]:
        """The reply's events; the last is exactly one `Done` or `Failed`."""
        model = request.model.removeprefix(f"{self.name}/")
        try:
            script = self._script(model, request)
            index = _index(script, request, model)
            take = _Take(self.name, model, request, script.replies[index])
        except ProviderError as error:
            error.provider, error.model = self.name, model
            yield Failed(error)
            return
        fault = self._due(script.replies[index].fault, (model, index))
        async for event in self._play(take, fault):
            yield event

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _script(self, model: str, request: LLMRequest) -> Script:
        if model == INLINE:
            try:
                return Script.model_validate(request.provider_options.get(self.name, {}).get("script"))
            except ValidationError as error:
                raise _refused(
                    f'{self.name}/inline plays provider_options["{self.name}"]["script"]: {error}'
                ) from None
        if model not in self._scripts:
            raise _refused(
                f"no script {model!r}; there are: {', '.join(sorted(self._scripts))}. "
                "Scripts are added under providers.scripts",
                ErrorKind.NOT_FOUND,
            )
        return self._scripts[model]

    def _due(self, fault: Fault | None, key: tuple[str, int]) -> Fault | None:
        if fault is None or fault.times is None:
            return fault
        self._failures[key] += 1
        return fault if self._failures[key] <= fault.times else None

    async def _play(self, take: _Take, fault: Fault | None) -> AsyncGenerator[StreamEvent, None]:
        limits, request = self._endpoint.timeouts, take.request
        clock = _Clock(self._sleep, request.deadline or limits.total, request.idle_timeout or limits.idle)
        chunks = 0
        for event in take.events():
            if not isinstance(event, PartDone):
                if fault is not None and chunks == fault.after_chunks:
                    break
                late = await clock.wait(take.reply.delay if chunks else take.reply.first_delay)
                if late:
                    yield take.failed(Fault(kind=ErrorKind.TIMEOUT, message=late), chunks)
                    return
                chunks += 1
            take.saw(event)
            yield event
        if fault is None:
            yield take.done()
            return
        if fault.kind == "stall":
            late = await clock.wait(clock.idle) or f"nothing came for {clock.idle:g} s"
            fault = Fault(kind=ErrorKind.TIMEOUT, message=late)
        yield take.failed(fault, chunks)


class _Clock:
    """Lets delays pass, up to the call's limits."""

    def __init__(self, sleep: Sleep, total: float, idle: float) -> None:
        self._sleep = sleep
        self._left = total
        self.idle = idle

    async def wait(self, delay: float) -> str | None:
        """Which limit passed before the delay did, if one did."""
        if delay <= 0:
            return None
        limit = min(self._left, self.idle)
        await self._sleep(min(delay, limit))
        self._left -= delay
        if delay <= limit:
            return None
        return f"nothing came for {self.idle:g} s" if self.idle == limit else "the deadline passed"


class _Take:
    """One reply as it is played: its parts, and what of them has gone out."""

    def __init__(self, provider: str, model: str, request: LLMRequest, reply: Reply) -> None:
        self.provider, self.model, self.request, self.reply = provider, model, request, reply
        self.parts = _parts(reply, request, Origin(provider=provider, api="scripted", model=model))
        self._finished: list[AnyPart] = []
        self._pending: list[str] = []
        self._pending_kind: type[TextPart] | type[ThinkingPart] = TextPart

    def events(self) -> Iterator[StreamEvent]:
        for index, part in enumerate(self.parts):
            if isinstance(part, ThinkingPart):
                yield from (ThinkingDelta(index, piece) for piece in self._chunks(part.text))
            elif isinstance(part, TextPart):
                yield from (TextDelta(index, piece) for piece in self._chunks(part.text))
            elif isinstance(part, ToolCallPart):
                yield ToolCallStart(index, part.id, part.name)
                raw = part.raw_arguments
                for at in range(0, len(raw), _ARGUMENT_CHUNK):
                    yield ToolCallDelta(index, raw[at : at + _ARGUMENT_CHUNK])
            yield PartDone(index, part)

    def saw(self, event: StreamEvent) -> None:
        if isinstance(event, TextDelta | ThinkingDelta):
            self._pending.append(event.text)
            self._pending_kind = TextPart if isinstance(event, TextDelta) else ThinkingPart
        elif isinstance(event, PartDone):
            self._finished.append(event.part)
            self._pending.clear()

    def done(self) -> Done:
        calls = any(isinstance(part, ToolCallPart) for part in self.parts)
        reason = self.reply.finish_reason or (FinishReason.TOOL_CALLS if calls else FinishReason.STOP)
        return Done(
            LLMResponse(
                message=Message(role="assistant", parts=self.parts),
                finish_reason=reason,
                finish_reason_raw=reason.value,
                usage=self._usage(self.parts, UsageSource.REPORTED),
                cost=Decimal(0),
                model=self.model,
                provider=self.provider,
                response_id=f"scripted_{_turn(self.request)}",
            )
        )

    def failed(self, fault: Fault, chunks: int) -> Failed:
        """What the fault says, with what had gone out before it."""
        had = (*self._finished, *([self._pending_kind(text="".join(self._pending))] if self._pending else []))
        assert fault.kind != "stall"
        error = ProviderError(
            fault.message,
            kind=fault.kind,
            phase=ErrorPhase.MID_STREAM if chunks else ErrorPhase.PRE_TOKEN,
            scope=_SCOPES.get(fault.kind, ErrorScope.ENDPOINT),
            provider=self.provider,
            model=self.model,
            status=fault.status,
            code=fault.code,
            retry_after=fault.retry_after,
        )
        partial = Message(role="assistant", parts=had) if had else None
        return Failed(error, partial, self._usage(had, UsageSource.PARTIAL))

    def _chunks(self, text: str) -> Iterator[str]:
        words = _WORDS.findall(text) or ([text] if text else [])
        for at in range(0, len(words), self.reply.chunk_words):
            yield "".join(words[at : at + self.reply.chunk_words])

    def _usage(self, said: tuple[AnyPart, ...], source: UsageSource) -> Usage:
        asked = [part for message in self.request.messages for part in message.parts]
        counted = {
            "input_tokens": _words(asked) + len((self.request.system or "").split()),
            "output_tokens": _words(said),
        }
        told = self.reply.usage.model_dump(exclude_none=True) if self.reply.usage else {}
        return Usage(**{**counted, **told}, source=source, raw={"unit": "words", **counted, **told})


_SCOPES = {
    ErrorKind.AUTHENTICATION: ErrorScope.KEY,
    ErrorKind.PERMISSION: ErrorScope.KEY,
    ErrorKind.RATE_LIMIT: ErrorScope.KEY,
    ErrorKind.NOT_FOUND: ErrorScope.MODEL,
    ErrorKind.OVERLOADED: ErrorScope.MODEL,
    ErrorKind.INVALID_REQUEST: ErrorScope.REQUEST,
    ErrorKind.UNSUPPORTED: ErrorScope.REQUEST,
    ErrorKind.CONTEXT_LENGTH: ErrorScope.REQUEST,
    ErrorKind.CONTENT_FILTER: ErrorScope.REQUEST,
    ErrorKind.CANCELLED: ErrorScope.REQUEST,
}


def _refused(message: str, kind: ErrorKind = ErrorKind.INVALID_REQUEST) -> ProviderError:
    scope = ErrorScope.MODEL if kind is ErrorKind.NOT_FOUND else ErrorScope.REQUEST
    return ProviderError(message, kind=kind, phase=ErrorPhase.REQUEST, scope=scope)


def _turn(request: LLMRequest) -> int:
    return sum(message.role == "assistant" for message in request.messages)


def _index(script: Script, request: LLMRequest, model: str) -> int:
    turn = _turn(request)
    index = script.index(turn)
    if index is None:
        raise _refused(f"script {model!r} has {len(script.replies)} replies, and this is call {turn + 1}")
    return index


def _parts(reply: Reply, request: LLMRequest, origin: Origin) -> tuple[AnyPart, ...]:
    calls = () if request.tool_choice == "none" else reply.tool_calls
    text = reply.text
    if text is None:
        text = "" if calls else _answer(request)
    parts: list[AnyPart] = []
    if reply.thinking:
        parts.append(ThinkingPart(text=reply.thinking, origin=origin))
    if text:
        parts.append(TextPart(text=text, origin=origin))
    for number, call in enumerate(calls):
        name = call.name
        if name == "*":
            name = _offered(request).name
        arguments = call.arguments
        if arguments is None:
            arguments = _arguments(name, request)
        parts.append(
            ToolCallPart(
                id=f"call_{_turn(request)}_{number}",
                name=name,
                arguments=arguments,
                raw_arguments=json.dumps(arguments, ensure_ascii=False),
                origin=origin,
            )
        )
    return tuple(parts)


def _answer(request: LLMRequest) -> str:
    if request.output is not None:
        return json.dumps(sample(request.output.json_schema), ensure_ascii=False)
    results: list[str] = []
    for message in reversed(request.messages):
        if message.role == "user":
            return "\n".join(reversed(results)) or message.text
        results += [part.text for part in reversed(message.parts) if isinstance(part, ToolResultPart)]
    return "\n".join(reversed(results))


def _offered(request: LLMRequest) -> ToolSpec:
    if not request.tools:
        raise _refused("the script calls a tool and the request offers none: pass tools or play another")
    if isinstance(request.tool_choice, NamedTool):
        wanted = request.tool_choice.name
        for tool in request.tools:
            if tool.name == wanted:
                return tool
        raise _refused(f"tool_choice names {wanted!r}, which is not among tools")
    return request.tools[0]


def _arguments(name: str, request: LLMRequest) -> dict[str, Any]:
    for tool in request.tools:
        if tool.name == name:
            made = sample(tool.parameters)
            return made if isinstance(made, dict) else {}
    return {}


def _words(parts: list[Any] | tuple[AnyPart, ...]) -> int:
    count = 0
    for part in parts:
        text = part.raw_arguments if isinstance(part, ToolCallPart) else getattr(part, "text", "")
        count += len(text.split())
    return count
