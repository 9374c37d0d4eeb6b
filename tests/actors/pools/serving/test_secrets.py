"""Behaviour 52: whatever goes wrong, the text of a key is in nothing that leaves the provider's clients."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from llmgine.actors.control import Boot, Ground, LocalWorld, SpawnOptions, names
from llmgine.actors.link import Identity, frames
from llmgine.actors.pools import PoolClient
from llmgine.actors.pools.actor import ProviderActor
from llmgine.actors.telemetry import TelemetryActor
from llmgine.providers import EmbeddingRequest, Failed, LlmgineError, LLMRequest, Message
from llmgine.providers.options import ProvidersOptions
from tests.actors.pools.serving.keyserver import KeyServer

ACTOR = "provider-there-0"
LONG = "sk-planted-abcdefghij0123456789"
SHORT = "pl4nted"
APIS = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "anthropic-messages": "anthropic",
    "gemini": "gemini",
}
FAULTS = (
    "ok",
    "status.401",
    "status.403.words",
    "status.429.body",
    "status.500",
    "tell-key",
    "error-frame",
    "cut",
    "malformed",
    "html",
    "redirect",
    "slow",
)


class Ear:
    """Hears what links carry, what is logged, what is raised, and what objects say of themselves."""

    def __init__(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[bytes] = []
        self._log = caplog
        encode = frames.Encoder.__call__

        def overheard(encoder: frames.Encoder, frame: Any) -> bytes:
            body = encode(encoder, frame)
            self.heard.append(body)
            return body

        monkeypatch.setattr(frames.Encoder, "__call__", overheard)
        caplog.set_level(logging.DEBUG)

    def hear(self, *values: Any) -> None:
        for value in values:
            self.heard += [repr(value).encode(), str(value).encode(), pickle.dumps(value)]
            if isinstance(value, BaseException):
                self.heard.append("".join(traceback.format_exception(value)).encode())

    def hear_objects(self) -> None:
        """What every object of ours says of itself."""
        gc.unfreeze()  # what stood before the tests is out of sight else
        every = gc.get_objects()
        gc.freeze()
        ours = {kind for kind in set(map(type, every)) if str(kind.__module__).startswith("llmgine.")}
        self.heard += [repr(one).encode() for one in every if type(one) in ours]

    def must_not_have_heard(self, key: str) -> None:
        assert len(self.heard) > 20
        self.heard += [repr(record.__dict__).encode() for record in self._log.records]
        self.heard.append(self._log.text.encode())
        raw = key.encode()
        for form in (raw, base64.b64encode(raw), raw.hex().encode(), raw[::-1]):
            found = [heard for heard in self.heard if form in heard]
            assert not found, found[0][:2000]


@pytest.fixture
def ear(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Ear:
    return Ear(caplog, monkeypatch)


class House:
    """A runtime of one provider actor, a telemetry actor, and a caller."""

    def __init__(self, endpoint: dict[str, Any], ear: Ear) -> None:
        self._world = LocalWorld()
        self.cluster = self._world.cluster()
        self._ear = ear
        # There is nobody to share limits out.
        keys = [{**key, "limits": {"learn": "off"}} for key in endpoint["keys"]]
        self._providers = {"endpoints": {"there": {**endpoint, "keys": keys}}}
        transport = self._world.transport(self.cluster, tcp=False)
        self._ground = Ground("r", Identity("caller", "session", 1), self.cluster, transport)
        options = ProvidersOptions.model_validate(self._providers)
        self._models = PoolClient(self, self._ground.peer, options)

    async def ensure_pool(self, provider: str) -> list[list[str]]:
        return [[ACTOR, "local"]]

    async def open(self) -> None:
        telemetry = {"enabled": True, "content": True}
        settings = {"control": {}, "telemetry": telemetry, "providers": self._providers, "pools": {}}
        for name, kind in ((names.TELEMETRY, TelemetryActor), (ACTOR, ProviderActor)):
            boot = Boot("r", name, kind.kind, self._world, settings)
            self._ear.hear(settings)
            await self.cluster.spawn(boot, kind, SpawnOptions())

    async def call(self, model: str, **fields: Any) -> None:
        fields = {"messages": (Message.user("Hi"),), "deadline": 0.5, **fields}
        request = LLMRequest(model=f"there/{model}", **fields)
        try:
            events = [event async for event in self._models.stream(request, session="s")]
        except LlmgineError as error:
            self._ear.hear(error)
            return
        for event in events:
            self._ear.hear(*([event.error, event] if isinstance(event, Failed) else [event]))

    async def embed(self, model: str) -> None:
        request = EmbeddingRequest(model=f"there/{model}", inputs=("Hi",), deadline=0.5)
        try:
            self._ear.hear(await self._models.embed(request, session="s"))
        except LlmgineError as error:
            self._ear.hear(error)

    async def close(self) -> None:
        actor: Any = self.cluster._actors[ACTOR]
        self._ear.hear(actor.statistics(), actor.report())
        self._ear.hear_objects()
        for name in (ACTOR, names.TELEMETRY):
            await self.cluster.call(name, "stop", 1.0)
            await self.cluster.kill(name)
        self._ground.close()


@pytest.fixture
async def house(ear: Ear) -> AsyncIterator[Callable[..., Any]]:
    opened: list[House] = []

    async def house(**endpoint: Any) -> House:
        opened.append(House(endpoint, ear))
        await opened[-1].open()
        return opened[-1]

    yield house
    for one in opened:
        if await one.cluster.names():
            await one.close()


def given(monkeypatch: pytest.MonkeyPatch, function: Callable[[str], Any]) -> dict[str, str]:
    monkeypatch.setattr("tests.actors.pools.serving.vault.key", function)
    return {"name": "given", "function": "tests.actors.pools.serving.vault:key"}


@pytest.mark.parametrize("key", [LONG, SHORT])
@pytest.mark.parametrize("api", APIS)
async def test_no_failure_of_a_call_shows_a_key(
    api: str,
    key: str,
    house: Callable[..., Any],
    ear: Ear,
    server: KeyServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Every failure on every wire, with keys from a file, the environment and a function."""
    monkeypatch.setenv("PLANTED", key)
    (tmp_path / "key").write_text(key)

    async def asked(name: str) -> tuple[SecretStr, float]:
        return SecretStr(key), 60.0

    keys = [{"name": "a", "env": "PLANTED"}, {"name": "b", "file": str(tmp_path / "key")}]
    keys.append(given(monkeypatch, asked))
    there = await house(kind=APIS[api], api=api, base_url=server.base_url, keys=keys)
    await there.call("ok", deadline=60.0)  # a package may take its time to load
    await asyncio.gather(*(there.call(fault) for fault in FAULTS))
    for fault in ("tell-key", "status.401"):
        await there.embed(fault)
        await there.call(fault, mid_stream="restart")
    await there.call("status.401")
    await there.close()
    assert len(server.calls) >= len(FAULTS)
    ear.must_not_have_heard(key)


