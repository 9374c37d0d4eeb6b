"""What a caller and a provider actor say to each other about batches; the first message back is a verdict.

"llm.batch.submit", header `[model, key, tag]`: the actor says how many requests a batch takes, and under
which key; the caller sends them, `[custom id, request]`, and that these were all. The actor tells of each
that no batch can hold, then how many it has seen before the batch was full, and submits those that it holds
when the caller has said that it may: what a batch holds can so be written down before there is one.

"llm.batch.ask", header `[verb, model, key, arguments]`, has one answer. "llm.batch.results", header
`[model, key, id, like]`, has one message for each result. Requests, statuses and responses are JSON bytes.
"""

from __future__ import annotations

from typing import Any, Final

from llmgine.actors.pools import wire
from llmgine.providers import LLMResponse, ProviderError
from llmgine.providers.contracts import BatchStatus
from llmgine.providers.provider import BatchResult

SUBMIT: Final = "llm.batch.submit"
ASK: Final = "llm.batch.ask"
RESULTS: Final = "llm.batch.results"

TAKES: Final = "takes"  # [TAKES, how many requests a batch holds at most, name of the key that it is for]
REQUEST: Final = "request"  # [REQUEST, custom id, request]
ALL: Final = "all"  # [ALL]: these were the requests, or the results
SEEN: Final = "seen"  # [SEEN, how many of the requests are in the batch or were refused, the first of them]
GO: Final = "go"  # [GO]: submit it
STATUS: Final = "status"  # [STATUS, status or None]
RESPONSE: Final = "response"  # [RESPONSE, custom id, response]
ERROR: Final = "error"  # [ERROR, custom id, the error's wire form]


def status_to_wire(status: BatchStatus | None) -> list[Any]:
    return [STATUS, None if status is None else status.model_dump_json().encode()]


def status_from_wire(message: list[Any]) -> BatchStatus | None:
    """The status; raises the failure that came in its place."""
    kind, *rest = message
    if kind == STATUS:
        return None if rest[0] is None else BatchStatus.model_validate_json(rest[0])
    if kind == wire.FAILED:
        raise wire.failure_from_wire(*rest)
    raise ValueError("it is no status of a batch")


def result_to_wire(result: BatchResult) -> list[Any]:
    outcome = result.outcome
    if isinstance(outcome, LLMResponse):
        return [RESPONSE, result.custom_id, outcome.model_dump_json().encode()]
    return [ERROR, result.custom_id, outcome.to_wire()]


def result_from_wire(message: list[Any]) -> BatchResult | None:
    """The result, None at the end of them; raises the failure that broke them off."""
    kind, *rest = message
    if kind == ALL:
        return None
    if kind == RESPONSE:
        return BatchResult(rest[0], LLMResponse.model_validate_json(rest[1]))
    if kind == ERROR:
        return BatchResult(rest[0], ProviderError.from_wire(rest[1]))
    if kind == wire.FAILED:
        raise wire.failure_from_wire(*rest)
    raise ValueError("it is no result of a batch")
