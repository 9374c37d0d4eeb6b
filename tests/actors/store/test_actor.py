"""The store actor in a local cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.control import Boot, ControlOptions, LocalWorld, RuntimeActor, SpawnOptions
from llmgine.actors.store import StoreActor, StoreClient
from llmgine.actors.store.actor import open_engine
from llmgine.actors.store.memory import MemoryEngine
from llmgine.actors.store.operations import PutLetter, PutSubscription
from llmgine.actors.store.options import StoreOptions
from llmgine.telemetry import TelemetryOptions
from tests.actors.store import rows


class Plain(RuntimeActor):
    """Any other actor; under the supervisor's name it reports to nobody."""

    kind = "plain"


def settings(**store: Any) -> dict[str, Any]:
    return {
        "control": ControlOptions().model_dump(mode="json"),
        "telemetry": TelemetryOptions(enabled=False).model_dump(mode="json"),
        "bus": {"dead_letters": 3, "dead_letter_age": 60.0},
        "store": store,
    }


@pytest.mark.parametrize("kind", ["memory", "sql"])
async def test_the_actor_serves_its_host_and_keeps_what_it_acknowledged(kind: str, tmp_path: Path) -> None:
    """A file outlives a crash; memory does not. The bus's settings bound the dead letters."""
    store = {"url": f"sqlite:///{tmp_path / 'store.db'}"} if kind == "sql" else {}
    world = LocalWorld()
    cluster = world.cluster()
    for name, actor in (("supervisor", Plain), ("store", StoreActor)):
        await cluster.spawn(Boot("r", name, name, world, settings(**store)), actor, SpawnOptions())
    await cluster.call("supervisor", "address")
    try:
        client = StoreClient(cluster._actors["supervisor"].peer("store"))
        await client.write([PutSubscription("k", {"name": "n"})])
        await client.write([PutLetter(rows.letter(str(number))) for number in range(5)])
        assert await client.count_letters() == 3
        assert (await cluster.call("store", "statistics"))["subscriptions"] == 1
        await cluster.crash("store")
        assert await client.subscriptions() == ([{"name": "n"}] if kind == "sql" else [])
        await client.write([PutSubscription("l", {"name": "m"})])
        await client.close()
        await cluster.call("store", "stop", 1.0)
    finally:
        for name in await cluster.names():
            await cluster.kill(name)
    assert os.listdir(tmp_path) == (["store.db"] if kind == "sql" else [])


def test_without_an_url_the_store_is_memory() -> None:
    """A runtime inside one process needs nothing more."""
    bus = settings()["bus"]
    for options in (StoreOptions(), StoreOptions(url="memory://")):
        assert isinstance(open_engine(options, bus, life=1), MemoryEngine)
