"""Answers, exporters, and what a source may do wrong."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.link import StreamReset
from llmgine.actors.telemetry import answering, sizes
from llmgine.actors.telemetry.export import ExportThread
from llmgine.telemetry import Span, names
from llmgine.telemetry.exporters import JsonlExporter


class Remembering:
    """An exporter that keeps what it is given."""

    name = "remembering"

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.quiet = threading.Event()
        self.closed = False

    def export(self, spans: Sequence[Span]) -> None:
        self.spans += spans

    def idle(self) -> None:
        self.quiet.set()

    def close(self) -> None:
        self.closed = True


class Failing(Remembering):
    name = "failing"

    def export(self, spans: Sequence[Span]) -> None:
        raise OSError("disk full")

    def close(self) -> None:
        raise OSError("still full")


class Blocking(Remembering):
    name = "blocking"

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    def export(self, spans: Sequence[Span]) -> None:
        self.entered.set()
        self.go_on.wait(10)
        super().export(spans)


def span(number: int = 1) -> Span:
    return Span(1, number, 0, "work", "internal", "", "a", 1, 2)


async def ship_call(net: Any, session: str = "s") -> None:
    recorder, shipper = net.source("session-1")
    attributes = {
        names.GEN_AI_OPERATION_NAME: "chat",
        names.GEN_AI_PROVIDER_NAME: "openai",
        names.GEN_AI_REQUEST_MODEL: "gpt-4o",
        names.GEN_AI_USAGE_INPUT_TOKENS: 10,
        names.LLMGINE_COST_USD: "0.01",
    }
    recorder.start("chat gpt-4o", session=session, attributes=attributes).end()
    assert await shipper.flush()


async def test_questions_are_answered(net: Any) -> None:
    """Session, trace, summary and counters are answered from what is held, with usage per model."""
    await net.open()
    await ship_call(net)
    client = net.client()
    view = await client.session("s")
    assert view.usage[0].cost == Decimal("0.01")
    trace = await client.trace(f"{view.spans[0].trace_id:032x}")
    assert trace.spans == view.spans
    assert [row.name for row in trace.rows()] == ["chat gpt-4o"]
    [summary] = (await client.traces()).items
    assert (summary.name, summary.session, summary.tokens.input) == ("chat gpt-4o", "s", 10)
    [session] = (await client.sessions()).items
    assert (session.session, session.cost, session.models) == ("s", Decimal("0.01"), ("openai/gpt-4o",))
    assert (await client.stats()).models[0].tokens.input == 10
    assert [(row.key, row.cost) for row in await client.cost("model")] == [("openai/gpt-4o", Decimal("0.01"))]
    assert '"name": "chat gpt-4o"' in await client.export(summary.id, "jsonl")
    assert json.loads(await client.export(summary.id))["resourceSpans"]
    assert await client.export("ff") == ""
    counters = await client.counters()
    assert counters["counters"]["records"] == 1
    assert counters["sources"][0]["source"] == "session-1"
    assert (await client.session("unknown")).spans == ()
    assert (await client.trace("ff")).rows() == []


async def test_who_watches_is_told_of_begin_and_end(net: Any, until: Any) -> None:
    """A watcher of one session gets its spans as they begin and end, and no other session's."""
    await net.open()
    recorder, shipper = net.source("a")
    watching = net.client().live("s")
    first = asyncio.ensure_future(anext(watching))
    await until(lambda: net.host.counters()["live"]["watchers"])
    recorder.start("other work", session="t").end()
    span = recorder.start("work", session="s")
    assert await shipper.flush()
    [begun] = (await first).spans
    assert (begun.name, begun.end) == ("work", None)
    span.end()
    assert await shipper.flush()
    [ended] = (await anext(watching)).spans
    assert ended.end is not None
    await watching.aclose()


@pytest.mark.parametrize("question", [None, {}, {"trace": "xyz"}, {"other": 1}, 5])
async def test_a_question_that_is_none_is_refused_with_the_choices(net: Any, question: Any) -> None:
    """A wrong question resets its stream with a reason, and nothing else."""
    await net.open()
    connection = await net.peer("driver").connection()
    stream = connection.open("telemetry.query", question)
    with pytest.raises(StreamReset) as refused:
        await stream.receive()
    assert refused.value.code == "bad_request"
    assert (await net.client().traces()).items == ()


