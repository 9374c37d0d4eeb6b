"""The case `codec`: the bytes of a streamed answer into events, on each wire."""

from __future__ import annotations

from typing import Final

from benchmarks.contract import Case

CASE: Final = Case(
    name="codec",
    summary="the CPU that a chunk of a streamed answer costs on its way from bytes to an event",
    figures=(
        "us_per_chunk_openai_chat",
        "us_per_chunk_openai_responses",
        "us_per_chunk_anthropic",
        "us_per_chunk_gemini",
    ),
    peers=("sdk", "litellm", "pydantic_ai", "any_llm"),
    caveats=(
        "text answers of 2,000 chunks, one frame per read, out of a transport in the process: no network,"
        " no server and no sending of the request is in it beyond what one call in 2,000 chunks weighs",
        "ours is the whole exchange of a provider, its time limits included: splitter, decoder, events;"
        " it does not hold the journey of an event to another process",
        "each peer gives out what it streams to its user: the SDKs their own event models, the others"
        " theirs on top of an SDK or of their own HTTP client; the text must come out the same",
        "a chunk of Anthropic's holds some words and one of Gemini's some lines, so the wires cannot be"
        " compared with each other by these figures",
        "litellm, pydantic_ai and any_llm live in environments of their own under build/peers, whose"
        " versions of the SDKs are those that they ask for",
    ),
)
