"""The session actor: blank until it adopts a session, then that session's process to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, ClassVar, cast

import pytest

from llmgine.actors.code import CodeUnavailable
from llmgine.actors.control import Boot, Ground, RuntimeActor
from llmgine.actors.control.cluster import SpawnOptions
from llmgine.actors.control.local_cluster import LocalWorld
from llmgine.actors.link import Identity, Peer, Stream, StreamHandler
from llmgine.actors.pools.actor import ProviderActor
from llmgine.actors.sessions.client.asking import Link
from llmgine.actors.sessions.client.client import SessionClient
from llmgine.actors.sessions.errors import SessionClosed, SessionError, SessionLost
from llmgine.actors.sessions.hosting.actor import SessionActor
from llmgine.actors.sessions.hosting.code import SessionCode
from llmgine.actors.sessions.tools.tool import tool
from llmgine.actors.store import StoreActor
from llmgine.providers.errors import LlmgineError

SETTINGS: dict[str, Any] = {
    name: {} for name in ("bus", "control", "link", "pools", "providers", "sessions", "telemetry")
}
SETTINGS["bus"] = {"dead_letters": 3, "dead_letter_age": 60.0}
OPENING = {
    "session_id": "s1",
    "opening": 1,
    "model": "scripted/echo",
    "stay": False,
    "fingerprint": "f",
    "placement": "pooled",
    "runs": "",
    "parent": None,
}


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


class Supervisor(RuntimeActor):
    """Knows one pool, and takes every other stream for nothing."""

    kind = "supervisor"
    left: ClassVar[list[tuple[str, str]]] = []

    async def session_left(self, host: str, session_id: str) -> None:
        self.left.append((host, session_id))

    def handlers(self) -> Mapping[str, StreamHandler]:
        return {"member": self._member}

    async def ensure_pool(self, provider: str) -> list[list[str]]:
        return [[f"provider-{provider}-0", "local"]]

    async def _member(self, stream: Stream) -> None:
        await stream.wait_closed()


class Stage:
    """A session actor, one provider, and a driver, in one process."""

    def __init__(self) -> None:
        self.world = LocalWorld()
        self.cluster = self.world.cluster()
        self.ground = Ground(
            "test",
            Identity("driver", "driver", 1),
            self.cluster,
            self.world.transport(self.cluster, tcp=False),
        )

    async def spawn(self, name: str, actor: type[RuntimeActor]) -> None:
        boot = Boot(runtime="test", name=name, kind=actor.kind, world=self.world, settings=SETTINGS)
        await self.cluster.spawn(boot, actor, SpawnOptions())
        await self.cluster.resolve(name)

    async def call(self, method: str, *arguments: Any) -> Any:
        return await asyncio.wait_for(self.cluster.call("host-1", method, *arguments), 10)

    @property
    def session(self) -> SessionClient:
        return self.client("s1")

    def client(self, session_id: str) -> SessionClient:
        async def locate() -> Peer:
            return self.ground.peer("host-1")

        return SessionClient(session_id, Link(locate), patience=0.1)

    async def close(self) -> None:
        self.ground.close()
        for name in await self.cluster.names():
            await self.cluster.kill(name)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    await stage.spawn("supervisor", Supervisor)
    await stage.spawn("store", StoreActor)
    await stage.spawn("provider-scripted-0", ProviderActor)
    await stage.spawn("host-1", SessionActor)
    Supervisor.left.clear()
    yield stage
    await asyncio.wait_for(stage.close(), 10)


async def test_a_session_from_adopt_to_end(stage: Stage) -> None:
    """An adopted session answers over its links with a pool's model, and after its end takes no more."""
    await stage.call("adopt", OPENING, None)
    reply = await asyncio.wait_for(stage.session.ask("hello there"), 10)
    assert (reply.text, reply.session_id) == ("hello there", "s1")
    assert [message.role for message in await stage.session.history()] == ["user", "assistant"]
    assert await stage.call("end", "s1", 1.0)
    assert not await stage.call("end", "s1", 1.0)
    with pytest.raises(SessionClosed):
        await asyncio.wait_for(stage.session.ask("again"), 10)


async def test_tools_of_the_session(stage: Stage) -> None:
    """The tools that a session was opened with are what its model may call."""
    await stage.call("adopt", {**OPENING, "model": "scripted/tool", "runs": "c"}, SessionCode((get_weather,)))
    reply = await asyncio.wait_for(stage.session.ask("weather?"), 10)
    assert [call.name for call in reply.tool_calls] == ["get_weather"]
    assert "Sunny in" in reply.text


