"""Errors of the runtime as refusals."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from llmgine.actors.control import SessionConflict, SessionNotFound
from llmgine.actors.gateway.failures import refusal_of
from llmgine.actors.gateway.vendor.failures import Vendor, failure_of
from llmgine.actors.link import NotSendable
from llmgine.actors.sessions import CodeUnavailable, RuntimeOverloaded, SessionBusy, SessionOverloaded
from llmgine.actors.sessions.errors import ContextError, SessionError, TurnError
from llmgine.providers.errors import LlmgineError, OutputInvalid


def below(*kinds: type[LlmgineError]) -> Iterable[type[LlmgineError]]:
    """The classes and all that derive from them."""
    for kind in kinds:
        yield kind
        yield from below(*kind.__subclasses__())


@pytest.mark.parametrize(
    "kind",
    [
        *below(ContextError, SessionError, TurnError),
        CodeUnavailable,
        NotSendable,
        OutputInvalid,
        SessionConflict,
        SessionNotFound,
    ],
)
def test_what_a_session_or_turn_fails_with_is_told(kind: type[LlmgineError]) -> None:
    """In its own words; only mistakes of the gateway are kept to its log."""
    refusal = refusal_of(kind("what happened"))
    assert refusal.message == "what happened"
    assert refusal.type != "internal"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TurnError("x"), "turn_failed"),
        (SessionBusy("x"), "conflict"),
        (SessionConflict("x"), "conflict"),
        (SessionNotFound("x"), "not_found"),
        (SessionOverloaded("x"), "too_many_requests"),
        (ContextError("x"), "unprocessable"),
        (NotSendable("x"), "unprocessable"),
        (OutputInvalid("x"), "upstream"),
        (LlmgineError("x"), "internal"),
        (ValueError("x"), "internal"),
    ],
)
def test_refusals_are_told_apart(error: Exception, kind: str) -> None:
    """By whose turn it is to do something about it."""
    assert refusal_of(error).type == kind


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_what_cannot_travel_is_the_clients_mistake(vendor: Vendor) -> None:
    """And not worth asking again."""
    assert failure_of(vendor, NotSendable("x"), "r").status == 400


def test_a_runtime_without_room_says_when_to_come_again() -> None:
    """As it told whoever asked."""
    refusal = refusal_of(RuntimeOverloaded("full", 2.5))
    assert (refusal.status, refusal.retry_after) == (503, 2.5)
