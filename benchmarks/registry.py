"""The cases, one a file, and the peers that stand beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks import bus, stream
from benchmarks.contract import Case, Peer

OURS: Final = "ours"

CASES: Final[Mapping[str, Case]] = {case.name: case for case in (bus.CASE, stream.CASE)}

PEERS: Final[Mapping[str, Peer]] = {
    peer.name: peer
    for peer in (
        Peer("echo", "framed msgpack over bare sockets, the limit of any bus on them"),
        Peer("ray_call", "one Ray actor call per event", ("ray",), "pip install 'ray[default]'"),
        Peer("ray_batched", "Ray actor calls, batched by hand", ("ray",), "pip install 'ray[default]'"),
        Peer("ray_stream", "a Ray streaming generator per stream", ("ray",), "pip install 'ray[default]'"),
        Peer("bubus", "the in-process event bus bubus", ("bubus",), "pip install bubus"),
        Peer("sdk", "the bare OpenAI SDK", ("openai",), "pip install openai"),
    )
}


def module_of(contender: str, case: str) -> str:
    """The module that holds a contender's `stage`."""
    return f"benchmarks.ours.{case}" if contender == OURS else f"benchmarks.peers.{contender}"
