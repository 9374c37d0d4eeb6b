"""Many texts as several calls."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.contracts import Adjustment, EmbeddingRequest, EmbeddingResponse, Usage, UsageSource
from llmgine.providers.embeddings import batches, joined
from llmgine.providers.errors import ProviderError

NOTE = Adjustment(field="purpose", action="dropped", reason="why")


def asked(*inputs: str) -> EmbeddingRequest:
    return EmbeddingRequest(model="p/m", inputs=inputs, dimensions=2)


def answered(*vectors: tuple[float, ...], tokens: int = 1, cost: str | None = "0.5") -> EmbeddingResponse:
    return EmbeddingResponse(
        vectors=vectors,
        usage=Usage(input_tokens=tokens, output_tokens=0, source=UsageSource.REPORTED),
        cost=None if cost is None else Decimal(cost),
        model="m",
        provider="p",
        adjustments=(NOTE,),
    )


@given(st.lists(st.text(max_size=9), min_size=1, max_size=30), st.integers(1, 7), st.integers(1, 20))
def test_every_text_goes_once_and_in_order(texts: list[str], most: int, characters: int) -> None:
    """The parts hold all texts in their order; none is too large, unless a single text is."""
    parts = batches(asked(*texts), most, characters)
    assert [text for part in parts for text in part.inputs] == texts
    for part in parts:
        assert len(part.inputs) <= most
        assert len(part.inputs) == 1 or sum(map(len, part.inputs)) <= characters
        assert part.dimensions == 2


def test_a_small_request_is_sent_as_it_is() -> None:
    """What fits into one call is not copied."""
    request = asked("a", "b")
    assert batches(request, 2) == [request]
    assert batches(request, 2)[0] is request


def test_answers_are_joined() -> None:
    """Vectors stand in the order of the calls, usage and cost are added up, a note is told once."""
    whole = joined([answered((1.0,), (2.0,), tokens=3), answered((3.0,), tokens=4)])
    assert whole.vectors == ((1.0,), (2.0,), (3.0,))
    assert (whole.usage.input_tokens, whole.cost) == (7, Decimal(1))
    assert whole.adjustments == (NOTE,)


def test_an_unknown_cost_makes_the_whole_unknown() -> None:
    """A sum without one of its parts would be wrong."""
    assert joined([answered((1.0,)), answered((2.0,), cost=None)]).cost is None


def test_vectors_of_different_lengths_are_refused() -> None:
    """Answers of two models can be no answer together."""
    with pytest.raises(ProviderError, match="different lengths"):
        joined([answered((1.0,)), answered((1.0, 2.0))])
