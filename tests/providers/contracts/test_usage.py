"""Tokens: a part is never larger than its whole, and nothing that a provider says can break that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llmgine.providers.contracts import Usage, UsageSource

NAMES = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
COUNTS = st.fixed_dictionaries({name: st.none() | st.integers(0, 100) for name in NAMES})


@pytest.mark.parametrize(
    "counts",
    [
        {"input_tokens": 5, "cache_read_tokens": 6},
        {"input_tokens": 5, "cache_read_tokens": 3, "cache_write_tokens": 3},
        {"output_tokens": 5, "reasoning_tokens": 6},
        {"input_tokens": -1},
    ],
)
def test_what_cannot_be_is_refused(counts: dict[str, int]) -> None:
    """Cached tokens are part of the input, reasoning is part of the output, and no count is negative."""
    with pytest.raises(ValidationError):
        Usage(**counts)


@given(COUNTS)
def test_what_a_provider_reports_is_always_a_usage(counts: dict[str, int | None]) -> None:
    """A figure that does not fit its whole becomes unknown; the whole, and the provider's record, stay."""
    usage = Usage.reported(UsageSource.REPORTED, {"said": 1}, **counts)
    assert usage.input_tokens == counts["input_tokens"]
    assert usage.output_tokens == counts["output_tokens"]
    assert usage.raw == {"said": 1}
    if usage.input_tokens is not None:
        assert (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0) <= usage.input_tokens


@given(COUNTS, COUNTS)
def test_sums_are_usages(mine: dict[str, int | None], theirs: dict[str, int | None]) -> None:
    """Two usages have a sum, whichever figures each of them lacks."""
    first = Usage.reported(UsageSource.REPORTED, {}, **mine)
    both = first + Usage.reported(UsageSource.REPORTED, {}, **theirs)
    known = [count for count in (mine["input_tokens"], theirs["input_tokens"]) if count is not None]
    assert both.input_tokens == (sum(known) if known else None)
    assert both.source is UsageSource.REPORTED


def test_the_total_is_known_with_both_sides() -> None:
    """A total is told only where input and output are."""
    assert Usage(input_tokens=2, output_tokens=3).total_tokens == 5
    assert Usage(input_tokens=2).total_tokens is None


def test_unlike_sources_make_a_partial_sum() -> None:
    """A sum is reported only where all of it was."""
    reported = Usage(input_tokens=1, source=UsageSource.REPORTED)
    assert (reported + Usage()).source is UsageSource.PARTIAL
