"""Many prompts at once: each in a session of its own, results in the order of the prompts.

A map that has a name can be interrupted. Session and turn of each prompt are named after the map, the
prompt's place and its content, so a second run takes what is done from the store and asks only for the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from llmgine.actors.bus import InvalidHandler
from llmgine.actors.bus.pacing import full_jitter
from llmgine.actors.sessions import (
    ContextError,
    Reply,
    RuntimeOverloaded,
    ToolDefinitionError,
    TurnDone,
    TurnFailed,
)
from llmgine.actors.sessions.client.client import with_output
from llmgine.actors.sessions.journal.loading import last_event
from llmgine.actors.sessions.turns.events import from_wire
from llmgine.providers import InvalidRequest, LlmgineError, Message, ProviderError, UnknownModel
from llmgine.providers.layers.output_type import OutputType
from llmgine.runtime.checks import checked_number, checked_prompt, checked_several
from llmgine.runtime.driver import Driver
from llmgine.runtime.progress import Show, shown
from llmgine.runtime.session import Session

# Between two attempts at one prompt, in seconds: the first wait, and the longest.
_PAUSES = (0.5, 30.0)

# Errors that the next attempt would meet again.
_FINAL = (ContextError, InvalidHandler, InvalidRequest, ToolDefinitionError, UnknownModel)

# Each session has one turn.
_KEY = "map"


@dataclass(frozen=True, slots=True)
class MapPlan:
    """What becomes of each prompt.

    `run` is one attempt in the session of an id; `kept` is what an earlier one there came to, None where
    it has come to nothing yet.
    """

    name: str
    run: Callable[[str, str | Message], Awaitable[Reply]]
    kept: Callable[[str], Awaitable[Reply | LlmgineError | None]]
    concurrency: int = 8
    retries: int = 2
    return_exceptions: bool = False
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        checked_number("concurrency", self.concurrency, 1)
        checked_number("retries", self.retries, 0)


async def run_map(
    prompts: Iterable[str | Message], plan: MapPlan, *, progress: bool | None
) -> list[Reply | LlmgineError]:
    """The replies in the order of the prompts; an error that is final ends it, or stands in its place."""
    asked = [checked_prompt(prompt) for prompt in checked_several("prompts", prompts)]
    results: dict[int, Reply | LlmgineError] = {}
    waiting = iter(enumerate(asked))
    with shown(len(asked), plan.name, progress) as show:
        workers = [
            asyncio.create_task(_work(plan, waiting, results, show), name=f"map {plan.name}")
            for _ in range(min(plan.concurrency, len(asked)))
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    return [results[index] for index in range(len(asked))]


async def _work(
    plan: MapPlan,
    waiting: Iterator[tuple[int, str | Message]],
    results: dict[int, Reply | LlmgineError],
    show: Show,
) -> None:
    for index, prompt in waiting:
        try:
            results[index] = await _answered(plan, f"{plan.name}/{place_of(index, prompt)}", prompt)
        except LlmgineError as error:
            if not plan.return_exceptions:
                error.add_note(f"the prompt is number {index} of the map {plan.name!r}")
                raise
            results[index] = error
        show(len(results))


async def _answered(plan: MapPlan, place: str, prompt: str | Message) -> Reply:
    """The reply, after as many attempts as it takes; each has a session of its own, which begins anew."""
    attempt, failed = 1, 0
    while (kept := await plan.kept(f"{place}.{attempt}")) is not None:
        if isinstance(kept, Reply):
            return kept
        attempt += 1
    while True:
        try:
            return await plan.run(f"{place}.{attempt}", prompt)
        except RuntimeOverloaded as error:
            await plan.sleep(error.retry_after)
            continue
        except LlmgineError as error:
            failed += 1
            if failed > plan.retries or not _may_pass(error):
                raise
        await plan.sleep(full_jitter(*_PAUSES, failed, random.random))
        attempt += 1


def _may_pass(error: LlmgineError) -> bool:
    if isinstance(error, ProviderError):
        return error.retryable
    return not isinstance(error, _FINAL)


def place_of(index: int, prompt: str | Message) -> str:
    """What a prompt is known by within its map."""
    text = prompt if isinstance(prompt, str) else prompt.model_dump_json()
    return f"{index}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


class MapSessions:
    """The sessions that a map's attempts run in. Those of a map without a name go when it is over."""

    def __init__(
        self,
        driver: Driver,
        open_session: Callable[[str], Session],
        *,
        named: bool,
        output: Any = None,
        deadline: float | None = None,
    ) -> None:
        self._driver = driver
        self._open = open_session
        self._named = named
        self._output = output
        self._deadline = deadline

    async def run(self, session_id: str, prompt: str | Message) -> Reply:
        """One attempt; cancelling it cancels its turn."""
        try:
            async with self._open(session_id) as session:
                turn = await session.submit(prompt, key=_KEY, output=self._output, deadline=self._deadline)
                try:
                    return await turn.result()
                except asyncio.CancelledError:
                    turn.cancel_soon()
                    raise
        finally:
            if not self._named:
                self._driver.undo(self._delete(session_id))

    async def kept(self, session_id: str) -> Reply | LlmgineError | None:
        """What this attempt came to in an earlier run of the map; None where it goes on, or never was."""
        if not self._named:
            return None
        last = last_event(await self._driver.store.turn(session_id, f"{session_id}:{_KEY}"))
        if last is None:
            return None
        kind = None if self._output is None else OutputType(self._output)
        event = with_output(from_wire(last), kind)
        if isinstance(event, TurnDone):
            return event.reply
        return event.error if isinstance(event, TurnFailed) else None

    async def _delete(self, session_id: str) -> None:
        await self._driver.control.call("delete_session", session_id)
