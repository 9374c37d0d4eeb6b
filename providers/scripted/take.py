"""One reply as it is played: its events, and what of them has gone out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmgine.providers.catalogue.scripts import Fault, Reply
from llmgine.providers.contracts import (
    AnyPart,
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    Origin,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
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
from llmgine.providers.scripted.replying import parts_of, turn_of

_WORDS = re.compile(r"\s*\S+\s*")
_ARGUMENT_CHUNK = 16
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


class Take:
    """One reply to one request; `InvalidRequest` where the request cannot have it."""

    def __init__(self, provider: str, model: str, request: LLMRequest, reply: Reply) -> None:
        self.provider, self.model, self.request, self.reply = provider, model, request, reply
        self.parts = parts_of(reply, request, Origin(provider=provider, api="scripted", model=model))
        self._finished: list[AnyPart] = []
        self._pending: list[str] = []
        self._playing: AnyPart | None = None

    def events(self) -> Iterator[StreamEvent]:
        for index, part in enumerate(self.parts):
            self._playing = part
            if isinstance(part, ThinkingPart):
                yield from (ThinkingDelta(index, piece) for piece in self._chunks(part.text))
            elif isinstance(part, TextPart | RefusalPart):
                yield from (TextDelta(index, piece) for piece in self._chunks(part.text))
            elif isinstance(part, ToolCallPart):
                yield ToolCallStart(index, part.id, part.name)
                raw = part.raw_arguments
                for at in range(0, len(raw), _ARGUMENT_CHUNK):
                    yield ToolCallDelta(index, raw[at : at + _ARGUMENT_CHUNK])
            yield PartDone(index, part)

    def saw(self, event: StreamEvent) -> None:
        """The event has gone out."""
        if isinstance(event, TextDelta | ThinkingDelta):
            self._pending.append(event.text)
        elif isinstance(event, ToolCallStart | ToolCallDelta):
            self._pending.append("" if isinstance(event, ToolCallStart) else event.arguments)
        elif isinstance(event, PartDone):
            self._finished.append(event.part)
            self._pending.clear()

    def done(self) -> Done:
        reply, reason = self.reply, self._reason()
        return Done(
            LLMResponse(
                message=Message(role="assistant", parts=self.parts),
                finish_reason=reason,
                finish_reason_raw=reason.value,
                usage=self._usage(self.parts, UsageSource.REPORTED),
                cost=reply.cost,
                model=self.model,
                provider=self.provider,
                response_id=f"scripted_{turn_of(self.request)}",
                rate_limits=reply.rate_limits,
                adjustments=reply.adjustments,
            )
        )

    def failed(self, fault: Fault, chunks: int) -> Failed:
        """What the fault says, with what had gone out before it."""
        had = (*self._finished, *self._unfinished())
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

    def _unfinished(self) -> list[AnyPart]:
        part, text = self._playing, "".join(self._pending)
        if not self._pending or part is None:
            return []
        if isinstance(part, ToolCallPart):
            return [part.model_copy(update={"arguments": None, "raw_arguments": text})]
        kind = {"thinking": ThinkingPart, "refusal": RefusalPart}.get(part.type, TextPart)
        return [kind(text=text)]

    def _reason(self) -> FinishReason:
        if self.reply.finish_reason is not None:
            return self.reply.finish_reason
        kinds = {part.type for part in self.parts}
        if "tool_call" in kinds:
            return FinishReason.TOOL_CALLS
        return FinishReason.REFUSAL if "refusal" in kinds else FinishReason.STOP

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


def _words(parts: Iterable[AnyPart]) -> int:
    count = 0
    for part in parts:
        text = part.raw_arguments if isinstance(part, ToolCallPart) else getattr(part, "text", "")
        count += len(text.split())
    return count
