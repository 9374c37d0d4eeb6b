"""Real processes on a real Ray, killed: what lives on, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.control import Boot, NameTaken, SpawnOptions
from llmgine.actors.control.ray_cluster import RayWorld
from llmgine.actors.supervisor.actor import SupervisorActor
from llmgine.runtime import Event, Runtime, RuntimeExists, SessionEnded, tool
from tests.faults.death import descendants

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

Eventually = Callable[..., Any]

SAID = "a sentence that is streamed when its process dies"


class Ping(Event):
    number: int


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


async def pid_of(runtime: Runtime, actor: str) -> int:
    status = await runtime.status()
    return int(next(entry["pid"] for entry in status["actors"] if entry["name"].startswith(actor)))


async def actor_of(runtime: Runtime, session: str) -> str:
    sessions = (await runtime.status())["sessions"]
    return str(next(entry["actor"] for entry in sessions if entry["session_id"] == session))


async def test_a_killed_session_goes_on_elsewhere(runtime: Runtime, eventually: Eventually) -> None:
    """Two sessions run in their own processes; when one is killed in the middle of a turn, that turn goes on
    in another process, with the whole conversation. The other session and the runtime notice nothing."""
    ended: list[SessionEnded] = []
    ends = await runtime.bus.register_event_handler(SessionEnded, ended.append, name="ends")
    async with (
        runtime.session("victim", model="scripted/slow") as victim,
        runtime.session("witness", model="scripted/slow") as witness,
    ):
        await victim.ask("hello")
        killed = await actor_of(runtime, "victim")
        pids = {await pid_of(runtime, killed), await pid_of(runtime, await actor_of(runtime, "witness"))}
        assert len({*pids, os.getpid()}) == 3
        talking = asyncio.create_task(witness.ask("a rather long sentence that is being streamed meanwhile"))
        turn = await victim.submit(SAID)
        os.kill(await pid_of(runtime, killed), signal.SIGKILL)
        assert (await turn.result()).text.endswith("dies")
        assert (await talking).text.endswith("meanwhile")
        assert await actor_of(runtime, "victim") != killed
        assert [message.text for message in await victim.history()][:3] == ["hello", "hello", SAID]
        assert ended == []
    await ends.remove()


async def test_the_supervisor_can_be_killed(runtime: Runtime, eventually: Eventually) -> None:
    """SIGKILL of the supervisor loses nothing: all goes on meanwhile, and it comes back to all of it."""
    heard: list[int] = []
    pings = await runtime.bus.register_event_handler(
        Ping, lambda event: heard.append(event.number), name="pings"
    )
    async with runtime.session("s", model="scripted/slow") as session:
        before = await pid_of(runtime, "supervisor")
        sessions = (await runtime.status())["sessions"]
        turn = await session.submit("a sentence that is streamed while the supervisor is dead")
        os.kill(before, signal.SIGKILL)
        for number in range(20):
            await runtime.bus.publish(Ping(number=number), wait=True)
        assert (await turn.result()).text.endswith("dead")
        status = await runtime.status()
        assert await pid_of(runtime, "supervisor") != before
        assert [(entry["session_id"], entry["opening"]) for entry in status["sessions"]] == [
            (entry["session_id"], entry["opening"]) for entry in sessions
        ]

        async def driver_is_back() -> bool:
            return bool((await runtime.status())["drivers"])

        await eventually(driver_is_back)
        await runtime.bus.publish(Ping(number=20), wait=True)
        assert heard == list(range(21))
        async with runtime.session("t", model="scripted/echo") as other:
            assert (await other.ask("new")).text == "new"
        assert len(await session.history()) == 2
    assert (await runtime.status())["sessions"] == []
    await pings.remove()


class Gate:
    """What a session's code can hold: whoever loads it says so, and waits until it may go on."""

    def __init__(self, folder: Path) -> None:
        self.reached, self.open = folder / "reached", folder / "open"

    def __reduce__(self) -> Any:
        return through_gate, (str(self.reached), str(self.open))


def through_gate(reached: str, opened: str) -> str:
    Path(reached).touch()
    while not Path(opened).exists():
        time.sleep(0.02)
    return reached


