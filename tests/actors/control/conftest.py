"""What the tests of the control plane share."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.control import membership

SETTINGS: dict[str, Any] = {"control": {}, "telemetry": {"enabled": False}}


@pytest.fixture
def settings() -> dict[str, Any]:
    return SETTINGS


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits between two tries."""
    monkeypatch.setattr(membership, "_PAUSE", 0)