async def test_a_blank_actor_refuses(stage: Stage) -> None:
    """An actor that has no session says so, instead of answering as an empty one."""
    with pytest.raises(SessionLost, match="does not live in host-1"):
        await asyncio.wait_for(stage.session.ask("hello"), 10)


async def test_adopting_twice(stage: Stage) -> None:
    """The same opening may arrive twice; another one of a session that lives here is refused."""
    await stage.call("adopt", OPENING, None)
    await asyncio.wait_for(stage.session.ask("hello"), 10)
    await stage.call("adopt", OPENING, None)
    assert len(await stage.session.history()) == 2
    with pytest.raises(SessionError, match="an earlier opening"):
        await stage.call("adopt", {**OPENING, "opening": 2}, None)


async def test_sessions_of_one_actor_know_nothing_of_each_other(stage: Stage) -> None:
    """Each of many sessions has its own conversation, and ends alone."""
    await asyncio.gather(
        *(stage.call("adopt", {**OPENING, "session_id": f"s{number}"}, None) for number in range(1, 4))
    )
    sessions = [stage.client(f"s{number}") for number in range(1, 4)]
    await asyncio.gather(*(session.ask(session.session_id) for session in sessions))
    assert [len(await session.history()) for session in sessions] == [2, 2, 2]
    await stage.call("end", "s2", 1.0)
    assert [told["session"] for told in await stage.call("describe")] == ["s1", "s3"]
    with pytest.raises(SessionClosed):
        await asyncio.wait_for(sessions[1].ask("again"), 10)
    assert (await asyncio.wait_for(sessions[2].ask("still"), 10)).text == "still"


async def test_code_that_cannot_be_loaded(stage: Stage) -> None:
    """Code that cannot be loaded is refused at the adoption, and no session lives here."""
    with pytest.raises(CodeUnavailable):
        await stage.call("adopt", {**OPENING, "runs": "c"}, b"nonsense")
    assert await stage.call("describe") == []


async def test_an_actor_runs_one_code(stage: Stage) -> None:
    """An actor that has run a session's code takes sessions with the same code, and no others."""
    code = {**OPENING, "runs": "c"}
    await stage.call("adopt", code, SessionCode((get_weather,)))
    await stage.call("adopt", {**code, "session_id": "s2"}, SessionCode((get_weather,)))
    for other in ("", "d"):
        with pytest.raises(SessionError, match="other code"):
            await stage.call("adopt", {**OPENING, "session_id": "s3", "runs": other}, None)


async def test_what_a_restarted_supervisor_is_told(stage: Stage) -> None:
    """The actor's report names its sessions, so that a restarted supervisor finds them again."""
    actor = stage.cluster._actors["host-1"]
    assert actor.report() == {"runs": "", "sessions": []}
    await stage.call("adopt", OPENING, None)
    assert actor.report() == {"runs": "", "sessions": [{**OPENING, "closing": False}]}
    await stage.call("end", "s1", 1.0)
    assert actor.report() == {"runs": "", "sessions": []}


async def test_a_session_that_can_neither_sleep_nor_go_on_has_left(
    stage: Stage, eventually: Callable[..., Any]
) -> None:
    """The others of its actor sleep all the same, and the supervisor has it go on elsewhere."""
    for session in ("s1", "s2"):
        await stage.call("adopt", {**OPENING, "session_id": session}, None)
    actor = stage.cluster._actors["host-1"]
    assert isinstance(actor, SessionActor)
    slot = actor._slots.get("s1")
    assert slot is not None
    host = slot.host

    class Stuck:
        idle = True

        async def open(self) -> None:
            raise LlmgineError("no router takes its handlers")

        async def close(self, grace: float) -> None:
            host._readers.add(self)

    host.own = cast(Any, Stuck())
    assert await stage.call("release", ["s1", "s2"]) == ["s2"]
    assert actor.report()["sessions"] == []
    await eventually(lambda: Supervisor.left == [("host-1", "s1")])


async def test_a_supervisor_that_came_meanwhile_is_told_which_sessions_sleep(
    stage: Stage, eventually: Callable[..., Any]
) -> None:
    """It was told that the session is here, and not that another life of it had asked for its sleep."""
    await stage.call("adopt", OPENING, None)
    actor = stage.cluster._actors["host-1"]
    assert isinstance(actor, SessionActor)
    slot = actor._slots.get("s1")
    assert slot is not None

    class Own:
        idle = True

        async def close(self, grace: float) -> None:
            actor.report()

    slot.host.own = cast(Any, Own())
    assert await stage.call("release", ["s1"]) == ["s1"]
    await eventually(lambda: ("host-1", "s1") in Supervisor.left)
    assert not actor._releasing
    assert not actor._reported
