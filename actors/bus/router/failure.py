"""What is known of a delivery that did not succeed, and the one place that all of them come to."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal

Reason = Literal[
    "handler",  # the handler raised or returned a failure
    "deadline",  # the attempt took too long and was cancelled
    "cancelled",  # the handler was cancelled by something else
    "undecodable",  # the body does not validate as the registered class
    "overflow",  # no room in the mailbox within the time that its policy allows
    "dropped",  # an older message made room for a newer one
    "depth",  # too many publishes caused one another
    "outcome_unknown",  # the handler's process died with a command in hand
    "expired",  # a command's own deadline passed
    "no_handler",  # the command's subscription went
]


@dataclass(frozen=True, slots=True)
class Failure:
    """One delivery that did not succeed, with what is needed to keep it."""

    reason: Reason
    message: str
    lineage: str
    session: str
    handler: str
    attempts: int
    kind: str = ""
    text: str = ""


class FailureLog:
    """Where every failure goes: each is counted by reason, the latest are listed. All of them are final."""

    def __init__(self, history: int) -> None:
        self.counts: Counter[Reason] = Counter()
        self.latest: deque[Failure] = deque(maxlen=history)

    def take(self, failure: Failure) -> None:
        self.counts[failure.reason] += 1
        self.latest.append(failure)
