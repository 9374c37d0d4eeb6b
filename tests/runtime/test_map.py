"""Many prompts at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from llmgine.providers import FinishReason
from llmgine.runtime import (
    ErrorKind,
    InvalidRequest,
    LlmgineError,
    Message,
    ProviderError,
    Reply,
    Runtime,
    RuntimeOverloaded,
    TurnCancelled,
    UnknownModel,
    tool,
)
from llmgine.runtime.mapping import MapPlan, run_map


def replied(text: str) -> Reply:
    return Reply(
        text=text,
        parts=(),
        model="m",
        finish_reason=FinishReason.STOP,
        turn_id="t",
        trace_id="0",
        session_id="s",
    )


class Asked:
    """Attempts that come to what a test says, by prompt; each prompt's last outcome repeats."""

    def __init__(self, **outcomes: list[LlmgineError | str]) -> None:
        self.outcomes = outcomes
        self.places: list[str] = []
        self.pauses: list[float] = []
        self.kept: dict[str, Reply | LlmgineError] = {}
        self.at_work = self.most = 0

    async def run(self, place: str, prompt: str | Message) -> Reply:
        self.places.append(place)
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        await asyncio.sleep(0)
        self.at_work -= 1
        assert isinstance(prompt, str)
        outcomes = self.outcomes.get(prompt, [prompt.upper()])
        outcome = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        if isinstance(outcome, LlmgineError):
            raise outcome
        return replied(outcome)

    async def found(self, place: str) -> Reply | LlmgineError | None:
        return self.kept.get(place)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def map(self, *prompts: str, **options: Any) -> list[Reply | LlmgineError]:
        plan = MapPlan("m", self.run, self.found, sleep=self.sleep, **options)
        return await run_map(prompts, plan, progress=False)


def texts(results: list[Reply | LlmgineError]) -> list[str]:
    return [result.text if isinstance(result, Reply) else type(result).__name__ for result in results]


OVERLOADED = ProviderError("busy", kind=ErrorKind.OVERLOADED)
REFUSED = ProviderError("no", kind=ErrorKind.INVALID_REQUEST)


async def test_results_stand_in_the_order_of_the_prompts() -> None:
    """However many run at the same time, and no more than `concurrency` do."""
    asked = Asked()
    assert texts(await asked.map(*"abcdefgh", concurrency=3)) == list("ABCDEFGH")
    assert asked.most == 3
    assert await asked.map() == []


async def test_a_failure_that_may_pass_is_asked_again() -> None:
    """In a session of its own each time, after a pause; the number of retries bounds it."""
    asked = Asked(a=[OVERLOADED, TurnCancelled("gone"), "A"])
    assert texts(await asked.map("a", retries=2)) == ["A"]
    assert [place[-2:] for place in asked.places] == [".1", ".2", ".3"]
    assert len(asked.pauses) == 2
    with pytest.raises(ProviderError) as failed:
        await Asked(a=[OVERLOADED]).map("a", retries=1)
    assert failed.value.__notes__ == ["the prompt is number 0 of the map 'm'"]


@pytest.mark.parametrize("final", [REFUSED, InvalidRequest("no"), UnknownModel("no")])
async def test_a_failure_that_would_come_again_is_final(final: LlmgineError) -> None:
    """It is not asked again; the map ends, or has the error in the prompt's place."""
    asked = Asked(b=[final])
    with pytest.raises(type(final)):
        await asked.map("a", "b", "c", concurrency=1)
    assert len(asked.places) == 2
    results = await Asked(b=[final]).map("a", "b", "c", return_exceptions=True)
    assert texts(results) == ["A", type(final).__name__, "C"]


async def test_a_runtime_that_is_full_is_waited_for() -> None:
    """As long as it says, and without counting as an attempt."""
    asked = Asked(
        a=[RuntimeOverloaded("full", retry_after=7.0), RuntimeOverloaded("full", retry_after=8.0), "A"]
    )
    assert texts(await asked.map("a", retries=0)) == ["A"]
    assert asked.pauses == [7.0, 8.0]
    assert len(set(asked.places)) == 1


