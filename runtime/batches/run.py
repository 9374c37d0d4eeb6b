"""A map that is asked in batches: submitted, waited for, read, and what failed asked again."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llmgine.actors.pools.batches import BatchCalls, BatchOptions, Patience, next_pause
from llmgine.actors.sessions import Reply
from llmgine.providers import ErrorKind, LLMRequest, LLMResponse, Message, ProviderError
from llmgine.providers.contracts import BatchState, BatchStatus
from llmgine.runtime.batches.job import Job, Outcome
from llmgine.runtime.batches.notes import Note, Notes
from llmgine.runtime.batches.spans import BatchSpans
from llmgine.runtime.checks import checked_deadline, checked_number, checked_prompt, checked_several
from llmgine.runtime.mapping import place_of
from llmgine.runtime.progress import Show, shown

R = TypeVar("R")

_CANCELLED = (BatchState.CANCELLING, BatchState.CANCELLED)

# Results that are read before others of this process get their turn.
_AT_ONCE = 32

Prompt = str | Message


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What becomes of the prompts.

    `calls` are the batches of a model, `request` is what is asked of it for a prompt, `reply` what its answer
    under an id is for the caller; `spans` tell of each answer once. A map that is not `named` cannot be taken
    up again, so its batches are cancelled where it does not end well, by what `undo` runs in the background.
    `clock` tells seconds since 1970.
    """

    name: str
    model: str
    calls: Callable[[str], BatchCalls]
    request: Callable[[Prompt], LLMRequest]
    reply: Callable[[LLMResponse, str], Reply]
    notes: Notes
    spans: BatchSpans
    undo: Callable[[Coroutine[Any, Any, None]], None]
    named: bool = False
    options: BatchOptions = field(default_factory=BatchOptions)
    concurrency: int = 8
    retries: int = 2
    return_exceptions: bool = False
    deadline: float | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.time
    new_tag: Callable[[], str] = lambda: secrets.token_hex(8)
    chance: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        checked_number("concurrency", self.concurrency, 1)
        checked_number("retries", self.retries, 0)
        checked_deadline(self.deadline)


async def run_batches(prompts: Iterable[Prompt], plan: BatchPlan, *, progress: bool | None) -> list[Outcome]:
    """The replies in the order of the prompts; an error that is final ends it, or stands in its place."""
    asked = [checked_prompt(prompt) for prompt in checked_several("prompts", prompts)]
    with shown(len(asked), plan.name, progress) as show:
        return await BatchRun(asked, plan, show).results()


