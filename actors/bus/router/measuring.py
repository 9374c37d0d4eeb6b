"""The bus's metrics, as one router knows them. They cost the bus nothing: its own counts are read off."""

from __future__ import annotations

from typing import Any, Final

from llmgine.telemetry import Metrics, names

_COUNTERS: Final = (
    names.METRIC_EVENTS_PUBLISHED,
    names.METRIC_EVENTS_PROCESSED,
    names.METRIC_EVENTS_FAILED,
    names.METRIC_COMMANDS_SENT,
    names.METRIC_COMMANDS_PROCESSED,
    names.METRIC_COMMANDS_FAILED,
)
_SENT: Final = (names.METRIC_EVENTS_PUBLISHED, names.METRIC_COMMANDS_SENT)
_GAUGES: Final = (names.METRIC_QUEUE_SIZE, names.METRIC_BACKPRESSURE_ACTIVE)
_STATES: Final = {"closed": 0, "half_open": 1, "open": 2}


class RouterMeasures:
    """Sets the metrics of one router; what each router mirrors is told by the `first` one alone."""

    def __init__(self, metrics: Metrics, *, first: bool) -> None:
        self._metrics = metrics
        self._first = first
        self._breakers: set[str] = set()  # handlers whose breaker was told as anything but closed

    def take(self, levels: dict[str, Any]) -> None:
        """The router's counts and levels as they stand now."""
        for name in _COUNTERS:
            self._metrics.counter(name).rise_to(levels[name])
        send = {names.MESSAGING_SYSTEM: names.SYSTEM, names.MESSAGING_OPERATION_NAME: names.OPERATION_SEND}
        self._metrics.counter(names.METRIC_MESSAGES_SENT, **send).rise_to(sum(levels[name] for name in _SENT))
        process = {**send, names.MESSAGING_OPERATION_NAME: names.OPERATION_PROCESS}
        ended = sum(levels[name] for name in _COUNTERS if name not in _SENT)
        self._metrics.counter(names.METRIC_MESSAGES_CONSUMED, **process).rise_to(ended)
        for name in _GAUGES:
            self._metrics.gauge(name).set(levels[name])
        if self._first:
            self._metrics.gauge(names.METRIC_REGISTERED_HANDLERS).set(levels["registered_handlers"])
        self._tell_breakers(levels["circuit_breaker_state"])

    def _tell_breakers(self, states: dict[str, str]) -> None:
        for handler in self._breakers.difference(states):
            self._metrics.gauge(names.METRIC_BREAKER_STATE, handler=handler).set(_STATES["closed"])
        for handler, state in states.items():
            self._metrics.gauge(names.METRIC_BREAKER_STATE, handler=handler).set(_STATES.get(state, 0))
        self._breakers = set(states)
