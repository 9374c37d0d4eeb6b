"""The case `pool`: whole model calls through sessions and pools, or what would stand there instead."""

from __future__ import annotations

from typing import Final

from benchmarks.contract import Case, Pair

CASE: Final = Case(
    name="pool",
    summary="model calls through a session and a pool: rate, CPU, and what they add to a call",
    figures=(
        "requests_per_s",
        "cpu_ms_per_request",
        "added_ms_p50",
        "added_ms_p99",
        "complete_requests_per_s",
        "complete_cpu_ms_per_request",
        "complete_added_ms_p50",
        "complete_added_ms_p99",
    ),
    peers=("sdk", "litellm_router", "litellm_proxy"),
    pairs=tuple(
        Pair(f"complete_{figure}", peer, figure)
        for peer in ("sdk", "litellm_router", "litellm_proxy")
        for figure in ("requests_per_s", "cpu_ms_per_request", "added_ms_p50")
        if peer != "sdk" or figure != "added_ms_p50"
    ),
    caveats=(
        "the server is a process on this machine that answers at once; its CPU is taken from all alike and"
        " is not in cpu_ms_per_request, which is that of all other processes, Ray's own included",
        "ours is session.ask of pooled sessions, 32 at once: the driver, a process of sessions, one provider"
        " actor and the store, in which each turn is on the disk before its reply is told; complete_ is"
        " runtime.models.complete, without session or store",
        "sdk and litellm_router are in the process that asks, so they share nothing with other processes;"
        " litellm_proxy is one process beside it, asked by the SDK",
        "added_ms is against the bare SDK in the same process and in turns with it, one call at a time",
        "ours streams from the server and puts the answer together, the others ask for it whole",
        "litellm lives in an environment of its own under build/peers, with the version of the SDK that it"
        " asks for",
    ),
)