class BatchRun:
    """One run of a map."""

    def __init__(self, prompts: Sequence[Prompt], plan: BatchPlan, show: Show) -> None:
        self._prompts = prompts
        self._plan = plan
        self._show = show
        self._places = {place_of(index, prompt): index for index, prompt in enumerate(prompts)}
        self._names = list(self._places)
        self._job = Job(
            plan.name, len(prompts), plan.retries, keeps_errors=plan.return_exceptions, reply=plan.reply
        )
        self._notes: dict[str, Note] = {}
        self._kept: frozenset[str] = frozenset()
        self._following: set[asyncio.Task[None]] = set()
        self._statuses: dict[str, BatchStatus] = {}
        self._found_as: dict[str, BatchState] = {}
        self._making, self._crowded = self._patience(), self._patience()

    async def results(self) -> list[Outcome]:
        ended = False
        try:
            async with asyncio.timeout(self._plan.deadline) as limit:
                await self._all()
            ended = True
        except TimeoutError:
            if not limit.expired():
                raise
            self._late()
        finally:
            await self._let_go()
            if not ended and (not self._plan.named or limit.expired()):
                self._plan.undo(self._cancelled())
        return [self._job.results[index] for index in range(len(self._prompts))]

    async def _all(self) -> None:
        await self._go_on()
        while self._job.waiting or self._following:
            while self._job.waiting and len(self._following) < self._plan.concurrency:
                await self._submit()
                self._raise_ended()
            if self._following:
                await asyncio.wait(self._following, return_when=asyncio.FIRST_COMPLETED)
                self._raise_ended()

    async def _go_on(self) -> None:
        """Takes up the batches of earlier runs: of each prompt the last one that held it."""
        notes = await self._plan.notes.load()
        self._kept = frozenset(note.tag for note in notes)
        held = {place: note.tag for note in notes for place in note.places}
        for note in notes:
            self._notes[note.tag] = note
            mine = [place for place in note.places if place in self._places and held[place] == note.tag]
            if mine:
                self._follow(note, mine)

    def _follow(self, note: Note, places: Iterable[str]) -> None:
        mine = {place: self._places[place] for place in places}
        self._job.take(mine.values())
        following = self._followed(note, mine)
        self._following.add(asyncio.create_task(following, name=f"batch {note.tag}"))

    def _raise_ended(self) -> None:
        for task in [task for task in self._following if task.done()]:
            self._following.discard(task)
            task.result()

    async def _let_go(self) -> None:
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    async def _cancelled(self) -> None:
        """Cancels what goes on at the provider for these prompts."""
        for note in self._notes.values():
            if not note.over and not self._places.keys().isdisjoint(note.places):
                await cancelled(self._plan.calls(note.model), note)

    # One batch from its making to its end.

    async def _submit(self) -> None:
        """A new batch of the prompts that wait, as many as one holds."""
        plan, numbers = self._plan, sorted(self._job.waiting)
        note = Note(plan.new_tag(), plan.model, plan.clock(), ())

        def requests() -> Iterator[tuple[str, LLMRequest]]:
            for line, number in enumerate(numbers):
                yield note.custom_id(line), plan.request(self._prompts[number])

        async def decided(key: str, seen: int, refused: dict[str, ProviderError]) -> None:
            taken = enumerate(numbers[:seen])
            note.places = tuple(
                "" if note.custom_id(line) in refused else self._names[number] for line, number in taken
            )
            for line, number in enumerate(numbers[:seen]):
                if error := refused.get(note.custom_id(line)):
                    self._job.end([number], error)
            note.key = key
            self._notes[note.tag] = note
            if note.held:
                await plan.notes.begun(note)

        def is_begun() -> bool:
            return note.tag in self._notes

        calls = plan.calls(plan.model)
        try:
            status = await self._patiently(lambda: calls.submit(note.tag, requests(), decided), is_begun)
        except ProviderError as error:
            if error is self._job.raised:
                raise
            if not is_begun():
                if error.kind is ErrorKind.UNSUPPORTED:
                    raise
                self._job.end(numbers, error)
            else:
                await self._not_made(note, error)
            return
        if status is None:
            del self._notes[note.tag]
            return
        self._making.recovered()
        note.id = status.id
        await plan.notes.taken(note)
        self._follow(note, note.held)

    async def _not_made(self, note: Note, error: ProviderError) -> None:
        """A batch was sent, and nobody knows whether it was taken, unless the provider refused it."""
        pause = self._making.pause(error.retry_after)
        if error.retryable and pause is not None:
            await self._plan.sleep(pause)
            self._follow(note, note.held)
            return
        if error.status is not None and 400 <= error.status < 500:
            await self._void(note)
        self._job.end([self._places[place] for place in note.held], error)

    async def _followed(self, note: Note, mine: dict[str, int]) -> None:
        try:
            await self._to_its_end(note, mine)
        except ProviderError as error:
            if error is self._job.raised:
                raise
            if error.kind is ErrorKind.NOT_FOUND and note.tag in self._kept:
                error.hint = "a provider keeps results for a month; under another name the map asks again"
            self._job.end(mine.values(), error)

    async def _to_its_end(self, note: Note, mine: dict[str, int]) -> None:
        """Waits for a batch and reads what became of these prompts."""
        while True:
            if not note.id and not await self._found(note):
                await self._void(note)
                self._job.put_back(mine.values())
                return
            status = await self._over(note)
            if status.state is BatchState.FAILED:
                await self._rejected(note, mine, status)
                return
            outcomes = await self._patiently(lambda: self._download(note))
            if note.sure or outcomes:
                await self._read(note, mine, status, outcomes)
                return
            foreign, note.id = note.id, ""
            note.foreign.add(foreign)
            await self._plan.notes.foreign(note, foreign)

    async def _found(self, note: Note) -> bool:
        """Whether a batch was made whose id nobody noted."""
        known = {other.id for other in self._notes.values() if other.id} | note.foreign
        calls, total = self._plan.calls(note.model), len(note.held)
        status = await self._patiently(lambda: calls.find(note.tag, note.since, total, known, key=note.key))
        if status is None:
            return False
        note.id, note.sure = status.id, status.tag is not None
        await self._plan.notes.taken(note)
        return True

    async def _over(self, note: Note) -> BatchStatus:
        """The status of the batch once it is over."""
        options, calls, waited = self._plan.options, self._plan.calls(note.model), 0.0
        while True:
            status = await self._patiently(lambda: calls.status(note.id, key=note.key))
            self._statuses[note.tag] = status
            self._found_as.setdefault(note.tag, status.state)
            self._tell()
            if status.over:
                return status
            pause = next_pause(waited, options.first_pause, options.longest_pause, status.retry_after)
            waited += pause
            await self._plan.sleep(pause)

    async def _download(self, note: Note) -> dict[str, LLMResponse | ProviderError]:
        """What became of the batch's prompts, by their places."""
        found: dict[str, LLMResponse | ProviderError] = {}
        known = next(self._places[place] for place in note.held if place in self._places)
        like = self._plan.request(self._prompts[known])
        async with aclosing(self._plan.calls(note.model).results(note.id, like, key=note.key)) as results:
            async for result in results:
                if place := note.place(result.custom_id):
                    found[place] = result.outcome
                if len(found) % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        return found

    async def _read(
        self,
        note: Note,
        mine: dict[str, int],
        status: BatchStatus,
        outcomes: dict[str, LLMResponse | ProviderError],
    ) -> None:
        """Takes the results of a batch; what an earlier run was told already does not count again."""
        cancelled, missing = status.state is BatchState.CANCELLED, _untold(note, status)
        before = note.tag in self._kept and self._found_as[note.tag] in _CANCELLED
        told = note.over or before
        if not note.over:
            note.over = True
            await self._plan.notes.over(note)
            await self._plan.spans.read(note.id, self._answers(note, outcomes), self._plan.sleep)
        del self._statuses[note.tag]
        self._crowded.recovered()
        for done, (place, number) in enumerate(mine.items()):
            self._job.settle(number, place, outcomes.get(place, missing), counts=not told)
            if done % _AT_ONCE == 0:
                await asyncio.sleep(0)
        if cancelled and not told:  # whoever cancelled it meant the map
            self._job.end(sorted(self._job.waiting), missing)
        self._tell()

    def _answers(
        self, note: Note, outcomes: dict[str, LLMResponse | ProviderError]
    ) -> Iterator[tuple[LLMRequest, LLMResponse | ProviderError]]:
        """All that the batch has answered, also to prompts that this run has not."""
        for place, outcome in outcomes.items():
            number = self._places.get(place)
            request = self._plan.request("" if number is None else self._prompts[number])
            yield request.model_copy(update={"model": note.model}), outcome

    async def _rejected(self, note: Note, mine: dict[str, int], status: BatchStatus) -> None:
        """None of the batch was tried: those that are to blame have failed, the others wait again."""
        await self._void(note)
        error, pause = ProviderError.from_wire(dict(status.error or {})), None
        if error.kind is ErrorKind.RATE_LIMIT:
            # More waits at the provider than may; what of it is ours makes room in time.
            pause = self._crowded.pause(error.retry_after)
            await self._plan.sleep(pause or 0.0)
        held = note.held
        blamed = {held[line - 1] for line in status.bad_lines if 0 < line <= len(held)}
        room = pause is not None and len(self._following) > 1
        for place, number in mine.items():
            self._job.failed(number, error, counts=place in blamed if blamed else not room)

    async def _void(self, note: Note) -> None:
        del self._notes[note.tag]
        self._statuses.pop(note.tag, None)
        await self._plan.notes.void(note)

    def _late(self) -> None:
        error = ProviderError(
            f"the deadline of {self._plan.deadline:g} s passed before all batches were over",
            kind=ErrorKind.TIMEOUT,
        )
        self._job.end(self._job.unsettled, error)

    def _tell(self) -> None:
        going = sum(status.done + status.failed for status in self._statuses.values())
        self._show(min(len(self._job.results) + going, len(self._prompts)))

    # Trying again what may have been bad luck.

    async def _patiently(
        self, call: Callable[[], Awaitable[R]], unless: Callable[[], bool] = lambda: False
    ) -> R:
        """What the call comes to, tried again after errors that may pass, `unless` it went too far."""
        patience = self._patience()
        while True:
            try:
                return await call()
            except ProviderError as error:
                pause = patience.pause(error.retry_after)
                if not error.retryable or unless() or pause is None:
                    raise
            await self._plan.sleep(pause * (0.5 + self._plan.chance() / 2))

    def _patience(self) -> Patience:
        options = self._plan.options
        return Patience(options.first_pause, options.longest_pause, options.patience)


async def cancelled(calls: BatchCalls, note: Note) -> bool:
    """Whether the batch went on and was cancelled; one that may be somebody else's is left alone."""
    if note.id:
        status: BatchStatus | None = await calls.status(note.id, key=note.key) if note.sure else None
    else:
        found = await calls.find(note.tag, note.since, len(note.held), note.foreign, key=note.key)
        status = found if found is not None and found.tag == note.tag else None
    if status is None or status.state is not BatchState.RUNNING:
        return False
    await calls.cancel(status.id, key=note.key)
    return True


def _untold(note: Note, status: BatchStatus) -> ProviderError:
    """The error of a prompt that no line of the results tells of."""
    kind, what = {
        BatchState.EXPIRED: (ErrorKind.TIMEOUT, "expired before it was answered"),
        BatchState.CANCELLED: (ErrorKind.CANCELLED, "was cancelled before it was answered"),
    }.get(status.state, (ErrorKind.MALFORMED, "has no result for it"))
    provider, _, model = note.model.partition("/")
    return ProviderError(f"the batch {note.id} {what}", kind=kind, provider=provider, model=model)
