"""What a caller and a provider actor say to each other on a stream of kind "llm.stream".

The header is `[request, session, trace]`: the request as JSON bytes, the trace context as its wire
form or None. The first message back is a verdict; after `accepted` each message is one stream
event, the last of them `Done` or `Failed`. Giving up the stream cancels the call at the provider.
"""

from __future__ import annotations

from typing import Any

from llmgine.providers import (
    InvalidRequest,
    LlmgineError,
    MissingKey,
    ModelNotInstalled,
    ProviderError,
    UnknownModel,
)

LLM_STREAM = "llm.stream"

ACCEPTED = "accepted"  # [ACCEPTED, in flight]
REFUSED = "refused"  # [REFUSED, in flight]: full or draining, another actor may take it
FAILED = "failed"  # [FAILED, name of the error's class, its text]: no actor of this pool can

_FAILURES: dict[str, type[LlmgineError]] = {
    kind.__name__: kind for kind in (InvalidRequest, MissingKey, ModelNotInstalled, UnknownModel)
}


def failure_to_wire(error: LlmgineError) -> list[Any]:
    if isinstance(error, ProviderError):
        return [FAILED, "ProviderError", error.to_wire()]
    return [FAILED, type(error).__name__, str(error)]


def failure_from_wire(name: str, body: Any) -> LlmgineError:
    """The error as its own class; as a plain `LlmgineError` where the class is not a known one."""
    if name == "ProviderError":
        return ProviderError.from_wire(body)
    return _FAILURES.get(name, LlmgineError)(body)