async def test_answers_are_bounded(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a session has more spans than one answer holds, the newest are sent and the rest counted."""
    monkeypatch.setattr(answering, "MAX_ANSWER_SPANS", 5)
    await net.open()
    recorder, shipper = net.source("a")
    for _ in range(8):
        recorder.start("work", session="s").end()
    assert await shipper.flush()
    view = await net.client().session("s")
    assert (len(view.spans), view.truncated) == (5, 3)


async def test_answers_and_what_is_watched_are_bounded_by_bytes(
    net: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer holds what a message carries, the newest traces first, and watchers hear of all in parts."""
    monkeypatch.setattr(sizes, "MAX_BYTES", 5000)
    await net.open()
    recorder, shipper = net.source("a")
    watching = net.client().live("s")
    heard: list[int] = []

    async def watch() -> None:
        async for change in watching:
            heard.append(len(change.spans))

    task = asyncio.ensure_future(watch())
    await until(lambda: net.host.counters()["live"]["watchers"])
    with recorder.start("root", session="s") as root:
        for _ in range(7):
            recorder.start("work", session="s", parent=root.context, attributes={"text": "x" * 2000}).end()
    assert await shipper.flush()
    view = await net.client().session("s")
    assert (len(view.spans), view.truncated) == (3, 5)
    await until(lambda: sum(heard) >= 8)
    assert max(heard) <= 3
    task.cancel()
    await asyncio.wait({task})


async def test_a_trace_of_any_size_is_exported(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In as many answers as it takes, each span once; what runs is not told."""
    monkeypatch.setattr(sizes, "MAX_BYTES", 20_000)
    await net.open()
    recorder, shipper = net.source("a")
    root = recorder.start("root")
    for number in range(9):
        recorder.start(f"work {number}", parent=root.context, attributes={"text": "x" * 2000}).end()
    assert await shipper.flush()
    id_ = f"{root.trace_id:032x}"
    told = [json.loads(line) for line in (await net.client().export(id_, "jsonl")).splitlines()]
    assert [span["name"] for span in told] == [f"work {number}" for number in range(9)]
    requests = (await net.client().export(id_)).splitlines()
    spans = [json.loads(one)["resourceSpans"][0]["scopeSpans"][0]["spans"] for one in requests]
    assert [len(part) for part in spans] == [2, 2, 2, 2, 1]


async def test_a_source_that_does_not_say_who_it_is_is_refused(net: Any) -> None:
    """A stream of spans without a proper header is reset and leaves no trace."""
    host = await net.open()
    connection = await net.peer("odd").connection()
    stream = connection.open("spans", "who")
    with pytest.raises(StreamReset):
        await stream.receive()
    assert host.assembler.counters()["sources"] == 0


async def test_exporters_get_what_ended_and_none_disturbs_another(net: Any, tmp_path: Path) -> None:
    """One exporter fails, one blocks, and the file still gets every span; all of it is counted."""
    blocking = Blocking()
    file = JsonlExporter(tmp_path / "spans.jsonl")
    host = await net.open([Failing(), blocking, file])
    await ship_call(net)
    blocking.entered.wait(5)
    await ship_call(net)
    blocking.go_on.set()
    assert await host.flush(5)
    failing, _, written = host.counters()["exporters"]
    assert (failing["exported"], failing["failed"]) == (0, 2)
    assert "disk full" in failing["last_error"]
    assert written["exported"] == 2
    await host.close(5)
    lines = [json.loads(line) for line in file.path.read_text().splitlines()]
    assert [line["name"] for line in lines] == ["chat gpt-4o"] * 2


def test_a_full_queue_drops_and_counts() -> None:
    """An exporter that does not keep up loses what finds no room, never memory."""
    blocking = Blocking()
    export = ExportThread(blocking, 3)
    export.put([span(1)])
    blocking.entered.wait(5)
    export.put([span(number) for number in range(2, 10)])
    assert export.dropped == 5
    assert not export.close(0.01)
    assert export.dropped == 9  # the one under way included: nobody will hear what became of it
    blocking.go_on.set()
    assert export.flush(5)
    assert export.exported == 0


def test_an_exporter_is_told_when_things_are_quiet_and_when_they_end() -> None:
    """What waits for more is given a chance to go out, and closing works off the queue."""
    remembering = Remembering()
    export = ExportThread(remembering, 100, idle_seconds=0.001)
    export.put([span(1)])
    assert remembering.quiet.wait(5)
    export.put([span(2)])
    assert export.close(5)
    assert remembering.closed
    assert [one.span_id for one in remembering.spans] == [1, 2]
    export.put([span(3)])
    assert export.dropped == 1


def test_an_exporter_that_was_never_used_is_closed_all_the_same() -> None:
    """No thread is needed to close, and a close that fails is noted."""
    remembering, failing = Remembering(), Failing()
    assert ExportThread(remembering, 1).close(1)
    assert remembering.closed
    export = ExportThread(failing, 1)
    assert export.close(1)
    assert "still full" in export.last_error
