"""From recorders to the telemetry actor."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from llmgine.actors.link import Connection, LinkError, NotSendable
from llmgine.actors.telemetry import TelemetryClient, TelemetryShipper
from llmgine.actors.telemetry.client import BATCH_RECORDS, WINDOW, _halves
from llmgine.telemetry import Batch, SpanRecorder, TelemetryOptions, names


async def test_a_trace_shows_a_session_as_one_tree_across_processes(net: Any) -> None:
    """Turn, model call, tool and bus hop of different processes are one tree with the right parents."""
    await net.open()
    (session, ship_session), (pool, ship_pool), (router, ship_router) = (
        net.source(name) for name in ("session-1", "provider-0", "router-0")
    )
    with session.start(names.turn_span(), session="s1") as turn:
        with session.start(names.inference_span("chat", "m"), kind="client", parent=turn.context) as call:
            pool.start(names.SPAN_POOL_CALL, parent=call.context).end()
        with session.start(names.tool_span("get_weather"), parent=turn.context):
            pass
        router.start(
            names.messaging_span("process", "TurnCompleted"), kind="consumer", parent=turn.context
        ).end()
    for shipper in (ship_router, ship_pool, ship_session):
        assert await shipper.flush()
    view = await net.client().session("s1")
    assert [(row.depth, row.name) for row in view.rows()] == [
        (0, "session s1"),
        (1, "invoke_agent"),
        (2, "chat m"),
        (3, "pool call"),
        (2, "execute_tool get_weather"),
        (2, "process TurnCompleted"),
    ]
    assert not any(row.orphan or row.running for row in view.rows())


async def test_records_are_shipped_by_time_and_by_count(net: Any, until: Any) -> None:
    """Nobody has to flush: an interval ships, and a full count ships before the interval."""
    host = await net.open()
    recorder, _ = net.source("by-time")
    recorder.start("work").end()
    await until(lambda: host.assembler.counters()["records"] == 1)
    slow = TelemetryOptions(flush_seconds=3600, flush_count=64)
    recorder, _ = net.source("by-count", slow)
    await asyncio.sleep(0)
    for _ in range(64):
        recorder.start("work").end()
    await until(lambda: host.assembler.counters()["records"] == 65)


async def test_running_work_is_visible_before_it_ends(net: Any) -> None:
    """A turn that takes long is shown while it runs."""
    await net.open()
    recorder, shipper = net.source("session-1")
    span = recorder.start("invoke_agent", session="s")
    assert await shipper.flush()
    [row] = (await net.client().session("s")).rows()[1:]
    assert row.running
    span.end()


async def test_a_break_loses_and_repeats_nothing(net: Any) -> None:
    """Links that break at any moment cost no record and make none count twice."""
    await net.open(options=TelemetryOptions(flush_seconds=0.001, max_traces=10_000))
    recorder, shipper = net.source("breaking", TelemetryOptions(flush_seconds=0.001, flush_count=16))
    shuffle = random.Random(7)
    for number in range(60):
        for _ in range(shuffle.randrange(40)):
            recorder.start("work").end()
            recorder.count("events_published_total")
        for _ in range(shuffle.randrange(6)):
            await asyncio.sleep(0)
        if number % 4 == 0:
            net.transport.break_connections("telemetry")
    assert await shipper.flush(timeout=10)
    answer = await net.client().counters()
    made = recorder.metrics.counter("events_published_total").value
    assert answer["counters"]["records"] == made
    assert answer["counters"]["lost"] == 0
    assert answer["counters"]["spans"] == made
    assert {name: value for _, name, _, value in answer["metrics"]}["events_published_total"] == made


async def test_while_telemetry_is_away_the_newest_is_kept_and_loss_is_told(net: Any, until: Any) -> None:
    """The ring stays bounded, the application notices nothing, and what was lost is counted to the record."""
    small = TelemetryOptions(flush_seconds=0.001, ring=100)
    recorder, shipper = net.source("away", small)
    for _ in range(20):
        for _ in range(250):
            recorder.start("work").end()
        await asyncio.sleep(0)
    assert recorder.pending <= 100
    assert not await shipper.flush(timeout=0.01)
    await until(lambda: shipper.counters()["breaks"] > 0)
    host = await net.open()
    assert await shipper.flush(timeout=10)
    [source] = host.assembler.sources()
    assert source["lost"] == recorder.lost > 0
    assert source["received"] + source["lost"] == 5000
    values = {series.name: series.value for series in host.assembler.metrics.read()}
    assert values[names.METRIC_SPANS_LOST] == recorder.lost


async def test_a_restarted_telemetry_actor_is_told_every_metric_again(net: Any) -> None:
    """Counts are exact in the new life too, though they changed before it."""
    await net.open()
    recorder, shipper = net.source("counting")
    recorder.count("events_published_total", 41)
    assert await shipper.flush()
    await net.kill()
    host = await net.open()
    recorder.start("wake").end()
    recorder.count("commands_sent_total")
    assert await shipper.flush(timeout=10)
    assert await shipper.flush(timeout=10)
    values = {series.name: series.value for series in host.assembler.metrics.read()}
    assert values == {"events_published_total": 41, "commands_sent_total": 1}


async def test_what_came_before_a_restart_is_not_lost(net: Any) -> None:
    """Another life of the telemetry actor misses what was dropped, and nothing that the one before had."""
    small = TelemetryOptions(flush_seconds=0.001, ring=10)
    await net.open()
    recorder, shipper = net.source("steady", small)
    for number in range(45):
        recorder.start("work").end()
        if number < 30:
            assert await shipper.flush(timeout=10)
    assert await shipper.flush(timeout=10)
    await net.kill()
    host = await net.open()
    recorder.start("work").end()
    assert await shipper.flush(timeout=10)
    [source] = host.assembler.sources()
    assert (source["received"], source["lost"]) == (1, 5)
    assert recorder.lost == host.assembler.counters()["lost"] == 5


async def test_gauges_return_to_zero_when_their_source_leaves(net: Any, until: Any) -> None:
    """A process that left holds no queue."""
    host = await net.open()
    recorder, shipper = net.source("router-0")
    recorder.gauge("queue_size", 9, handler="h")
    assert await shipper.flush()
    assert host.assembler.metrics.read()[0].value == 9
    await shipper.close()
    await until(lambda: host.assembler.metrics.read()[0].value == 0)


async def test_a_source_that_dies_has_its_spans_closed_and_one_that_leaves_too(net: Any, until: Any) -> None:
    """A crash closes running spans as actor_died, a farewell as unfinished; both are exported."""
    host = await net.open()
    for name, error in (("crashes", names.ACTOR_DIED), ("leaves", names.UNFINISHED)):
        recorder, shipper = net.source(name)
        recorder.start("invoke_agent", session=name)
        assert await shipper.flush()
        if name == "leaves":
            assert await shipper.close()
        else:
            shipper._peer.close()
        await until(lambda: host.assembler.counters()["running"] == 0)
        [trace] = host.assembler.session(name)
        assert trace.spans[0].error == error


async def test_a_link_that_comes_back_is_no_death(net: Any, until: Any) -> None:
    """An idle source whose link broke returns by itself, and its work still runs."""
    options = TelemetryOptions(flush_seconds=0.01, death_grace=30)
    host = await net.open(options=options)
    recorder, shipper = net.source("idle", options)
    span = recorder.start("invoke_agent", session="s")
    assert await shipper.flush()
    net.transport.break_connections("idle")
    await until(lambda: shipper.breaks and host._streams and not host._grace)
    assert host.assembler.session("s")[0].spans[0].end is None
    span.end()
    assert await shipper.flush()
    assert host.assembler.session("s")[0].spans[0].error is None


class Refusing:
    """A recorder's batches as the wire would never have them."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batch, name)

    def pack(self) -> Any:
        return self.batch.pack()[:-1]


