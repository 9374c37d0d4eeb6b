"""The exact figures of one router, as plain values that add up over shards."""

from __future__ import annotations

from dataclasses import asdict
from heapq import nlargest
from typing import Any

from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.state import RouterState

# Of so many handlers, the busiest ones, the figures are listed one by one.
LISTED = 1_000

COUNTERS = (
    "events_published_total",
    "events_processed_total",
    "events_failed_total",
    "commands_sent_total",
    "commands_processed_total",
    "commands_failed_total",
    "backpressure_on_total",
    "backpressure_off_total",
    "priorities_passed_total",
    "coalesced_total",
    "retries_total",
    "breakers_opened_total",
)


def statistics(state: RouterState) -> dict[str, Any]:
    """Counters since this router began, and gauges as they are now."""
    return {**levels(state), "per_handler": per_handler([*state.mailboxes.values(), *state.closing.values()])}


def levels(state: RouterState) -> dict[str, Any]:
    """The figures of the router as a whole."""
    table = state.table.statistics()
    boxes = [*state.mailboxes.values(), *state.closing.values()]
    return {
        **{name: state.counters[name] for name in COUNTERS},
        "queue_size": sum(mailbox.occupancy for mailbox in boxes),
        "in_flight": sum(_in_flight(mailbox) for mailbox in boxes),
        "waiting_for_room": sum(len(mailbox.waiting) for mailbox in boxes),
        "waiting_for_retry": sum(_held_back(mailbox) for mailbox in boxes),
        "parked": sum(_parked(mailbox) for mailbox in boxes),
        "unsettled": state.unsettled,
        "backpressure_active": sum(mailbox.pressed for mailbox in boxes),
        "circuit_breakers_open": sum(_breaker(mailbox) != "closed" for mailbox in boxes),
        "circuit_breaker_state": {
            mailbox.subscription.name: _breaker(mailbox) for mailbox in boxes if _breaker(mailbox) != "closed"
        },
        "registered_handlers": table.registered_handlers,
        "active_sessions": table.sessions,
        "handlers": table.handlers,
        "event_handlers": table.event_handlers,
        "command_handlers": table.command_handlers,
        "connected_clients": sum(client.connected for client in state.clients.values()),
    }


def per_handler(boxes: list[Mailbox]) -> dict[str, dict[str, Any]]:
    """What became of each handler's messages: accepted is the sum of all ends and of what it still holds."""
    listed = boxes if len(boxes) <= LISTED else nlargest(LISTED, boxes, key=_weight)
    return {mailbox.subscription.key_text: row(mailbox) for mailbox in listed}


def row(mailbox: Mailbox) -> dict[str, Any]:
    """One handler's figures; `held` is what was accepted and is not done."""
    return {
        **asdict(mailbox.counters),
        "held": mailbox.size,
        "in_flight": _in_flight(mailbox),
        "waiting_for_room": len(mailbox.waiting),
        "waiting_for_retry": _held_back(mailbox),
        "parked": _parked(mailbox),
        "members": len(mailbox.members),
        "circuit_breaker_state": _breaker(mailbox),
    }


def _weight(mailbox: Mailbox) -> tuple[int, int]:
    return mailbox.size, mailbox.counters.accepted


def _in_flight(mailbox: Mailbox) -> int:
    return sum(len(serving.inflight) for serving in mailbox.members.values())


def _held_back(mailbox: Mailbox) -> int:
    return 0 if mailbox.trouble is None else sum(1 for _ in mailbox.trouble.held())


def _parked(mailbox: Mailbox) -> int:
    return len(mailbox.trouble.parked or ()) if mailbox.trouble is not None else 0


def _breaker(mailbox: Mailbox) -> str:
    return "closed" if mailbox.trouble is None else mailbox.trouble.breaker.state
