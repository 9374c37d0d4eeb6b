"""The vendors' own clients in a session: what it holds is the truth, and its tools stay its own."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import openai
import pytest

from llmgine.actors.gateway.port import TurnAsk
from llmgine.actors.gateway.vendor.calls import session_answer, whole
from llmgine.actors.sessions import Limits, ToolCalled, TurnClient, Window
from llmgine.actors.store.session_operations import PutSession
from llmgine.providers import Message
from llmgine.runtime import tool
from llmgine.runtime.gateway.port import RuntimePort
from tests.runtime.gateway.conftest import Stage
from tests.runtime.gateway.test_anthropic_client import TOOLS as MESSAGE_TOOLS
from tests.runtime.gateway.test_openai_client import CHAT_TOOLS, TOOLS


@tool
def find_order(number: int) -> str:
    """Where an order is."""
    return f"order {number} is on its way"


def roles(history: Any) -> list[str]:
    return [message.role for message in history]


async def test_the_sessions_tools_run_there_and_the_clients_come_back_as_calls(stage: Stage) -> None:
    """A streamed chat: only what is new is appended, only the client's own calls are told."""
    async with stage.runtime.session("mine", model="scripted/calls-both", tools=[find_order]) as session:
        client = await stage.openai(**{"x-llmgine-session": "mine"})
        messages: list[Any] = [{"role": "user", "content": "Where is it?"}]
        async with client.chat.completions.stream(
            model="session", messages=messages, tools=CHAT_TOOLS
        ) as stream:
            choice = (await stream.get_final_completion()).choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content == "Let me see."
        (call,) = choice.message.tool_calls or []
        assert call.function.name == "get_weather"
        assert roles(await session.history()) == ["user", "assistant", "tool"]
        messages += [
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ]
        stream_ = await client.chat.completions.create(
            model="session", messages=messages, tools=CHAT_TOOLS, stream=True
        )
        said = [chunk.choices[0].delta.content or "" async for chunk in stream_]
        assert "".join(said) == "order 1 is on its way\nsunny"
        assert roles(await session.history()) == ["user", "assistant", "tool", "tool", "assistant"]
        messages += [{"role": "assistant", "content": "never said"}, {"role": "user", "content": "Thanks"}]
        await client.chat.completions.create(model="scripted/echo", messages=messages)
        history = await session.history()
        assert [message.text for message in history[-2:]] == ["Thanks", "Thanks"]
        assert "never said" not in [message.text for message in history]


async def test_a_session_is_opened_for_whoever_names_a_new_one(stage: Stage) -> None:
    """It holds the conversation, so that a client need send no more than what is new."""
    client = await stage.anthropic(**{"x-llmgine-session": "new"})
    first: Any = await client.messages.create(
        model="scripted/tool",
        max_tokens=50,
        messages=[{"role": "user", "content": "Weather?"}],
        tools=MESSAGE_TOOLS,
    )
    assert first.stop_reason == "tool_use"
    result: Any = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": "snow"}
    async with client.messages.stream(
        model="scripted/tool",
        max_tokens=50,
        messages=[{"role": "user", "content": [result]}],
        tools=MESSAGE_TOOLS,
    ) as stream:
        message: Any = await stream.get_final_message()
    assert message.content[0].text == "snow"
    assert (await stage.runtime.sessions.show("new")).messages == 4


async def test_a_closed_session_and_its_fork_are_opened_as_it_was(stage: Stage) -> None:
    """What bounds it and its tools hold for whoever comes through the gateway, but that it stays."""
    ways: Any = {
        "model": "scripted/calls-both",
        "system": "Be brief.",
        "tools": [find_order],
        "limits": Limits(cost=1),
        "window": Window.messages(40),
        "when_busy": "refuse",
    }
    async with stage.runtime.session("bounded", **ways):
        pass
    store = stage.runtime._open().store
    row = await store.session("bounded")
    assert row is not None
    for id in (await stage.runtime.sessions.fork("bounded"), "bounded"):
        client = await stage.openai(**{"x-llmgine-session": id})
        await client.chat.completions.create(
            model="session", messages=[{"role": "user", "content": "Where is it?"}], tools=CHAT_TOOLS
        )
        again = await store.session(id)
        assert again is not None
        assert (again.state, again.record) == ("open", {**row.record, "stay": True})
        history = await stage.runtime.sessions.history(id)
        assert "order 1 is on its way" in [part.text for part in history[2].parts if hasattr(part, "text")]
    async with stage.runtime.session("bounded", **ways) as session:  # they are the same still
        assert (await session.describe())["tools"] == ["find_order"]


