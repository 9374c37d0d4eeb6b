"""What the telemetry actor does: takes batches, keeps traces, answers questions, feeds exporters."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmgine.actors.link import EndOfStream, Stream, StreamEmpty, StreamHandler, StreamReset
from llmgine.actors.telemetry.answering import Answering
from llmgine.actors.telemetry.client import ACK, HELLO, REFUSED, SPANS, WINDOW
from llmgine.actors.telemetry.export import ExportThread, Patience
from llmgine.actors.telemetry.live import LIVE, Watchers
from llmgine.telemetry import Assembler, Batch, MalformedBatch, Span, TelemetryOptions
from llmgine.telemetry.context import random_bits
from llmgine.telemetry.exporters import Exporter
from llmgine.telemetry.names import UNFINISHED

QUERY = "telemetry.query"


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
    ) -> None:
        self.options = options or TelemetryOptions()
        self.instance = random_bits(63)
        self.assembler = Assembler(self.options)
        self.malformed = 0
        self._clock = clock
        self._watchers = Watchers()
        self._answering = Answering(self.assembler, self.counters, clock)
        patience = Patience(self.options.export_patience)
        self._exports = [
            ExportThread(exporter, self.options.export_queue, patience=patience) for exporter in exporters
        ]
        self._streams: Counter[int] = Counter()  # open streams by the source's instance
        self._grace: dict[int, asyncio.TimerHandle] = {}
        self._closed = False

    def handlers(self) -> Mapping[str, StreamHandler]:
        return {SPANS: self.receive, QUERY: self.answer, LIVE: self._watchers.serve}

    async def receive(self, stream: Stream) -> None:
        """One source's batches, acknowledged by number once they are taken."""
        source, instance = _source(stream.header)
        self._arrived(source, instance)
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
        answer = await self._answering.answer(stream.header)
        await stream.send({**answer, "now": self._clock()})

    def counters(self) -> dict[str, Any]:
        """What was received, lost, forgotten and exported, and every metric of every source."""
        return {
            "counters": {**self.assembler.counters(), "malformed": self.malformed},
            "sources": self.assembler.sources(),
            "metrics": [list(series) for series in self.assembler.metrics.read()],
            "exporters": [export.counters() for export in self._exports],
            "live": self._watchers.counters(),
        }

    async def flush(self, timeout: float) -> bool:
        """Whether the exporters have worked off all that they were handed."""
        done = await asyncio.gather(*(asyncio.to_thread(export.flush, timeout) for export in self._exports))
        return all(done)

    async def close(self, timeout: float) -> None:
        """Let the exporters finish, for `timeout` seconds at most."""
        self._closed = True
        for timer in self._grace.values():
            timer.cancel()
        self._grace.clear()
        await asyncio.gather(*(asyncio.to_thread(export.close, timeout) for export in self._exports))

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
        self._ended(self.assembler.add(batch, self._clock()))
        return batch.number

    def _ended(self, spans: list[Span]) -> None:
        """Pass on what the assembler has just learnt; these spans have ended."""
        changed = self.assembler.take_changed()
        if changed:
            self._watchers.put(changed, self.assembler.traces_of)
        self._export(spans)

    def _export(self, spans: list[Span]) -> None:
        if spans:
            for export in self._exports:
                export.put(spans)

    def _arrived(self, source: str, instance: int) -> None:
        self._streams[instance] += 1
        if timer := self._grace.pop(instance, None):
            timer.cancel()
        self.assembler.here(source, instance, self._clock())
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


def _source(header: Any) -> tuple[str, int]:
    match header:
        case [str(source), int(instance)]:
            return source, instance
    raise StreamReset("malformed", "the header of spans is [source, instance]")
