"""Sessions at work while their processes are killed; `make faults` does the same at its whole size."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmgine.runtime import Runtime
from tests.faults import torture

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


async def test_sessions_survive_the_death_of_processes(runtime: Runtime, tmp_path: Path) -> None:
    """Every acknowledged turn is there, once and in order, and nothing was done twice that must not be."""
    await torture.sessions_tortured(runtime, tmp_path, sessions=4, turns=5, kills=4)
