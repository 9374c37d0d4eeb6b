"""The count of dead letters as a metric."""

from __future__ import annotations

from typing import Any, cast

import pytest

from llmgine.actors.store import StoreClient, StoreUnavailable
from llmgine.actors.supervisor.lettercount import count_letters
from llmgine.telemetry import Metrics, names


class Store:
    """Answers as it is told."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)

    async def count_letters(self) -> int:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_the_last_count_stands_while_the_store_is_away() -> None:
    """It follows the store both up and down, and an outage ends nothing."""
    metrics = Metrics()
    seen: list[Any] = []

    async def sleep(seconds: float) -> None:
        seen.append(metrics.gauge(names.METRIC_DEAD_LETTERS).value)

    store = Store(3, StoreUnavailable("away"), 0)
    with pytest.raises(IndexError):
        await count_letters(cast(StoreClient, store), metrics, sleep=sleep)
    assert seen == [3, 3, 0]