async def test_a_batch_that_cannot_be_read_is_given_up_and_the_rest_arrives(net: Any) -> None:
    """One malformed batch is counted on both sides and stops nothing."""
    host = await net.open()
    recorder, shipper = net.source("odd")
    drain = recorder.drain
    batches: list[Any] = []

    def spoiling(limit: int = 1, *, metrics: bool = True) -> Any:
        batch: Any = drain(1, metrics=metrics)
        if batch is not None and batch.number == 2:
            batch = Refusing(batch)
        batches.append(batch)
        return batch

    recorder.drain = spoiling
    for _ in range(5):
        recorder.start("work").end()
    assert await shipper.flush()
    assert host.malformed == 1
    assert shipper.discarded == 1
    assert host.assembler.counters()["records"] == 4
    assert host.assembler.counters()["lost"] == 1


class Narrow:
    """A way to the telemetry actor on which no message is larger than so many bytes."""

    def __init__(self, connection: Connection, limit: int) -> None:
        self._connection = connection
        self._limit = limit

    async def connection(self) -> Any:
        return self

    def open(self, kind: str, header: Any = None) -> Any:
        stream = self._connection.open(kind, header)
        send = stream.send
        limit = self._limit

        async def narrow(message: Any) -> None:
            if len(message) > limit:
                raise NotSendable("too large")
            await send(message)

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                return narrow if name == "send" else getattr(stream, name)

            def __aiter__(self) -> Any:
                return stream.__aiter__()

        return Wrapped()


