"""Equal requests that come to one actor while its provider waits for the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmgine.actors.pools import wire
from llmgine.actors.pools.serving import keyed
from llmgine.providers import (
    EmbeddingRequest,
    ErrorKind,
    ErrorPhase,
    Failed,
    FinishReason,
    LLMRequest,
    Message,
    ProviderError,
    TextDelta,
    ToolSpec,
)
from tests.actors.pools.serving.sharing_stage import REQUEST, USAGE, Caller, Stage, written

Until = Callable[..., Any]
VECTORS = EmbeddingRequest(model="scripted/echo", inputs=("a", "bb"))


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    stage = Stage()
    monkeypatch.setattr(keyed, "open_endpoint", lambda *asked, **more: stage.provider)
    yield stage
    await stage.close()


def other(**changes: Any) -> LLMRequest:
    return REQUEST.model_copy(update=changes)


async def test_the_second_of_two_equal_requests_is_answered_without_a_call(stage: Stage) -> None:
    """It says so, costs nothing, and says what it saved."""
    await stage.spawn()
    stage.provider.say("well, ", "yes", None)
    first = await (await stage.called()).rest()
    second = await (await stage.called()).rest()
    assert (first.is_anothers, second.is_anothers) == (False, True)
    assert len(stage.provider.calls) == 1
    assert (first.text, second.text) == ("well, yes", "well, yes")
    assert not first.response.cached
    assert first.response.usage == USAGE
    assert second.response.cached
    assert second.response.saved == USAGE
    assert second.response.cost == 0
    figures = stage.figures()
    assert (figures["hits"], figures["misses"], figures["entries"]) == (1, 1, 1)
    assert (figures["saved_input_tokens"], figures["saved_output_tokens"]) == (3, 2)


async def test_who_does_not_ask_for_it_has_no_part_in_it(stage: Stage) -> None:
    """Nothing is kept of such a call, and none of them is answered from what is kept."""
    await stage.spawn()
    for _ in range(2):
        stage.provider.say("well", None)
        assert not (await (await stage.called(key=None)).rest()).response.cached
    stage.provider.say("well", None)
    await (await stage.called()).rest()
    stage.provider.say("again", None)
    assert (await (await stage.called(key=None)).rest()).text == "again"
    assert len(stage.provider.calls) == 4
    assert stage.figures()["entries"] == 1


async def test_equal_requests_under_way_share_one_call(stage: Stage) -> None:
    """A late one hears all from the beginning, and what the call cost is told to one of them."""
    await stage.spawn()
    callers = [await stage.called()]
    stage.provider.say("one ")
    await callers[0].read(1)
    callers += [await stage.called() for _ in range(3)]
    for late in callers[1:]:
        assert await late.read(1) == [TextDelta(0, "one ")]
    assert [caller.is_anothers for caller in callers] == [False, True, True, True]
    stage.provider.say("two", None)
    for caller in callers:
        assert (await caller.rest()).text == "one two"
    assert len(stage.provider.calls) == 1
    assert [caller.response.usage == USAGE for caller in callers] == [True, False, False, False]
    assert [caller.response.cached for caller in callers] == [False, True, True, True]
    figures = stage.figures()
    assert (figures["joins"], figures["misses"]) == (3, 1)


async def test_the_call_ends_when_its_last_reader_leaves(stage: Stage, until: Until) -> None:
    """Not before, whoever of them it was that had begun it."""
    await stage.spawn()
    first, second = await stage.called(), await stage.called()
    stage.provider.say("one ")
    await first.read(1)
    await second.read(1)
    first.stream.reset("cancelled")
    stage.provider.say("two")
    await second.read(1)
    assert stage.provider.cancelled == 0
    second.stream.reset("cancelled")
    await until(lambda: stage.provider.cancelled == 1)
    stage.provider.say("anew", None)
    assert (await (await stage.called()).rest()).text == "anew"


async def test_who_stays_is_told_what_the_call_cost(stage: Stage) -> None:
    """The one that had begun it is gone."""
    await stage.spawn()
    first, second = await stage.called(), await stage.called()
    stage.provider.say("one")
    await first.read(1)
    first.stream.reset("cancelled")
    await second.read(1)
    await stage.when(answering=1)
    stage.provider.say(None)
    assert (await second.rest()).response.usage == USAGE


async def test_a_failure_goes_to_all_and_is_not_kept(stage: Stage) -> None:
    """What was used up is told to one of them; the next who asks makes a call."""
    await stage.spawn()
    error = ProviderError("down", kind=ErrorKind.SERVER, phase=ErrorPhase.MID_STREAM)
    stage.provider.error = Failed(error, Message.assistant("one"), USAGE)
    callers = [await stage.called() for _ in range(3)]
    stage.provider.say("one", None)
    for caller in callers:
        assert (await caller.rest()).failed.error.kind is ErrorKind.SERVER
    assert [caller.failed.usage for caller in callers] == [USAGE, None, None]
    stage.provider.error = None
    stage.provider.say("well", None)
    assert (await (await stage.called()).rest()).text == "well"
    assert len(stage.provider.calls) == 2


async def test_a_refusal_goes_to_who_asked(stage: Stage) -> None:
    """It may take its request elsewhere, and the next who asks is not refused for it."""
    await stage.spawn(pool={"max_in_flight": 1})
    running = await stage.called(other(seed=1))
    refused = await stage.opened(wait=0.0)
    verdict = await refused.verdict()
    assert verdict[0] == wire.REFUSED
    stage.provider.say("one", None, "two", None)
    await running.rest()
    assert (await (await stage.called()).rest()).text == "two"


async def test_each_waits_as_long_as_its_own_deadline_says(stage: Stage) -> None:
    """One whose time is over is told what it had heard; the others go on, and the call has no deadline."""
    await stage.spawn()
    hasty = await stage.called(other(deadline=0.05))
    patient = await stage.called(other(deadline=60.0))
    stage.provider.say("one ")
    failed = (await hasty.rest()).failed
    assert failed.error.kind is ErrorKind.TIMEOUT
    assert "0.05 s" in failed.error.message
    assert failed.partial == Message.assistant("one ")
    stage.provider.say("two", None)
    assert (await patient.rest()).text == "one two"
    (made,) = stage.provider.calls
    assert made.deadline is None or made.deadline > 60


async def test_those_who_would_hear_it_otherwise_do_not_share(stage: Stage) -> None:
    """A stream that may begin anew, or may pause longer, is another stream of the same answer."""
    await stage.spawn()
    differences: list[dict[str, Any]] = [{}, {"mid_stream": "restart"}, {"idle_timeout": 5.0}]
    for changes in differences:
        await stage.called(other(**changes))
    await stage.when(joins=0, calls=3)


async def test_none_waits_behind_those_it_goes_before(stage: Stage, until: Until) -> None:
    """An interactive request does not join a batch call that has not begun to answer."""
    await stage.spawn()
    batch = await stage.called(priority="batch")
    waiting = await stage.called(priority="interactive")
    await until(lambda: len(stage.provider.calls) == 2)
    joined = await stage.called(priority="batch")
    stage.provider.say("a")
    await batch.read(1)
    stage.provider.say("b")
    await joined.read(1)
    await waiting.read(1)
    await stage.called(priority="interactive")
    assert len(stage.provider.calls) == 2


async def test_a_slow_reader_holds_nobody_back_and_is_cut_off_in_the_end(stage: Stage, until: Until) -> None:
    """The others have the whole answer; the slow one is told why it is out, with what it had heard."""
    await stage.spawn(max_answer_bytes=1 << 20)
    slow, fast = await stage.called(), await stage.called()
    word = "x" * 40_000
    for _ in range(200):
        stage.provider.say(word)
        await fast.read(1)
    stage.provider.say(None)
    assert (await fast.rest()).text == 200 * word
    failed = (await slow.rest()).failed
    assert failed.error.retryable
    assert "max_answer_bytes" in failed.error.message
    assert len(slow.text) < len(fast.text)
    figures = stage.figures()
    assert (figures["cut"], figures["entries"]) == (1, 0)
    late = await stage.called()
    assert len(stage.provider.calls) == 2
    late.stream.reset("cancelled")


async def test_a_single_slow_reader_is_waited_for(stage: Stage) -> None:
    """However long the answer is, which then is not kept."""
    await stage.spawn(max_answer_bytes=1 << 20)
    caller = await stage.called()
    stage.provider.say(*["x" * 10_000] * 300, None)
    await asyncio.sleep(0)
    assert len((await caller.rest()).text) == 3_000_000
    assert stage.figures()["entries"] == 0


async def test_sharing_can_be_switched_off_alone(stage: Stage, until: Until) -> None:
    """Answers are kept all the same."""
    await stage.spawn(share=False)
    first, second = await stage.called(), await stage.called()
    await until(lambda: len(stage.provider.calls) == 2)
    stage.provider.say("a", "b", None, None)
    await first.rest()
    await second.rest()
    assert (await (await stage.called()).rest()).response.cached


async def test_vectors_are_kept_and_shared(stage: Stage) -> None:
    """In one message or many; the one that made the call is told what it used."""
    await stage.spawn()
    callers = [await stage.called(VECTORS) for _ in range(2)]
    stage.provider.say(None)
    found = [await vectors(caller) for caller in callers]
    found.append(await vectors(await stage.called(VECTORS)))
    assert len(stage.provider.calls) == 1
    assert {one.vectors for one in found} == {((1.0,), (2.0,))}
    assert [one.cached for one in found] == [False, True, True]
    assert [one.saved for one in found] == [None, USAGE, USAGE]


async def vectors(caller: Caller) -> Any:
    reader, found = wire.EmbeddingReader(), None
    async for message in caller.stream:
        found = reader.read(message) or found
    assert found is not None
    return found


TOOL = ToolSpec(name="look", parameters={"type": "object"})
OTHERS = [
    {"system": "be brief"},
    {"tools": (TOOL,)},
    {"provider_options": {"scripted": {"x": 1}}},
    {"temperature": 0.5},
    {"seed": 1},
    {"messages": (Message.user("hi "),)},
]


@pytest.mark.parametrize("changes", OTHERS, ids=str)
async def test_another_question_is_never_answered_with_what_is_kept(
    stage: Stage, changes: dict[str, Any]
) -> None:
    """Nor does it share the call."""
    await stage.spawn()
    stage.provider.say("well", None)
    await (await stage.called()).rest()
    stage.provider.say("else", None)
    assert (await (await stage.called(other(**changes))).rest()).text == "else"


async def test_nobody_can_keep_an_answer_under_another_requests_hash(stage: Stage) -> None:
    """A caller that is wrong about its hash gets its own answer, which nobody else ever gets."""
    await stage.spawn()
    stolen = stage.hashes.of(REQUEST, written(REQUEST))
    stage.provider.say("poison", None)
    wrong = await stage.called(other(system="say poison"), key=stolen)
    assert (await wrong.rest()).text == "poison"
    stage.provider.say("well", None)
    assert (await (await stage.called()).rest()).text == "well"


async def test_half_an_answer_is_not_kept(stage: Stage) -> None:
    """One that ended at a length that nobody asked for, for instance."""
    await stage.spawn()
    stage.provider.finish = FinishReason.LENGTH
    for _ in range(2):
        stage.provider.say("well", None)
        assert not (await (await stage.called()).rest()).response.cached
    limited = other(max_output_tokens=1)
    stage.provider.say("well", None)
    await (await stage.called(limited)).rest()
    assert (await (await stage.called(limited)).rest()).response.cached


async def test_draining_answers_all_that_share_and_takes_no_more(stage: Stage, until: Until) -> None:
    """A request that comes then is refused, also one whose answer is kept."""
    await stage.spawn()
    callers = [await stage.called() for _ in range(2)]
    stage.provider.say("one ")
    await callers[0].read(1)
    stopping = asyncio.create_task(stage.cluster.call("provider-scripted-0", "stop", 5.0))
    await asyncio.sleep(0)
    refused = await stage.opened()
    assert (await refused.verdict())[0] == wire.REFUSED
    stage.provider.say("two", None)
    for caller in callers:
        assert (await caller.rest()).text == "one two"
    await stopping
