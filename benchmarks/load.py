"""How much is sent, how fast, and what the receiver checks: the same for ours and the peers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from benchmarks.contract import Effort, Violation
from benchmarks.figures import percentile

TEXT: Final = "x" * 64
SESSIONS: Final = 16  # where a measurement does not say another number
UNDER_WAY: Final = 1_000  # publishes or calls at one time, where throughput is measured
RATE: Final = 1_000  # events per second where latency is measured
NS_PER_US: Final = 1_000
NS_PER_S: Final = 1_000_000_000


def pace_count(effort: Effort) -> int:
    """How many events a measurement of latency sends."""
    return round(RATE * effort.seconds(3.0))


async def paced(count: int, rate: float = RATE) -> AsyncIterator[int]:
    """Numbers from 0, each not before its time; after a delay those that are due come at once."""
    begin = time.perf_counter()
    for number in range(count):
        wait = begin + number / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        yield number


class Ledger:
    """Checks that the numbers of each session come from 0 without gap, repetition or change of order."""

    def __init__(self) -> None:
        self.count = 0
        self.latencies: list[float] = []
        self._next: dict[str, int] = {}
        self._wrong: list[str] = []

    def take(self, session: str, number: int, sent: int) -> None:
        """Books an event that was sent at `sent` (0: its latency is not wanted)."""
        expected = self._next.get(session, 0)
        if number != expected and len(self._wrong) < 10:
            self._wrong.append(f"session {session}: event {number} where {expected} was due")
        self._next[session] = number + 1
        self.count += 1
        if sent:
            self.latencies.append((time.monotonic_ns() - sent) / NS_PER_US)

    def report(self) -> dict[str, Any]:
        return {"count": self.count, "wrong": self._wrong, "latencies": self.latencies}


def check(report: dict[str, Any], sent: int) -> None:
    """Raises `Violation` unless each event was handled exactly once and in order."""
    if report["wrong"]:
        raise Violation("; ".join(report["wrong"]))
    if report["count"] != sent:
        raise Violation(f"{report['count']} events were handled and {sent} were sent")


def latency_figures(latencies: list[float]) -> dict[str, float]:
    return {"p50_us": percentile(latencies, 50), "p99_us": percentile(latencies, 99)}
