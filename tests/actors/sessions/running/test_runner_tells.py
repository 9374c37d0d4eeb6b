"""What a turn tells of itself: to its journal, its observers and its trace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgine.actors.sessions.errors import EngineFailed
from llmgine.actors.sessions.journal.records import ToolBegan, TurnBegan, TurnEnded, TurnQueued
from llmgine.actors.sessions.journal.state import SessionState
from llmgine.actors.sessions.tools.tool import tool
from llmgine.actors.sessions.turns.events import TurnDone
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.providers.contracts import Message, Usage, UsageSource
from llmgine.providers.events import Failed
from llmgine.telemetry import names
from tests.actors.sessions.words import PROVIDER_FAILED, MakeBench, failure, shout


async def test_the_journal_comes_before_the_effect(bench: MakeBench, script: Any) -> None:
    """A turn is durable before a tool that may not run twice begins, and before its end is told."""
    flushed_at: list[int] = []

    @tool
    async def pay() -> str:
        flushed_at.append(len(at.journal.flushed))
        return "paid"

    @tool(idempotent=True)
    async def look() -> str:
        flushed_at.append(len(at.journal.flushed))
        return "seen"

    at = bench(
        script.says(calls=(script.call("look", "c1"),)),
        script.says(calls=(script.call("pay", "c2"),)),
        script.says("ok"),
        tools=(pay, look),
    )
    await at.turn()
    assert flushed_at == [0, 1]
    records = at.journal.records
    assert isinstance(records[0], TurnBegan)
    assert isinstance(records[at.journal.flushed[0] - 1], ToolBegan)
    assert at.journal.flushed[-1] == len(records)
    assert records[-1] == TurnEnded("s1:1", "done")


async def test_the_journal_rebuilds_the_context(bench: MakeBench, script: Any) -> None:
    """The records of the journal, applied in order, give the conversation, rollbacks included."""
    at = bench(
        script.says(calls=(script.call("shout", text="a"),)),
        script.says("ok"),
        [Failed(PROVIDER_FAILED)],
        script.says("again"),
        tools=(shout,),
    )
    for prompt in ("one", "two", "three"):
        await at.turn(prompt)
    copy = SessionState()
    for record in at.journal.records:
        if isinstance(record, TurnBegan):
            copy.apply(TurnQueued(TurnRequest(record.turn_id, Message.user("?")), 0, 0))
        copy.apply(record)
    assert copy.context.to_json() == at.context.to_json()
    assert (copy.turns, copy.progress, copy.queue) == (3, None, {})


async def test_a_journal_that_fails(bench: MakeBench, script: Any) -> None:
    """A journal that cannot write before a tool's effect fails the turn, and the tool is not run."""
    ran: list[str] = []

    async def pay() -> str:
        ran.append("paid")
        return "paid"

    at = bench(script.says(calls=(script.call("pay", "c1"), script.call("pay", "c2"))), tools=(pay,))
    flush = at.journal.flush

    async def fails() -> None:
        at.journal.flush = flush
        raise OSError("disk full")

    at.journal.flush = fails
    error = failure(await at.turn(), EngineFailed)
    assert "disk full" in str(error)
    assert len(ran) <= 1
    assert not at.context.open_calls


async def test_a_turn_that_is_not_kept_is_not_done(bench: MakeBench, script: Any) -> None:
    """A turn whose end cannot be made durable is not told as done."""
    at = bench(script.says("ok"))

    async def fails() -> None:
        raise OSError("disk full")

    at.journal.flush = fails
    error = failure(await at.turn(), EngineFailed)
    assert "could not be kept: OSError: disk full" in str(error)


async def test_observers_are_told(bench: MakeBench, script: Any) -> None:
    """Whoever watches is told of the turn's begin, each tool, and the turn's end with its sums."""
    at = bench(
        script.says(calls=(script.call("shout", text="a"), script.call("none", "c2"))),
        script.says("ok"),
        [Failed(PROVIDER_FAILED)],
        tools=(shout,),
    )
    await at.turn()
    await at.turn()
    assert at.observer.started == ["s1:1", "s1:2"]
    assert sorted((item.name, item.ok) for item in at.observer.tools) == [("none", False), ("shout", True)]
    done, failed = at.observer.turns
    assert (done.error, done.steps, done.usage.input_tokens, done.model) == (None, 2, 6, "scripted/test")
    assert (failed.error, failed.steps) == ("overloaded", 1)


