"""Recording as it is switched on: by the runtime's settings."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmgine.providers.errors import ProviderError
from llmgine.providers.recording import Interaction, read_recording
from llmgine.runtime import Runtime

if TYPE_CHECKING:
    from tests.providers.faults.server import FaultServer


def found(folder: Path) -> list[Interaction]:
    return [one for path in sorted(folder.iterdir()) for one in read_recording(path)]


def texts(folder: Path) -> list[str]:
    return [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()]


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


@pytest.mark.cluster
async def test_an_actor_on_ray_records_and_shows_no_key(
    ray_dashboard: str, fault_server: FaultServer, tmp_path: Path
) -> None:
    """Its calls are on disk when the runtime ends; neither Ray's records and logs nor they hold the key."""
    import ray
    from ray.util.state import list_actors, list_tasks

    secret = "sk-secret-0123456789"
    key = tmp_path / "key"
    key.write_text(secret)
    tapes, name = tmp_path / "tapes", f"t-{uuid.uuid4().hex[:8]}"
    endpoint: dict[str, Any] = {"base_url": f"{fault_server.base_url}/v1", "key_file": key}
    providers = {"endpoints": {"openai": endpoint}, "record": {"folder": tapes}}
    settings = {"data_dir": tmp_path / "data", "sessions": {"warm": 0}, "providers": providers}
    async with Runtime.launch(settings, name=name) as runtime:
        assert (await runtime.models.complete("openai/ok", "Hi")).text == "Hello big world"
        refused = runtime.models.complete("openai/status.401", "Hi")
        with pytest.raises(ProviderError, match="fault 401") as caught:
            await refused
        where = f"http://{ray_dashboard}"
        listed = (*list_actors(where, detail=True), *list_tasks(where, detail=True))
        told = [repr(one) for one in listed]
    assert any(secret in value for value in fault_server.calls[0].headers.values())
    assert {one.status for one in found(tapes)} == {200, 401}
    key.unlink()
    told += texts(tmp_path) + texts(Path(ray._private.worker._global_node.get_logs_dir_path()))
    assert any(name in text for text in told)
    assert not any(secret in text for text in (*told, repr(caught.value), str(caught.value)))
