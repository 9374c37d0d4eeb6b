"""Callers that come, read, stall and leave as chance has it, over calls that end in every way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from llmgine.actors.pools.serving import keyed
from llmgine.providers import Done, ErrorKind, ErrorPhase, Failed, ProviderError
from tests.actors.pools.serving.sharing_stage import REQUEST, Caller, Stage

REQUESTS = [REQUEST.model_copy(update={"seed": seed}) for seed in range(2)]
DOWN = ProviderError("down", kind=ErrorKind.SERVER, phase=ErrorPhase.MID_STREAM)


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    stage = Stage()
    monkeypatch.setattr(keyed, "open_endpoint", lambda *asked, **more: stage.provider)
    yield stage
    await stage.close()


class Storm:
    """Steps of one schedule."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.chance = random.Random(seed)
        self.callers: list[Caller] = []
        self.said = 0

    async def step(self) -> None:
        kind = self.chance.choices(
            ["call", "word", "read", "leave", "end", "fail", "turn", "clear"], [6, 9, 9, 2, 3, 1, 6, 0.3]
        )[0]
        provider = self.stage.provider
        if kind == "call":
            options = {"deadline": self.chance.choice([None, 30.0])}
            request = self.chance.choice(REQUESTS).model_copy(update=options)
            self.callers.append(await self.stage.opened(request))
        elif kind == "word":
            provider.say(f"{self.said} ")
            self.said += 1
        elif kind in ("end", "fail"):
            provider.error = Failed(DOWN) if kind == "fail" else None
            provider.say(None)
        elif kind == "turn":
            for _ in range(self.chance.randrange(6)):
                await asyncio.sleep(0)
        elif kind == "clear":
            await self.stage.cluster.call("provider-scripted-0", "clear_cache")
        elif self.callers:
            caller = self.chance.choice(self.callers)
            if kind == "leave":
                self.callers.remove(caller)
                caller.stream.reset("cancelled")
            else:
                caller.take()

    async def end(self) -> None:
        """Everybody hears the end of what they had begun to hear."""
        provider = self.stage.provider
        provider.error = None
        reading = [asyncio.create_task(caller.drained()) for caller in self.callers]
        while not all(task.done() for task in reading):
            provider.say(None)
            await asyncio.sleep(0)
        await asyncio.gather(*reading)


@pytest.mark.parametrize("seed", range(40))
async def test_whoever_stays_hears_one_whole_answer_and_nothing_is_left_behind(
    stage: Stage, seed: int
) -> None:
    """Words come in their order, from one call, and what a call cost is told to one caller at most."""
    await stage.spawn(actors=["provider-scripted-0"])
    storm = Storm(stage, seed)
    for _ in range(150):
        await storm.step()
    await storm.end()
    paid = 0
    for caller in storm.callers:
        last = caller.events[-1]
        assert isinstance(last, Done | Failed)
        if isinstance(last, Done):
            assert caller.text == last.response.message.text
            assert last.response.cached <= caller.is_anothers
            paid += not last.response.cached
        numbers = [int(word) for word in caller.text.split()]
        assert numbers == sorted(set(numbers))
    await stage.when(calls=0, answering=0)
    figures = stage.figures()
    assert paid <= len(stage.provider.calls) <= figures["misses"]
    told = figures["misses"] + figures["hits"] + figures["joins"]
    assert told >= len(storm.callers)
    assert stage.statistics()["admission"]["in_flight"] == 0