async def test_spans(bench: MakeBench, script: Any) -> None:
    """A turn, its model calls and its tools are one tree of spans, and the reply names its trace."""
    at = bench(
        script.says(calls=(script.call("shout", text="a"),)),
        script.says("ok"),
        tools=(shout,),
    )
    done = await at.turn()
    assert isinstance(done, TurnDone)
    spans = {record.name: record for record in at.recorder.drain().spans}
    turn = spans["invoke_agent"]
    children = {name: record for name, record in spans.items() if record is not turn}
    assert set(children) == {"chat test", "execute_tool shout"}
    assert {record.parent_id for record in children.values()} == {turn.span_id}
    assert names.SPAN_KINDS[turn.kind] == "internal"
    assert {record.trace_id.hex() for record in spans.values()} == {done.reply.trace_id}
    assert at.models.traces[-1].span_id == spans["chat test"].span_id
    assert all(record.end and record.error is None for record in spans.values())
    assert spans["chat test"].attributes["gen_ai.usage.input_tokens"] == 3
    assert "gen_ai.tool.call.arguments" not in spans["execute_tool shout"].attributes


async def test_spans_of_what_failed(bench: MakeBench, script: Any) -> None:
    """Spans of failed and cancelled work are closed with the kind of the error."""
    gate = script.Gate()
    at = bench([Failed(PROVIDER_FAILED)], [gate])
    await at.turn()
    task = at.start()
    await gate.inside.wait()
    task.cancel()
    await task
    found = [(record.name, record.error) for record in at.recorder.drain().spans if record.end]
    assert sorted(found) == [
        ("chat test", "cancelled"),
        ("chat test", "overloaded"),
        ("invoke_agent", "cancelled"),
        ("invoke_agent", "overloaded"),
    ]


async def test_what_a_failed_call_has_used_is_on_its_span(bench: MakeBench, script: Any) -> None:
    """Tokens that a turn's tally counts are counted in its trace too."""
    used = Usage(input_tokens=120, output_tokens=7, source=UsageSource.PARTIAL)
    at = bench([Failed(PROVIDER_FAILED, usage=used)])
    await at.turn()
    (call,) = [one for one in at.recorder.drain().spans if one.name == "chat test"]
    assert call.error == "overloaded"
    assert call.attributes[names.GEN_AI_USAGE_INPUT_TOKENS] == 120
    assert at.observer.turns[0].usage.input_tokens == 120


async def test_a_turn_that_breaks_ends_its_span(
    bench: MakeBench, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends a turn without its own end, be it a cancel while that is kept, ends its span once."""
    at = bench(script.says("ok"), script.says("ok"))
    inside = asyncio.Event()

    async def kept() -> None:
        inside.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(at.journal, "flush", kept)
    task = at.start()
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    def broken(record: Any) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(at.journal, "append", broken)
    with pytest.raises(RuntimeError, match="no room"):
        await at.turn()
    turns = [one for one in at.recorder.drain().spans if one.name == "invoke_agent"]
    assert [(one.error, one.end > 0) for one in turns] == [("cancelled", True), ("RuntimeError", True)]
    for error in ("cancelled", "RuntimeError"):
        labels = {names.ERROR_TYPE: error}
        assert at.recorder.metrics.counter(names.METRIC_TURNS, **labels).value == 1
        assert at.recorder.metrics.histogram(names.METRIC_TURN_SECONDS, **labels).count == 1


async def test_tool_calls_that_were_cancelled_are_counted(bench: MakeBench, script: Any) -> None:
    """A call that the turn's end cuts off is one more call, with that as its error."""
    inside = asyncio.Event()

    async def waits() -> None:
        inside.set()
        await asyncio.Event().wait()

    at = bench(script.says(calls=(script.call("waits"),)), tools=(waits,))
    task = at.start()
    await inside.wait()
    task.cancel()
    await task
    labels = {names.GEN_AI_TOOL_NAME: "waits", names.ERROR_TYPE: "cancelled"}
    assert at.recorder.metrics.counter(names.METRIC_TOOL_CALLS, **labels).value == 1
    assert at.recorder.metrics.histogram(names.METRIC_TOOL_SECONDS, **labels).count == 1


async def test_spans_bear_the_bare_name_of_the_model(bench: MakeBench, script: Any) -> None:
    """The provider is an attribute of its own; a bare name with a slash in it stays whole."""
    at = bench(script.says("ok"), script.says("ok", provider="hub"), script.says("ok", provider="hub"))
    for model in ("scripted/test", "hub/team/model", "team/model"):
        await at.turn(model=model)
    calls = [record for record in at.recorder.drain().spans if record.name.startswith("chat ")]
    found = [record.attributes for record in calls if record.end]
    assert [one["gen_ai.request.model"] for one in found] == ["test", "team/model", "team/model"]
    assert [one["gen_ai.provider.name"] for one in found] == ["scripted", "hub", "hub"]


async def test_a_call_that_was_cut_off_has_no_known_cost(bench: MakeBench, script: Any) -> None:
    """What a cancelled model call cost is unknown, not nothing; the turn's tokens are told as partial."""
    gate = script.Gate()
    at = bench(script.says(calls=(script.call("shout", text="a"),)), [gate], tools=(shout,))
    task = at.start()
    await gate.inside.wait()
    task.cancel()
    await task
    (summary,) = at.observer.turns
    assert (summary.cost, summary.usage.input_tokens, summary.usage.source) == (
        None,
        3,
        UsageSource.PARTIAL,
    )
