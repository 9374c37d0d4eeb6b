"""What the settings of an endpoint refuse before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from llmgine.providers.options import EndpointOptions, LocalOptions


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"base_url": "ftp://h"}, "http or https"),
        ({"base_url": "http://h:port"}, "Port"),
        ({"base_url": "http://h:99999"}, "Port"),
        ({"base_url": "http://h h/v1"}, "http or https"),
        ({"base_url": "http://h?key=hidden"}, "no user, password or query"),
        ({"headers": {"x": "hidden\r\ny: hidden"}}, "header 'x'"),
        ({"headers": {"x": "hïdden"}}, "header 'x'"),
        ({"headers": {"x y": "hidden"}}, "header 'x y'"),
        ({"headers": {"X-Api_Key": "hidden"}}, "key_file or key_env"),
    ],
)
def test_what_no_call_could_use_is_refused(fields: dict[str, Any], said: str) -> None:
    """A URL that leads nowhere, and a header that no wire carries or that holds a key; no value is shown."""
    with pytest.raises(ValidationError) as caught:
        EndpointOptions.model_validate({"kind": "openai", **fields})
    assert said in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "openai", "transport": "google-genai"}, "transport is for the gemini protocol"),
        ({"kind": "openai", "api": "gemini"}, "speaks openai-responses or openai-chat"),
        ({"kind": "anthropic", "api": "openai-chat"}, "speaks anthropic-messages"),
        ({"kind": "anthropic", "quirks": {"top_k": True}}, "not of kind anthropic"),
        ({"kind": "local", "api": "anthropic-messages"}, "api is for servers"),
        ({"kind": "scripted", "api": "gemini"}, "api is for servers"),
        ({"kind": "gemini", "transport": "google-generativeai", "api": "openai-chat"}, "speaks gemini"),
    ],
)
def test_what_would_have_no_effect_is_refused(fields: dict[str, Any], said: str) -> None:
    """Settings that belong to another kind of endpoint are an error that says to which."""
    with pytest.raises(ValidationError, match=said):
        EndpointOptions.model_validate(fields)


@pytest.mark.parametrize("api", ["openai-responses", "gemini"])
def test_the_local_engine_is_reached_only_by_what_it_speaks(api: str) -> None:
    """A protocol that the engine in the process does not speak is refused."""
    with pytest.raises(ValidationError, match="openai-chat"):
        LocalOptions.model_validate({"api": api})
