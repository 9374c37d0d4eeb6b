"""A map in batches by the clock: when it asks, and what it shows meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Coroutine, Iterable
from decimal import Decimal
from typing import Any, cast

from llmgine.actors.pools.batches import BatchCalls, BatchOptions
from llmgine.actors.pools.batches.calls import Decided
from llmgine.providers import ErrorKind, FinishReason, LLMRequest, LLMResponse, Message, ProviderError
from llmgine.providers.contracts import BatchState, BatchStatus, Usage
from llmgine.providers.provider import BatchResult
from llmgine.runtime import Reply
from llmgine.runtime.batches.notes import NoNotes
from llmgine.runtime.batches.run import BatchPlan, BatchRun, Prompt
from llmgine.runtime.batches.spans import BatchSpans
from llmgine.telemetry import Span, SpanRecorder, names
from llmgine.telemetry.rollup import usage_of


class Day:
    """A provider that is done with a third of a batch after each hour, and time that passes by sleeping."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.made: float | None = None
        self.lines: list[str] = []
        self.pauses: list[float] = []
        self.asked: list[float] = []
        self.shown: list[int] = []
        self.away_until = 0.0
        self.hint: float | None = None
        self.stuck = False
        self.cancelled: list[str] = []
        self.undoing: list[Coroutine[Any, Any, None]] = []
        self.recorder = SpanRecorder("driver")
        self.usage = Usage()

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    async def submit(
        self, tag: str, requests: Iterable[tuple[str, LLMRequest]], decided: Decided
    ) -> BatchStatus:
        self.lines = [custom_id for custom_id, _ in requests]
        await decided("", len(self.lines), {})
        self.made = self.now
        return BatchStatus(id="b", state=BatchState.RUNNING, tag=tag)

    async def status(self, id: str, *, key: str) -> BatchStatus:
        if self.stuck:
            await asyncio.Event().wait()
        if self.now < self.away_until:
            raise ProviderError("away", kind=ErrorKind.CONNECTION)
        self.asked.append(self.now)
        assert self.made is not None
        thirds = min(int((self.now - self.made) // 3600), 3)
        state = BatchState.COMPLETED if thirds == 3 else BatchState.RUNNING
        done = thirds * len(self.lines) // 3
        return BatchStatus(id=id, state=state, done=done, retry_after=self.hint)

    async def cancel(self, id: str, *, key: str) -> BatchStatus:
        self.cancelled.append(id)
        return BatchStatus(id=id, state=BatchState.CANCELLING)

    async def find(
        self, tag: str, since: float, total: int, excluded: Collection[str], *, key: str
    ) -> BatchStatus | None:
        raise AssertionError("nothing was lost")

    async def results(self, id: str, like: LLMRequest, *, key: str) -> AsyncGenerator[BatchResult, None]:
        for custom_id in reversed(self.lines):
            message = Message.assistant(custom_id.rpartition("-")[2])
            yield BatchResult(
                custom_id,
                LLMResponse(
                    message=message,
                    finish_reason=FinishReason.STOP,
                    model="m",
                    provider="p",
                    usage=self.usage,
                    cost=Decimal("0.5"),
                ),
            )

    async def map(self, prompts: int, *, deadline: float | None = None, **options: Any) -> list[Any]:
        plan = BatchPlan(
            "m",
            "p/m",
            lambda model: cast("BatchCalls", self),
            request,
            reply,
            NoNotes(),
            BatchSpans(self.recorder),
            self.undoing.append,
            named=True,
            return_exceptions=True,
            deadline=deadline,
            options=BatchOptions(**options),
            sleep=self.sleep,
            clock=lambda: self.now,
            chance=lambda: 1.0,
        )
        run = BatchRun([str(number) for number in range(prompts)], plan, self.shown.append)
        return [result.text if isinstance(result, Reply) else result for result in await run.results()]


def request(prompt: Prompt) -> LLMRequest:
    return LLMRequest(model="p/m", messages=(Message.user(str(prompt)),))


def reply(response: LLMResponse, id: str) -> Reply:
    return Reply(
        text=response.text,
        parts=(),
        model="m",
        finish_reason=FinishReason.STOP,
        turn_id=id,
        trace_id="",
        session_id="",
    )


async def test_a_batch_is_asked_about_less_and_less_often() -> None:
    """And its end is noticed soon, for the time that it took."""
    day = Day()
    assert await day.map(6) == list("012345")
    assert day.pauses[:3] == [5.0, 5.0, 5.0]
    assert max(day.pauses) == 300.0
    assert sorted(day.pauses) == day.pauses
    assert len(day.asked) < 80
    assert day.now - 1_000.0 - 3 * 3600 <= 300.0


async def test_the_provider_says_when_to_ask() -> None:
    """It is not asked earlier."""
    day = Day()
    day.hint = 1_800.0
    await day.map(3)
    assert set(day.pauses) == {1_800.0}


async def test_what_is_done_is_shown_while_the_batch_goes_on() -> None:
    """As the provider counts it, never more than there is, and all at the end."""
    day = Day()
    await day.map(6)
    assert sorted(set(day.shown)) == [0, 2, 4, 6]
    assert day.shown == sorted(day.shown)


async def test_a_provider_that_is_away_is_waited_for() -> None:
    """Half an hour of it is no failure of a map that takes hours."""
    day = Day()
    day.away_until = 1_000.0 + 1_800.0
    assert await day.map(3) == list("012")
    assert day.asked[0] >= day.away_until


async def test_a_deadline_bounds_the_map() -> None:
    """Each prompt without a result has that error, and what goes on at the provider is cancelled."""
    day = Day()
    day.stuck = True
    results = await day.map(2, deadline=0.05)
    assert [error.kind for error in results] == [ErrorKind.TIMEOUT] * 2
    assert "0.05 s" in str(results[0])
    day.stuck = False
    (work,) = day.undoing
    await work
    assert day.cancelled == ["b"]


async def test_each_answer_of_a_batch_is_counted() -> None:
    """Tokens and costs of batches are summed like others; how long a model took is not known of them."""
    day = Day()
    day.usage = Usage(input_tokens=10, output_tokens=2)
    await day.map(3)
    batch = day.recorder.drain()
    assert batch is not None
    spans = [Span.from_record(record, "driver") for record in batch.spans]
    assert [span.name for span in spans] == ["read batch", *["chat m"] * 3]
    assert {span.parent_id for span in spans[1:]} == {spans[0].span_id}
    assert {span.attributes[names.LLMGINE_BATCH_ID] for span in spans} == {"b"}
    (usage,) = usage_of(spans)
    assert (usage.spent.calls, usage.spent.input, usage.spent.output) == (3, 30, 6)
    assert usage.spent.cost == Decimal("1.5")
    assert usage.duration.count == usage.tokens_per_second.count == 0
    told = {series.name for series in batch.metrics}
    assert names.METRIC_COST in told
    assert names.METRIC_OPERATION_DURATION not in told


async def test_an_answer_that_failed_is_a_call_that_failed() -> None:
    """Its span bears the kind of the failure, and the others are told all the same."""
    recorder = SpanRecorder("driver")
    error = ProviderError("no", kind=ErrorKind.CONTENT_FILTER)
    await BatchSpans(recorder).read("b", [(request("a"), error)], asyncio.sleep)
    batch = recorder.drain()
    assert batch is not None
    assert [record.error for record in batch.spans] == [None, "content_filter"]
