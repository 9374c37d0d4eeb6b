"""What is kept of all that arrives, and what outlives the telemetry actor."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.link import StreamReset
from llmgine.actors.telemetry.keeping import engine
from llmgine.actors.telemetry.observing import Observation
from llmgine.telemetry import Observer, Span, TelemetryOptions, TraceQuery, names

FAST: dict[str, Any] = {"flush_seconds": 0.01, "death_grace": 0.0, "sample_settle": 0.001}
CALL = {
    names.GEN_AI_OPERATION_NAME: "chat",
    names.GEN_AI_PROVIDER_NAME: "openai",
    names.GEN_AI_REQUEST_MODEL: "gpt-4o",
    names.GEN_AI_USAGE_INPUT_TOKENS: 10,
    names.LLMGINE_COST_USD: "0.01",
}


class Heard(Observer):
    """Remembers what it was told."""

    name = "heard"

    def __init__(self) -> None:
        self.heard: list[Span] = []

    def spans(self, spans: Any) -> None:
        self.heard += spans

    export = spans

    def idle(self) -> None:
        """Nothing to do."""


def observed(observer: Observer) -> Observation:
    return Observation(observer, 1000)


async def work(net: Any, session: str, error: str | None = None) -> None:
    recorder, shipper = net.source(f"source of {session}")
    recorder.start("chat gpt-4o", session=session, attributes=dict(CALL)).end(error=error)
    assert await shipper.close(timeout=20)


async def test_kept_traces_and_sums_outlive_the_actor(net: Any, tmp_path: Path) -> None:
    """After each of its ends all is there again, once, and what comes is added to it."""
    options = TelemetryOptions(**FAST, store=tmp_path / "telemetry.db")
    await net.open(options=options)
    await work(net, "a")
    before = (await net.client().session("a")).spans
    for number in range(1, 4):
        await net.kill()
        await net.open(options=options)
        client = net.client()
        assert (await client.session("a")).spans == before
        assert (await client.trace(f"{before[0].trace_id:032x}")).spans == before
        [trace] = (await client.traces(TraceQuery(session="a"))).items
        assert trace.kept_because == "ratio"
        [row] = await client.cost("provider")
        assert (row.calls, row.cost) == (number, Decimal("0.01") * number)
        await work(net, "b")
    assert (await net.client().stats()).spans == 4
    found = (await net.client().sessions()).items
    assert [(one.session, one.traces, one.spans) for one in found] == [("b", 3, 3), ("a", 1, 1)]


async def test_while_nothing_happens_nothing_is_written(
    net: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settling again and again does not even begin to write."""
    host = await net.open(options=TelemetryOptions(**FAST))
    await work(net, "a")
    await until(lambda: host.counters()["store"]["stored"])
    await host.settle()
    written: list[Any] = []
    monkeypatch.setattr(engine.TraceDatabase, "write", lambda *given: written.append(given))
    for _ in range(3):
        await host.settle()
    assert written == []


async def test_what_is_not_kept_is_counted_and_in_the_sums(net: Any, tmp_path: Path) -> None:
    """Of ordinary and failed traces the failed ones go out and stay; sums and who watches have all."""
    exporter, watcher = Heard(), Heard()
    options = TelemetryOptions(**FAST, sample_ratio=0.0, store=tmp_path / "telemetry.db")
    await net.open([exporter], options, [observed(watcher)])
    for session, error in (("a", None), ("b", "timeout"), ("c", None)):
        await work(net, session, error)
    await net.kill()
    await net.open(options=options)
    client = net.client()
    assert [trace.session for trace in (await client.traces()).items] == ["b"]
    told = await client.stats()
    assert (told.spans, told.total.cost, told.errors) == (3, Decimal("0.03"), {"timeout": 1})
    assert (told.traces["dropped_traces"], told.traces["kept_error"], told.traces["stored"]) == (2, 1, 1)
    assert [span.session for span in exporter.heard] == ["b"]
    assert [span.session for span in watcher.heard] == ["a", "b", "c"]
    [usage] = (await client.session("a")).usage
    assert (usage.cost, (await client.session("a")).spans) == (Decimal("0.01"), ())


