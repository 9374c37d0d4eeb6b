"""Batches of the scripted double."""

from __future__ import annotations

import pytest

from llmgine.providers import ErrorKind, LLMRequest, LLMResponse, Message, ProviderError
from llmgine.providers.contracts import BatchState
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.scripted.batches import ScriptedBatches
from llmgine.providers.scripted.provider import ScriptedProvider


def ask(prompt: str) -> LLMRequest:
    return LLMRequest(model="scripted/echo", messages=(Message.user(prompt),))


def made(model: str = "scripted/echo") -> tuple[ScriptedBatches, list[bytes]]:
    batches = ScriptedProvider("scripted", ProvidersOptions()).batches(model)
    return batches, [batches.line(f"t-{number}", ask(prompt)) for number, prompt in enumerate("ab")]


async def test_a_batch_plays_its_replies() -> None:
    """Once it was asked about twice; it is found by its tag."""
    batches, lines = made()
    id = (await batches.submit("t", lines)).id
    found = await batches.find("t", 0.0, 2, ())
    assert found is not None
    assert (found.id, found.tag, found.total) == (id, "t", 2)
    assert await batches.find("t", 0.0, 2, {id}) is None
    states = [(await batches.status(id)).state for _ in range(2)]
    assert states == [BatchState.RUNNING, BatchState.COMPLETED]
    results = {one.custom_id: one.outcome async for one in batches.results(id, ask("a"))}
    assert {custom_id: getattr(one, "text", None) for custom_id, one in results.items()} == {
        "t-0": "a",
        "t-1": "b",
    }


async def test_a_batch_that_is_cancelled() -> None:
    """None of it was done; one that is over stays as it is."""
    batches, lines = made()
    first, second = (await batches.submit("t", lines)).id, (await batches.submit("u", lines)).id
    assert (await batches.cancel(first)).state is BatchState.CANCELLED
    kinds = [
        one.outcome.kind
        async for one in batches.results(first, ask("a"))
        if isinstance(one.outcome, ProviderError)
    ]
    assert kinds == [ErrorKind.CANCELLED] * 2
    for _ in range(2):
        await batches.status(second)
    assert (await batches.cancel(second)).state is BatchState.COMPLETED


async def test_failures_are_results() -> None:
    """A script that fails, and a batch that is none."""
    batches, _ = made()
    line = batches.line("t-0", ask("a").model_copy(update={"model": "scripted/none"}))
    id = (await batches.submit("t", [line])).id
    (result,) = [one async for one in batches.results(id, ask("a"))]
    assert not isinstance(result.outcome, LLMResponse)
    assert result.outcome.kind is ErrorKind.NOT_FOUND
    with pytest.raises(ProviderError, match="knows no batch"):
        await batches.status("other")
