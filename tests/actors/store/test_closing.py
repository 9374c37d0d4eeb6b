"""The end of a store in the middle of its work."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

from llmgine.actors.store.engine import Engine
from llmgine.actors.store.host import StoreHost


class Reading:
    """An engine that is in the middle of a question until it is told to go on."""

    blocks = True

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.ends: list[str] = []

    def status(self) -> dict[str, Any]:
        self.inside.set()
        self.go_on.wait(10)
        self.ends.append("answered")
        return {}

    def close(self) -> None:
        self.ends.append("closed")


async def test_nothing_is_closed_under_a_question() -> None:
    """A store that ends answers what it is being asked first: the file is not taken away in between."""
    engine = Reading()
    host = StoreHost(cast(Engine, engine))
    question = asyncio.create_task(host.status())
    await asyncio.to_thread(engine.inside.wait, 10)
    closing = asyncio.create_task(host.close())
    for _ in range(10):
        await asyncio.to_thread(int)
    assert engine.ends == []
    engine.go_on.set()
    await asyncio.gather(closing, question)
    assert engine.ends == ["answered", "closed"]
