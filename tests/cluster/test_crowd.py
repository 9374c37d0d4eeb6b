"""Sessions by the hundred that sleep; `make faults` does the same with 10,000."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmgine.runtime import Runtime
from tests.faults import crowd

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


async def test_a_crowd_of_sessions_sleeps_and_wakes(ray_cluster: str, name: str, tmp_path: Path) -> None:
    """Each wakes with its history, memory and open files stay flat, and nothing is left of any at the end."""
    async with Runtime.launch({**crowd.SETTINGS, "data_dir": tmp_path / "data"}, name=name) as runtime:
        await crowd.sessions_crowded(runtime, 100)
