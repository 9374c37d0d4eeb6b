"""What the encoders of all protocols share."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.providers.codecs.encoding import CallIds


def test_an_id_that_always_comes_again_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a server gave one id, each call gets its own without trying all those before it."""
    tried = 0
    fit = CallIds._fit

    def counted(self: CallIds, call_id: str) -> Any:
        nonlocal tried
        tried += 1
        return fit(self, call_id)

    monkeypatch.setattr(CallIds, "_fit", counted)
    ids = CallIds(r"[a-z]+", 64)
    sent = [ids.call("call") for _ in range(300)]
    assert len(set(sent)) == 300
    assert sent[0] == "call"
    assert ids.result("call") == sent[-1]
    assert tried < 1000
