"""What an answer's headers say is left of a provider's limits."""

from __future__ import annotations

from collections.abc import Mapping

from llmgine.providers.contracts import RateLimit


def rate_limits(headers: Mapping[str, str]) -> tuple[RateLimit, ...]:
    """The limits that the headers name, none where they name none."""
    return ()