async def test_what_is_kept_is_not_asked_again() -> None:
    """A finished prompt is taken as it is; of one whose attempts failed the next is made."""
    first = Asked()
    await first.map("a", "b", "c")
    a, b, _ = first.places
    again = Asked()
    again.kept = {a: replied("kept"), b: OVERLOADED}
    assert texts(await again.map("a", "b", "c", retries=0)) == ["kept", "B", "C"]
    assert again.places[0] == b[:-2] + ".2"
    other = Asked()
    other.kept = again.kept
    assert texts(await other.map("A2", "b", "c")) == ["A2", "B", "C"]


@pytest.mark.parametrize(
    ("options", "named"), [({"concurrency": 0}, "concurrency"), ({"retries": -1}, "retries")]
)
async def test_bounds_that_make_no_sense_are_refused(options: dict[str, Any], named: str) -> None:
    """Before anything is asked."""
    with pytest.raises(InvalidRequest, match=named):
        await Asked().map("a", **options)


class City(BaseModel):
    name: str


SCRIPTS = {"cities": {"replies": [{"text": '{"name": "Paris"}'}]}}


async def test_a_map_runs_in_pooled_sessions_that_go_with_it(clean_environ: Path) -> None:
    """A map without a name leaves no session behind; values come as the type that was asked for."""
    async with Runtime.in_process({"providers": {"scripts": SCRIPTS}}) as runtime:
        results = await runtime.map(["a"] * 12, model="scripted/cities", output=City, concurrency=5)
        assert [getattr(one, "output", None) for one in results] == [City(name="Paris")] * 12
        driver = runtime._open()
        await asyncio.gather(*driver._undoing)
        assert [one.id async for one in runtime.sessions.list()] == []


async def test_a_map_goes_on_where_it_was_interrupted(clean_environ: Path, tmp_path: Path) -> None:
    """In the next runtime on the same data too; what was done is not done again, what was not is."""
    calls: list[str] = []

    @tool
    def note(text: str) -> str:
        """Notes."""
        calls.append(text)
        return text

    prompts = [f"prompt {number}" for number in range(6)]
    settings = {"store": {"url": f"sqlite:///{tmp_path}/store.db"}}
    async with Runtime.in_process(settings) as runtime:
        await runtime.map(prompts[:4], model="scripted/tool", name="m", tools=[note])
        assert len(calls) == 4
    async with Runtime.in_process(settings) as runtime:
        results = await runtime.map(prompts, model="scripted/tool", name="m", tools=[note])
        assert len(calls) == 6
        assert [isinstance(one, Reply) for one in results] == [True] * 6
        sessions = {one.session_id for one in results if isinstance(one, Reply)}
        assert len(sessions) == 6
        assert sessions == {one.id async for one in runtime.sessions.list(prefix="m/")}


async def test_a_map_that_is_given_up_leaves_no_turn_running(clean_environ: Path, eventually: Any) -> None:
    """Its turns are cancelled; asked again, they run anew."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> str:
        """Waits."""
        inside.set()
        await go_on.wait()
        return "it is time"

    async with Runtime.in_process() as runtime:

        def start() -> asyncio.Task[Any]:
            return asyncio.create_task(runtime.map(["a"], model="scripted/tool", name="m", tools=[wait]))

        first = start()
        await asyncio.wait_for(inside.wait(), 20)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        (session,) = [one.id async for one in runtime.sessions.list(prefix="m/")]

        async def cancelled() -> bool:
            return [turn.state for turn in await runtime.sessions.turns(session)] == ["cancelled"]

        await eventually(cancelled)
        go_on.set()
        (result,) = await asyncio.wait_for(start(), 20)
        assert "it is time" in result.text
