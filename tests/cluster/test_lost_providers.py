"""Provider actors killed under streams, on a real Ray; `make faults` does the same at its whole size."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmgine.runtime import Runtime
from tests.faults import streams
from tests.providers.faults.counting import CountingServer

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


async def test_streams_outlive_their_actors(ray_cluster: str, name: str, tmp_path: Path) -> None:
    """One of two processes is killed: its streams end by policy, those of the other byte for byte."""
    server = CountingServer()
    await server.start()
    settings = {**streams.settings(server, 2), "data_dir": tmp_path / "data"}
    async with Runtime.launch(settings, name=name) as runtime:
        await streams.provider_actors_killed(server, runtime, streams=24, kills=1)
    await server.stop()
