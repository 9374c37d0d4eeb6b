"""What sessions and the bus are given and can do nothing with is refused where it was given."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from llmgine.runtime import (
    Command,
    DeploymentRefused,
    Event,
    InvalidFilter,
    InvalidOption,
    InvalidRequest,
    Limits,
    LlmgineError,
    Message,
    Middleware,
    Runtime,
    Session,
    SessionFilter,
    Tool,
    ToolChatEngine,
    UnsendableMessage,
    on,
)


class Noted(Event):
    text: str = ""


class Shout(Command[str]):
    text: str = ""


class Listener:
    @on(Noted)
    async def listen(self, event: Noted) -> None: ...


def len_of(text: str) -> int:
    """How long a text is."""
    return len(text)


@pytest.fixture
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    async with Runtime.in_process() as runtime:
        yield runtime


@pytest.fixture
async def session(runtime: Runtime) -> AsyncIterator[Session]:
    async with runtime.session(model="scripted/echo") as session:
        yield session


async def streamed(session: Session, prompt: Any, **options: Any) -> None:
    async for _ in session.stream(prompt, **options):
        pass


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (5, "a str or a Message, not int"),
        (b"bytes", "a str or a Message, not bytes"),
        (None, "a str or a Message, not NoneType"),
        ("caf\udce9", "lone surrogates"),
        (Message.user("caf\udce9"), "lone surrogates"),
    ],
)
async def test_what_is_no_prompt(session: Session, prompt: Any, told: str) -> None:
    """What is no prompt, or no text, is refused by every way of asking, and the session goes on."""
    for asked in (session.ask(prompt), session.submit(prompt), streamed(session, prompt)):
        with pytest.raises(InvalidRequest, match=told):
            await asked
    assert (await session.ask("well")).text == "well"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"id": 5}, "a session's id is a text"),
        ({"model": 5}, "named by a text"),
        ({"system": 5}, "system= is a text"),
        ({"stay": "yes"}, "stay= is True or False"),
        ({"trusted": "yes"}, "trusted= is True or False"),
        ({"placement": "poled"}, "placement is one of dedicated, pooled"),
        ({"priority": "urgent"}, "priority is one of interactive, batch"),
        ({"window": 40}, r"window= is Window.messages\(40\)"),
        ({"limits": {"steps": 4}}, r"limits= is Limits\(steps=4\)"),
        ({"limits": Limits}, r"limits= is Limits\(steps=4\)"),
        ({"tools": Tool(len_of)}, "tools= is a list"),
        ({"handlers": len_of}, "handlers= is a list"),
        ({"engine": 5}, "an object with a method `next`"),
        ({"engine": ToolChatEngine}, "an object with a method `next`"),
        ({"policy": 5}, "an object with a method `decide`"),
    ],
)
async def test_what_a_session_cannot_be_opened_with(
    runtime: Runtime, given: dict[str, Any], told: str
) -> None:
    """It is refused where it was written, before anything is opened, with what is taken instead."""
    with pytest.raises(LlmgineError, match=told):
        runtime.session(**{"model": "scripted/echo", **given})


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda session: session.ask("hi", limits=3), r"limits= is Limits\(steps=4\)"),
        (lambda session: session.submit("hi", key=5), "key= is some characters"),
        (lambda session: session.pin("first"), "message= is a whole number from 0"),
        (lambda session: session.unpin(-1), "message= is a whole number from 0"),
        (lambda session: session.note(0, 5, "x"), "key= is a text"),
        (lambda session: session.search(5), "query= is words"),
        (lambda session: session.search("hi", limit=0), "limit= is a whole number from 1"),
    ],
)
async def test_what_a_session_cannot_be_asked(
    session: Session, ask: Callable[[Session], Awaitable[object]], told: str
) -> None:
    """A wrong value is refused before it is sent, with what is taken instead."""
    with pytest.raises(InvalidRequest, match=told):
        await ask(session)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"prompts": "one prompt"}, "prompts= is a list"),
        ({"prompts": 5}, "prompts= is a list"),
        ({"prompts": [5]}, "a str or a Message, not int"),
        ({"concurrency": "8"}, "concurrency= is a whole number from 1"),
        ({"retries": -1}, "retries= is a whole number from 0"),
        ({"name": 5}, "a session's id is a text"),
        ({"tools": [5]}, "it is not callable"),
    ],
)
async def test_what_cannot_be_mapped(runtime: Runtime, given: dict[str, Any], told: str) -> None:
    """A map of what is no list, or in a way that there is none, asks nothing."""
    with pytest.raises(LlmgineError, match=told):
        await runtime.map(**{"prompts": ["hi"], "model": "scripted/echo", **given})
    assert [one async for one in runtime.sessions.list()] == []


@pytest.mark.parametrize("given", [{"prefix": 5}, {"parent": 5}, {"pending": "yes"}, {"state": "opened"}])
async def test_sessions_that_cannot_be_listed(runtime: Runtime, given: dict[str, Any]) -> None:
    """What sessions cannot have in common is refused with what they can."""
    with pytest.raises(InvalidRequest, match=next(iter(given))):
        _ = [one async for one in runtime.sessions.list(**given)]


@pytest.mark.parametrize(("name", "value"), [("system", "be"), ("messages", []), ("tools", [])])
async def test_what_the_session_itself_says(session: Session, name: str, value: Any) -> None:
    """A turn that would set what belongs to its session is refused, with the place where it is set."""
    said = {name: value}
    for asked in (session.ask("hi", **said), session.submit("hi", **said), streamed(session, "hi", **said)):
        with pytest.raises(InvalidRequest, match=f"a turn has no {name} of its own"):
            await asked


@pytest.mark.parametrize("deadline", [0, -1, -0.5, math.nan, math.inf, "5"])
async def test_a_deadline_that_is_none(runtime: Runtime, session: Session, deadline: Any) -> None:
    """A deadline that leaves no time, or is no number of seconds, is refused wherever one is taken."""
    for asked in (
        session.ask("hi", deadline=deadline),
        session.submit("hi", deadline=deadline),
        streamed(session, "hi", deadline=deadline),
        session.execute(Shout(), deadline=deadline),
        runtime.bus.execute(Shout(), deadline=deadline),
    ):
        with pytest.raises(InvalidRequest, match="deadline is seconds above 0"):
            await asked
    assert (await session.ask("well", deadline=30)).text == "well"


@pytest.mark.parametrize(
    ("given", "told"),
    [(5, "given int"), ("text", "given str"), (Noted, "the class Noted"), (Shout(), "given Shout")],
)
async def test_what_is_no_event(runtime: Runtime, session: Session, given: Any, told: str) -> None:
    """What is no event is neither published nor scheduled, and what was given is named."""
    for publish in (runtime.bus.publish, session.publish):
        with pytest.raises(InvalidRequest, match=f"publish takes an event.*{told}"):
            await publish(given)
    for schedule in (runtime.bus.schedule, session.schedule):
        with pytest.raises(InvalidRequest, match=f"schedule takes an event.*{told}"):
            await schedule(given, after=1)


@pytest.mark.parametrize(
    ("given", "told"),
    [(5, "given int"), ("text", "given str"), (Shout, "the class Shout"), (Noted(), "given Noted")],
)
async def test_what_is_no_command(runtime: Runtime, session: Session, given: Any, told: str) -> None:
    """What is no command is not executed, and what was given is named."""
    for execute in (runtime.bus.execute, session.execute):
        with pytest.raises(InvalidRequest, match=f"execute takes a command.*{told}"):
            await execute(given)


@pytest.mark.parametrize("given", [5, "text", Middleware])
async def test_what_is_no_middleware_or_observer(runtime: Runtime, given: Any) -> None:
    """It is refused at once, not at every message."""
    with pytest.raises(InvalidOption, match="an instance of a Middleware"):
        runtime.bus.add_middleware(given)
    if not callable(given):
        with pytest.raises(InvalidOption, match="a function of an event"):
            runtime.bus.add_observer(given)


async def test_what_cannot_be_sent_stands_in_nobodys_way(runtime: Runtime) -> None:
    """Texts that are none are refused where they were given, and the bus goes on."""
    bus = runtime.bus
    with pytest.raises(UnsendableMessage, match="session_id"):
        await bus.publish(Noted(session_id="caf\udce9"))
    with pytest.raises(UnsendableMessage, match="story"):
        await bus.story(handler="caf\udce9")
    with pytest.raises(InvalidFilter, match="SessionFilter cannot be sent"):
        SessionFilter("caf\udce9")
    assert (await bus.publish(Noted(), wait=True)).admitted


async def test_what_an_errors_text_holds_stands_in_nobodys_way(runtime: Runtime) -> None:
    """A handler's failure is told, also where its text is none or cannot be had."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise LookupError

    errors = [OSError("caf\udce9"), Mute()]

    async def fail(command: Shout) -> str:
        raise errors.pop()

    await runtime.bus.register_command_handler(Shout, fail)
    failures = [(await runtime.bus.execute(Shout())).error for _ in range(2)]
    assert [(error.kind, error.text) for error in failures if error] == [
        ("Mute", "its text cannot be had: LookupError"),
        ("OSError", "caf\\udce9"),
    ]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"replicas": 1.5}, "1 or more replicas"),
        ({"replicas": "2"}, "1 or more replicas"),
        ({"arguments": [1]}, "as a dict"),
        ({"num_cpus": -1}, "a number from 0"),
        ({"name": 5}, "a text"),
        ({"name": "a b"}, "letters"),
    ],
)
async def test_what_cannot_be_deployed(runtime: Runtime, given: Any, told: str) -> None:
    """It is refused with what is wrong, and nothing of it is left."""
    with pytest.raises(DeploymentRefused, match=told):
        await runtime.bus.deploy(Listener, **given)
    deployment = await runtime.bus.deploy(Listener)
    with pytest.raises(DeploymentRefused, match="1 or more replicas"):
        await deployment.scale(1.5)  # type: ignore[arg-type]  # meant
    assert deployment.replicas == ("handler-Listener-0",)
