"""Many prompts at once: each in a session of its own, results in the order of the prompts.

A map that has a name can be interrupted. Session and turn of each prompt are named after the map, the
prompt's place and its content, so a second run takes what is done from the store and asks only for the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from llmgine.actors.bus.pacing import full_jitter
from llmgine.actors.sessions import Reply, RuntimeOverloaded
from llmgine.providers import InvalidRequest, LlmgineError, Message, ProviderError, UnknownModel
from llmgine.runtime.checks import checked_prompt
from llmgine.runtime.session import Session

# Between two attempts at one prompt, in seconds: the first wait, and the longest.
_PAUSES = (0.5, 30.0)

# Errors that the next attempt would meet again.
_FINAL = (InvalidRequest, UnknownModel)

Advance = Callable[[], None]


@dataclass(frozen=True, slots=True)
class MapPlan:
    """What becomes of each prompt. `open` makes the session of an id that one attempt runs in."""

    name: str
    open: Callable[[str], Session]
    ask: dict[str, Any] = field(default_factory=dict)
    concurrency: int = 8
    retries: int = 2
    return_exceptions: bool = False
    sleep: Callable[[float], Any] = asyncio.sleep

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise InvalidRequest(f"concurrency= is 1 or more, not {self.concurrency}")
        if self.retries < 0:
            raise InvalidRequest(f"retries= is 0 or more, not {self.retries}")


async def run_map(
    prompts: Iterable[str | Message], plan: MapPlan, *, progress: bool | None
) -> list[Reply | LlmgineError]:
    """The replies in the order of the prompts; the first error that is final ends it, or stands in its place."""
    asked = [checked_prompt(prompt) for prompt in prompts]
    results: list[Reply | LlmgineError | None] = [None] * len(asked)
    waiting = iter(enumerate(asked))
    with _shown(len(asked), plan.name, progress) as advance:
        workers = [
            asyncio.create_task(_work(plan, waiting, results, advance), name=f"map {plan.name}")
            for _ in range(min(plan.concurrency, len(asked)))
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    return [result for result in results if result is not None]


async def _work(
    plan: MapPlan,
    waiting: Iterator[tuple[int, str | Message]],
    results: list[Reply | LlmgineError | None],
    advance: Advance,
) -> None:
    for index, prompt in waiting:
        try:
            results[index] = await _answered(plan, f"{plan.name}/{index}-{_digest(prompt)}", prompt)
        except LlmgineError as error:
            if not plan.return_exceptions:
                error.add_note(f"the prompt is number {index} of the map {plan.name!r}")
                raise
            results[index] = error
        advance()


async def _answered(plan: MapPlan, place: str, prompt: str | Message) -> Reply:
    """The reply, after as many attempts as it takes; each has a session of its own, which no failed one marks."""
    attempt = 1
    while True:
        try:
            async with plan.open(f"{place}.{attempt}") as session:
                return await session.ask(prompt, key="map", **plan.ask)
        except RuntimeOverloaded as error:
            await plan.sleep(error.retry_after)
            continue
        except LlmgineError as error:
            if attempt > plan.retries or not _may_pass(error):
                raise
        await plan.sleep(full_jitter(*_PAUSES, attempt, random.random))
        attempt += 1


def _may_pass(error: LlmgineError) -> bool:
    if isinstance(error, ProviderError):
        return error.retryable
    return not isinstance(error, _FINAL)


def _digest(prompt: str | Message) -> str:
    text = prompt if isinstance(prompt, str) else prompt.model_dump_json()
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _shown(total: int, name: str, wanted: bool | None) -> AbstractContextManager[Advance]:
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        return nullcontext(lambda: None)
    return _bar(total, name)


@contextmanager
def _bar(total: int, name: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total)
        yield lambda: progress.advance(task)


def map_name(name: str | None) -> str:
    """The map's name, which its sessions' ids begin with; a fresh one where it has none."""
    return f"map-{uuid.uuid4().hex[:8]}" if name is None else name
