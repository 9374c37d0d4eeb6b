"""`python -m tests.faults [faults|soak]`: the scenarios at their whole size, each on a runtime of its own."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from llmgine.runtime import Runtime
from tests.faults import crowd, death, scenarios, streams, torture
from tests.faults.scenarios import Scenario
from tests.providers.faults.counting import CountingServer


def faults(folder: Path) -> dict[str, Scenario]:
    return {
        "router killed": lambda runtime: scenarios.router_killed(runtime, 100_000),
        "handler's process killed": lambda runtime: scenarios.replica_killed(runtime, 100_000, folder),
        "handler that always fails": lambda runtime: scenarios.failing_handler(runtime, 20_000),
        "handler that never returns": lambda runtime: scenarios.sleeping_handler(runtime, 8_000),
        "1,000 sessions": lambda runtime: scenarios.many_sessions(runtime, 1_000, 10),
        "burst of 50,000": lambda runtime: scenarios.burst(runtime, 50_000),
        "sessions": lambda runtime: torture.sessions_tortured(
            runtime, folder, sessions=30, turns=20, kills=40
        ),
    }


def soak(folder: Path) -> dict[str, Scenario]:
    return {"10,000 events/s for 10 minutes": lambda runtime: scenarios.soak(runtime, 600.0, 10_000)}


async def run(which: str) -> None:
    with tempfile.TemporaryDirectory(prefix="llmgine-faults-") as name:
        folder = Path(name)
        settings = {**torture.SETTINGS, "data_dir": folder / "data"}
        for title, scenario in (soak if which == "soak" else faults)(folder).items():
            begun = time.monotonic()
            async with Runtime.launch(settings, name="faults") as runtime:
                said = await scenario(runtime)
            print(f"{title}: {said} ({time.monotonic() - begun:.0f} s)", flush=True)
        if which != "soak":
            print(f"provider actors killed: {await _streams_cut(folder)}", flush=True)
            said = await death.everything_killed(folder, 2_000)
            print(f"everything killed: {said}", flush=True)
            crowded = {**crowd.SETTINGS, "data_dir": folder / "crowd"}
            async with Runtime.launch(crowded, name="faults") as runtime:
                said = await crowd.sessions_crowded(runtime, 10_000)
            print(f"10,000 sessions that sleep: {said}", flush=True)


async def _streams_cut(folder: Path) -> str:
    server = CountingServer()
    await server.start()
    try:
        pools = {**streams.settings(server, 4), "data_dir": folder / "streams"}
        async with Runtime.launch(pools, name="faults") as runtime:
            return await streams.provider_actors_killed(server, runtime, streams=100, kills=2)
    finally:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1] if len(sys.argv) > 1 else "faults"))
