"""The case `stream`: chunks of model answers from an HTTP server to the driver."""

from __future__ import annotations

from typing import Final

from benchmarks.contract import Case

CASE: Final = Case(
    name="stream",
    summary="chunks of streamed model answers on their way to the driver",
    figures=("chunks_per_s", "streams_sustained", "dedicated_added_ttft_ms_p50"),
    peers=("sdk", "ray_stream"),
    caveats=(
        "the server is a process on this machine that sends prepared bytes; it takes CPU from all contenders alike",
        "chunks_per_s and streams_sustained of ours go through one provider actor on Ray to the driver, without"
        " sessions; sdk has no process between: it reads in the driver itself",
        "dedicated_added_ttft_ms_p50 is what a dedicated session and the provider actor add to the first chunk,"
        " against the bare SDK in the same process and in turns with it",
        "a stream is sustained while no chunk of any comes 100 ms after the time at which it was due at the server",
    ),
)
