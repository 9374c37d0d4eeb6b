"""Engines decide the next step of a turn from what has happened in it, and from nothing else."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from llmgine.actors.sessions.running.engines import (
    CallModel,
    Finish,
    RunTools,
    SinglePassEngine,
    ToolChatEngine,
    TurnView,
)
from llmgine.providers.contracts import (
    FinishReason,
    LLMResponse,
    Message,
    NamedTool,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)

SPEC = ToolSpec(name="t", parameters={"type": "object"})
CALL = ToolCallPart(id="c1", name="t", arguments={})
RESULT = ToolResultPart(call_id="c1", content=(TextPart(text="ok"),))
VIEW = TurnView(model="p/m", messages=(Message.user("hi"),), system="Be brief.", tools=(SPEC,))


def answer(*calls: ToolCallPart, reason: FinishReason = FinishReason.STOP) -> LLMResponse:
    message = Message(role="assistant", parts=(TextPart(text="x"), *calls))
    return LLMResponse(message=message, finish_reason=reason, model="m", provider="p")


def requested(engine: ToolChatEngine | SinglePassEngine, view: TurnView) -> Any:
    step = engine.next(view)
    assert isinstance(step, CallModel)
    return step.request


def test_calls_the_model_first() -> None:
    """The first step calls the turn's model with the conversation, the system prompt and the tools."""
    request = requested(ToolChatEngine(), VIEW)
    assert (request.model, request.messages, request.system, request.tools, request.tool_choice) == (
        "p/m",
        VIEW.messages,
        "Be brief.",
        (SPEC,),
        "auto",
    )


def test_runs_tools_until_the_model_answers() -> None:
    """Calls are run, their results go back to the model, and an answer without calls ends the turn."""
    engine = ToolChatEngine()
    asked = replace(VIEW, steps=1, answer=answer(CALL))
    assert engine.next(asked) == RunTools((CALL,))
    assert isinstance(engine.next(replace(asked, results=(RESULT,))), CallModel)
    assert engine.next(replace(VIEW, steps=2, answer=answer())) == Finish()


@pytest.mark.parametrize("reason", [FinishReason.REFUSAL, FinishReason.CONTENT_FILTER])
def test_calls_of_a_refused_answer_are_not_run(reason: FinishReason) -> None:
    """Calls in an answer that was cut off by a filter or a refusal are not run."""
    assert ToolChatEngine().next(replace(VIEW, steps=1, answer=answer(CALL, reason=reason))) == Finish()


def test_a_pause_goes_on() -> None:
    """A model that paused is called again."""
    assert isinstance(
        ToolChatEngine().next(replace(VIEW, steps=1, answer=answer(reason=FinishReason.PAUSE))), CallModel
    )


@pytest.mark.parametrize("choice", ["required", NamedTool(name="t")])
def test_a_forced_choice_holds_once(choice: Any) -> None:
    """A call is forced in the first step only, whether the engine or the turn asks for it."""
    for engine, options in (
        (ToolChatEngine(tool_choice=choice), {}),
        (ToolChatEngine(), {"tool_choice": choice}),
    ):
        view = replace(VIEW, options=options)
        assert requested(engine, view).tool_choice == choice
        later = replace(view, steps=1, answer=answer(CALL), results=(RESULT,))
        assert requested(engine, later).tool_choice == "auto"


def test_no_tools_no_choice() -> None:
    """Without tools nothing is forced; with tool_choice "none" nothing is called in any step."""
    assert requested(ToolChatEngine(tool_choice="required"), replace(VIEW, tools=())).tool_choice == "auto"
    later = replace(VIEW, steps=1, answer=answer(CALL), results=(RESULT,))
    assert requested(ToolChatEngine(tool_choice="none"), later).tool_choice == "none"


def test_options_reach_the_request_and_cannot_replace_the_conversation() -> None:
    """A turn's options are fields of the request; what the turn is made of stays."""
    request = requested(ToolChatEngine(), replace(VIEW, options={"temperature": 0.5, "model": "x/y"}))
    assert (request.temperature, request.model) == (0.5, "p/m")


def test_single_pass() -> None:
    """The single-pass engine calls the model once, without tools, and is done."""
    request = requested(SinglePassEngine(), VIEW)
    assert request.tools == ()
    assert SinglePassEngine().next(replace(VIEW, steps=1, answer=answer(CALL))) == Finish()


def test_engines_travel() -> None:
    """Built-in engines survive pickling."""
    for engine in (ToolChatEngine(tool_choice="required"), SinglePassEngine()):
        assert pickle.loads(pickle.dumps(engine)) == engine


def test_a_call_without_the_arguments_that_were_cut_off_is_not_run_without_any() -> None:
    """Where the limit ended the answer, a last call with no arguments is one whose arguments are missing."""
    view = replace(VIEW, steps=1, answer=answer(CALL, reason=FinishReason.LENGTH))
    step = ToolChatEngine().next(view)
    assert isinstance(step, RunTools)
    assert step.calls[0].arguments is None
    whole = ToolCallPart(id="c2", name="t", arguments={"a": 1}, raw_arguments='{"a": 1}')
    view = replace(VIEW, steps=1, answer=answer(CALL, whole, reason=FinishReason.LENGTH))
    assert ToolChatEngine().next(view) == RunTools((CALL, whole))
