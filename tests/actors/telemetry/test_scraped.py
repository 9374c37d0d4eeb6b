"""What the telemetry actor tells those who scrape, and what actors measure of themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from llmgine.actors.telemetry.scraped import Scraped
from llmgine.telemetry import Series, names


class Page:
    """Counts what it is told; fails the first time."""

    def __init__(self) -> None:
        self.told: list[float] = []
        self.again = threading.Event()

    def count(self, name: str, description: str, labels: Mapping[str, str], amount: float) -> None:
        raise AssertionError("no counter here")

    def set(self, name: str, description: str, labels: Mapping[str, str], value: float) -> None:
        self.told.append(value)
        if len(self.told) == 1:
            raise RuntimeError("not yet")
        self.again.set()


async def test_levels_are_told_again_and_again_and_at_the_end(eventually: Callable[..., Any]) -> None:
    """A failure ends nothing, and the last word is how things stood at the end."""
    level = 1

    def read() -> list[Series]:
        return [Series("gauge", names.METRIC_QUEUE_SIZE, (), level)]

    page = Page()
    scraped = Scraped(read, page, 0.001)
    await scraped.close()
    assert page.told == []
    scraped.start()
    await eventually(page.again.is_set)
    level = 0
    await scraped.close()
    assert page.told[-1] == 0
    told = len(page.told)
    await scraped.close()
    assert len(page.told) == told
