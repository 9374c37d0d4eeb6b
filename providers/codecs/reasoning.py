"""Levels of effort and numbers of tokens for thinking, each in terms of the other."""

from __future__ import annotations

from collections.abc import Sequence

from llmgine.providers.contracts import Effort

_ORDER: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_TOKENS: dict[Effort, int] = {
    "none": 0,
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 65_536,
}


def nearest_effort(effort: Effort, known: Sequence[Effort]) -> Effort:
    """The level out of `known` that is nearest, of two the lower one.

    It is no thinking at all only where that is asked for, or nothing else is known.
    """
    if not known or effort in known:
        return effort
    asked = _ORDER.index(effort)
    thinking: list[Effort] = [one for one in known if one != "none"]
    return min(thinking or known, key=lambda one: (abs(_ORDER.index(one) - asked), _ORDER.index(one)))


def effort_for(budget: int) -> Effort:
    """The lowest level that is given so many tokens, else the highest."""
    return next((effort for effort in _ORDER if _TOKENS[effort] >= budget), "max")


def budget_for(effort: Effort) -> int:
    """The number of tokens that goes with a level."""
    return _TOKENS[effort]
