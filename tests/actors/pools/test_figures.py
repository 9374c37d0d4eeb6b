"""What an actor tells of itself, once a second."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgine.actors.pools import figures
from llmgine.actors.pools.figures import FIGURES, Figures


async def test_figures_are_told_until_they_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time anew, with the share of a CPU that the process used meanwhile; nothing after the end."""
    monkeypatch.setattr(figures, "_EVERY", 0.001)
    told: list[tuple[str, Any]] = []
    enough = asyncio.Event()

    def tell(kind: str, body: Any) -> None:
        told.append((kind, body))
        if len(told) == 3:
            enough.set()

    telling = Figures(lambda: {"calls": {"begun": len(told)}}, tell)
    telling.start()
    await enough.wait()
    telling.stop()
    telling.stop()
    assert [kind for kind, _ in told] == [FIGURES] * 3
    assert [body["calls"]["begun"] for _, body in told] == [0, 1, 2]
    assert all(body["process"]["cpu"] >= 0 for _, body in told)
