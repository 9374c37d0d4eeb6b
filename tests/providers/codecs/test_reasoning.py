"""Levels of effort and numbers of tokens, each in terms of the other."""

from __future__ import annotations

from typing import get_args

import pytest

from llmgine.providers.codecs.reasoning import budget_for, effort_for, nearest_effort
from llmgine.providers.contracts import Effort

LEVELS: tuple[Effort, ...] = get_args(Effort)


@pytest.mark.parametrize(
    ("effort", "known", "nearest"),
    [
        ("high", (), "high"),
        ("high", ("low", "high"), "high"),
        ("medium", ("low", "high"), "low"),
        ("minimal", ("none", "low"), "low"),
        ("none", ("low", "high"), "low"),
        ("max", ("low", "medium", "high"), "high"),
        ("low", ("none",), "none"),
    ],
)
def test_the_nearest_level(effort: Effort, known: tuple[Effort, ...], nearest: Effort) -> None:
    """Of two the lower one, and no thinking only where it is asked for or nothing else is known."""
    assert nearest_effort(effort, known) == nearest


def test_levels_and_tokens_agree() -> None:
    """More effort is more tokens, and the tokens of a level lead back to it."""
    budgets = [budget_for(level) for level in LEVELS]
    assert budgets == sorted(set(budgets))
    assert tuple(effort_for(budget) for budget in budgets) == LEVELS
    assert (effort_for(1), effort_for(10**9)) == ("minimal", "max")
