"""What to do about a call that broke: begin anew, have it gone on with, or send it without old thinking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.contracts import LLMRequest, Message, TextPart, ThinkingPart
from llmgine.providers.errors import ErrorPhase, ProviderError

MOST_RESTARTS = 2
_GO_ON = (
    "Your last message broke off in the middle. Go on exactly where it stopped: say nothing before that, "
    "repeat nothing of it, and do not mention the interruption."
)


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after `wait` seconds; `goes_on` keeps what had arrived, else it is taken back."""

    wait: float
    goes_on: bool


def next_try(
    request: LLMRequest,
    error: ProviderError,
    *,
    restarts: int,
    left: float,
    may_go_on: bool,
    backoff: Callable[[int], float],
) -> Again | None:
    """How a broken call goes on after so many restarts, with so many seconds `left`; None: not at all.

    Before the first token a failure is the caller's to retry, who may know a better place; once a call
    has been restarted all of its failures are ours.
    """
    if request.mid_stream == "fail" or not error.retryable or restarts >= MOST_RESTARTS:
        return None
    if error.phase is not ErrorPhase.MID_STREAM and restarts == 0:
        return None
    wait = backoff(restarts) if error.retry_after is None else error.retry_after
    if wait >= left:
        return None
    return Again(wait, goes_on=may_go_on and request.mid_stream == "continue" and request.output is None)


def continued(request: LLMRequest, said: tuple[TextPart, ...], profile: ModelProfile) -> LLMRequest:
    """The request with the answer so far, for the model to go on with it."""
    begun = Message(role="assistant", parts=said)
    if not prefills(request, profile):
        return _with_messages(request, (*request.messages, begun, Message.user(_GO_ON)))
    # No provider takes an answer to go on with that ends in white space.
    last = said[-1].model_copy(update={"text": said[-1].text.rstrip()})
    begun = Message(role="assistant", parts=(*said[:-1], last) if last.text else said[:-1])
    return _with_messages(request, (*request.messages, begun))


def prefills(request: LLMRequest, profile: ModelProfile) -> bool:
    """Whether the model goes on with an answer that was begun for it; one that is told to think does not."""
    thinks = request.reasoning is not None and request.reasoning.effort != "none"
    return profile.prefill and not thinks


def is_sealed(request: LLMRequest) -> bool:
    """Whether the conversation holds anything that only its maker can check."""
    for message in request.messages:
        if message.role == "assistant":
            for part in message.parts:
                if part.signature is not None or (part.type == "thinking" and _is_opaque(part)):
                    return True
    return False


def unsealed(request: LLMRequest) -> LLMRequest:
    """The request without the thinking and the signatures of its history."""
    messages = []
    for message in request.messages:
        kept = [_bare(part) for part in message.parts if not isinstance(part, ThinkingPart)]
        if kept:
            messages.append(message.model_copy(update={"parts": tuple(kept)}))
    return _with_messages(request, tuple(messages))


def _is_opaque(part: ThinkingPart) -> bool:
    return part.redacted is not None or part.encrypted is not None


def _bare(part: Any) -> Any:
    return part if part.signature is None else part.model_copy(update={"signature": None})


def _with_messages(request: LLMRequest, messages: tuple[Message, ...]) -> LLMRequest:
    return request.model_copy(update={"messages": messages})
