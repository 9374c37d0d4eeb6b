"""How sessions of a runtime stand, and the processes that they live in."""

from __future__ import annotations

from typing import Any

from llmgine.actors.control import LocalCluster
from llmgine.runtime import Runtime


def cluster_of(runtime: Runtime) -> LocalCluster:
    """The processes of a runtime that is one process."""
    cluster = runtime._open().ground.cluster
    assert isinstance(cluster, LocalCluster)
    return cluster


async def entry_of(runtime: Runtime, session: str) -> dict[str, Any]:
    """What the status says of it; its state is "gone" where it says nothing."""
    entries: list[dict[str, Any]] = (await runtime.status())["sessions"]
    return next((entry for entry in entries if entry["session_id"] == session), {"state": "gone"})


async def sleeps(runtime: Runtime, session: str) -> bool:
    return bool((await entry_of(runtime, session))["state"] == "passive")
