"""The case `bus`: events from a publisher through a router to handlers."""

from __future__ import annotations

from typing import Final

from benchmarks.contract import Case, Pair

CASE: Final = Case(
    name="bus",
    summary="events from a publisher through a router to a handler",
    figures=(
        "events_per_s",
        "durable_events_per_s",
        "fsync_us",
        "p50_us",
        "p99_us",
        "local_events_per_s",
        "local_p99_us",
        "fanout_10_events_per_s",
        "sessions_1000_events_per_s",
    ),
    peers=("echo", "ray_call", "ray_batched", "bubus"),
    pairs=(Pair("events_per_s", "echo", "messages_per_s"),),
    caveats=(
        "ours and echo cross three processes over unix sockets of one machine; ray_call and ray_batched"
        " cross two; bubus crosses none, and its figures stand beside all of ours",
        "every event of ours is checked to be handled exactly once and in order per session while it is"
        " measured; so it is of the peers, except bubus, which promises order but no delivery",
        "durable events are on the disk before their publish returns, and taken from it when handled;"
        " fsync_us is the median time of one page's write to that disk, before the first round",
        "fanout_10 counts published events, each of which ten handlers get",
        "latencies are from publish to handler at 1,000 events/s, in one process for local_ and bubus;"
        " ray_batched waits for a batch, so its latency is its price",
    ),
)
