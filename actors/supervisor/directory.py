"""Who is in the runtime, and what follows when somebody goes: the supervisor's decisions, without its hands.

Times are seconds of one monotonic clock, given in. What to do comes back as decisions; whoever
carries them out reports the result with the next call. A restarted supervisor fills a fresh
directory from the reports of the members that come back to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llmgine.actors.control.errors import RuntimeStopping, SessionConflict, SessionNotFound
from llmgine.actors.supervisor.entries import (
    PARENT,
    Decision,
    DropClient,
    EndRuntime,
    EndSession,
    SessionEntry,
    holder,
)


@dataclass(frozen=True, slots=True)
class Leases:
    """Seconds that a silent driver is waited for: as owner, with its sessions, with its subscriptions."""

    owner: float = 10.0
    sessions: float = 30.0
    subscriptions: float = 60.0


@dataclass(slots=True)
class Driver:
    id: str
    owner: bool
    connected: bool = True
    lost_at: float = 0.0
    detached: bool = False  # its sessions were taken from it
    dropped: bool = False  # its subscriptions were
    # The (session, handle) pairs that it said it holds; a restarted supervisor may hear of the driver first.
    claims: tuple[tuple[str, str], ...] = ()


# How a session ends that was left behind by an earlier run of the runtime.
FINISHED = "its runtime had ended"


class Directory:
    """Drivers and sessions of one runtime."""

    def __init__(self, leases: Leases, *, owned: bool, first_opening: int) -> None:
        self._leases = leases
        self._owned = owned
        self._next_opening = first_opening
        self._owner_awaited_since: float | None = None
        self._stopping = False
        self.drivers: dict[str, Driver] = {}
        self.sessions: dict[str, SessionEntry] = {}
        # Sessions that have opened others: few among the many that end.
        self._parents: set[str] = set()

    # Drivers.

    def await_owner(self, now: float) -> None:
        """From now on the owner's lease runs, although it has not been seen yet."""
        self._owner_awaited_since = now

    def driver_joined(self, driver_id: str, owner: bool, attached: Iterable[tuple[str, str]]) -> None:
        """A driver's link is up; `attached` are the (session, handle) pairs that it holds."""
        driver = self.drivers[driver_id] = Driver(driver_id, owner, claims=tuple(attached))
        for session_id, handle in driver.claims:
            entry = self.sessions.get(session_id)
            if entry is not None and entry.state != "ending":
                entry.handles[handle] = driver_id

    def expect(self, driver_id: str, now: float) -> None:
        """A driver that is not here holds something; unless it comes, its leases run from now."""
        if driver_id not in self.drivers:
            self.drivers[driver_id] = Driver(driver_id, owner=False, connected=False, lost_at=now)

    def driver_lost(self, driver_id: str, now: float) -> None:
        """A driver's link broke; its leases run from now."""
        driver = self.drivers.get(driver_id)
        if driver is not None and driver.connected:
            driver.connected = False
            driver.lost_at = now

    def driver_left(self, driver_id: str) -> list[EndSession]:
        """A driver said goodbye: its handles go at once."""
        self.drivers.pop(driver_id, None)
        return self._detach_all(driver_id, "its driver left")

    # Sessions.

    def attach(
        self, spec: dict[str, Any], driver_id: str, handle: str, *, now: float
    ) -> tuple[SessionEntry, bool]:
        """The session's entry with this handle on it, and whether it is new and must be opened."""
        if self._stopping:
            raise RuntimeStopping("the runtime is stopping and opens no session")
        parent = spec.get("parent")
        if parent is None:
            self.expect(driver_id, now)
        else:
            self.session(parent)
            driver_id, handle = holder(parent), PARENT
            self._parents.add(parent)
        entry = self.sessions.get(spec["session_id"])
        if entry is None:
            entry = SessionEntry.of(spec, self._next_opening)
            self._next_opening += 1
            self.sessions[entry.id] = entry
            entry.handles[handle] = driver_id
            return entry, True
        if spec["fingerprint"] and spec["fingerprint"] != entry.fingerprint:
            raise SessionConflict(
                f"session {entry.id!r} is open with other tools, engine, system prompt, window or limits; "
                f"attach to it without them, close it first, or choose another id"
            )
        entry.stay = entry.stay or spec["stay"]
        entry.handles[handle] = driver_id
        return entry, False

    def opened(self, session_id: str, opening: int, actor: str) -> None:
        """The actor has taken the session on; an ending that was decided meanwhile stands."""
        entry = self.sessions.get(session_id)
        if entry is not None and entry.opening == opening:
            entry.actor = actor
            if entry.state in ("opening", "passive"):
                entry.state = "open"

    def passivated(self, session_id: str, opening: int) -> None:
        """The session lives in the store alone until it is woken."""
        entry = self.sessions.get(session_id)
        if entry is not None and entry.opening == opening and entry.state == "open":
            entry.state, entry.actor, entry.deaths = "passive", None, 0

    def detach(self, session_id: str, handle: str, error: str | None) -> list[EndSession]:
        """A handle was left; the last one ends the session unless it stays."""
        entry = self.sessions.get(session_id)
        if entry is None or entry.handles.pop(handle, None) is None:
            return []
        return self._unless_held(entry, error)

    def close(self, session_id: str, error: str | None = None) -> list[EndSession]:
        """The session ends, whoever is attached; nothing is left to do where it is not open."""
        entry = self.sessions.get(session_id)
        return [] if entry is None else self._end(entry, error)

    def died(self, actor: str) -> list[str]:
        """A process is gone; the sessions that lived in it, which are passive now.

        One that is still opening fails by itself, and one that is ending ends all the same.
        """
        lost = [entry for entry in self.sessions.values() if entry.actor == actor and entry.state == "open"]
        for entry in lost:
            entry.state, entry.actor = "passive", None
            entry.deaths += 1
        return [entry.id for entry in lost]

    def lose(self, session_id: str, error: str) -> list[EndSession]:
        """Nothing is left of the session, in no process and no store."""
        entry = self.sessions.get(session_id)
        return [] if entry is None else self._end(entry, error, lost=True)

    def ended(self, session_id: str, opening: int) -> None:
        entry = self.sessions.get(session_id)
        if entry is not None and entry.opening == opening:
            del self.sessions[session_id]

    def orphaned(self, parent: str) -> list[EndSession]:
        """A session has ended: so do those that only it held."""
        if parent not in self._parents:
            return []
        self._parents.discard(parent)
        return self._detach_all(holder(parent), "the session that asked it has ended")

    def session(self, session_id: str) -> SessionEntry:
        try:
            return self.sessions[session_id]
        except KeyError:
            raise SessionNotFound(
                f"no session {session_id!r} is open in this runtime; runtime.session({session_id!r}, "
                f"model=...) opens one"
            ) from None

    def found(self, told: dict[str, Any], actor: str | None, now: float) -> SessionEntry:
        """A session that was before this supervisor, in an actor or in the store alone.

        Its drivers come before or after it.
        """
        self._next_opening = max(self._next_opening, told["opening"] + 1)
        known = self.sessions.get(told["session_id"])
        if known is not None:
            return known
        entry = SessionEntry.of(told, told["opening"])
        entry.state, entry.actor = ("passive" if actor is None else "open"), actor
        entry.orphan_until = now + self._leases.sessions
        entry.handles = {
            handle: driver.id
            for driver in self.drivers.values()
            for claimed, handle in driver.claims
            if claimed == entry.id
        }
        if entry.parent is not None:
            entry.handles[PARENT] = holder(entry.parent)
            self._parents.add(entry.parent)
        self.sessions[entry.id] = entry
        return entry

    # The runtime.

    def stop(self, *, keeps: bool) -> list[EndSession]:
        """Nothing new from now on; every session ends, but those that stay where the store `keeps` them."""
        self._stopping = True
        ending = [entry for entry in self.sessions.values() if not (keeps and entry.stay)]
        return [decision for entry in ending for decision in self._end(entry, None)]

    @property
    def stopping(self) -> bool:
        return self._stopping

    def tick(self, now: float) -> list[Decision]:
        """What time alone has decided."""
        decisions: list[Decision] = []
        for driver in list(self.drivers.values()):
            decisions += self._lapse(driver, now)
        for entry in list(self.sessions.values()):
            if entry.orphan_until is not None and now >= entry.orphan_until:
                entry.orphan_until = None
                if entry.parent not in self.sessions:
                    entry.handles.pop(PARENT, None)
                decisions += self._unless_held(entry, "its drivers did not come back")
        if self._owned and not self._stopping and self._owner_overdue(now):
            self._stopping = True
            decisions.append(EndRuntime("its owner is gone"))
        return decisions

    def _owner_overdue(self, now: float) -> bool:
        owners = [driver for driver in self.drivers.values() if driver.owner]
        if any(driver.connected for driver in owners):
            return False
        since = max((driver.lost_at for driver in owners), default=self._owner_awaited_since)
        return since is not None and now - since >= self._leases.owner

    def _lapse(self, driver: Driver, now: float) -> list[Decision]:
        if driver.connected:
            return []
        decisions: list[Decision] = []
        away = now - driver.lost_at
        if away >= self._leases.sessions and not driver.detached:
            driver.detached = True
            decisions += self._detach_all(driver.id, "the link to its driver was lost")
        if away >= self._leases.subscriptions and not driver.dropped:
            driver.dropped = True
            decisions.append(DropClient(driver.id))
        # The owner is kept in mind, because the runtime's lease runs from when it was lost.
        if driver.detached and driver.dropped and not driver.owner:
            del self.drivers[driver.id]
        return decisions

    def _detach_all(self, driver_id: str, error: str) -> list[EndSession]:
        decisions: list[EndSession] = []
        for entry in list(self.sessions.values()):
            held = [handle for handle, driver in entry.handles.items() if driver == driver_id]
            for handle in held:
                del entry.handles[handle]
            if held:
                decisions += self._unless_held(entry, error)
        return decisions

    def idle(self, session_id: str) -> list[EndSession]:
        """Nobody has used the session for a while: one that only had turns to finish has."""
        entry = self.sessions.get(session_id)
        if entry is None or not entry.finishing:
            return []
        entry.finishing = False
        return self._unless_held(entry, FINISHED)

    def _unless_held(self, entry: SessionEntry, error: str | None) -> list[EndSession]:
        if entry.handles or entry.stay or entry.finishing:
            return []
        return self._end(entry, error)

    def _end(self, entry: SessionEntry, error: str | None, *, lost: bool = False) -> list[EndSession]:
        if entry.state == "ending":
            return []
        entry.state = "ending"
        entry.handles.clear()
        return [EndSession(entry.id, error, lost)]
