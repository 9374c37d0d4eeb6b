"""The case `sessions`: conversations opened, used, put to sleep and woken, with every turn on the disk."""

from __future__ import annotations

from typing import Final

from benchmarks.contract import Case, Pair

CASE: Final = Case(
    name="sessions",
    summary="conversations opened, used, put to sleep and woken",
    figures=(
        "open_sessions",
        "mb_per_1000_sessions",
        "activation_ms_p50",
        "activation_ms_p99",
        "dedicated_activation_ms_p99",
        "cold_ms_p50",
        "wake_ms_p99",
        "durable_turns_per_s",
        "fsync_us",
    ),
    peers=("ray_actor",),
    pairs=(
        Pair("activation_ms_p50", "ray_actor", "cold_ms_p50"),
        Pair("cold_ms_p50", "ray_actor", "cold_ms_p50"),
        Pair("durable_turns_per_s", "ray_actor", "turns_per_s"),
    ),
    caveats=(
        "the model is scripted and answers at once: what is measured is the runtime",
        "open_sessions of ours are pooled, each has had a turn, and those that are idle sleep in the store;"
        " all stay open over the rounds, and some are woken in each and must know what they were told",
        "mb_per_1000_sessions is what all processes of the runtime grew by, driver and store included",
        "activation is opening a session until it can be asked: in an actor that stands ready, of a runtime"
        " whose other sessions sleep (activation_ms, pooled, and dedicated_activation_ms), or where none is"
        " kept ready (cold_ms)",
        "wake_ms is a whole turn of a session that slept, its history read from the store",
        "a turn is on the disk before its reply is told; fsync_us is the median time of one page's write to"
        " that disk. ray_actor keeps its turns in memory and has no model, no bus, no limits",
    ),
    timeout=900.0,
)
