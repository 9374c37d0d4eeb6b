"""Many texts as several calls, and their answers as one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import reduce
from operator import add

from llmgine.providers.contracts import EmbeddingRequest, EmbeddingResponse
from llmgine.providers.embeddings.answers import same_length

# What a call may hold in all: OpenAI stops at 300,000 tokens, of which a text has one in two characters
# at the densest that is common.
MOST_CHARACTERS = 600_000


def batches(
    request: EmbeddingRequest, most_inputs: int, most_characters: int = MOST_CHARACTERS
) -> list[EmbeddingRequest]:
    """The request in parts that one call takes each, in order; a text is never cut."""
    parts: list[list[str]] = [[]]
    held = 0
    for text in request.inputs:
        if parts[-1] and (len(parts[-1]) == most_inputs or held + len(text) > most_characters):
            parts.append([])
            held = 0
        parts[-1].append(text)
        held += len(text)
    if len(parts) == 1:
        return [request]
    return [request.model_copy(update={"inputs": tuple(part)}) for part in parts]


def joined(responses: Sequence[EmbeddingResponse]) -> EmbeddingResponse:
    """The answers of a request's parts as one: usage and cost added up, the cost unknown where one is."""
    if len(responses) == 1:
        return responses[0]
    costs = [one.cost for one in responses if one.cost is not None]
    return responses[-1].model_copy(
        update={
            "vectors": same_length([vector for one in responses for vector in one.vectors]),
            "usage": reduce(add, [one.usage for one in responses]),
            "cost": sum(costs, Decimal(0)) if len(costs) == len(responses) else None,
            "adjustments": tuple(dict.fromkeys(a for one in responses for a in one.adjustments)),
        }
    )
