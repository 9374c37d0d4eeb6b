"""Batches from a caller through a provider actor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmgine.actors.pools.batches import BatchCalls
from llmgine.providers import (
    ErrorKind,
    InvalidRequest,
    LLMRequest,
    Message,
    ProviderError,
    ToolSpec,
    UnknownModel,
)
from llmgine.runtime import Runtime

REQUESTS = [
    (f"t-{number}", LLMRequest(model="scripted/echo", messages=(Message.user(prompt),)))
    for number, prompt in enumerate("abc")
]


@pytest.fixture
async def runtime(clean_environ: Path) -> AsyncIterator[Runtime]:
    async with Runtime.in_process() as runtime:
        yield runtime


@pytest.fixture
def calls(runtime: Runtime) -> BatchCalls:
    return runtime.models.batches("scripted/echo")


class Decided:
    """Hears what a batch holds before there is one, and may forbid it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.told: tuple[str, int, dict[str, ProviderError]] | None = None

    async def __call__(self, key: str, seen: int, refused: dict[str, ProviderError]) -> None:
        self.told = key, seen, refused
        if self.error is not None:
            raise self.error


async def test_what_a_batch_holds_is_told_before_there_is_one(calls: BatchCalls) -> None:
    """Whoever cannot write it down submits nothing."""
    decided = Decided(InvalidRequest("the store is away"))
    with pytest.raises(InvalidRequest, match="away"):
        await calls.submit("t", REQUESTS, decided)
    assert decided.told == ("default", 3, {})
    assert await calls.find("t", 0.0, 3, ()) is None
    status = await calls.submit("t", REQUESTS, Decided())
    assert status is not None
    assert (status.total, await calls.find("t", 0.0, 3, ())) == (3, status)


async def test_requests_that_no_batch_holds(calls: BatchCalls) -> None:
    """Each is told with its reason; where none is left, there is no batch."""
    tool = ToolSpec(name="t", parameters={})
    bad = [(id, request.model_copy(update={"tools": (tool,)})) for id, request in REQUESTS]
    decided = Decided()
    status = await calls.submit("t", [REQUESTS[0], *bad[1:]], decided)
    assert status is not None
    assert status.total == 1
    assert decided.told is not None
    assert {id: error.kind for id, error in decided.told[2].items()} == {
        "t-1": ErrorKind.UNSUPPORTED,
        "t-2": ErrorKind.UNSUPPORTED,
    }
    assert await calls.submit("u", bad, decided) is None
    assert await calls.find("u", 0.0, 3, ()) is None


async def test_an_actor_that_goes_meanwhile(runtime: Runtime, calls: BatchCalls) -> None:
    """It was a bad moment, which says nothing of the request."""
    cluster = runtime._open().ground.cluster

    async def decided(key: str, seen: int, refused: dict[str, ProviderError]) -> None:
        for name in await cluster.names():
            if name.startswith("provider-"):
                await cluster.kill(name)

    with pytest.raises(ProviderError) as failed:
        await calls.submit("t", REQUESTS, decided)
    assert (failed.value.kind, failed.value.retryable) == (ErrorKind.CONNECTION, True)


async def test_a_batch_that_nobody_knows(calls: BatchCalls) -> None:
    """Each verb says so as its provider does, and a model that is none is refused at once."""
    with pytest.raises(ProviderError) as failed:
        await calls.status("other")
    assert failed.value.kind is ErrorKind.NOT_FOUND
    with pytest.raises(ProviderError):
        await anext(calls.results("other", REQUESTS[0][1]))
    with pytest.raises(InvalidRequest, match="no key"):
        await calls.status("other", key="gone")


async def test_a_model_that_is_none(runtime: Runtime) -> None:
    """It is refused before an actor is asked."""
    with pytest.raises(UnknownModel):
        runtime.models.batches("nobody")