async def test_chosen_sessions_are_kept_from_then_on(net: Any) -> None:
    """Whoever looks into a session has its traces kept, though nothing else is."""
    await net.open(options=TelemetryOptions(**FAST, sample_ratio=0.0, max_traces=1))
    client = net.client()
    await client.keep("a")
    for session in ("b", "a", "c"):
        await work(net, session)
    found = (await client.traces()).items
    assert [trace.kept_because for trace in found if trace.session == "a"] == ["session"]
    assert [trace.session for trace in found if trace.session == "b"] == []


async def test_what_memory_cannot_hold_is_kept_first(net: Any) -> None:
    """Traces that must go from memory before they are settled are in the store by then."""
    await net.open(options=TelemetryOptions(**(FAST | {"sample_settle": 3600.0}), max_traces=3))
    for number in range(10):
        await work(net, f"s{number}")
    client = net.client()
    assert len((await client.traces()).items) == 10
    assert len((await client.session("s0")).spans) == 1


async def test_pages_of_traces_and_sessions_tell_each_once(net: Any) -> None:
    """Those in memory and those in the store stand in one order, and no page repeats another's."""
    await net.open(options=TelemetryOptions(**(FAST | {"sample_settle": 3600.0}), max_traces=4))
    for number in range(9):
        await work(net, f"s{number}")
    client = net.client()
    for ask in (client.traces, client.sessions):
        seen, cursor = [], None
        while True:
            page = await ask(limit=2, cursor=cursor)
            seen += [one.session for one in page.items]
            if (cursor := page.next) is None:
                break
        assert seen == [f"s{number}" for number in reversed(range(9))]
    some = await client.sessions(ids=["s3", "s5", "no such"])
    assert [one.session for one in some.items] == ["s5", "s3"]


async def test_observing_can_be_switched_off_and_on(net: Any) -> None:
    """While paused nothing is kept, summed or told; what ran before ends, and losses are not made up."""
    heard = Heard()
    await net.open(observers=[observed(heard)])
    recorder, shipper = net.source("a")
    before = recorder.start("before", session="s")
    assert await shipper.flush()
    client = net.client()
    await client.pause()
    recorder.start("meanwhile", session="s").end()
    before.end()
    assert await shipper.flush()
    await client.resume()
    recorder.start("after", session="s").end()
    assert await shipper.flush()
    assert [span.name for span in (await client.session("s")).spans] == ["before", "after"]
    counters = await client.counters()
    assert (counters["counters"]["passed_over"], counters["counters"]["lost"]) == (1, 0)
    assert (await client.stats()).spans == 2
    await net.kill()
    assert [span.name for span in heard.heard] == ["before", "after"]


async def test_running_work_shows_in_sessions(net: Any) -> None:
    """A session that has only begun is listed, with what runs in it."""
    await net.open()
    recorder, shipper = net.source("a")
    turn = recorder.start("turn", session="s")
    assert await shipper.flush()
    [session] = (await net.client().sessions()).items
    assert (session.running, session.spans, session.traces) == (1, 0, 1)
    [trace] = (await net.client().traces()).items
    assert (trace.running, trace.end) == (1, None)
    turn.end()
    assert await shipper.flush()
    [session] = (await net.client().sessions()).items
    assert (session.running, session.spans) == (0, 1)


@pytest.mark.parametrize("cursor", ["x", 5, "", ":"])
async def test_a_cursor_that_is_none_is_refused(net: Any, cursor: Any) -> None:
    """Whoever makes up a cursor is told so."""
    await net.open()
    with pytest.raises(StreamReset, match="cursor"):
        await net.client().traces(cursor=cursor)
