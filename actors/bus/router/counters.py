"""What becomes of the messages of one mailbox."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Offer(Enum):
    """What comes of one that is offered, for now."""

    ACCEPTED = "accepted"
    WAITING = "waiting"
    REJECTED = "rejected"


@dataclass(slots=True)
class MailboxCounters:
    """What became of every message that was offered; only ever counts up.

    What was `rejected` or `filtered` was not accepted; `failed` ones are dead letters.
    """

    accepted: int = 0
    handled: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    dropped: int = 0
    coalesced: int = 0
    discarded: int = 0
    rejected: int = 0
    filtered: int = 0
    redelivered: int = 0
    retried: int = 0
    pressure_on: int = 0
    pressure_off: int = 0

    @property
    def ended(self) -> int:
        """Accepted and not here any more."""
        lost = self.dropped + self.coalesced + self.discarded
        return self.handled + self.failed + self.expired + self.cancelled + lost
