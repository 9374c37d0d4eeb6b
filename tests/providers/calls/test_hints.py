"""What an error says to whoever must mend it."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from llmgine.providers.calls.hints import hint_for
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.options import EndpointOptions

SERVER = EndpointOptions(base_url="http://127.0.0.1:9/v1", key_env="RACK_KEY")
OWN = EndpointOptions(kind="openai", base_url="http://127.0.0.1:9/v1")


@pytest.mark.parametrize(
    ("kind", "endpoint", "named"),
    [
        (ErrorKind.AUTHENTICATION, EndpointOptions(kind="openai"), "OPENAI_API_KEY"),
        (ErrorKind.AUTHENTICATION, SERVER, "RACK_KEY"),
        (ErrorKind.PERMISSION, EndpointOptions(kind="openai", key_file=Path("k")), "comes from k or"),
        (ErrorKind.AUTHENTICATION, EndpointOptions(base_url="http://h/v1"), "no key"),
        (ErrorKind.CONNECTION, SERVER, r"providers\.endpoints\.rack\.base_url is http://127"),
        (ErrorKind.NOT_FOUND, SERVER, "model's name"),
        (ErrorKind.NOT_FOUND, OWN, r'rack\.base_url\?.*providers\.endpoints\.rack\.api: "openai-chat"'),
        (ErrorKind.NOT_FOUND, EndpointOptions(kind="openai"), r"providers\.endpoints\.rack\.base_url"),
        (ErrorKind.AUTHENTICATION, EndpointOptions(kind="gemini"), "GEMINI_API_KEY or GOOGLE_API_KEY"),
        (ErrorKind.UNSUPPORTED, SERVER, r"providers\.profiles says what rack/m can do"),
        (ErrorKind.BAD_OUTPUT, SERVER, r"output\.repairs"),
        (ErrorKind.TIMEOUT, SERVER, r"providers\.endpoints\.rack\.timeouts.*idle_timeout"),
        (ErrorKind.CONTEXT_LENGTH, EndpointOptions(kind="local"), r"providers\.local\.context"),
    ],
)
def test_the_setting_that_mends_it_is_named(kind: ErrorKind, endpoint: EndpointOptions, named: str) -> None:
    """Each failure that a setting can mend names it by its path."""
    error = ProviderError("no", kind=kind, phase=ErrorPhase.CONNECT, model="m")
    found = hint_for(error, "rack", endpoint)
    assert found is not None
    assert re.search(named, found)


def test_what_no_setting_mends_has_no_hint() -> None:
    """An overloaded provider, or a stream that broke in the middle, is nobody's setting."""
    for error in (
        ProviderError("busy", kind=ErrorKind.OVERLOADED),
        ProviderError("cut", kind=ErrorKind.CONNECTION, phase=ErrorPhase.MID_STREAM),
        ProviderError("seed: leave it out", kind=ErrorKind.UNSUPPORTED, phase=ErrorPhase.REQUEST),
    ):
        assert hint_for(error, "rack", SERVER) is None


def test_a_wait_that_the_provider_asks_for_is_told() -> None:
    """Where the provider says when to come back, so does the error."""
    error = ProviderError("slow down", kind=ErrorKind.RATE_LIMIT, retry_after=1.5)
    assert hint_for(error, "rack", SERVER) == "try again in 1.5 s"


def test_an_error_tells_who_what_and_how_to_mend_it() -> None:
    """The text names provider, model, status and mend, also after a pickle and on the wire."""
    error = ProviderError(
        "slow down", kind=ErrorKind.RATE_LIMIT, provider="rack", model="m", status=429, hint="wait"
    )
    assert str(error) == "rack/m: slow down (HTTP 429); wait"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(ProviderError.from_wire(error.to_wire())) == str(error)
    assert str(ProviderError("bare", kind=ErrorKind.SERVER)) == "bare"
