"""What a caller and a provider actor say to each other on streams of kind "llm.stream" and "llm.embed".

The header is `[request, session, trace, ask]`: the request in pieces, or one for embeddings as JSON bytes,
the trace context as its wire form or None, and how this try shall be served. The first message back is a
verdict. After `accepted` each message of an "llm.stream" is one stream event, the last of them `Done` or
`Failed`; an "llm.embed" sends its vectors packed, in as many messages as they take, then the rest of the
response, or `failed`. Giving up the stream cancels the call at the provider.

An accepted call may wait in the actor. What then fails in the phase `request` was not sent anywhere, so
that another actor may take it as if this one had refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmgine.providers import (
    EmbeddingResponse,
    InvalidRequest,
    LlmgineError,
    MissingKey,
    ModelNotInstalled,
    ProviderError,
    UnknownModel,
)
from llmgine.providers.contracts import Priority
from llmgine.providers.embeddings import packed, unpacked

LLM_STREAM = "llm.stream"
LLM_EMBED = "llm.embed"

# [ACCEPTED, calls that it carries, waiting ones too], and True where another's call is the answer
ACCEPTED = "accepted"
REFUSED = "refused"  # [REFUSED, calls that it carries, seconds or None, reason]: another actor may take it
FAILED = "failed"  # [FAILED, name of the error's class, its text or fields]: no other actor can do better
VECTORS = "vectors"  # [VECTORS, code of the numbers, length of a vector, bytes]
EMBEDDED = "embedded"  # [EMBEDDED, the response as JSON bytes, without its vectors]

# Reasons of a refusal. All but DRAINING come with the seconds after which there may be room.
FULL = "full"  # no place, and no room to wait for one
BUSY = "busy"  # no place, and the call would not wait
SHED = "shed"  # it had waited, and had to go for a call that is worth more
DRAINING = "draining"  # the actor takes nothing more

_FAILURES: dict[str, type[LlmgineError]] = {
    kind.__name__: kind for kind in (InvalidRequest, MissingKey, ModelNotInstalled, UnknownModel)
}


@dataclass(frozen=True, slots=True)
class Ask:
    """How one try at a call shall be served.

    `wait` bounds the seconds for which it may wait in the actor before its first token: for a place, a
    key or quota. With 0 it is refused where it cannot run at once; None is until its deadline. `cache`
    names equal requests whose answer may be shared; None where this one's may not. Where it does not
    `queue` it is refused if no place is free, for another actor may have one; else it waits for its turn.
    """

    priority: Priority = "interactive"
    wait: float | None = None
    cache: bytes | None = None
    queue: bool = True

    def to_wire(self) -> list[Any]:
        return [self.priority, self.wait, self.cache, self.queue]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Ask:
        return cls(*wire)


def answer_key(ask: list[Any]) -> bytes | None:
    """`Ask.cache` of an ask in wire form: most calls have none, and are let through for it."""
    key: bytes | None = ask[2]
    return key


def failure_to_wire(error: LlmgineError) -> list[Any]:
    if isinstance(error, ProviderError):
        return [FAILED, "ProviderError", error.to_wire()]
    return [FAILED, type(error).__name__, str(error)]


def failure_from_wire(name: str, body: Any) -> LlmgineError:
    """The error as its own class; as a plain `LlmgineError` where the class is not a known one."""
    if name == "ProviderError":
        return ProviderError.from_wire(body)
    return _FAILURES.get(name, LlmgineError)(body)


def embedding_to_wire(response: EmbeddingResponse) -> Iterator[list[Any]]:
    """The messages that `EmbeddingReader` reads back."""
    for code, length, data in packed(response.vectors):
        yield [VECTORS, code, length, data]
    yield [EMBEDDED, response.model_copy(update={"vectors": ()}).model_dump_json().encode()]


class EmbeddingReader:
    """Puts the messages of an embedding call together."""

    def __init__(self) -> None:
        self._vectors: list[tuple[float, ...]] = []

    def read(self, message: list[Any]) -> EmbeddingResponse | None:
        """The response at the last message, None before it; raises what a `failed` says."""
        kind, *rest = message
        if kind == VECTORS:
            self._vectors += unpacked(*rest)
            return None
        if kind == FAILED:
            raise failure_from_wire(*rest)
        # The numbers were packed by our own hand; only the rest needs to be looked at.
        response = EmbeddingResponse.model_validate_json(rest[0])
        return response.model_copy(update={"vectors": tuple(self._vectors)})
