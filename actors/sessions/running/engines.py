"""The turn loop as pure steps: given what has happened in the turn, what comes next.

An engine is asked again after each step and keeps nothing between: all it needs is in the view, so it
travels by pickle and a turn can go on in another process. The runner executes the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from llmgine.actors.sessions.errors import TurnError
from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    NamedTool,
    OutputSchema,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)

ToolChoice = Literal["auto", "required", "none"] | NamedTool


@dataclass(frozen=True, slots=True)
class TurnView:
    """What an engine decides by.

    `messages` is what the session's window shows of the conversation, this turn's prompt included; `steps`
    counts the turn's model calls so far, of which `max_steps` may be made; `answer` is the last one's, None
    before the first; `results` are those of the tools run since, None where none were. `options` are
    further fields of `LLMRequest`.
    """

    model: str
    messages: tuple[Message, ...]
    system: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    output: OutputSchema | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    max_steps: int | None = None
    steps: int = 0
    answer: LLMResponse | None = None
    results: tuple[ToolResultPart, ...] | None = None

    def request(self, **changes: Any) -> LLMRequest:
        """The next model call as the session and the turn want it, with these fields otherwise.

        Another `model` has no fallbacks but those given with it.
        """
        fields: dict[str, Any] = {
            **self.options,
            "model": self.model,
            "messages": self.messages,
            "system": self.system,
            "tools": self.tools,
            "output": self.output,
            **changes,
        }
        if "model" in changes and "fallbacks" not in changes:
            fields.pop("fallbacks", None)
        return LLMRequest(**fields)


@dataclass(frozen=True, slots=True)
class CallModel:
    """Call the model; its answer is appended to the conversation."""

    request: LLMRequest


@dataclass(frozen=True, slots=True)
class RunTools:
    """Run these calls of the last answer at the same time; their results are appended in this order."""

    calls: tuple[ToolCallPart, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """The turn is over: the last answer is its reply, or it has failed with `error`."""

    error: TurnError | None = None


Step = CallModel | RunTools | Finish


class Engine(Protocol):
    """Decides the next step of a turn; a pure function of the view."""

    def next(self, view: TurnView) -> Step: ...


# Reasons after which the model itself has not ended its turn.
_GOES_ON = frozenset({FinishReason.PAUSE})
# Reasons after which calls in the answer are not to be run.
_CUT_OFF = frozenset({FinishReason.CONTENT_FILTER, FinishReason.REFUSAL})


@dataclass(frozen=True, slots=True)
class ToolChatEngine:
    """Calls the model, runs what tools it asks for, and calls it again until it answers.

    `tool_choice`, which a turn may set otherwise, forces a call in the first step only: forced again, a
    model never answers. How often it calls the model is bounded by the turn's `limits`.
    """

    tool_choice: ToolChoice = "auto"

    def next(self, view: TurnView) -> Step:
        answer = view.answer
        if answer is None:
            return self._call(view)
        if view.results is not None:
            return self._call(view)
        if answer.tool_calls and answer.finish_reason not in _CUT_OFF:
            return RunTools(_whole(answer))
        if answer.finish_reason in _GOES_ON:
            return self._call(view)
        return Finish()

    def _call(self, view: TurnView) -> Step:
        choice = view.options.get("tool_choice", self.tool_choice)
        if not view.tools or (view.steps > 0 and choice != "none"):
            choice = "auto"
        return CallModel(view.request(tool_choice=choice))


def _whole(answer: LLMResponse) -> tuple[ToolCallPart, ...]:
    """The calls; one that the limit cut off before its arguments is none without arguments."""
    *before, last = answer.tool_calls
    if answer.finish_reason is FinishReason.LENGTH and not last.raw_arguments and not last.arguments:
        last = last.model_copy(update={"arguments": None, "raw_arguments": "(cut off by max_output_tokens)"})
    return (*before, last)


@dataclass(frozen=True, slots=True)
class SinglePassEngine:
    """Calls the model once, without tools."""

    def next(self, view: TurnView) -> Step:
        if view.answer is not None:
            return Finish()
        return CallModel(view.request(tools=(), tool_choice="auto"))
