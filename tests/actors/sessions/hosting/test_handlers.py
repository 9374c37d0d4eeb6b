"""A session's own handlers: in its process, in its scope, over its sleep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmgine.actors.bus import BusClient, Command, Event, InvalidHandler, RetryPolicy, answers, on
from llmgine.actors.sessions.hosting.handlers import HandlerContext, as_handlers
from llmgine.actors.sessions.hosting.serving import HandlerService, bus_identity
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.providers.contracts import Message
from llmgine.providers.errors import InvalidRequest
from tests.actors.bus.conftest import World
from tests.actors.store.conftest import Net


class Ticket(Event):
    text: str


class Seen(Event):
    text: str


class Count(Command[int]):
    pass


class Conversation:
    """What a handler sees of its session."""

    def __init__(self) -> None:
        self.requests: list[TurnRequest] = []

    async def submit_own(self, request: TurnRequest) -> None:
        self.requests.append(request)

    def history(self) -> tuple[Message, ...]:
        return tuple(request.prompt for request in self.requests)


class Sessions:
    """A bus with one session's lives, one after another, and a driver."""

    def __init__(self) -> None:
        self.world = World()
        self.net = Net()
        self.session = Conversation()
        self.services: list[HandlerService] = []
        self.driver: BusClient

    async def begin(self) -> None:
        await self.net.open()
        self.world.store = self.net.client()
        await self.world.start_router()
        self.driver = self.world.client("driver")

    async def wake(self, *handlers: Callable[..., Any], epoch: int = 1) -> HandlerService:
        def connect() -> BusClient:
            return self.world.client(bus_identity("s"), epoch, wakes=True)

        service = HandlerService("s", as_handlers(handlers), self.session, connect)
        await service.open()
        self.services.append(service)
        return service


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    made = Sessions()
    await made.begin()
    yield made
    await made.world.close()
    await made.net.close()
    made.world.core.validate()


async def test_a_handler_hears_its_own_session_and_no_other(sessions: Sessions) -> None:
    """Events and commands of its session reach it, those of another do not."""
    heard: list[str] = []

    @on(Ticket)
    async def hear(event: Ticket) -> None:
        heard.append(event.text)

    @answers(Count)
    def count(command: Count) -> int:
        return len(heard)

    await sessions.wake(hear, count)
    await sessions.driver.publish(Ticket(session_id="other", text="not this"), wait=True)
    await sessions.driver.publish(Ticket(session_id="s", text="this"), wait=True)
    assert heard == ["this"]
    assert (await sessions.driver.execute(Count(session_id="s"))).unwrap() == 1
    assert (await sessions.driver.execute(Count(session_id="other"))).success is False


async def test_a_handler_gives_its_session_turns(sessions: Sessions) -> None:
    """What it submits is its own session's, and it reads the conversation."""
    told: list[int] = []

    @on(Ticket)
    async def take(event: Ticket, context: HandlerContext) -> None:
        turn = await context.submit(event.text, model="scripted/other", temperature=0.5)
        assert turn.startswith("s:")
        told.append(len(context.history()))

    await sessions.wake(take)
    await sessions.driver.publish(Ticket(session_id="s", text="help"), wait=True)
    (request,) = sessions.session.requests
    assert (request.prompt.text, request.model) == ("help", "scripted/other")
    assert request.options == {"temperature": 0.5}
    assert told == [1]


async def test_a_message_that_comes_again_makes_no_second_turn(sessions: Sessions) -> None:
    """Its handler failed after it had submitted two turns: called again, it submits the same two."""
    again: list[bool] = []

    @on(Ticket, retry=RetryPolicy(retries=1, base=0.001, cap=0.001))
    async def take(event: Ticket, context: HandlerContext) -> None:
        await context.submit("first")
        await context.submit("second")
        again.append(True)
        if len(again) == 1:
            raise ValueError("not this time")

    await sessions.wake(take)
    await sessions.driver.publish(Ticket(session_id="s", text="x"), wait=True)
    ids = [request.turn_id for request in sessions.session.requests]
    assert len(ids) == 4
    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]
    await sessions.driver.publish(Ticket(session_id="s", text="x"), wait=True)
    assert len({request.turn_id for request in sessions.session.requests}) == 4


async def test_a_handler_publishes_in_its_session_only(sessions: Sessions) -> None:
    """An event without a scope gets the session's; one of another session is refused."""
    heard: list[str] = []

    @on(Ticket)
    async def tell(event: Ticket, context: HandlerContext) -> None:
        await context.publish(Seen(text=event.text), wait=True)
        with pytest.raises(InvalidRequest, match="belongs to session 'other'"):
            await context.publish(Seen(session_id="other", text="no"))

    @on(Seen)
    def hear(event: Seen) -> None:
        heard.append(f"{event.session_id} {event.text}")

    await sessions.wake(tell, hear)
    await sessions.driver.publish(Ticket(session_id="s", text="hello"), wait=True)
    assert heard == ["s hello"]


async def test_what_comes_while_it_sleeps_waits_for_its_next_life(sessions: Sessions) -> None:
    """In order and once; the session is named to be woken."""
    heard: list[tuple[int, str]] = []

    def life(number: int) -> Callable[..., Any]:
        @on(Ticket)
        async def hear(event: Ticket) -> None:
            heard.append((number, event.text))

        return hear

    first = await sessions.wake(life(1))
    await sessions.driver.publish(Ticket(session_id="s", text="a"), wait=True)
    assert first.idle
    await first.close(1.0)
    await first.open()
    await first.close(1.0)
    woken: list[str] = []
    service = sessions.world.service
    assert service is not None
    service._wake_session = woken.append
    for text in "bc":
        await sessions.driver.publish(Ticket(session_id="s", text=text))
    assert woken == ["s"]
    await sessions.wake(life(2), epoch=2)
    await sessions.driver.publish(Ticket(session_id="s", text="d"), wait=True)
    assert heard == [(1, "a"), (2, "b"), (2, "c"), (2, "d")]


async def test_a_session_is_not_idle_while_its_handler_works(sessions: Sessions) -> None:
    """It would be put to sleep in the middle."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    @on(Ticket)
    async def work(event: Ticket) -> None:
        inside.set()
        await go_on.wait()

    service = await sessions.wake(work)
    assert service.idle
    await sessions.driver.publish(Ticket(session_id="s", text="a"))
    await inside.wait()
    assert not service.idle
    go_on.set()
    await service.close(1.0)


def test_what_is_no_handler_is_refused_where_it_is_written() -> None:
    """One without a mark, with the wrong parameters, or a plain function that wants a context."""

    async def unmarked(event: Ticket) -> None: ...

    @on(Ticket)
    def blocking(event: Ticket, context: HandlerContext) -> None: ...

    @on(Ticket)
    async def greedy(event: Ticket, context: HandlerContext, more: int) -> None: ...

    wrongs: list[tuple[Callable[..., Any], str]] = [
        (unmarked, "mark it with @on"),
        (blocking, "make it an async function"),
        (greedy, r"must take \(message\) or \(message, context\)"),
    ]
    for wrong, reason in wrongs:
        with pytest.raises(InvalidHandler, match=reason):
            as_handlers([wrong])


def test_two_handlers_of_one_name_are_refused() -> None:
    """The next process could not tell whose is what waits."""

    def made() -> Callable[..., Any]:
        @on(Ticket)
        async def hear(event: Ticket) -> None: ...

        return hear

    with pytest.raises(InvalidHandler, match="two handlers of a session are named"):
        as_handlers([made(), made()])
