"""What the decoders of all protocols share: one end, kept surprises, and no exception."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmgine.providers.codecs.assembly import Assembly, compact, new_call_id
from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.failures import failure
from llmgine.providers.codecs.json_text import read_json
from llmgine.providers.contracts import (
    Adjustment,
    FinishReason,
    LLMResponse,
    Message,
    Origin,
    Usage,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError
from llmgine.providers.events import Done, Failed, StreamEvent

# What reading a frame of an unexpected shape raises; pydantic's error is a ValueError.
_MISFIT = (ValueError, TypeError, AttributeError, LookupError)
_KEPT_BYTES = 256 * 1024
_KEPT_FIELDS = 64


class FrameDecoder:
    """A decoder that lacks only its protocol.

    The subclass reads one frame (`_read`) or a whole answer (`_body`) and knows the protocol's figures and
    reasons. `_marked` says that the end marker has come; `_finish` ends the answer.
    """

    def __init__(
        self,
        target: Target,
        api: str,
        adjustments: tuple[Adjustment, ...] = (),
        new_id: Callable[[], str] = new_call_id,
    ) -> None:
        self._target = target
        self._adjustments = adjustments
        origin = Origin(provider=target.provider, api=api, model=target.model)
        self._assembly = Assembly(origin, new_id)
        self._raw_usage: dict[str, Any] = {}
        self._data: dict[str, Any] = {}
        self._response_id: str | None = None
        self._model: str | None = None
        self._reason: str | None = None
        self._marked = False
        self._ended = False
        self._kept_bytes = 0

    def feed(self, event: str, data: bytes) -> list[StreamEvent]:
        if self._ended:
            return []
        try:
            return self._read(event, data)
        except _MISFIT as error:
            return self._malformed(data, error)

    def body(self, answer: dict[str, Any]) -> list[StreamEvent]:
        """The events of an answer that came in one piece."""
        try:
            return self._body(answer)
        except _MISFIT as error:
            return self._malformed(compact(answer).encode(), error)

    def end(self) -> list[StreamEvent]:
        if self._ended:
            return []
        if self._marked:
            try:
                return self._finish()
            except _MISFIT as error:
                return self._malformed(b"", error)
        return self._fail(
            self._error(
                ErrorKind.TRUNCATED,
                "the stream ended without its end marker; `partial` holds what had arrived",
                ErrorScope.ENDPOINT,
            )
        )

    def fail(self, error: ProviderError) -> list[StreamEvent]:
        """A `Failed`, or a `Done` where only the connection went after the end marker had come."""
        if self._ended:
            return []
        if self._marked and error.kind in (ErrorKind.CONNECTION, ErrorKind.TIMEOUT):
            return self.end()
        if error.phase is ErrorPhase.PRE_TOKEN and self._assembly.started:
            error.phase = ErrorPhase.MID_STREAM
        error.provider = error.provider or self._target.provider
        error.model = error.model or self._target.model
        return self._fail(error)

    def _read(self, event: str, data: bytes) -> list[StreamEvent]:
        raise NotImplementedError

    def _body(self, answer: dict[str, Any]) -> list[StreamEvent]:
        raise NotImplementedError

    def _usage(self, raw: Mapping[str, Any], source: UsageSource) -> Usage:
        raise NotImplementedError

    def _finish_reason(self) -> FinishReason:
        raise NotImplementedError

    def _usage_source(self) -> UsageSource:
        return UsageSource.REPORTED if self._raw_usage else UsageSource.ABSENT

    def _phase(self) -> ErrorPhase:
        return ErrorPhase.MID_STREAM if self._assembly.started else ErrorPhase.PRE_TOKEN

    def _keep(self, event: str, data: bytes, frame: Any = None) -> None:
        """Something that this version does not know goes into `unknown_events`, as far as there is room."""
        self._kept_bytes += len(data)
        if self._kept_bytes > _KEPT_BYTES:
            self._data["unknown_events_dropped"] = self._data.get("unknown_events_dropped", 0) + 1
            return
        payload = read_json(data) if frame is None else frame
        self._data.setdefault("unknown_events", []).append({"event": event, "data": payload})

    def _note(self, name: str, value: Any) -> None:
        """A field beside the answer goes into `provider_data`; the last value that says something stays."""
        if value not in (None, "", [], {}) and (name in self._data or len(self._data) < _KEPT_FIELDS):
            self._data[name] = value

    def _finish(self) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        self._assembly.close_all(events)
        response = LLMResponse(
            message=Message(role="assistant", parts=self._assembly.whole),
            finish_reason=self._finish_reason(),
            finish_reason_raw=self._reason,
            usage=self._usage(self._raw_usage, self._usage_source()),
            model=self._model or self._target.model,
            provider=self._target.provider,
            response_id=self._response_id,
            adjustments=self._adjustments,
            provider_data=self._data,
        )
        events.append(Done(response))
        self._ended = True
        return events

    def _reported_error(self, frame: Any) -> list[StreamEvent]:
        """The server said inside a 200 stream that it failed."""
        return self._fail(failure(self._target, frame, status=200, phase=self._phase()))

    def _malformed(self, data: bytes, error: Exception) -> list[StreamEvent]:
        shown = data[:200].decode("utf-8", "replace")
        text = f"what came is not what the protocol says ({type(error).__name__}: {error}): {shown}"
        return self._fail(self._error(ErrorKind.MALFORMED, text[:2000], ErrorScope.ENDPOINT))

    def _fail(self, error: ProviderError) -> list[StreamEvent]:
        self._ended = True
        parts = self._assembly.partial()
        partial = Message(role="assistant", parts=parts) if parts else None
        usage = self._usage(self._raw_usage, UsageSource.PARTIAL) if self._raw_usage else None
        return [Failed(error, partial, usage)]

    def _error(self, kind: ErrorKind, text: str, scope: ErrorScope) -> ProviderError:
        return ProviderError(
            text,
            kind=kind,
            phase=self._phase(),
            scope=scope,
            provider=self._target.provider,
            model=self._target.model,
            status=200,
        )


def json_object(target: Target, body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds; `ProviderError` where it holds none, or an error."""
    try:
        value = read_json(body)
    except ValueError as error:
        raise _no_answer(target, f"the answer is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise _no_answer(target, "the answer is JSON but no object")
    if value.get("error"):
        raise failure(target, value, status=200, phase=ErrorPhase.PRE_TOKEN)
    return value


def response_of(events: list[StreamEvent]) -> LLMResponse:
    """The response that the last of a decoder's events brings; raises the error where it brings that."""
    match events[-1]:
        case Done(response):
            return response
        case Failed(error):
            error.phase = ErrorPhase.PRE_TOKEN
            raise error
        case other:
            raise AssertionError(f"a decoder ended with {other!r}")


def _no_answer(target: Target, text: str) -> ProviderError:
    return ProviderError(
        text,
        kind=ErrorKind.MALFORMED,
        scope=ErrorScope.ENDPOINT,
        provider=target.provider,
        model=target.model,
        status=200,
    )
