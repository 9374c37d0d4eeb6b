"""Turns of somebody with tools of its own: their calls end the turn, and the next one brings the results."""

from __future__ import annotations

from typing import Any

from llmgine.actors.sessions import TurnDone, TurnFailed, tool
from llmgine.actors.sessions.errors import ContextError
from llmgine.providers.contracts import (
    FinishReason,
    Message,
    TextPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.errors import ErrorKind, InvalidRequest, ProviderError

THEIRS = (ToolSpec(name="theirs", parameters={"type": "object", "properties": {}}),)


@tool
def ours(x: int) -> str:
    """Runs in the session."""
    return f"ours {x}"


def results(*call_ids: str) -> Message:
    parts = tuple(ToolResultPart(call_id=one, content=(TextPart(text=f"came of {one}"),)) for one in call_ids)
    return Message(role="tool", parts=parts)


async def test_a_call_of_the_askers_tool_ends_the_turn_and_stays_open(bench: Any, script: Any) -> None:
    """The turn ends well with the call, the conversation waits for its result, which the next turn brings."""
    stage = bench(script.says(calls=(script.call("theirs", "c1"),)), script.says("Done."))
    done = await stage.turn(tools=THEIRS)
    assert isinstance(done, TurnDone)
    assert [call.id for call in done.reply.open_calls] == ["c1"]
    assert done.reply.finish_reason is FinishReason.TOOL_CALLS
    assert [call.id for call in stage.context.open_calls] == ["c1"]
    assert stage.models.requests[0].tools == THEIRS
    done = await stage.turn(results("c1"), tools=THEIRS)
    assert isinstance(done, TurnDone)
    assert (done.reply.text, done.reply.open_calls) == ("Done.", ())
    assert stage.roles == ["user", "assistant", "tool", "assistant"]


async def test_the_sessions_own_calls_of_the_same_answer_are_run_first(bench: Any, script: Any) -> None:
    """What the session can run has its result when the turn ends with the rest."""
    stage = bench(
        script.says(calls=(script.call("theirs", "c1"), script.call("ours", "c2", x=2))),
        script.says("Done."),
        tools=(ours,),
    )
    done = await stage.turn(tools=THEIRS)
    assert isinstance(done, TurnDone)
    assert [call.id for call in done.reply.open_calls] == ["c1"]
    assert stage.roles == ["user", "assistant", "tool"]
    await stage.turn(results("c1"), tools=THEIRS)
    parts = [part for message in stage.models.requests[1].messages for part in message.parts]
    told = [part.text for part in parts if isinstance(part, ToolResultPart)]
    assert told == ["ours 2", "came of c1"]


async def test_a_call_whose_result_never_comes_is_answered_for(bench: Any, script: Any) -> None:
    """The next prompt closes what was left open, with the reason."""
    stage = bench(script.says(calls=(script.call("theirs", "c1"),)), script.says("Well."))
    await stage.turn(tools=THEIRS)
    await stage.turn("Something else")
    assert stage.roles == ["user", "assistant", "tool", "user", "assistant"]
    (result,) = stage.context.view()[2].parts
    assert result.is_error
    assert "no result of it had come" in result.text


async def test_a_failed_turn_with_results_can_be_asked_again(bench: Any, script: Any) -> None:
    """What it had said is taken back, and the call waits again for its result."""
    broken = ProviderError("busy", kind=ErrorKind.OVERLOADED)
    stage = bench(script.says(calls=(script.call("theirs", "c1"),)), [broken], script.says("Done."))
    await stage.turn(tools=THEIRS)
    assert isinstance(await stage.turn(results("c1"), tools=THEIRS), TurnFailed)
    assert [call.id for call in stage.context.open_calls] == ["c1"]
    done = await stage.turn(results("c1"), tools=THEIRS)
    assert isinstance(done, TurnDone)
    assert done.reply.text == "Done."


async def test_results_brought_again_go_on_from_the_steps_that_were_finished(bench: Any, script: Any) -> None:
    """What the session's own tools have done in a turn that failed later is not done again."""
    broken = ProviderError("busy", kind=ErrorKind.OVERLOADED)
    stage = bench(
        script.says(calls=(script.call("theirs", "c1"),)),
        script.says(calls=(script.call("ours", "c2", x=2),)),
        [broken],
        [broken],
        script.says("Done."),
        tools=(ours,),
    )
    await stage.turn(tools=THEIRS)
    for _ in range(2):
        failed = await stage.turn(results("c1"), tools=THEIRS)
        assert isinstance(failed, TurnFailed)
        assert isinstance(failed.error, ProviderError)
    done = await stage.turn(results("c1"), tools=THEIRS)
    assert isinstance(done, TurnDone)
    assert done.reply.text == "Done."
    assert stage.roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert isinstance(await stage.turn(results("c1"), tools=THEIRS), TurnFailed)


async def test_a_result_of_no_open_call_is_refused_and_changes_nothing(bench: Any, script: Any) -> None:
    """The calls that are open stay so."""
    stage = bench(script.says(calls=(script.call("theirs", "c1"),)))
    await stage.turn(tools=THEIRS)
    failed = await stage.turn(results("c9"), tools=THEIRS)
    assert isinstance(failed, TurnFailed)
    assert isinstance(failed.error, ContextError)
    assert [call.id for call in stage.context.open_calls] == ["c1"]


async def test_a_tool_under_a_name_of_the_sessions_is_refused(bench: Any, script: Any) -> None:
    """Nobody could tell whose call it is."""
    stage = bench(script.says("Never."), tools=(ours,))
    failed = await stage.turn(tools=(ToolSpec(name="ours", parameters={"type": "object"}),))
    assert isinstance(failed, TurnFailed)
    assert isinstance(failed.error, InvalidRequest)


async def test_what_follows_the_results_is_said_after_them(bench: Any, script: Any) -> None:
    """A turn may bring results and a prompt, in this order."""
    stage = bench(script.says(calls=(script.call("theirs", "c1"),)), script.says("Done."))
    await stage.turn(tools=THEIRS)
    await stage.turn(results("c1"), more=(Message.user("And hurry"),), tools=THEIRS)
    assert stage.roles == ["user", "assistant", "tool", "user", "assistant"]


async def test_the_askers_system_prompt_holds_where_the_session_has_none(bench: Any, script: Any) -> None:
    """The session's own is not replaced."""
    stage = bench(script.says("A"), script.says("B"))
    await stage.turn(system="Theirs.")
    stage.conversation.system = None
    await stage.turn(system="Theirs.")
    assert [request.system for request in stage.models.requests] == ["Be brief.", "Theirs."]
