"""The cases, one a file, and the peers that stand beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks import bus, codec, pool, routing, sessions, stream, telemetry
from benchmarks.contract import Case, Peer

OURS: Final = "ours"

CASES: Final[Mapping[str, Case]] = {
    case.name: case
    for case in (bus.CASE, sessions.CASE, stream.CASE, pool.CASE, routing.CASE, codec.CASE, telemetry.CASE)
}

# Its releases before this bound include two that stole credentials.
_LITELLM: Final = ("litellm[proxy]>=1.106", "mcp")

PEERS: Final[Mapping[str, Peer]] = {
    peer.name: peer
    for peer in (
        Peer("echo", "framed msgpack over bare sockets, the limit of any bus on them"),
        Peer("ray_call", "one Ray actor call per event", ("ray",), "pip install 'ray[default]'"),
        Peer("ray_batched", "Ray actor calls, batched by hand", ("ray",), "pip install 'ray[default]'"),
        Peer("ray_stream", "a Ray streaming generator per stream", ("ray",), "pip install 'ray[default]'"),
        Peer("ray_actor", "one bare Ray actor per session", ("ray",), "pip install 'ray[default]'"),
        Peer("bubus", "the in-process event bus bubus", ("bubus",), "pip install bubus"),
        Peer(
            "otel_sdk",
            "OpenTelemetry's SDK where the work is done",
            ("opentelemetry.sdk",),
            "pip install opentelemetry-sdk",
        ),
        Peer("random_choice", "any actor of the pool"),
        Peer("least_loaded", "the actor with the fewest calls, by counts that are told now and then"),
        Peer("sdk", "the vendors' bare SDKs", ("openai", "anthropic", "google.genai"), "pip install openai"),
        Peer("litellm", "LiteLLM", environment=_LITELLM),
        Peer("litellm_router", "LiteLLM's Router, in the process that asks", environment=_LITELLM),
        Peer("litellm_proxy", "LiteLLM's proxy, a process beside it", environment=_LITELLM),
        Peer(
            "pydantic_ai",
            "pydantic-ai's models without an agent",
            environment=("pydantic-ai-slim[openai,anthropic,google]>=2.68",),
        ),
        Peer("any_llm", "any-llm", environment=("any-llm-sdk[openai,anthropic,gemini]>=1.40",)),
    )
}


# Their peers are measured in other cases too, and have a file for each.
_FILE_EACH: Final = frozenset({"codec", "pool"})


def module_of(contender: str, case: str) -> str:
    """The module that holds a contender's `stage`."""
    if contender == OURS:
        return f"benchmarks.ours.{case}"
    return f"benchmarks.peers.{contender}_{case}" if case in _FILE_EACH else f"benchmarks.peers.{contender}"