async def test_a_session_whose_end_was_not_kept_is_opened_again(stage: Stage) -> None:
    """The store may have been away when it ended; whoever asks it next finds what it holds."""
    async with stage.runtime.session("half", model="scripted/echo") as session:
        await session.ask("first")
    store = stage.runtime._open().store
    row = await store.session("half")
    assert row is not None
    await store.write([PutSession("half", row.epoch, {"state": "open"})])
    client = await stage.openai(**{"x-llmgine-session": "half"})
    await client.chat.completions.create(model="session", messages=[{"role": "user", "content": "second"}])
    assert [message.text for message in await stage.runtime.sessions.history("half")] == [
        *("first", "first"),
        *("second", "second"),
    ]


async def test_a_turn_that_has_ended_is_not_cancelled(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has heard its last event leaves it as it is."""
    cancelled: list[str] = []
    monkeypatch.setattr(TurnClient, "cancel_soon", lambda turn: cancelled.append(turn.id))
    port = RuntimePort(stage.runtime._open())
    ask = TurnAsk("ends", [Message.user("Hi")], model="scripted/echo")
    assert (await whole(session_answer(port, ask, streamed=False))).text == "Hi"
    assert cancelled == []


async def test_a_conversation_goes_on_by_its_name_or_by_its_last_answer(stage: Stage) -> None:
    """An answer that is not the last one cannot be gone on from."""
    client = await stage.openai()
    async with client.responses.stream(
        model="scripted/tool", input="Weather?", conversation="talk", tools=TOOLS
    ) as stream:
        first: Any = await stream.get_final_response()
    assert first.conversation.id == "talk"
    result: Any = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "rain"}
    second = await client.responses.create(
        model="scripted/tool", previous_response_id=first.id, input=[result], tools=TOOLS
    )
    assert second.output_text == "rain"
    with pytest.raises(openai.BadRequestError) as raised:
        await client.responses.create(model="scripted/tool", previous_response_id=first.id, input="And?")
    assert raised.value.code == "previous_response_not_found"
    third = await client.responses.create(model="scripted/echo", conversation={"id": "talk"}, input="And?")
    assert third.output_text == "And?"


async def test_a_failed_or_repeated_turn_is_no_later_answer(stage: Stage) -> None:
    """After either the same answer can be gone on from."""
    client = await stage.openai()
    first = await client.responses.create(model="scripted/echo", input="Hi", conversation="talk")
    with pytest.raises(openai.APIStatusError):
        await client.responses.create(
            model="scripted/permission", input="And?", previous_response_id=first.id
        )
    asked: Any = {"model": "scripted/echo", "input": "And?", "previous_response_id": first.id}
    keyed: Any = {**asked, "extra_headers": {"Idempotency-Key": "k-1"}}
    second, again = [await client.responses.create(**keyed) for _ in range(2)]
    assert (second.id, second.output_text) == (again.id, again.output_text)
    with pytest.raises(openai.BadRequestError):
        await client.responses.create(**asked)


async def test_a_request_without_a_session_leaves_nothing_behind(stage: Stage) -> None:
    """No session is made for it, and the next request knows nothing of it."""
    client = await stage.openai()
    await client.chat.completions.create(
        model="scripted/echo", messages=[{"role": "user", "content": "remember me"}]
    )
    assert [one async for one in stage.runtime.sessions.list()] == []


async def test_a_repeated_request_of_one_key_is_one_turn(stage: Stage) -> None:
    """A client that lost the answer and asks again gets the same one."""
    client = await stage.openai(**{"x-llmgine-session": "keyed"})
    asked: Any = {
        "model": "scripted/echo",
        "messages": [{"role": "user", "content": "Once"}],
        "extra_headers": {"Idempotency-Key": "k-1"},
    }
    first, again = [await client.chat.completions.create(**asked) for _ in range(2)]
    assert first.choices[0].message.content == again.choices[0].message.content == "Once"
    await stage.runtime.sessions.close("keyed")
    much_later = await client.chat.completions.create(**asked)
    assert much_later.choices[0].message.content == "Once"
    assert (await stage.runtime.sessions.show("keyed")).turns == 1


async def test_a_request_with_a_key_outlives_its_connection(stage: Stage) -> None:
    """Its turn goes on when the client is gone, and the client that comes back has its answer."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    @tool
    async def look() -> str:
        """Looks."""
        inside.set()
        await go_on.wait()
        return "seen"

    async with stage.runtime.session("outlives", model="scripted/calls-own", tools=[look]):
        port = RuntimePort(stage.runtime._open())
        ask = TurnAsk("outlives", [Message.user("Where?")], key="k-1", goes_on=True)
        async with aclosing(port.turn(ask)) as events:
            async for event in events:
                if isinstance(event, ToolCalled):
                    break
        await inside.wait()
        await asyncio.gather(*(one for one in asyncio.all_tasks() if one.get_name().startswith("cancel ")))
        go_on.set()
        assert (await whole(session_answer(port, ask, streamed=False))).text == "Let me see.\n\nThere."
        assert [turn.state for turn in await stage.runtime.sessions.turns("outlives")] == ["done"]


async def test_a_refusal_is_told_as_one(stage: Stage) -> None:
    """Once, as without a session."""
    client = await stage.openai(**{"x-llmgine-session": "refuses"})
    answer = await client.chat.completions.create(
        model="scripted/refuses", messages=[{"role": "user", "content": "x"}]
    )
    assert (answer.choices[0].message.content, answer.choices[0].message.refusal) == (None, "I will not.")


async def test_a_tool_of_the_sessions_name_and_a_stray_result_are_refused(stage: Stage) -> None:
    """The client is told what mends it."""
    async with stage.runtime.session("strict", model="scripted/echo", tools=[find_order]):
        client = await stage.openai(**{"x-llmgine-session": "strict"})
        function = {"name": "find_order", "parameters": {"type": "object", "properties": {}}}
        with pytest.raises(openai.BadRequestError, match="find_order"):
            await client.chat.completions.create(
                model="session",
                messages=[{"role": "user", "content": "x"}],
                tools=[{"type": "function", "function": function}],  # type: ignore[typeddict-item]
            )
        with pytest.raises(openai.BadRequestError, match="no call 'c9'"):
            await client.chat.completions.create(
                model="session", messages=[{"role": "tool", "tool_call_id": "c9", "content": "x"}]
            )
        with pytest.raises(openai.BadRequestError, match="nothing follows"):
            await client.chat.completions.create(
                model="session", messages=[{"role": "assistant", "content": "x"}]
            )


async def test_what_no_session_can_take_in_is_the_clients_mistake(stage: Stage) -> None:
    """A number of more than 64 bits does not come better by asking again."""
    client = await stage.openai(**{"x-llmgine-session": "large"})
    with pytest.raises(openai.BadRequestError, match="msgpack"):
        await client.chat.completions.create(
            model="scripted/echo", messages=[{"role": "user", "content": "x"}], seed=10**30
        )


async def test_a_client_that_goes_cancels_its_turn(stage: Stage, eventually: Any) -> None:
    """The turn ends as cancelled, with what the model had said."""
    client = await stage.openai(**{"x-llmgine-session": "left"})
    stream = await client.chat.completions.create(
        model="scripted/hangs", messages=[{"role": "user", "content": "x"}], stream=True
    )
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()

    async def cancelled() -> bool:
        turns = await stage.runtime.sessions.turns("left")
        return bool(turns) and turns[0].state == "cancelled"

    await eventually(cancelled)


async def test_where_a_session_lives_is_asked_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later turns go straight to its actor; one that was closed meanwhile is opened again."""
    driver = stage.runtime._open()
    port = RuntimePort(driver)
    asked: list[str] = []

    async def counting(method: str, *arguments: Any, timeout: float | None = None) -> Any:
        asked.append(method)
        return await call(method, *arguments, timeout=timeout)

    call = driver.control.call
    monkeypatch.setattr(driver.control, "call", counting)

    async def say(text: str) -> str:
        ask = TurnAsk("kept", (Message.user(text),), model="scripted/echo")
        return (await whole(session_answer(port, ask, streamed=False))).text

    assert await say("one") == "one"
    asked.clear()
    assert [await say("two"), await say("three")] == ["two", "three"]
    assert asked == []
    await stage.runtime.sessions.close("kept")
    assert await say("four") == "four"
