"""A second actor for calls that are slow to begin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from llmgine.actors.pools.client.hedging import _first, _Runner
from tests.actors.pools.client.stage import Stage, answer, failed, outcomes
from tests.faults.streams import heard
from tests.providers.faults.chat import ChatWire
from tests.providers.faults.listener import Call, End, Listener
from tests.providers.faults.said import answer as said

Until = Callable[..., Any]

AFTER = 0.02


class SlowFirst(Listener):
    """Says nothing to the calls of the first `slow` requests, and answers all others at once."""

    slow = 1

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()  # the slow ones are answered after all

    async def answer(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self.calls) <= self.slow:
            ends = [asyncio.create_task(one) for one in (reader.read(1), self.go_on.wait())]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
            if not self.go_on.is_set():
                call.gone.set()
                raise End
        if call.model == "broken":
            writer.write(b"HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\n{}")
            return
        frames = ChatWire().frames(said("ok", ChatWire().heard(call.body)))
        body = "".join(frames).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()


class Ended:
    """A try of which the first message has come, with that code."""

    def __init__(self, code: int) -> None:
        self.stream = self
        self._code = code

    async def receive(self) -> list[Any]:
        return [self._code]


class Silent:
    """The second actor that is asked never opens its provider."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.given_up = 0
        self._first = ""

    def after_the_first(self, name: str, open_: Callable[[], Any]) -> Callable[[], Any]:
        async def opened() -> None:
            self._first = self._first or name
            if name == self._first:
                await open_()
                return
            self.asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up += 1

        return opened


@pytest.fixture
async def slow() -> AsyncIterator[SlowFirst]:
    server = SlowFirst()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def make_stage(slow: SlowFirst) -> AsyncIterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(*, actors: int = 2, **hedge: Any) -> Stage:
        settings = {"hedge": {"enabled": True, "after": AFTER, **hedge}, "breaker": {"enabled": False}}
        stages.append(Stage(slow.base_url, actors=actors, failover=settings))
        return stages[-1]

    yield make
    for stage in stages:
        await stage.close()


async def test_a_slow_call_is_answered_by_a_second_actor(
    make_stage: Callable[..., Stage], slow: SlowFirst, until: Until
) -> None:
    """Who begins first is heard; the other call is cancelled, and the server sees its client leave."""
    events = await make_stage().events("one/any")
    response = answer(events)
    assert heard(events) == "Hello big world"
    assert outcomes(response) == [("one/any", "cancelled"), ("one/any", "done")]
    assert len({one.actor for one in response.attempts}) == 2
    await until(slow.calls[0].gone.is_set)
    assert len(slow.calls) == 2


async def test_hedging_is_opt_in(make_stage: Callable[..., Stage], slow: SlowFirst) -> None:
    """Without it a slow call waits for its own actor."""
    stage = make_stage(enabled=False)
    assert failed(await stage.events("one/any", deadline=0.5)).error.kind == "timeout"
    assert len(slow.calls) == 1


async def test_a_second_try_that_fails_leaves_the_first_to_answer(
    make_stage: Callable[..., Stage], slow: SlowFirst
) -> None:
    """A hedge that comes to nothing ends nothing: only where both have failed the call has."""
    stage = make_stage()
    last = failed(await stage.events("one/broken", deadline=0.5))
    assert sorted(outcomes(last)) == [("one/broken", "not_found"), ("one/broken", "timeout")]


async def test_a_second_actor_that_says_nothing_holds_up_nobody(
    make_stage: Callable[..., Stage], slow: SlowFirst, until: Until
) -> None:
    """The first is heard as soon as it begins, whether or not the other has taken the call by then."""
    stage = make_stage()
    silent = Silent()
    await stage.ensure_pool("one")
    for name in await stage.cluster.names():
        keyed = cast("Any", stage.cluster._actors[name])._serving._keyed
        keyed.open = silent.after_the_first(name, keyed.open)
    call = asyncio.create_task(stage.events("one/any"))
    await silent.asked.wait()
    slow.go_on.set()
    assert outcomes(answer(await call)) == [("one/any", "done")]
    await until(lambda: silent.given_up == 1)


@pytest.mark.parametrize("failed_first", [True, False])
async def test_of_two_that_begin_at_once_the_one_that_has_not_failed_is_heard(failed_first: bool) -> None:
    """However the loop orders what came in one of its turns."""
    for _ in range(20):
        runners = [_Runner(cast("Any", Ended(code))) for code in ((7, 0) if failed_first else (0, 7))]
        await asyncio.gather(*(runner.first for runner in runners))
        assert not (await _first(runners)).has_failed


async def test_hedges_stay_within_their_budget(
    make_stage: Callable[..., Stage], slow: SlowFirst, until: Until
) -> None:
    """However many calls are slow, no more of them are made twice than the budget has."""
    slow.slow = 100
    stage = make_stage(budget={"ratio": 0.0, "minimum": 2})
    jobs = [asyncio.create_task(stage.events("one/any")) for _ in range(4)]
    await until(lambda: len(slow.calls) == 6)
    for _ in range(2):
        late = asyncio.create_task(stage.events("one/any"))
        jobs.append(late)
        await until(lambda: len(slow.calls) == 2 + len(jobs))
        await asyncio.wait({late}, timeout=2 * AFTER)
    assert len(slow.calls) == 2 + len(jobs)
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)


async def test_one_actor_alone_is_not_asked_twice(
    make_stage: Callable[..., Stage], slow: SlowFirst, until: Until
) -> None:
    """A pool of one has nobody to hedge with."""
    stage = make_stage(actors=1)
    failed(await stage.events("one/any", deadline=0.3))
    assert len(slow.calls) == 1


async def test_giving_up_ends_both(make_stage: Callable[..., Stage], slow: SlowFirst, until: Until) -> None:
    """A reader that leaves before the first token cancels the call at both actors."""
    slow.slow = 2
    call = asyncio.create_task(make_stage().events("one/any"))
    await until(lambda: len(slow.calls) == 2)
    call.cancel()
    await until(lambda: all(one.gone.is_set() for one in slow.calls))
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_the_wait_is_learned(make_stage: Callable[..., Stage], slow: SlowFirst) -> None:
    """Without a number a call is slow where it takes longer than nearly all calls of its model did."""
    slow.slow = 0
    stage = make_stage(after=None)
    for _ in range(20):
        answer(await stage.events("one/any"))
    assert len(slow.calls) == 20
    slow.slow = 21
    assert [outcome for _, outcome in outcomes(answer(await stage.events("one/any")))] == [
        "cancelled",
        "done",
    ]
