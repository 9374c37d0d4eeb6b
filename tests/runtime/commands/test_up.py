"""What `llmgine up` starts beside what the settings say."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.runtime.commands.fronting import with_gateway
from llmgine.runtime.settings import load_settings


@pytest.mark.parametrize(
    ("gateway", "enabled"),
    [({}, True), ({"port": 9000}, True), ({"enabled": False}, False), ({"enabled": True}, True)],
)
def test_up_brings_a_gateway_unless_the_settings_speak_of_one(gateway: dict[str, Any], enabled: bool) -> None:
    """Whatever else they say of it holds, also after they have travelled."""
    settings = load_settings({"gateway": gateway} if gateway else None, environ={})
    given = with_gateway(settings)
    assert given.gateway.enabled is enabled
    assert given.gateway.port == gateway.get("port")
    assert load_settings(given, environ={}).gateway == given.gateway
