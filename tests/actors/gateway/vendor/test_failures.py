"""Errors as each vendor answers them."""

from __future__ import annotations

import pytest

from llmgine.actors.gateway.errors import NotReady, TooManyRequests, Unauthorised
from llmgine.actors.gateway.vendor.failures import failure_of
from llmgine.actors.gateway.vendor.reading import RequestRefused
from llmgine.actors.sessions import SessionBusy, SessionOverloaded
from llmgine.providers.errors import ErrorKind, MissingKey, ProviderError, UnknownModel


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


@pytest.mark.parametrize(
    ("error", "openai", "anthropic"),
    [
        (UnknownModel("x"), 404, 404),
        (MissingKey("x"), 500, 500),
        (SessionBusy("x"), 409, 409),
        (SessionOverloaded("x"), 429, 429),
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
