"""Tokens as Chat Completions servers count them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmgine.providers.codecs.assembly import count
from llmgine.providers.contracts import Usage, UsageSource

_READS = (("prompt_tokens_details", "cached_tokens"), ("prompt_cache_hit_tokens",), ("cached_tokens",))


def usage_of(raw: Mapping[str, Any], source: UsageSource) -> Usage:
    """The figures of a `usage` object, whatever the server's convention."""
    prompt, completion = count(raw, "prompt_tokens"), count(raw, "completion_tokens")
    reasoning = count(raw, "completion_tokens_details", "reasoning_tokens")
    # Some servers count reasoning beside the completion; the total tells.
    if (
        prompt is not None
        and completion is not None
        and reasoning
        and count(raw, "total_tokens") == prompt + completion + reasoning
    ):
        completion += reasoning
    cached = [tokens for path in _READS if (tokens := count(raw, *path)) is not None]
    return Usage.reported(
        source,
        dict(raw),
        input_tokens=prompt,
        output_tokens=completion,
        cache_read_tokens=cached[0] if cached else None,
        cache_write_tokens=count(raw, "prompt_tokens_details", "cache_write_tokens"),
        reasoning_tokens=reasoning,
    )