async def test_the_supervisor_can_be_killed_while_a_session_opens(
    runtime: Runtime, tmp_path: Path, eventually: Eventually
) -> None:
    """The opening is begun anew by its next life, and the session lives once."""
    gate = Gate(tmp_path)

    @tool
    def through() -> str:
        """Says where it has been."""
        return str(gate)

    pid = await pid_of(runtime, "supervisor")
    opening = asyncio.create_task(runtime.session("s", model="scripted/echo", tools=[through]).open())
    await eventually(gate.reached.exists)
    os.kill(pid, signal.SIGKILL)
    gate.open.touch()
    session = await opening
    assert (await session.ask("hello")).text == "hello"
    assert [entry["session_id"] for entry in (await runtime.status())["sessions"]].count("s") == 1
    await session.leave()


async def test_a_woken_session_has_the_code_that_it_left(runtime: Runtime, eventually: Eventually) -> None:
    """When its process dies, its tools come from the store."""
    async with runtime.session(model="scripted/tool", tools=[get_weather]) as session:
        await session.ask("What is the weather in Paris?")
        os.kill(await pid_of(runtime, await actor_of(runtime, session.id)), signal.SIGKILL)
        assert "Sunny in" in (await session.ask("And in Rome?")).text


async def test_a_name_is_had_by_one_actor(runtime: Runtime, tmp_path: Path) -> None:
    """A launch under a name that is taken is refused, and harms nothing of who has it."""
    world = RayWorld(runtime.name, "another", b"secret", runtime.settings.link)
    boot = Boot(runtime.name, "supervisor", "supervisor", world, runtime.settings.to_wire())
    with pytest.raises(NameTaken, match="supervisor"):
        await world.cluster().spawn(boot, SupervisorActor, SpawnOptions())
    with pytest.raises(RuntimeExists, match=r"Runtime\.connect"):
        async with Runtime.launch({"data_dir": tmp_path / "other"}, name=runtime.name):
            pass
    assert (await runtime.status())["name"] == runtime.name


async def test_a_killed_provider_actor_is_replaced(runtime: Runtime, eventually: Eventually) -> None:
    """A provider actor that dies comes back; calls that it carried fail with what had arrived."""
    async with runtime.session("s", model="scripted/echo") as session:
        await session.ask("warm")
        os.kill(await pid_of(runtime, "provider-scripted"), signal.SIGKILL)

        async def answered() -> bool:
            try:
                return (await session.ask("back?")).text == "back?"
            except Exception:
                return False

        await eventually(answered)


LAUNCH = """
    import asyncio, json, sys
    from llmgine.runtime import Runtime

    async def main():
        settings = {"control": {"owner_grace": 1.0}, "sessions": {"warm": 0}}
        async with Runtime.launch(settings, name=sys.argv[1]) as runtime:
            async with runtime.session("s", model="scripted/echo") as session:
                await session.ask("hello")
                print(json.dumps([actor["pid"] for actor in (await runtime.status())["actors"]]), flush=True)
                await asyncio.sleep(60)

    asyncio.run(main())
"""


async def test_a_dead_driver_leaves_no_process(
    start_driver: Any, name: str, eventually: Eventually, alive: Callable[[int], bool]
) -> None:
    """When the driver that launched a runtime dies, its lease runs out and every actor ends."""
    driver = start_driver(LAUNCH, name)
    pids = await actor_pids(driver)
    assert len(pids) >= 6
    assert all(alive(pid) for pid in pids)
    driver.kill()
    await eventually(lambda: not any(alive(pid) for pid in pids))


async def test_a_ray_goes_with_the_driver_that_started_it(
    start_driver: Any, eventually: Eventually, alive: Callable[[int], bool]
) -> None:
    """Ctrl-C leaves every block in order: runtime and Ray have ended when the driver has. Of a driver that is
    killed they go too, Ray's own processes included."""
    drivers = [start_driver(LAUNCH, name, folder=name, local=True) for name in ("interrupted", "killed")]
    for driver in drivers:
        await actor_pids(driver)
    (interrupted, its), (killed, others) = [(driver, descendants(driver.pid)) for driver in drivers]
    assert min(len(its), len(others)) > 5
    killed.kill()
    interrupted.send_signal(signal.SIGINT)
    await asyncio.to_thread(interrupted.wait, 40.0)
    assert not any(alive(pid) for pid in its)
    killed.wait()
    await eventually(lambda: not any(alive(pid) for pid in others), timeout=40.0)


async def actor_pids(driver: Any) -> list[int]:
    line = await asyncio.to_thread(driver.stdout.readline)
    assert line, driver.stderr.read()
    return [int(pid) for pid in line.strip("[]\n").split(",")]