async def test_no_failure_to_find_or_open_shows_a_key(
    house: Callable[..., Any], ear: Ear, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Keys that no header can carry, functions that fail, servers that are not there, and settings."""
    monkeypatch.setenv("PLANTED", f"{LONG}\nmore")
    (tmp_path / "key").write_text(f"two {LONG}")

    def failing(name: str) -> str:
        raise ValueError(f"vault says no to {LONG}")

    keys = [{"name": "a", "env": "PLANTED"}, {"name": "b", "file": str(tmp_path / "key")}]
    keys.append(given(monkeypatch, failing))
    there = await house(kind="openai", keys=keys)
    await there.call("m")
    for function in (lambda name: {LONG: LONG}, lambda name: f"{LONG} {LONG}", lambda name: (LONG, LONG)):
        given(monkeypatch, function)
        await there.call("m")
    await there.close()

    monkeypatch.setenv("PLANTED", LONG)
    there = await house(kind="openai", base_url="http://127.0.0.1:1", keys=[{"name": "a", "env": "PLANTED"}])
    await there.call("m")
    await there.close()

    for wrong in ({"name": LONG}, {"name": "a", "env": LONG}, {"name": "a", "function": LONG}, {"key": LONG}):
        with pytest.raises(ValidationError) as caught:
            ProvidersOptions.model_validate({"endpoints": {"openai": {"keys": [wrong]}}})
        ear.hear(str(caught.value))
    ear.must_not_have_heard(LONG)


async def test_what_is_opened_wrongly_shows_no_key(
    house: Callable[..., Any], ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that breaks while it is loaded is told of, without what it was given."""
    monkeypatch.setenv("PLANTED", LONG)

    def broken(*_: Any) -> None:
        raise RuntimeError(f"cannot open with {LONG}")

    monkeypatch.setattr("llmgine.actors.pools.serving.keyed.open_endpoint", broken)
    there = await house(kind="openai", keys=[{"name": "a", "env": "PLANTED"}])
    await there.call("m")
    await there.close()
    ear.must_not_have_heard(LONG)
