"""Handlers deployed as actors of their own, in one process and on Ray."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmgine.runtime import (
    Command,
    DeploymentRefused,
    Event,
    HandlerBus,
    InvalidHandler,
    Runtime,
    answers,
    on,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Eventually = Callable[..., Any]


class Paid(Event):
    amount: int


class WhoAnswers(Command[str]):
    pass


class Till:
    """Writes down what it is paid, under its own name."""

    made = 0

    def __init__(self, folder: str) -> None:
        Till.made += 1
        self.name = f"till-{os.getpid()}-{Till.made}"
        self.book = Path(folder) / self.name

    async def start(self) -> None:
        self.book.touch()

    @on(Paid)
    async def take(self, event: Paid) -> None:
        with self.book.open("a") as book:
            book.write(f"{event.session_id} {event.amount}\n")

    @answers(WhoAnswers)
    async def who(self, command: WhoAnswers) -> str:
        return self.name


class Doubled(Event):
    amount: int


class Doubler:
    """Publishes twice what it hears of, and asks who else is there."""

    def __init__(self, folder: str) -> None:
        self.book = Path(folder) / "answers"

    async def start(self, bus: HandlerBus) -> None:
        self.bus = bus

    @on(Paid)
    async def double(self, event: Paid) -> None:
        await self.bus.publish(Doubled(session_id=event.session_id, amount=2 * event.amount))

    @on(Doubled)
    async def ask(self, event: Doubled) -> None:
        who = (await self.bus.execute(WhoAnswers())).unwrap()
        with self.book.open("a") as book:
            book.write(f"{event.amount} {who}\n")


class Broken:
    def __init__(self) -> None:
        raise ConnectionError("no database")

    @on(Paid)
    async def take(self, event: Paid) -> None: ...


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runtime(on_ray: Callable[[], Runtime] | None) -> AsyncIterator[Runtime]:
    async with on_ray() if on_ray else Runtime.in_process() as opened:
        yield opened


def taken(folder: Path) -> dict[str, list[str]]:
    """What each till has written, by the till's name."""
    return {book.name: book.read_text().splitlines() for book in folder.glob("till-*")}


async def pay(runtime: Runtime, sessions: int, each: int) -> None:
    for number in range(sessions * each):
        await runtime.bus.publish(Paid(session_id=f"s{number % sessions}", amount=number // sessions))


async def test_replicas_share_the_sessions(runtime: Runtime, tmp_path: Path, eventually: Eventually) -> None:
    """Each session's events are handled in order by one replica, and the replicas share the sessions."""
    folder = tmp_path / "books"
    folder.mkdir()
    deployment = await runtime.bus.deploy(Till, replicas=2, arguments={"folder": str(folder)})
    assert len(deployment.replicas) == 2
    await pay(runtime, 20, 5)
    await eventually(lambda: sum(len(lines) for lines in taken(folder).values()) == 100)
    books = taken(folder)
    assert len(books) == 2
    assert all(books.values())
    for number in range(20):
        own = [line for lines in books.values() for line in lines if line.split()[0] == f"s{number}"]
        assert own == [f"s{number} {amount}" for amount in range(5)]
    assert (await runtime.bus.execute(WhoAnswers())).value in books
    await deployment.remove()


async def test_a_deployment_is_scaled_and_removed(
    runtime: Runtime, tmp_path: Path, eventually: Eventually
) -> None:
    """Scaling changes the number of replicas while events flow; after removal nothing more is handled."""
    deployment = await runtime.bus.deploy(Till, arguments={"folder": str(tmp_path)})
    assert len(await deployment.scale(3)) == 3
    flow = asyncio.ensure_future(pay(runtime, 10, 20))
    assert len(await deployment.scale(1)) == 1
    await flow
    await eventually(lambda: sum(len(lines) for lines in taken(tmp_path).values()) == 200)
    await deployment.remove()
    await deployment.remove()
    await pay(runtime, 1, 1)
    result = await runtime.bus.execute(WhoAnswers())
    assert result.error is not None
    assert result.error.kind == "no_handler"
    assert sum(len(lines) for lines in taken(tmp_path).values()) == 200


async def test_deployed_handlers_publish_and_execute(
    runtime: Runtime, tmp_path: Path, eventually: Eventually
) -> None:
    """What `start` is given reaches every handler of the runtime, those of other deployments too."""
    tills = await runtime.bus.deploy(Till, arguments={"folder": str(tmp_path)})
    doubler = await runtime.bus.deploy(Doubler, arguments={"folder": str(tmp_path)})
    await pay(runtime, 1, 3)
    book = tmp_path / "answers"
    await eventually(lambda: book.exists() and len(book.read_text().splitlines()) == 3)
    lines = [line.split() for line in book.read_text().splitlines()]
    assert [int(amount) for amount, _ in lines] == [0, 2, 4]
    assert {who for _, who in lines} == set(taken(tmp_path))
    await doubler.remove()
    await tills.remove()


async def test_a_class_that_cannot_be_constructed_leaves_nothing(runtime: Runtime) -> None:
    """A deployment whose class fails is refused with the class's own error, and nothing is registered."""
    with pytest.raises(DeploymentRefused, match="not be constructed: ConnectionError: no data"):
        await runtime.bus.deploy(Broken)
    status = await runtime.status()
    assert status["deployments"] == {}
    assert status["bus"]["registered_handlers"] == 0


async def test_what_cannot_be_deployed_is_refused_at_once(runtime: Runtime) -> None:
    """A class without marks, a bad name and no replicas are refused with what mends them."""
    with pytest.raises(InvalidHandler, match="mark its methods"):
        await runtime.bus.deploy(dict)
    with pytest.raises(DeploymentRefused, match="letters"):
        await runtime.bus.deploy(Till, name="not a name")
    with pytest.raises(DeploymentRefused, match="1 or more"):
        await runtime.bus.deploy(Till, replicas=0)


@pytest.mark.cluster
@pytest.mark.parametrize("on_ray", ["on Ray"], indirect=True)
async def test_a_killed_replica_comes_back(runtime: Runtime, tmp_path: Path, eventually: Eventually) -> None:
    """A replica whose process is killed is started again with its code, and handles on."""
    deployment = await runtime.bus.deploy(Till, arguments={"folder": str(tmp_path)})
    actors = (await runtime.status())["actors"]
    pid = next(actor["pid"] for actor in actors if actor["name"] == deployment.replicas[0])
    os.kill(pid, signal.SIGKILL)
    await pay(runtime, 2, 2)
    await eventually(lambda: sum(len(lines) for lines in taken(tmp_path).values()) == 4)
    await deployment.remove()
