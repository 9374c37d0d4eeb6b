"""The bus on a real Ray under faults and load; `make faults` and `make soak` run the same at full size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from llmgine.runtime import Runtime
from tests.faults import death, scenarios

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


async def test_a_killed_router_loses_and_repeats_nothing(runtime: Runtime) -> None:
    """A router killed in the middle of a stream of events: all are handled, none twice, in order."""
    await scenarios.router_killed(runtime, 5_000)


async def test_a_killed_handler_process_loses_nothing(runtime: Runtime, tmp_path: Path) -> None:
    """A handler's process killed in the middle of its work: all are handled, in the order of each session."""
    await scenarios.replica_killed(runtime, 5_000, tmp_path)


STEADY: dict[str, Callable[[Runtime], Awaitable[str]]] = {
    "failing handler": lambda runtime: scenarios.failing_handler(runtime, 2_000),
    "handler that never returns": lambda runtime: scenarios.sleeping_handler(runtime, 2_000),
    "many sessions": lambda runtime: scenarios.many_sessions(runtime, 100, 10),
    "burst": lambda runtime: scenarios.burst(runtime, 5_000),
    "soak": lambda runtime: scenarios.soak(runtime, 4.0, 2_000),
}


@pytest.mark.parametrize("scenario", STEADY.values(), ids=STEADY.keys())
async def test_it_holds_under_load(runtime: Runtime, scenario: Callable[[Runtime], Awaitable[str]]) -> None:
    """Handlers that fail or never return, many sessions, bursts and steady load harm nobody else."""
    await scenario(runtime)


async def test_durable_events_outlive_every_process(ray_cluster: str, tmp_path: Path) -> None:
    """Durable events that were admitted are handled after every process was killed at once."""
    await death.everything_killed(tmp_path, 200, ray_cluster)
