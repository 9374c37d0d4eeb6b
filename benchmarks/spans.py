"""What one span costs, measured the same way for ours and the peers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.load import NS_PER_US

# As much as a model call says of itself.
ATTRIBUTES: Final[dict[str, Any]] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.request.stream": True,
    "gen_ai.request.temperature": 0.7,
    "gen_ai.usage.input_tokens": 120,
    "gen_ai.usage.output_tokens": 30,
    "gen_ai.response.time_to_first_chunk": 0.25,
}


def us_per_span(record: Callable[[], None], count: int) -> float:
    """Microseconds of CPU that one call of `record` takes."""
    begun = time.process_time_ns()
    for _ in range(count):
        record()
    return (time.process_time_ns() - begun) / count / NS_PER_US
