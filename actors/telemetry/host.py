"""What the telemetry actor does: takes batches, keeps traces, answers questions, feeds exporters."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from llmgine.actors.link import EndOfStream, Stream, StreamEmpty, StreamHandler, StreamReset
from llmgine.actors.telemetry.answering import Answering
from llmgine.actors.telemetry.client import ACK, HELLO, REFUSED, SPANS, WINDOW
from llmgine.actors.telemetry.export import ExportThread, Patience
from llmgine.actors.telemetry.keeping import TraceStore
from llmgine.actors.telemetry.live import LIVE, Watchers
from llmgine.actors.telemetry.observing import Observation, Observations
from llmgine.telemetry import Assembler, Batch, MalformedBatch, Span, TelemetryOptions, Trace
from llmgine.telemetry.context import random_bits
from llmgine.telemetry.exporters import Exporter
from llmgine.telemetry.exporters.otlp.encoding import Encoder
from llmgine.telemetry.names import UNFINISHED
from llmgine.telemetry.sampling import Settled, TailSampler
from llmgine.telemetry.summaries import summary_of

QUERY = "telemetry.query"
SETTLE_SECONDS = 1.0

logger = logging.getLogger(__name__)


class TelemetryHost:
    """The telemetry actor without its actor: a pair of stream handlers over an assembler.

    A source whose stream broke has `death_grace` seconds to come back; then its running spans are
    closed as `actor_died`. One that said farewell has left: what it had not ended is `unfinished`.
    """

    def __init__(
        self,
        options: TelemetryOptions | None = None,
        exporters: Sequence[Exporter] = (),
        clock: Callable[[], int] = time.time_ns,
        observers: Sequence[Observation] = (),
        runtime: str = "",
    ) -> None:
        self.options = options or TelemetryOptions()
        self.instance = random_bits(63)
        self.assembler = Assembler(self.options)
        self.malformed = 0
        self._clock = clock
        self._watchers = Watchers()
        self._observers = Observations(observers)
        self._sampler = TailSampler(self.options)
        self._store = TraceStore(self.options, clock)
        self._answering = Answering(
            self.assembler,
            self._sampler,
            self._store,
            lambda: Encoder(runtime, self.options.otlp.resource),
        )
        self._paused = False
        self._counted: dict[str, int] = {}  # of the sampler, as far as the store knows
        self._told = 0  # when observers were told of the statistics
        self._opening: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        patience = Patience(self.options.export_patience)
        self._exports = [
            ExportThread(exporter, self.options.export_queue, patience=patience) for exporter in exporters
        ]
        self._streams: Counter[int] = Counter()  # open streams by the source's instance
        self._grace: dict[int, asyncio.TimerHandle] = {}
        self._closed = False

    def open(self) -> None:
        """Begins to settle traces, on the running loop; nobody waits for the file to be opened."""
        if self._settling is None:
            self._opening = asyncio.create_task(self._store.open(), name="open the trace store")
            self._settling = asyncio.create_task(self._settle_always(), name="settle traces")

    def handlers(self) -> Mapping[str, StreamHandler]:
        return {SPANS: self.receive, QUERY: self.answer, LIVE: self._watchers.serve}

    async def receive(self, stream: Stream) -> None:
        """One source's batches, acknowledged by number once they are taken."""
        source, instance, before = _source(stream.header)
        self._arrived(source, instance, before)
        error: str | None = None
        try:
            await stream.send([HELLO, self.instance])
            while True:
                messages = [await stream.receive()]
                with contextlib.suppress(StreamEmpty, EndOfStream):
                    while len(messages) < WINDOW:
                        messages.append(stream.receive_nowait())
                for answer in self._take_all(messages, instance):
                    await stream.send(answer)
        except EndOfStream:
            error = UNFINISHED
        finally:
            self._left(instance, error)

    async def answer(self, stream: Stream) -> None:
        """One question, one message back."""
        match stream.header:
            case {"counters": _}:
                answer = self.counters()
            case {"pause": bool(paused)}:
                self._paused = paused
                answer = {"paused": paused}
            case {"keep": str(session)}:
                self._sampler.choose(session)
                answer = {"kept": session}
            case question:
                answer = await self._answering.answer(question, self._clock())
        await stream.send({**answer, "now": self._clock()})

    async def settle(self) -> None:
        """Decide on the traces that are settled, and write what is kept and all sums."""
        self._keep(self._sampler.due(self._clock()))
        counted = self._sampler.counted()
        counts = {
            name: more for name, count in counted.items() if (more := count - self._counted.get(name, 0))
        }
        self._counted = counted
        self._store.add(self.assembler.take_rollup(), counts)
        await self._store.flush()

    def counters(self) -> dict[str, Any]:
        """What was received, lost, forgotten and exported, and every metric of every source."""
        metrics = self.assembler.metrics
        series = [list(one) for one in metrics.read()]
        more = {"malformed": self.malformed, "metrics_mismatched": metrics.mismatched}
        return {
            "counters": {**self.assembler.counters(), **more},
            "sources": self.assembler.sources(),
            "metrics": series,
            "exporters": [export.counters() for export in self._exports],
            "live": self._watchers.counters(),
            "observers": self._observers.counters(),
            "sampling": self._sampler.counters(),
            "store": self._store.counters(),
            "paused": self._paused,
        }

    async def flush(self, timeout: float) -> bool:
        """Whether the exporters have worked off all that they were handed."""
        done = await asyncio.gather(*(asyncio.to_thread(export.flush, timeout) for export in self._exports))
        return all(done)

    async def close(self, timeout: float) -> None:
        """Decide on every trace, and let exporters and observers finish, for `timeout` seconds at most."""
        if self._settling is not None and self._opening is not None:
            self._stop_settling()
            await asyncio.wait({self._opening}, timeout=timeout)
            self._keep(self._sampler.settle_all(self._clock()))
            await self.settle()
            await self._store.close()
        self.abandon()
        closing = [export.close for export in self._exports]
        closing += [observer.close for observer in self._observers]
        await asyncio.gather(*(asyncio.to_thread(close, timeout) for close in closing))

    def abandon(self) -> None:
        """Lets go of everything at once, as the end of the process would."""
        self._closed = True
        for timer in self._grace.values():
            timer.cancel()
        self._grace.clear()
        self._stop_settling()
        if self._opening is not None:
            self._opening.cancel()
        self._store.abandon()

    def _stop_settling(self) -> None:
        settling, self._settling = self._settling, None
        if settling is not None:
            settling.cancel()

    async def _settle_always(self) -> None:
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            try:
                await self.settle()
                await self._tell_statistics()
            except Exception:  # what goes wrong once must not end the keeping of traces
                logger.exception("traces could not be settled")

    async def _tell_statistics(self) -> None:
        now = self._clock()
        if self._observers and now - self._told >= self.options.observer_interval * 1e9:
            self._told = now
            statistics = await self._answering.statistics(None)
            for observer in self._observers:
                observer.statistics(statistics)

    def _keep(self, settled: Iterable[Settled]) -> None:
        for verdict in settled:
            self._export(verdict.released)
            if (trace := self.assembler.trace(verdict.trace_id)) is not None:
                self._settled(trace, verdict.because)

    def _settled(self, trace: Trace, because: str) -> None:
        if because:
            self._store.keep(trace, because)
        if self._observers:
            summary = summary_of(trace, because)
            for observer in self._observers:
                observer.trace(summary)

    def _take_all(self, messages: list[Any], instance: int) -> list[list[Any]]:
        """Take batches in order; returns what to answer: one acknowledgement for as many as possible."""
        answers: list[list[Any]] = []
        for message in messages:
            try:
                answer = [ACK, self._take(message, instance)]
            except MalformedBatch as refused:
                self.malformed += 1
                answer = [REFUSED, str(refused)]
            if answers and answer[0] == answers[-1][0] == ACK:
                answers.pop()
            answers.append(answer)
        return answers

    def _take(self, message: Any, instance: int) -> int:
        if not isinstance(message, bytes):
            raise MalformedBatch("a batch is bytes")
        batch = Batch.unpack(message)
        if batch.instance != instance:
            raise MalformedBatch("the batch is another source's")
        self._ended(self.assembler.add(batch, self._clock(), paused=self._paused))
        return batch.number

    def _ended(self, spans: list[Span]) -> None:
        """Pass on what the assembler has just learnt; these spans have ended."""
        changed = self.assembler.take_changed()
        if not changed:
            return
        self._watchers.put(changed, self.assembler.traces_of)
        released = self._sampler.add(changed, self._clock())
        for trace in self.assembler.take_evicted():
            settled = self._sampler.settle(trace.trace_id, self._clock())
            if settled is not None:
                released += settled.released
                self._settled(trace, settled.because)
        self._export(released)
        if spans:
            for observer in self._observers:
                observer.spans(spans)

    def _export(self, spans: Sequence[Span]) -> None:
        if spans:
            for export in self._exports:
                export.put(spans)

    def _arrived(self, source: str, instance: int, before: int) -> None:
        self._streams[instance] += 1
        if timer := self._grace.pop(instance, None):
            timer.cancel()
        self.assembler.here(source, instance, self._clock(), before)
        self._ended([])

    def _left(self, instance: int, error: str | None) -> None:
        self._streams[instance] -= 1
        if self._streams[instance] > 0:
            return  # it has come back on another connection before this one was seen to break
        del self._streams[instance]
        if error is not None:
            self._ended(self.assembler.gone(instance, self._clock(), error))
            return
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        broke = self._clock()
        self._grace[instance] = loop.call_later(self.options.death_grace, self._died, instance, broke)

    def _died(self, instance: int, broke: int) -> None:
        self._grace.pop(instance, None)
        self._ended(self.assembler.gone(instance, broke))


def _source(header: Any) -> tuple[str, int, int]:
    match header:
        case [str(source), int(instance), int(before)]:
            return source, instance, before
    raise StreamReset("malformed", "the header of spans is [source, instance, records that have arrived]")
