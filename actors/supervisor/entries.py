"""What the supervisor knows of one session, and what it can decide to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from llmgine.actors.supervisor.hosts import Placement, Wish


@dataclass(frozen=True, slots=True)
class EndSession:
    """The session's last driver is gone, or all of it is: end it, with the error if there was one."""

    session_id: str
    error: str | None
    lost: bool = False  # nothing is left of it


@dataclass(frozen=True, slots=True)
class DropClient:
    """The driver stayed away for longer than its lease: nothing of it is kept."""

    driver_id: str


@dataclass(frozen=True, slots=True)
class EndRuntime:
    """Nobody holds the runtime any more."""

    reason: str


# The handle of the session that has opened another one.
PARENT: Final = "parent"


def holder(session_id: str) -> str:
    """Stands for a session that has opened others, where a driver's id would stand."""
    return f"session:{session_id}"


Decision = EndSession | DropClient | EndRuntime


@dataclass(slots=True)
class SessionEntry:
    """One opening of a session.

    `handles` maps each attached handle to its driver, and PARENT to `holder(parent)`: `parent` is the session
    that asks this one, which is open no longer than that one. `actor` is where it lives; a passive one lives
    nowhere until it is woken.
    """

    id: str
    opening: int
    model: str
    stay: bool
    fingerprint: str
    placement: Placement
    runs: str
    parent: str | None = None
    state: Literal["opening", "open", "passive", "ending"] = "opening"
    actor: str | None = None
    handles: dict[str, str] = field(default_factory=dict)
    # After a supervisor's restart: until then a session without handles waits for its drivers.
    orphan_until: float | None = None
    # Woken for the turns that it had left when its runtime ended: it ends when they have.
    finishing: bool = False
    # How often its process has died since it last went to sleep.
    deaths: int = 0

    @classmethod
    def of(cls, told: dict[str, Any], opening: int) -> Self:
        """An opening as a driver, an actor or the store tells of it."""
        return cls(
            told["session_id"],
            opening,
            told["model"],
            told["stay"],
            told["fingerprint"],
            told["placement"],
            told["runs"],
            told.get("parent"),
        )

    def wish(self) -> Wish:
        return Wish(self.id, self.placement, self.runs)