async def test_a_batch_too_large_for_the_link_goes_in_parts(net: Any) -> None:
    """What is large together travels apart; a record that nothing carries is given up alone, counted."""
    host = await net.open()
    recorder, shipper = net.source("large", TelemetryOptions(flush_seconds=3600))
    shipper._peer = Narrow(await shipper._peer.connection(), 2000)
    for number in range(8):
        attributes = {f"text {part}": "x" * 1000 for part in range(3 if number == 5 else 1)}
        recorder.start(f"work {number}", session="s", attributes=attributes).end()
    recorder.count("events_published_total", 3)
    assert await shipper.flush()
    arrived = {span.name for trace in host.assembler.session("s") for span in trace.spans}
    assert arrived == {f"work {number}" for number in range(8)} - {"work 5"}
    assert (shipper.discarded, host.assembler.counters()["lost"]) == (1, 1)
    values = {series.name: series.value for series in host.assembler.metrics.read()}
    assert values["events_published_total"] == 3
    recorder.start("small", session="s").end()
    assert await shipper.flush()
    assert host.assembler.counters()["records"] == 8


def test_a_part_of_a_batch_is_not_taken_for_the_whole() -> None:
    """Whoever hears that the earlier part has arrived still holds the rest, of the very first batch too."""
    recorder = SpanRecorder("large")
    for _ in range(3):
        recorder.start("work").end()
    batch = recorder.drain()
    assert batch is not None
    later, earlier = _halves(batch)
    assert earlier.number < later.number == batch.number
    assert [(part.first, len(part.spans)) for part in (earlier, later)] == [(0, 1), (1, 2)]


class Nowhere:
    """A peer that always fails in its own way."""

    async def connection(self) -> Connection:
        raise RuntimeError("resolve failed")


async def test_whatever_the_peer_raises_the_application_goes_on(until: Any) -> None:
    """Errors of the way are kept for whoever asks and raised to nobody."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    recorder = SpanRecorder("lost")
    shipper = TelemetryShipper(recorder, Nowhere(), TelemetryOptions(flush_seconds=0.001), sleep=sleep)
    assert not await shipper.flush()
    shipper.start()
    recorder.start("work").end()
    await until(lambda: len(pauses) > 8)
    assert "resolve failed" in shipper.last_error
    assert pauses[:3] == [0.05, 0.1, 0.2]
    assert max(pauses) == 2.0
    assert shipper.counters()["unacknowledged"] == 1
    assert not await shipper.close(timeout=0.01)


async def test_unacknowledged_batches_are_bounded() -> None:
    """While acknowledgements are missing, records stay in the bounded ring."""
    recorder = SpanRecorder("full", capacity=BATCH_RECORDS * WINDOW * 2)
    shipper = TelemetryShipper(recorder, Nowhere())
    for _ in range(BATCH_RECORDS * WINDOW + 5):
        recorder.start("work").end()
    shipper._fill()
    assert shipper.counters()["unacknowledged"] <= BATCH_RECORDS * WINDOW
    assert recorder.pending == 5


async def test_many_records_at_once_all_arrive(net: Any) -> None:
    """More than one window of batches arrives without waiting for intervals."""
    options = TelemetryOptions(flush_seconds=3600, ring=100_000, max_traces=100_000)
    host = await net.open(options=options)
    recorder, shipper = net.source("many", options)
    for _ in range(BATCH_RECORDS * WINDOW * 3):
        recorder.start("work").end()
    assert await shipper.flush(timeout=20)
    assert host.assembler.counters()["records"] == BATCH_RECORDS * WINDOW * 3
    assert recorder.pending == 0


async def test_asking_where_nobody_answers_raises_a_link_error() -> None:
    """Questions, unlike shipping, tell whoever asks."""
    failed = False
    try:
        await TelemetryClient(Nowhere()).stats()
    except (LinkError, RuntimeError):
        failed = True
    assert failed
