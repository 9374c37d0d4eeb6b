"""A vendor's request to a session, and the turn that answers it as one answer.

What the session holds is the truth: of the request's messages only those after the last one of the model
are new. The client's own tools come with each request; their calls are its own to answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from llmgine.actors.gateway.port import TurnAsk
from llmgine.actors.gateway.vendor.ordering import PartEvent
from llmgine.actors.gateway.vendor.reading import RequestRefused
from llmgine.actors.sessions import Reply, StepStarted, TurnDone, TurnEvent, TurnFailed, TurnReset
from llmgine.providers.codecs.encoding import arguments_text
from llmgine.providers.contracts import (
    AnyPart,
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.events import (
    Done,
    PartDone,
    Reset,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)
from llmgine.telemetry import TraceContext

# In place of a model's name: the model that the session was opened with.
OWN_MODEL: Final = "session"

_SAID_ELSEWHERE: Final = frozenset(
    {"model", "fallbacks", "messages", "system", "tools", "output", "idempotency_key"}
)


def ask_of(
    request: LLMRequest, session: str, *, key: str | None, goes_on: bool, trace: TraceContext | None
) -> TurnAsk:
    """The turn that a request asks of a session; `RequestRefused` where it says nothing new."""
    messages = list(request.messages)
    system = [] if request.system is None else [request.system]
    while messages and messages[0].role == "system":
        system.append(messages.pop(0).text)
    return TurnAsk(
        session,
        _new(messages),
        model=None if request.model == OWN_MODEL else request.model,
        system="\n\n".join(system) or None,
        tools=request.tools,
        output=request.output,
        options=_options(request),
        key=key,
        goes_on=goes_on,
        trace=trace,
    )


def _new(messages: list[Message]) -> tuple[Message, ...]:
    """The messages after the last one of the model."""
    begin = next((at + 1 for at in reversed(range(len(messages))) if messages[at].role == "assistant"), 0)
    if begin == len(messages):
        raise RequestRefused(
            "nothing follows the last message of the model, and what it said is in the session already; "
            "add a message of the user, or results of tools",
            field="messages",
        )
    return _as_turn(messages[begin:])


def _as_turn(messages: list[Message]) -> tuple[Message, ...]:
    """The messages as a turn begins: with all results as one message, or else with the user's first one."""
    results = tuple(part for message in messages if message.role == "tool" for part in message.parts)
    said = [message for message in messages if message.role != "tool"]
    if results:
        return (Message(role="tool", parts=results), *said)
    first = next((at for at, message in enumerate(said) if message.role == "user"), None)
    if first is None:
        raise RequestRefused(
            "after the last message of the model only the system speaks; add a message of the user",
            field="messages",
        )
    return (said.pop(first), *said)


def _options(request: LLMRequest) -> dict[str, Any]:
    options = request.model_dump(mode="json", exclude_defaults=True, exclude=set(_SAID_ELSEWHERE))
    if cache := options.get("cache"):
        # Numbers of the request's messages are none of the session's.
        places = [place if isinstance(place, str) else -1 for place in cache.get("breakpoints", ())]
        options["cache"] = {**cache, "breakpoints": list(dict.fromkeys(places))}
    return options


# Parts that are told while they come; of a refusal it is known at the end that it was one.
_Spoken = TextPart | ThinkingPart | RefusalPart


