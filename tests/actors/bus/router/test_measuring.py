"""The bus's metrics as one router sets them."""

from __future__ import annotations

from typing import Any

from llmgine.actors.bus import BusOptions
from llmgine.actors.bus.router.core import RouterCore
from llmgine.actors.bus.router.measuring import RouterMeasures
from llmgine.telemetry import Metrics, names


def levels(**changed: Any) -> dict[str, Any]:
    return {**RouterCore("router.1", BusOptions()).levels(), **changed}


def test_counts_and_levels_are_the_routers_own() -> None:
    """Counters only rise, gauges stand where the router stands, and the conventions' sums agree with ours."""
    metrics = Metrics()
    measures = RouterMeasures(metrics, first=True)
    measures.take(
        levels(events_published_total=7, commands_sent_total=2, events_processed_total=5, queue_size=3)
    )
    measures.take(
        levels(events_published_total=7, commands_sent_total=2, events_processed_total=6, queue_size=0)
    )
    assert metrics.counter(names.METRIC_EVENTS_PUBLISHED).value == 7
    assert metrics.counter(names.METRIC_EVENTS_PROCESSED).value == 6
    assert metrics.gauge(names.METRIC_QUEUE_SIZE).value == 0
    sent = {names.MESSAGING_SYSTEM: "llmgine", names.MESSAGING_OPERATION_NAME: "send"}
    assert metrics.counter(names.METRIC_MESSAGES_SENT, **sent).value == 9
    consumed = {**sent, names.MESSAGING_OPERATION_NAME: "process"}
    assert metrics.counter(names.METRIC_MESSAGES_CONSUMED, **consumed).value == 6


def test_a_breaker_that_closes_stands_at_zero_again() -> None:
    """Only breakers that have opened have a series."""
    metrics = Metrics()
    measures = RouterMeasures(metrics, first=True)
    measures.take(levels(circuit_breaker_state={"mail": "open"}))
    gauge = metrics.gauge(names.METRIC_BREAKER_STATE, handler="mail")
    assert gauge.value == 2
    measures.take(levels(circuit_breaker_state={"mail": "half_open"}))
    assert gauge.value == 1
    measures.take(levels())
    assert gauge.value == 0


def test_what_every_router_mirrors_is_told_by_one() -> None:
    """Handlers are not counted once for each shard."""
    metrics = Metrics()
    RouterMeasures(metrics, first=False).take(levels(registered_handlers=4))
    assert (names.METRIC_REGISTERED_HANDLERS, ()) not in metrics.read()
