"""What the store actor does: commits batches in groups, acknowledges them, answers questions."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from llmgine.actors.link import Identity, Stream, StreamHandler, StreamReset
from llmgine.actors.store import wire
from llmgine.actors.store.answers import answer_of
from llmgine.actors.store.batches import Batch, Batcher, Latest, Refusal
from llmgine.actors.store.coding import from_wire
from llmgine.actors.store.engine import Engine
from llmgine.actors.store.errors import (
    OperationRefused,
    StoreDamaged,
    StoreError,
    StoreReplaced,
    StoreUnavailable,
)
from llmgine.actors.store.options import StoreOptions
from llmgine.actors.store.writer import Writer

logger = logging.getLogger(__name__)

V = TypeVar("V")

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
_MINE: Final = "store"


class StoreHost:
    """The store actor without its actor; `start` it on the loop that serves its handlers.

    What cannot be committed now waits in its order and is tried again; a question is answered from
    what arrived before it. Damage stops the writing for good, and whoever writes is told.
    """

    def __init__(
        self,
        engine: Engine,
        options: StoreOptions | None = None,
        *,
        clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.options = options or StoreOptions()
        self.groups = self.batches = self.operations = 0
        self._engine = engine
        self._clock = clock
        self._sleep = sleep
        self._batcher = Batcher(self.options.group_operations, self.options.group_bytes)
        self._writers: dict[str, Writer] = {}
        self._lives: Latest[int] = Latest()  # the latest epoch of each process
        self._away: str | None = None
        self._broken: StoreError | None = None
        self._closed = False
        self._work = asyncio.Event()
        self._moved = asyncio.Event()  # set and cleared at once: wakes all who look at the batcher
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = itertools.count(clock())
        self._writing: Executor | None = _thread("write", engine)
        self._reading: Executor | None = _thread("read", engine)

    def handlers(self) -> Mapping[str, StreamHandler]:
        return {wire.STREAM: self.serve, wire.ASK: self.answer}

    def start(self) -> None:
        """Begin to commit, on the running loop."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [
                loop.create_task(self._commit_groups(), name="commit to the store"),
                loop.create_task(self._keep_tidy(), name="tidy the store"),
            ]

    async def drain(self, grace: float) -> bool:
        """Whether all that arrived was committed within `grace` seconds."""
        try:
            async with asyncio.timeout(grace):
                while not self._batcher.is_empty:
                    await self._moved.wait()
            return True
        except TimeoutError:
            logger.warning("not everything was committed within %g s", grace)
            return False

    async def close(self) -> None:
        """Stop; what is not committed by now is not."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._reading is not None:
            # A connection that is closed under a question takes the whole process with it.
            await asyncio.to_thread(self._reading.shutdown)
        await self._in(self._writing, self._engine.close)
        if self._writing is not None:
            self._writing.shutdown(wait=False)

    # Writing.

    async def serve(self, stream: Stream) -> None:
        """One writer's batches, as long as its stream lives."""
        writer = self._arrived(stream)
        try:
            async for message in stream:
                self._take(writer, message)
                while self._batcher.is_full:
                    await self._moved.wait()
        finally:
            if self._writers.get(writer.name) is writer:
                del self._writers[writer.name]
            writer.close()

    def _meet(self, peer: Identity) -> None:
        """A newer life of a process ends the writing of the older one, before anything is told to it."""
        known = self._lives.get(peer.name)
        if known is not None and known > peer.epoch:
            raise StreamReset("replaced", f"a newer life of {peer.name!r} is here already")
        self._lives.put(peer.name, peer.epoch)
        if known is not None and known < peer.epoch:
            self._replace(lambda writer: writer.peer.name == peer.name and writer.peer.epoch < peer.epoch)

    def _replace(self, gone: Callable[[Writer], bool]) -> None:
        """Nothing that waits of these writers is committed, nor what they still send."""
        self._batcher.discard(lambda batch: batch.source is not None and gone(batch.source))
        for writer in [one for one in self._writers.values() if gone(one)]:
            del self._writers[writer.name]
            writer.replaced()
        self._move()

    def _arrived(self, stream: Stream) -> Writer:
        """A newer stream of a client replaces its older one, and brings again what that had not committed."""
        self._meet(stream.peer)
        match stream.header:
            case [int(instance)]:
                writer = Writer(stream, f"{stream.peer.name}/{instance:x}")
            case _:
                raise StreamReset("malformed", "the header of a writer is [instance]")
        self._replace(lambda other: other.name == writer.name)
        self._writers[writer.name] = writer
        if self._away is not None:
            writer.tell([wire.AWAY, self._away])
        return writer

    def _take(self, writer: Writer, message: Any) -> None:
        match message:
            case [int(ticket), list(operations)]:
                pass
            case _:
                raise StreamReset("malformed", "a batch is [ticket, operations]")
        if self._broken is not None:
            writer.refuse(ticket, self._broken)
            return
        try:
            decoded = [from_wire(operation) for operation in operations]
        except (ValueError, TypeError) as error:
            writer.refuse(ticket, OperationRefused(f"{writer.name} sent what is no operation: {error}"))
            return
        self._add(Batch.of(writer.name, ticket, decoded, writer))

    def _add(self, batch: Batch) -> None:
        self._batcher.add(batch)
        self._work.set()

    async def _commit_groups(self) -> None:
        pause = FIRST_PAUSE
        while True:
            group = self._batcher.next_group()
            if not group:
                self._work.clear()
                await self._work.wait()
                continue
            try:
                refused = await self._in(self._writing, self._engine.commit, group, self._clock())
            except StoreUnavailable as error:
                self._batcher.failed()
                self._now_away(str(error))
                await self._sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            except Exception as error:  # whatever it is, nobody may wait for ever
                self._break(error)
                continue
            pause = FIRST_PAUSE
            self._now_back()
            self._committed(refused)

    def _committed(self, refused: list[Refusal]) -> None:
        group = self._batcher.committed()
        self.groups += 1
        self.batches += len(group)
        self.operations += sum(len(batch.operations) for batch in group)
        errors = {id(refusal.batch): refusal.error for refusal in refused}
        last: dict[Writer, int] = {}
        for batch in group:
            error = errors.get(id(batch))
            if isinstance(error, OperationRefused):
                logger.error("%s: a batch was refused: %s", batch.writer, error)
            if batch.source is not None:
                if error is not None:
                    batch.source.refuse(batch.ticket, error)
                last[batch.source] = batch.ticket
        for writer, ticket in last.items():
            writer.tell([wire.ACK, ticket])
        self._move()

    def _now_away(self, reason: str) -> None:
        if self._away is None:
            logger.error("the store cannot write, and tries again: %s", reason)
            for writer in self._writers.values():
                writer.tell([wire.AWAY, reason])
        self._away = reason
        self._move()

    def _now_back(self) -> None:
        if self._away is not None:
            logger.warning("the store can write again")
            self._away = None
            for writer in self._writers.values():
                writer.tell([wire.BACK])

    def _break(self, error: Exception) -> None:
        if isinstance(error, StoreError):
            logger.error("the store stops writing: %s", error)
            self._broken = error
        else:
            logger.exception("a commit stumbled", exc_info=error)
            error = OperationRefused(f"{type(error).__name__}: {error}")
        gone = self._batcher.give_up() if self._broken else self._batcher.committed()
        for batch in gone:
            if batch.source is not None:
                batch.source.refuse(batch.ticket, error)
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved.clear()

    async def _keep_tidy(self) -> None:
        while True:
            await self._sleep(self.options.tidy_interval)
            try:
                now = self._clock()
                while self._broken is None and await self._in(self._writing, self._engine.tidy, now):
                    pass
            except StoreUnavailable as error:
                logger.warning("the store was not tidied: %s", error)
            except StoreError as error:
                self._break(error)
            except Exception:
                logger.exception("tidying stumbled; it goes on")

    # Reading.

    async def answer(self, stream: Stream) -> None:
        """One question, from all that arrived before it, where that can be committed.

        For a model's answer nothing is waited for: without it a call is made, which is all that is lost.
        """
        self._meet(stream.peer)
        place = 0 if _is_of_an_answer(stream.header) else self._batcher.arrived
        while not self._batcher.is_past(place) and self._away is None and self._broken is None:
            await self._moved.wait()
        try:
            answer = await self._ask(stream.header)
        except StoreError as error:
            if isinstance(error, StoreDamaged | StoreReplaced):
                self._break(error)
            raise StreamReset(error.code, str(error)) from error
        await stream.send(answer)

    async def status(self) -> dict[str, Any]:
        """What is kept and what was done; plain values."""
        return {
            **await self._in(self._reading, self._engine.status),
            "groups": self.groups,
            "batches": self.batches,
            "operations": self.operations,
            "away": str(self._broken) if self._broken else self._away,
        }

    async def _ask(self, question: Any) -> Any:
        if question == ["status"]:
            return await self.status()
        answer, damaged = await self._in(self._reading, answer_of, self._engine, question)
        for row in damaged:
            logger.error("%s %s is set aside: %s", row.kind, row.id, row.reason)
        if damaged and self._broken is None:
            self._add(Batch.of(_MINE, next(self._numbers), damaged))
        return answer

    async def _in(self, executor: Executor | None, function: Callable[..., V], *arguments: Any) -> V:
        if executor is None:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(executor, function, *arguments)


def _is_of_an_answer(question: Any) -> bool:
    match question:
        case ["response", *_]:
            return True
    return False


def _thread(name: str, engine: Engine) -> Executor | None:
    return ThreadPoolExecutor(1, thread_name_prefix=f"llmgine-store-{name}") if engine.blocks else None
