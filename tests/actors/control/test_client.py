"""Calls to the supervisor that outlive its restarts."""

from __future__ import annotations

from typing import Any, cast

import pytest

from llmgine.actors.control import ActorAway, ActorGone, ControlClient, RuntimeNotFound, client


class Script:
    """A cluster whose supervisor answers as it is told to."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[Any, ...]] = []

    async def call(self, name: str, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        self.calls.append((name, method, *arguments))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def control(script: Script, **options: Any) -> ControlClient:
    return ControlClient(cast(Any, script), "mine", **options)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_RETRY_PAUSE", 0)


async def test_a_restart_is_waited_out() -> None:
    """While the supervisor is away a call is made again, with the same arguments."""
    script = Script(ActorAway("restarting"), ActorAway("restarting"), [["provider-x-0", "n"]])
    assert await control(script).ensure_pool("x") == [["provider-x-0", "n"]]
    assert script.calls == [("supervisor", "ensure_pool", "x")] * 3


async def test_patience_ends() -> None:
    """A supervisor that stays away is an error of that kind."""
    with pytest.raises(ActorAway, match="restarting"):
        await control(Script(ActorAway("restarting")), patience=0).call("status")


async def test_a_stopped_runtime_is_named() -> None:
    """A supervisor that is gone for good means that its runtime has stopped."""
    with pytest.raises(RuntimeNotFound, match="'mine' has stopped"):
        await control(Script(ActorGone("dead"))).call("status")


async def test_its_own_errors_pass() -> None:
    """What the supervisor refuses reaches the caller as it is."""
    with pytest.raises(ValueError, match="0 or more"):
        await control(Script(ValueError("0 or more"))).call("scale_pool", "x", -1)
