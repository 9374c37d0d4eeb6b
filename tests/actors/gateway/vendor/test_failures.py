"""Errors as each vendor answers them."""

from __future__ import annotations

import pytest

from llmgine.actors.gateway.errors import NotReady, TooManyRequests, Unauthorised
from llmgine.actors.gateway.vendor.failures import failure_of
from llmgine.actors.gateway.vendor.reading import RequestRefused
from llmgine.actors.sessions.errors import (
    ContextError,
    CostLimit,
    EngineFailed,
    OutcomeUnknown,
    RuntimeOverloaded,
    SessionBusy,
    SessionClosed,
    SessionError,
    SessionLost,
    SessionOverloaded,
    TurnDeadline,
    TurnError,
    WouldDeadlock,
)
from llmgine.actors.store import StoreUnavailable
from llmgine.providers.errors import (
    ErrorKind,
    LlmgineError,
    MissingKey,
    OutputInvalid,
    ProviderError,
    UnknownModel,
)


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_has_a_status_and_a_type(kind: ErrorKind) -> None:
    """An error of the provider's is an error in both vendors' shapes, with its text."""
    error = ProviderError("what happened", kind=kind, hint="set this")
    openai, anthropic = (failure_of(vendor, error, "req_1") for vendor in ("openai", "anthropic"))
    assert 400 <= openai.status < 600
    assert 400 <= anthropic.status < 600
    assert openai.body["error"]["message"] == "what happened; set this"
    assert set(openai.body["error"]) == {"message", "type", "param", "code"}
    assert anthropic.body["type"] == "error"
    assert anthropic.body["request_id"] == "req_1"


def test_a_limit_says_when_to_come_again() -> None:
    """In whole seconds, never none at all; what waiting does not mend is not to be tried again."""
    limited = ProviderError("slow down", kind=ErrorKind.RATE_LIMIT, retry_after=0.2)
    failure = failure_of("openai", limited, "r")
    assert (failure.status, failure.headers) == (429, {"retry-after": "1"})
    broke = ProviderError("no money", kind=ErrorKind.RATE_LIMIT, retryable=False)
    assert failure_of("anthropic", broke, "r").headers == {"x-should-retry": "false"}
    ours = failure_of("openai", TooManyRequests("too many", retry_after=2.5), "r")
    assert (ours.status, ours.headers) == (429, {"retry-after": "3"})


@pytest.mark.parametrize("error", [SessionBusy("x"), SessionOverloaded("x"), RuntimeOverloaded("x", 0.2)])
def test_what_was_turned_away_may_be_sent_again(error: Exception) -> None:
    """Nothing has been done of it."""
    assert "x-should-retry" not in failure_of("openai", error, "r").headers


def test_a_full_runtime_says_when_to_come_again() -> None:
    """As a limit does."""
    assert failure_of("anthropic", RuntimeOverloaded("x", 0.2), "r").headers == {"retry-after": "1"}


@pytest.mark.parametrize(
    "kind",
    [
        ContextError,
        CostLimit,
        EngineFailed,
        OutcomeUnknown,
        OutputInvalid,
        SessionClosed,
        SessionError,
        SessionLost,
        StoreUnavailable,
        TurnDeadline,
        TurnError,
        WouldDeadlock,
    ],
)
def test_a_turn_that_was_taken_on_is_not_sent_again_by_libraries(kind: type[LlmgineError]) -> None:
    """What its tools did would be done twice; the error is told in its own words."""
    failure = failure_of("openai", kind("what happened"), "r")
    assert failure.headers == {"x-should-retry": "false"}
    assert failure.body["error"]["message"] == "what happened"


def test_a_turn_that_goes_on_is_found_again_by_its_key() -> None:
    """Of a session that could not be reached a library may ask again, where that is no new turn."""
    assert "x-should-retry" not in failure_of("openai", SessionLost("x"), "r", keyed=True).headers
    assert failure_of("openai", TurnError("x"), "r", keyed=True).headers == {"x-should-retry": "false"}


@pytest.mark.parametrize(
    ("error", "openai", "anthropic"),
    [
        (UnknownModel("x"), 404, 404),
        (MissingKey("x"), 500, 500),
        (SessionBusy("x"), 409, 409),
        (SessionOverloaded("x"), 429, 429),
        (OutcomeUnknown("x"), 500, 500),
        (SessionLost("x"), 504, 504),
        (Unauthorised("x"), 401, 401),
        (NotReady("x"), 503, 529),
        (ProviderError("x", kind=ErrorKind.OVERLOADED), 503, 529),
        (RequestRefused("x", field="f"), 400, 400),
        (RuntimeError("a secret"), 500, 500),
    ],
)
def test_errors_have_the_vendors_status(error: Exception, openai: int, anthropic: int) -> None:
    """Anthropic has one of its own for what is overloaded."""
    assert failure_of("openai", error, "r").status == openai
    assert failure_of("anthropic", error, "r").status == anthropic


def test_a_mistake_of_our_own_keeps_its_text() -> None:
    """It is in the log; the client learns that it happened."""
    assert "secret" not in str(failure_of("openai", RuntimeError("a secret"), "r").body)
