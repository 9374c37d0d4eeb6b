"""Recording as it is switched on: by the runtime's settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmgine.providers.recording import Interaction, read_recording
from llmgine.runtime import Runtime

if TYPE_CHECKING:
    from tests.providers.faults.server import FaultServer


def found(folder: Path) -> list[Interaction]:
    return [one for path in sorted(folder.iterdir()) for one in read_recording(path)]


async def test_a_session_is_recorded_and_played(
    fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calls are on disk, under its name, when the runtime is closed; they answer without a key."""
    tapes = tmp_path / "tapes"
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("THE_KEY", "sk-secret-0123456789")
    endpoint: dict[str, Any] = {"base_url": f"{fault_server.base_url}/v1", "key_env": "THE_KEY"}

    async def converse(name: str, **providers: Any) -> tuple[str, str]:
        settings = {"data_dir": tmp_path / name, "providers": providers}
        async with Runtime.in_process(settings) as runtime, runtime.session(model="openai/ok") as session:
            reply = await session.ask("Hi")
            return session.id, reply.text

    session, said = await converse("one", endpoints={"openai": endpoint}, record={"folder": tapes})
    (one,) = found(tapes)
    assert (one.session, one.provider) == (session, "openai")
    monkeypatch.delenv("THE_KEY")
    _, played = await converse("two", endpoints={"openai": {"replay": tapes}})
    assert played == said == "Hello big world"
    assert len(fault_server.calls) == 1
