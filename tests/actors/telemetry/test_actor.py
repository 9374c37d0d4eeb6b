"""The telemetry actor in a local cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.control import Boot, ControlOptions, LocalWorld, RuntimeActor
from llmgine.actors.telemetry import TelemetryActor, TelemetryShipper
from llmgine.telemetry import TelemetryOptions


@pytest.fixture
def world() -> LocalWorld:
    return LocalWorld()


async def test_the_actor_serves_its_host_and_drains_its_exporters(world: LocalWorld, tmp_path: Path) -> None:
    """An actor takes spans over its endpoint, and what ended is in the file when it has drained."""
    path = tmp_path / "spans.jsonl"
    telemetry = TelemetryOptions(jsonl=path, flush_seconds=0.01)
    settings: dict[str, Any] = {
        "control": ControlOptions().model_dump(mode="json"),
        "telemetry": telemetry.model_dump(mode="json"),
    }
    actors: list[RuntimeActor] = [
        TelemetryActor(Boot("r", "telemetry", "telemetry", world, settings)),
        Plain(Boot("r", "supervisor", "plain", world, settings)),
    ]
    for actor in actors:
        world.cluster()._actors[actor.name] = actor
    await actors[1].address()
    await actors[0].address()
    try:
        source = actors[1]
        shipper = TelemetryShipper(source.recorder, source.peer("telemetry"), telemetry)
        shipper.start()
        source.recorder.start("invoke_agent", session="s").end()
        assert await shipper.close()
        await actors[0].drain(5)
        assert [json.loads(line)["source"] for line in path.read_text().splitlines()] == ["supervisor"]
    finally:
        for actor in actors:
            await actor.abandon()


class Plain(RuntimeActor):
    """Any other actor; under the supervisor's name it reports to nobody."""

    kind = "plain"
