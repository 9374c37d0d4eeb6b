"""The one place where it is decided what becomes of a delivery that did not succeed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

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
    """One delivery that did not succeed, with what is needed to retry or to keep it."""

    reason: Reason
    message: str
    lineage: str
    session: str
    handler: str
    attempts: int
    kind: str = ""
    text: str = ""


class FailurePolicy(Protocol):
    """Says after how many seconds a failed delivery is tried again; None ends it."""

    def retry_after(self, failure: Failure, now: float) -> float | None: ...


class NoRetries:
    """Every failure is final; it is counted and listed, not kept for replay."""

    def retry_after(self, failure: Failure, now: float) -> float | None:
        return None