class TurnAnswer:
    """A turn's events as those of one answer: what its steps say in a row, and at its end the open calls.

    Calls of the session's own tools, and what came of them, are no part of the answer. Of one that is not
    `streamed` nothing has been sent before its end, so that it can be taken back.
    """

    def __init__(self, *, streamed: bool) -> None:
        self._streamed = streamed
        self._step = 0
        self._indices: dict[tuple[int, int], int] = {}
        self._said: dict[int, tuple[int, type[_Spoken], list[str]]] = {}

    def take(self, event: TurnEvent) -> Iterator[PartEvent | Done]:
        """What the event adds to the answer; raises what the turn failed with."""
        match event:
            case StepStarted(step):
                self._step = step
            case TextDelta(index, text):
                text = self._apart(index, text)
                yield TextDelta(self._heard(index, TextPart, text), text)
            case ThinkingDelta(index, text):
                yield ThinkingDelta(self._heard(index, ThinkingPart, text), text)
            case Reset() | TurnReset():
                self._take_back(whole=isinstance(event, TurnReset))
            case TurnDone(reply):
                yield from self._ended(reply)
            case TurnFailed(error):
                raise error

    def _take_back(self, *, whole: bool) -> None:
        """Forgets what the step, or the whole turn, has said; raises where it has been sent."""
        void = [place for place, (step, _, _) in self._said.items() if whole or step == self._step]
        if void and self._streamed:
            raise taken_back()
        for place in void:
            del self._said[place]
        self._indices = {part: place for part, place in self._indices.items() if place in self._said}

    def _apart(self, index: int, text: str) -> str:
        """The text, with a blank line before it where an earlier step has said something."""
        begins = (self._step, index) not in self._indices
        spoke = any(kind is TextPart and step < self._step for step, kind, _ in self._said.values())
        here = any(kind is TextPart and step == self._step for step, kind, _ in self._said.values())
        return f"\n\n{text}" if begins and spoke and not here else text

    def _heard(self, index: int, kind: type[TextPart | ThinkingPart], text: str) -> int:
        place = self._indices.setdefault((self._step, index), len(self._said))
        self._said.setdefault(place, (self._step, kind, []))[2].append(text)
        return place

    def _ended(self, reply: Reply) -> Iterator[PartEvent | Done]:
        if not any(step == self._step for step, _, _ in self._said.values()):
            # Its events are gone, as those of a turn that ended long ago; the reply has what it said last.
            for index, part in enumerate(reply.parts):
                match part:
                    case TextPart(text=text) if text:
                        yield from self.take(TextDelta(index, text))
                    case ThinkingPart(text=text) if text:
                        yield from self.take(ThinkingDelta(index, text))
        yield from self._refused(reply)
        for at, call in enumerate(reply.open_calls, len(self._said)):
            yield ToolCallStart(at, call.id, call.name)
            yield ToolCallDelta(at, arguments_text(call))
            yield PartDone(at, call)
        yield Done(self._response(reply))

    def _refused(self, reply: Reply) -> Iterator[PartEvent]:
        """Tells as refusals what was told as text while it came."""
        for part in reply.parts:
            if isinstance(part, RefusalPart):
                place = self._place_of(part.text)
                self._said[place] = (self._step, RefusalPart, [part.text])
                yield PartDone(place, part)

    def _place_of(self, said: str) -> int:
        """Where the last step has told this text; a new place where it has not."""
        for place, (step, kind, pieces) in self._said.items():
            if step == self._step and kind is TextPart and "".join(pieces).strip() == said.strip():
                return place
        return len(self._said)

    def _response(self, reply: Reply) -> LLMResponse:
        parts: list[AnyPart] = [kind(text="".join(pieces)) for _, kind, pieces in self._said.values()]
        parts += [
            part
            for part in reply.parts
            if not isinstance(part, (TextPart, ThinkingPart, RefusalPart, ToolCallPart))
        ]
        reason = reply.finish_reason
        if reason is FinishReason.TOOL_CALLS and not reply.open_calls:
            reason = FinishReason.STOP
        provider, _, model = reply.model.partition("/")
        return LLMResponse(
            message=Message(role="assistant", parts=(*parts, *reply.open_calls)),
            finish_reason=reason,
            finish_reason_raw=None if reply.stop_sequence is None else "stop_sequence",
            usage=reply.usage,
            cost=reply.cost,
            model=model,
            provider=provider,
            adjustments=reply.adjustments,
            provider_data={} if reply.stop_sequence is None else {"stop_sequence": reply.stop_sequence},
        )


def taken_back() -> ProviderError:
    """The error of an answer that began anew after a part of it had been told, which cannot be taken back."""
    return ProviderError(
        "the answer began anew after a part of it had been sent; ask again",
        kind=ErrorKind.TRUNCATED,
        phase=ErrorPhase.MID_STREAM,
    )
