"""The bus on a real Ray under faults and load; `make faults` and `make soak` run the same at full size."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from llmgine.runtime import Runtime
from tests.faults import death, scenarios

pytestmark = pytest.mark.cluster


@pytest_asyncio.fixture
async def runtime(ray_cluster: str, name: str, tmp_path: Path) -> AsyncIterator[Runtime]:
    async with Runtime.launch({"data_dir": tmp_path / "data"}, name=name) as opened:
        yield opened


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
    "soak": lambda runtime: scenarios.soak(runtime, 5.0, 2_000),
}


@pytest.mark.parametrize("scenario", STEADY.values(), ids=STEADY.keys())
async def test_it_holds_under_load(runtime: Runtime, scenario: Callable[[Runtime], Awaitable[str]]) -> None:
    """Handlers that fail or never return, many sessions, bursts and steady load harm nobody else."""
    await scenario(runtime)


async def test_durable_events_outlive_every_process(tmp_path: Path) -> None:
    """Durable events that were admitted are handled after every process was killed at once."""
    await death.everything_killed(tmp_path, 200)
