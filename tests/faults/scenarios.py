"""The bus under faults and load on a real runtime, at any size; each scenario checks itself."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from llmgine.runtime import Delivery, Event, Runtime, on
from tests.faults.books import Books, FileBooks, Numbered

SESSIONS = 100
UNDER_WAY = 500
_PATIENCE = 60.0


class Doomed(Event):
    """What a handler always fails at."""

    number: int


class Eternal(Event):
    """What a handler never comes to an end with."""

    number: int


class Writer:
    """A deployed handler that writes down what it sees."""

    def __init__(self, path: str) -> None:
        self._books = FileBooks(Path(path))

    @on(Numbered)
    async def take(self, event: Numbered, delivery: Delivery) -> None:
        self._books.write(event, delivery)


async def publish_all(
    runtime: Runtime,
    count: int,
    *,
    sessions: int = SESSIONS,
    at: int = -1,
    then: Callable[[], Any] | None = None,
) -> float:
    """Publishes so many events, round robin over the sessions; after the one numbered `at`, calls `then`."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            if number == at and then is not None:
                then()
            event = Numbered(session_id=f"s{number % sessions}", number=number // sessions)
            receipt = await runtime.bus.publish(event)
            assert receipt.admitted, receipt

    begun = time.monotonic()
    await asyncio.gather(*(work() for _ in range(UNDER_WAY)))
    return time.monotonic() - begun


async def came_to(count: Callable[[], int], wanted: int, patience: float = _PATIENCE) -> float:
    """Waits until the count is reached; how long that took, in seconds."""
    begun = time.monotonic()
    while count() < wanted:
        if time.monotonic() - begun > patience:
            raise AssertionError(f"{count()} of {wanted} came within {patience:g} s")
        await asyncio.sleep(0.05)
    return time.monotonic() - begun


async def breaker_opens(runtime: Runtime, handler: str) -> None:
    """Waits until the handler's breaker is open; its failures are told a while after the last publish."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            breakers = (await runtime.bus.statistics())["circuit_breaker_state"]
            if any(handler in name and state == "open" for name, state in breakers.items()):
                return
            await asyncio.sleep(0.05)


async def pid_of(runtime: Runtime, actor: str) -> int:
    """The process of the first actor whose name begins so."""
    status = await runtime.status()
    return int(next(entry["pid"] for entry in status["actors"] if entry["name"].startswith(actor)))


async def router_killed(runtime: Runtime, count: int) -> str:
    """A router killed in the middle of a stream of events loses none, repeats none, and keeps the order."""
    books = Books()
    subscription = await runtime.bus.register_event_handler(Numbered, books.take, name="books")
    pid = await pid_of(runtime, "router-0")
    await publish_all(runtime, count, at=count // 2, then=lambda: os.kill(pid, signal.SIGKILL))
    waited = await came_to(lambda: books.count, count)
    books.check(SESSIONS, count // SESSIONS)
    await subscription.remove()
    return f"{count} events, {books.repeated} repeated, the last {waited:.2f} s after the last publish"


async def replica_killed(runtime: Runtime, count: int, folder: Path) -> str:
    """A handler's process killed in the middle of its work: all is handled, in order, what was open again."""
    books = FileBooks(folder / "replica.tsv")
    deployment = await runtime.bus.deploy(Writer, replicas=2, arguments={"path": str(books.path)})
    pid = await pid_of(runtime, deployment.replicas[0])
    await publish_all(runtime, count, at=count // 2, then=lambda: os.kill(pid, signal.SIGKILL))
    waited = await came_to(lambda: books.count, count)
    books.check(SESSIONS, count // SESSIONS)
    assert len(books.processes()) >= 2, "both replicas take part"
    await deployment.remove()
    return f"{count} events, {books.repeated()} repeated, the last {waited:.2f} s after the last publish"


async def failing_handler(runtime: Runtime, count: int) -> str:
    """A handler that always fails opens its breaker, and is then left alone; others get every event."""
    calls = 0
    others = Books()

    async def fail(event: Numbered) -> None:
        nonlocal calls
        calls += 1
        raise ValueError("always")

    bad = await runtime.bus.register_event_handler(Numbered, fail, name="bad")
    good = await runtime.bus.register_event_handler(Numbered, others.take, name="good")
    seconds = await publish_all(runtime, count)
    await came_to(lambda: others.count, count)
    others.check(SESSIONS, count // SESSIONS)
    await breaker_opens(runtime, "bad")
    assert calls <= 50, calls
    await bad.remove()
    await good.remove()
    return f"{calls} calls until it was open; the other at {count / seconds:,.0f} events/s"


async def sleeping_handler(runtime: Runtime, count: int) -> str:
    """A handler that never returns delays no other handler, and a publisher only by its own full mailbox."""
    others = Books()
    released = asyncio.Event()

    async def sleep(event: Numbered) -> None:
        await released.wait()

    stuck = await runtime.bus.register_event_handler(
        Numbered, sleep, name="asleep", concurrency=1, deadline=600.0
    )
    good = await runtime.bus.register_event_handler(Numbered, others.take, name="awake")
    seconds = await publish_all(runtime, count)
    await came_to(lambda: others.count, count)
    others.check(SESSIONS, count // SESSIONS)
    await stuck.remove()
    released.set()
    await good.remove()
    return f"{count} events at {count / seconds:,.0f} events/s beside a handler that never returns"


async def many_sessions(runtime: Runtime, sessions: int, each: int) -> str:
    """Sessions with a handler of their own get exactly their own events, each once."""
    books = [Books() for _ in range(sessions)]
    subscriptions = []
    for number, one in enumerate(books):
        subscriptions.append(
            await runtime.bus.register_event_handler(Numbered, one.take, session_id=f"s{number}", name="own")
        )
    seconds = await publish_all(runtime, sessions * each, sessions=sessions)
    await came_to(lambda: sum(one.count for one in books), sessions * each)
    for number, one in enumerate(books):
        assert one.seen == {f"s{number}": list(range(each))}, (number, one.seen)
        assert one.repeated == 0
    await asyncio.gather(*(subscription.remove() for subscription in subscriptions))
    return f"{sessions} sessions, {each} events each, in {seconds:.2f} s"


async def burst(runtime: Runtime, count: int) -> str:
    """A burst is admitted or pushed back, and memory stays bounded."""
    books = Books()
    subscription = await runtime.bus.register_event_handler(Numbered, books.take, name="burst")
    before = memory_mb(os.getpid()), memory_mb(await pid_of(runtime, "router-0"))
    sent = [
        asyncio.ensure_future(
            runtime.bus.publish(Numbered(session_id=f"s{number % SESSIONS}", number=number // SESSIONS))
        )
        for number in range(count)
    ]
    receipts = await asyncio.gather(*sent)
    refused = sum(1 for receipt in receipts if receipt.refused)
    await came_to(lambda: books.count, count - refused)
    after = memory_mb(os.getpid()), memory_mb(await pid_of(runtime, "router-0"))
    grown = [late - early for early, late in zip(before, after, strict=True)]
    assert max(grown) < 400, grown
    await subscription.remove()
    return f"{count} at once, {refused} pushed back; driver +{grown[0]:.0f} MB, router +{grown[1]:.0f} MB"


async def soak(runtime: Runtime, seconds: float, rate: int, say: Callable[[str], Any] = print) -> str:
    """At a steady rate the memory of driver and router stays flat."""
    handled = 0

    async def note(event: Numbered) -> None:
        nonlocal handled
        handled += 1

    subscription = await runtime.bus.register_event_handler(Numbered, note, name="soak")
    router = await pid_of(runtime, "router-0")
    line: list[tuple[float, float]] = []
    sent = 0
    begun = time.monotonic()
    due = begun
    while (now := time.monotonic()) - begun < seconds:
        wanted = int((now - begun) * rate) - sent
        await asyncio.gather(*(_one(runtime, sent + offset) for offset in range(wanted)))
        sent += max(0, wanted)
        if now >= due:
            mine, its = memory_mb(os.getpid()), memory_mb(router)
            line.append((mine, its))
            say(f"{now - begun:6.0f} s {sent:>9,} sent, driver {mine:.0f} MB, router {its:.0f} MB")
            due += max(1.0, seconds / 20)
        await asyncio.sleep(0.005)
    await came_to(lambda: handled, sent)
    check_flat([point[0] for point in line], "driver")
    check_flat([point[1] for point in line], "router")
    await subscription.remove()
    return f"{sent / seconds:,.0f} events/s for {seconds:g} s, {sent:,} in all, memory flat"


def check_flat(line: list[float], what: str) -> None:
    """After its first third a line of memory may not grow by more than 10 % and 20 MB."""
    settled = line[len(line) // 3 :]
    if len(settled) >= 3:
        early, late = sum(settled[:2]) / 2, sum(settled[-2:]) / 2
        assert late <= early * 1.1 + 20, (what, line)


def memory_mb(pid: int) -> float:
    """What the process holds in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def _one(runtime: Runtime, number: int) -> None:
    await runtime.bus.publish(Numbered(session_id=f"s{number % SESSIONS}", number=number // SESSIONS))


Scenario = Callable[[Runtime], Awaitable[str]]
