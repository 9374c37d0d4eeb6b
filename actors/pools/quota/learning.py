"""What a provider's own words say of its limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from llmgine.actors.pools.quota.meters import DAY, MINUTE, Limit, Meter, Of
from llmgine.providers.contracts import RateLimit

_KNOWN: Final[dict[str, Of]] = {
    "requests": "requests",
    "tokens": "tokens",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
}
_WINDOWS: Final = (MINUTE, 3600.0, DAY)
# A window is no shorter than the time until it begins anew, but for what clocks and the way make of it.
_SLACK = 1.1


class Lesson(NamedTuple):
    """A limit, and what is left of it."""

    meter: Meter
    limit: Limit
    remaining: float | None
    resets_in: float | None


def lessons(key: str, group: str, told: Iterable[RateLimit]) -> Iterator[Lesson]:
    """The limits that are known by name and number. Without a word about its window a limit holds for a
    minute, or the shortest usual span that fits with when it begins anew.
    """
    for one in told:
        of = _KNOWN.get(one.of)
        if of is None or not one.limit:
            continue
        window = one.window or next(
            (span for span in _WINDOWS if (one.resets_in or 0.0) <= span * _SLACK), DAY
        )
        remaining = None if one.remaining is None else float(one.remaining)
        limit = Limit(float(one.limit), window, source="provider")
        yield Lesson(Meter(key, group, of), limit, remaining, one.resets_in)
