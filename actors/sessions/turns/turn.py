"""One turn as data: what was asked, the log of its events, and the sums that make its reply."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from pydantic_core import to_json

from llmgine.actors.sessions.options import RecoveryPolicy
from llmgine.actors.sessions.turns.events import (
    Reply,
    StepStarted,
    ToolCall,
    ToolCalled,
    ToolProgress,
    ToolReturned,
    TurnDone,
    TurnEvent,
    TurnFailed,
)
from llmgine.actors.sessions.turns.limits import Limits
from llmgine.providers.contracts import (
    FinishReason,
    LLMResponse,
    Message,
    OutputSchema,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    Usage,
    UsageSource,
)
from llmgine.providers.events import TextDelta, ThinkingDelta, ToolCallDelta
from llmgine.telemetry import TraceContext

# What becomes of a turn that comes while another runs: it waits, takes its place, or is refused.
WhenBusy = Literal["queue", "interrupt", "refuse"]

TurnState = Literal["waiting", "running", "suspended", "done", "failed", "cancelled"]

# A reply is one message on a link, whose frames are bounded; each result has been an event of its own.
REPLY_RESULTS_BYTES = 4 * 1024 * 1024

_Delta = TextDelta | ThinkingDelta | ToolCallDelta


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What was asked: seconds of `deadline` count from when the turn was accepted.

    `limits` and `when_busy` go over what the session says. `waiting` are the sessions of which a turn
    waits for this one, `trace` the span that this turn stands below.
    `recovery` is the turn's own policy, None for the session's.

    Whoever asks may have `tools` of its own: calls of them end the turn and stay open. The `prompt` of a
    later turn may be their results, a message of role tool; `more` follows the prompt. `system` holds for
    this turn where the session has none.
    """

    turn_id: str
    prompt: Message
    model: str | None = None
    deadline: float | None = None
    output: OutputSchema | None = None
    options: dict[str, Any] = field(default_factory=dict)
    limits: Limits | None = None
    when_busy: WhenBusy | None = None
    waiting: tuple[str, ...] = ()
    recovery: RecoveryPolicy | None = None
    trace: TraceContext | None = None
    more: tuple[Message, ...] = ()
    system: str | None = None
    tools: tuple[ToolSpec, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """All that it says, in order."""
        return (self.prompt, *self.more)

    @property
    def answers(self) -> frozenset[str]:
        """The ids of the calls whose results it brings."""
        parts = (part for message in self.messages for part in message.parts)
        return frozenset(part.call_id for part in parts if isinstance(part, ToolResultPart))

    def to_wire(self) -> dict[str, Any]:
        return {
            "turn_id": self.turn_id,
            "prompt": self.prompt.model_dump_json().encode(),
            "model": self.model,
            "deadline": self.deadline,
            "output": self.output and self.output.model_dump_json().encode(),
            "options": self.options,
            "limits": self.limits and self.limits.model_dump_json().encode(),
            "when_busy": self.when_busy,
            "waiting": list(self.waiting),
            "recovery": self.recovery,
            "trace": self.trace and self.trace.to_wire(),
            "more": [message.model_dump_json().encode() for message in self.more],
            "system": self.system,
            "tools": [tool.model_dump_json().encode() for tool in self.tools],
        }

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> TurnRequest:
        output, limits = wire.get("output"), wire.get("limits")
        return cls(
            turn_id=wire["turn_id"],
            prompt=Message.model_validate_json(wire["prompt"]),
            model=wire.get("model"),
            deadline=wire.get("deadline"),
            output=None if output is None else OutputSchema.model_validate_json(output),
            options=wire.get("options") or {},
            limits=None if limits is None else Limits.model_validate_json(limits),
            when_busy=wire.get("when_busy"),
            waiting=tuple(wire.get("waiting") or ()),
            recovery=wire.get("recovery"),
            trace=TraceContext.from_wire(wire["trace"]) if wire.get("trace") else None,
            more=tuple(map(Message.model_validate_json, wire.get("more") or ())),
            system=wire.get("system"),
            tools=tuple(map(ToolSpec.model_validate_json, wire.get("tools") or ())),
        )


class _Run:
    """Deltas of one part in a row: their text, and where each of them ends in it."""

    __slots__ = ("_ends", "_pieces", "_sealed", "index", "kind")

    def __init__(self, kind: type[_Delta], index: int) -> None:
        self.kind = kind
        self.index = index
        self._pieces: list[str] = []
        self._sealed = ""
        self._ends: array[int] = array("Q")

    def __len__(self) -> int:
        return len(self._ends) or len(self._pieces)

    def add(self, text: str) -> None:
        self._pieces.append(text)

    def seal(self) -> int:
        """Nothing more comes: holds one text instead of many; returns its size."""
        position = 0
        for piece in self._pieces:
            position += len(piece)
            self._ends.append(position)
        self._sealed, self._pieces = "".join(self._pieces), []
        return len(self._sealed) + self._ends.itemsize * len(self._ends)

    def after(self, skipped: int) -> _Delta:
        """What the deltas after the first `skipped` come to, as one."""
        if not self._ends:
            return self.kind(self.index, "".join(self._pieces[skipped:]))
        begin = self._ends[skipped - 1] if skipped else 0
        return self.kind(self.index, self._sealed[begin:])


class TurnLog:
    """Every event of one turn under its offset, from 0.

    A reader that comes late or lags gets the deltas that it has not seen as one delta, so reading
    from any offset gives each event exactly once and the texts concatenate to the same.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._entries: list[_Run | TurnEvent] = []
        self._terminal: TurnDone | TurnFailed | None = None
        self.end = 0
        self.size = 0

    @property
    def terminal(self) -> TurnDone | TurnFailed | None:
        """The last event, once it is there."""
        return self._terminal

    def append(self, event: TurnEvent) -> None:
        """Adds the next event; nothing can follow the terminal one."""
        if self._terminal is not None:
            raise ValueError(f"the turn has ended with {self._terminal.type!r}; {event.type!r} cannot follow")
        last = self._entries[-1] if self._entries else None
        if isinstance(event, TextDelta | ThinkingDelta | ToolCallDelta):
            if not isinstance(last, _Run) or last.kind is not type(event) or last.index != event.index:
                self._seal(last)
                last = _Run(type(event), event.index)
                self._push(last)
            last.add(event.arguments if isinstance(event, ToolCallDelta) else event.text)
        else:
            self._seal(last)
            self._push(event)
            self.size += event_size(event)
            if isinstance(event, TurnDone | TurnFailed):
                self._terminal = event
        self.end += 1

    def read(self, offset: int) -> Iterator[tuple[int, TurnEvent]]:
        """The events from `offset` on, each with the offset at which to go on after it."""
        offset = max(offset, 0)
        position = max(bisect_right(self._starts, offset) - 1, 0)
        while position < len(self._entries) and offset < self.end:
            entry, start = self._entries[position], self._starts[position]
            if isinstance(entry, _Run):
                event: TurnEvent = entry.after(offset - start)
                offset = start + len(entry)
            else:
                event, offset = entry, start + 1
            yield offset, event
            position += 1

    def _push(self, entry: _Run | TurnEvent) -> None:
        self._starts.append(self.end)
        self._entries.append(entry)

    def _seal(self, entry: _Run | TurnEvent | None) -> None:
        if isinstance(entry, _Run):
            self.size += entry.seal()


def event_size(event: TurnEvent) -> int:
    """About how many bytes an event holds that is no delta."""
    match event:
        case ToolReturned(result):
            return (
                200
                + len(result.text)
                + sum(len(getattr(part, "data", None) or b"") for part in result.content)
            )
        case ToolProgress(_, data):
            return 200 + len(to_json(data))
        case ToolCalled(call):
            return 200 + len(call.raw_arguments)
        case TurnDone(reply):
            results = sum(len(call.result.text) for call in reply.tool_calls if call.result is not None)
            return 500 + 2 * len(reply.text) + results
        case _:
            return 100


def served_by(response: LLMResponse) -> str:
    """The model that served, by the name under which it can be asked for again."""
    prefix = f"{response.provider}/"
    return response.model if response.model.startswith(prefix) else prefix + response.model


def _stop_sequence(response: LLMResponse) -> str | None:
    told = response.provider_data.get("stop_sequence")
    return told if isinstance(told, str) else None


class TurnTally:
    """Sums over a turn's model calls and tools; makes its reply."""

    def __init__(self) -> None:
        self.steps = 0
        self._usage: Usage | None = None
        self._cost: Decimal | None = Decimal(0)
        self._calling = False
        self.last: LLMResponse | None = None
        self.calls: dict[str, ToolCallPart] = {}
        self.results: dict[str, ToolResultPart] = {}

    @property
    def usage(self) -> Usage | None:
        """Tokens of all model calls; partial where one was cut off before it told its own."""
        if self._calling and self._usage is not None:
            return self._usage.model_copy(update={"source": UsageSource.PARTIAL})
        return self._usage

    @property
    def cost(self) -> Decimal | None:
        """US dollars; unknown while a call is under way, and where one was cut off."""
        return None if self._calling else self._cost

    def step(self, model: str) -> StepStarted:
        """The next model call begins."""
        self.steps += 1
        self._calling = True
        return StepStarted(self.steps, model)

    def answered(self, response: LLMResponse) -> None:
        """A model call has ended well."""
        self.spent(response.usage, response.cost)
        self.last = response
        self.calls.update((call.id, call) for call in response.tool_calls)

    def spent(self, usage: Usage | None, cost: Decimal | None) -> None:
        """What a model call used, also one that failed; an unknown cost makes the sum unknown."""
        self._calling = False
        if usage is not None:
            self._usage = usage if self._usage is None else self._usage + usage
        self._cost = None if cost is None or self._cost is None else self._cost + cost

    def returned(self, result: ToolResultPart) -> None:
        """A tool has answered, or was answered for."""
        self.results[result.call_id] = result

    def reply(
        self,
        *,
        turn_id: str,
        trace_id: str,
        session_id: str,
        model: str,
        open_calls: tuple[ToolCallPart, ...] = (),
    ) -> Reply:
        """The whole turn as one value; without any answer the reply is empty and its reason unknown."""
        last = self.last
        return Reply(
            text="" if last is None else last.text,
            parts=() if last is None else last.message.parts,
            tool_calls=self._tool_calls(),
            open_calls=open_calls,
            usage=self.usage or Usage(),
            cost=None if last is None else self.cost,
            model=model if last is None else served_by(last),
            finish_reason=FinishReason.UNKNOWN if last is None else last.finish_reason,
            stop_sequence=None if last is None else _stop_sequence(last),
            adjustments=() if last is None else last.adjustments,
            steps=self.steps,
            turn_id=turn_id,
            trace_id=trace_id,
            session_id=session_id,
        )

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        size = sum(event_size(ToolReturned(result)) for result in self.results.values())
        results = self.results if size <= REPLY_RESULTS_BYTES else {}
        return tuple(
            ToolCall(id=call.id, name=call.name, arguments=call.arguments, result=results.get(call.id))
            for call in self.calls.values()
        )
