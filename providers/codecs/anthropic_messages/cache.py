"""Where the Messages protocol is told that a beginning of the prompt is worth keeping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmgine.providers.codecs.encoding import Encoding

Block = dict[str, Any]

_MOST = 4
_UNMARKED = frozenset({"thinking", "redacted_thinking"})


def mark_breakpoints(
    encoding: Encoding,
    tools: list[Block],
    system: list[Block],
    leading: int,
    messages: Mapping[int, list[Block]],
) -> None:
    """Marks the last block of each beginning that the request's cache hints name.

    `messages` are the blocks that each message became, by its number; the first `leading` ones are part of
    the system prompt. What ends with something that was not sent ends with what comes before it.
    """
    cache = encoding.request.cache
    if cache is None:
        return
    for name in ("key", "content"):
        if getattr(cache, name) is not None:
            encoding.dropped(f"cache.{name}", "the Messages protocol has no place for it")
    count = len(encoding.request.messages)
    ends = [_last(tools), _last(system), *(_last(messages.get(number, [])) for number in range(count))]
    wanted: set[int] = set()
    for number, breakpoint_ in enumerate(cache.breakpoints):
        place = _place(breakpoint_, leading, count)
        if place is None:
            encoding.dropped(f"cache.breakpoints[{number}]", f"there is no message {breakpoint_}")
            continue
        while place > 0 and ends[place] is None:
            place -= 1
        wanted.add(place)
    marked = [block for place in sorted(wanted) if (block := ends[place]) is not None]
    if len(marked) > _MOST:
        encoding.changed("cache.breakpoints", f"of more than {_MOST} the last ones are sent")
    control = _control(encoding, cache.ttl)
    for block in marked[-_MOST:]:
        block["cache_control"] = control


def _place(breakpoint_: str | int, leading: int, count: int) -> int | None:
    if isinstance(breakpoint_, str):
        return ("tools", "system").index(breakpoint_)
    number = breakpoint_ + count if breakpoint_ < 0 else breakpoint_
    if not 0 <= number < count:
        return None
    return 1 if number < leading else 2 + number


def _last(blocks: list[Block]) -> Block | None:
    return next((block for block in reversed(blocks) if block.get("type") not in _UNMARKED), None)


def _control(encoding: Encoding, ttl: float | None) -> dict[str, str]:
    """The shortest time on offer that is long enough, else the longest."""
    if ttl is None:
        return {"type": "ephemeral"}
    seconds, name = (300, "5m") if ttl <= 300 else (3600, "1h")
    if ttl != seconds:
        encoding.changed("cache.ttl", f"it is kept for {seconds} s: the protocol knows 300 s and 3600 s")
    return {"type": "ephemeral", "ttl": name}
