"""Chains of models, from the settings, a session, a turn and single calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from llmgine.providers import Fallback, InvalidRequest, ProviderError
from llmgine.runtime import Runtime, UnknownModel, session_tool

BROKEN = {"replies": [{"text": "never", "fault": {"kind": "not_found"}}]}
ASKS = {"replies": [{"tool_calls": [{"name": "helper", "arguments": {"prompt": "hi"}}]}, {"text": "done"}]}
SETTINGS: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "sessions": {"idle": 60},
    "providers": {
        "scripts": {"broken": BROKEN, "good": {"replies": [{"text": "good"}]}, "asks": ASKS},
        "aliases": {
            "safe": ["scripted/broken", "scripted/good"],
            "picky": ["scripted/broken", {"model": "scripted/good", "on": ["rate_limit"]}],
        },
    },
}
CHAIN = ["scripted/broken", "scripted/good"]


@pytest_asyncio.fixture
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    async with Runtime.in_process(SETTINGS) as opened:
        yield opened


@pytest.mark.parametrize("model", ["safe", CHAIN])
async def test_a_sessions_model_may_be_a_chain(runtime: Runtime, model: Any) -> None:
    """The next model answers where the first one fails; the reply says which one did."""
    async with runtime.session(model=model) as session:
        reply = await session.ask("hi")
        assert (reply.text, reply.model) == ("good", "scripted/good")


async def test_a_turn_has_a_chain_of_its_own(runtime: Runtime) -> None:
    """A turn's model, or chain, stands in the place of the session's whole chain."""
    async with runtime.session(model="safe") as session:
        assert (await session.ask("hi", model="scripted/echo")).model == "scripted/echo"
        with pytest.raises(ProviderError):
            await session.ask("hi", model="scripted/broken")
    async with runtime.session(model="scripted/broken") as session:
        assert (await session.ask("hi", model=CHAIN)).model == "scripted/good"


async def test_a_condition_is_kept_on_the_way(runtime: Runtime) -> None:
    """A model of the chain that does not take over after such a failure is not asked."""
    named = Fallback(model="scripted/good", on=("not_found",))
    async with runtime.session(model="picky") as session:
        with pytest.raises(ProviderError, match="scripted fault"):
            await session.ask("hi")
        assert (await session.ask("hi", model=["scripted/broken", named])).model == "scripted/good"


async def test_a_tool_may_ask_a_session_with_a_chain(runtime: Runtime) -> None:
    """A session that a tool opens takes an alias of several models as any other does."""
    helper = session_tool("helper", "Helps.", model="safe")
    async with runtime.session(model="scripted/asks", tools=[helper]) as session:
        (call,) = (await session.ask("go")).tool_calls
        assert call.result is not None
        assert call.result.text == "good"


async def test_single_calls_take_chains(runtime: Runtime) -> None:
    """`complete` takes a list, or an alias of one; the attempts tell what the first model came to."""
    for model in ("safe", CHAIN):
        response = await runtime.models.complete(model, "hi")
        assert (response.text, response.model) == ("good", "good")
        outcomes = [(one.model, one.outcome) for one in response.attempts]
        assert outcomes == [("scripted/broken", "not_found"), ("scripted/good", "done")]


async def test_embeddings_take_no_chain(runtime: Runtime) -> None:
    """Vectors of two models cannot be compared, so that an alias of several is refused."""
    with pytest.raises(InvalidRequest, match="name one"):
        await runtime.models.embed("safe", "hi")


async def test_what_is_no_chain_is_refused_at_once(runtime: Runtime) -> None:
    """An unknown model anywhere in a chain, and a list that is none, are refused before anything starts."""
    with pytest.raises(UnknownModel, match="nobody"):
        runtime.session(model=["scripted/echo", "nobody/knows"])
    with pytest.raises(InvalidRequest, match="begins with"):
        runtime.session(model=[])
