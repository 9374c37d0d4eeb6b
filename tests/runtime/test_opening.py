"""How a runtime comes to be, and what is refused before it does."""

from __future__ import annotations

import pytest

from llmgine.runtime import (
    InvalidRequest,
    NotSupported,
    RayUnavailable,
    Runtime,
    RuntimeNotFound,
    SettingsError,
)


async def test_more_shards_than_are_served_are_refused(clean_environ: object) -> None:
    """A setting that this version does not serve is refused with its name, before anything starts."""
    for entrance in (Runtime.launch, Runtime.in_process):
        with pytest.raises(NotSupported, match=r"bus\.shards"):
            async with entrance({"bus": {"shards": 2}}):
                pass


async def test_a_wrong_setting_is_refused(clean_environ: object) -> None:
    """A setting of the wrong type is named with its path."""
    with pytest.raises(SettingsError, match=r"bus\.shards"):
        async with Runtime.in_process({"bus": {"shards": "many"}}):
            pass


async def test_ray_client_is_refused(clean_environ: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """ray:// is refused with the reason."""
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(RayUnavailable, match="no links"):
        async with Runtime.launch():
            pass


async def test_joining_what_does_not_run(clean_environ: object) -> None:
    """Connecting to a runtime that nobody launched says how to launch it."""
    with pytest.raises(RuntimeNotFound, match="llmgine up"):
        async with Runtime.connect(name="nobody"):
            pass


@pytest.mark.parametrize("name", ["", "a/b", "-x", "x" * 80])
async def test_a_name_that_cannot_be_one(clean_environ: object, name: str) -> None:
    """A runtime's name becomes part of Ray's namespace and of paths, and is checked before both."""
    with pytest.raises(InvalidRequest, match="runtime's name"):
        async with Runtime.in_process(name=name):
            pass


async def test_a_runtime_is_used_after_it_is_opened() -> None:
    """What needs an open runtime says so."""
    runtime = Runtime.in_process()
    with pytest.raises(RuntimeNotFound, match="async with"):
        runtime.session(model="scripted/echo")


async def test_a_runtime_can_be_awaited(clean_environ: object) -> None:
    """Awaiting opens it, leaving ends it."""
    runtime = await Runtime.in_process()
    assert (await runtime.status())["name"] == "default"
    await runtime.leave()
    with pytest.raises(RuntimeNotFound):
        await runtime.status()
