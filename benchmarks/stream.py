"""The case `stream`: chunks of model answers from an HTTP server to the driver."""

from __future__ import annotations

from typing import Final

from benchmarks.contract import Case, Pair

CASE: Final = Case(
    name="stream",
    summary="chunks of streamed model answers on their way to the driver",
    figures=(
        "chunks_per_s",
        "streams_sustained",
        "dedicated_added_ttft_ms_p50",
        "cancel_ms_p50",
        "cancel_ms_p99",
    ),
    peers=("sdk", "ray_stream"),
    pairs=(Pair("dedicated_added_ttft_ms_p50", "ray_stream", "added_ttft_ms_p50"),),
    caveats=(
        "the server is a process on this machine that sends prepared bytes; it takes CPU from all alike",
        "chunks_per_s and streams_sustained of ours go through one provider actor on Ray to the driver,"
        " without a session; sdk has no process between: it reads in the driver itself",
        "dedicated_added_ttft_ms_p50 is what a dedicated session and the provider actor add to the first"
        " chunk, against the bare SDK in the same process and in turns with it",
        "cancel_ms is from closing a running stream at its reader until the server sees the connection"
        " close, with one stream at a time; ray_stream is told by ray.cancel",
        "streams are sustained where no chunk of any arrives over 100 ms after it was due at the server,"
        " in one of two tries, for a stall of the machine is nobody's figure",
    ),
)
