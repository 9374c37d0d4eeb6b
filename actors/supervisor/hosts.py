"""Which actor takes a session, and how many actors there should be: decisions without hands.

An actor is blank until it takes its first session. One that has run a user's code takes only sessions
with the same code afterwards, and ends when the last one has left; others are blank again. What comes
in is told by method; what to do about it is asked for with `assign`, `starts` and `ends`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from llmgine.actors.control import names
from llmgine.actors.sessions import RuntimeOverloaded, SessionOptions

Placement = Literal["dedicated", "pooled"]

# How much the latest start counts in the mean that a refusal's `retry_after` comes from.
_WEIGHT = 0.3


@dataclass(frozen=True, slots=True)
class Wish:
    """What a session needs: `runs` is the fingerprint of the code that it brings, "" for none."""

    session_id: str
    placement: Placement
    runs: str = ""


@dataclass(slots=True)
class Host:
    """One actor; without a placement it is blank."""

    name: str
    state: Literal["starting", "ready", "leaving"] = "starting"
    placement: Placement | None = None
    runs: str = ""
    sessions: set[str] = field(default_factory=set)

    @property
    def blank(self) -> bool:
        return self.placement is None and self.state == "ready"

    def take(self, wish: Wish) -> None:
        self.placement, self.runs = wish.placement, wish.runs
        self.sessions.add(wish.session_id)


class Hosts:
    """The actors that sessions live in, and the sessions that wait for one."""

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._hosts: dict[str, Host] = {}
        self._waiting: list[Wish] = []
        self._next = 1
        self._start_seconds = 1.0
        self._stopped = False

    def __contains__(self, name: str) -> bool:
        return name in self._hosts

    # What happens.

    def ask(self, wish: Wish) -> None:
        """A session needs an actor; `RuntimeOverloaded` where none can take it soon."""
        taken = sum(len(host.sessions) for host in self._hosts.values()) + len(self._waiting)
        if taken >= self._options.open_sessions:
            raise RuntimeOverloaded(
                f"{taken} sessions are open (sessions.open_sessions); an idle one makes room after "
                f"sessions.idle = {self._options.idle:g} s, a closed one at once",
                retry_after=1.0,
            )
        self._waiting.append(wish)
        if self._fitting(wish) is None and self._needed() > self._options.waiting:
            self._waiting.remove(wish)
            raise RuntimeOverloaded(
                f"sessions wait for {self._options.waiting} actors to start (sessions.waiting); ask again "
                f"later, raise sessions.warm, or open sessions with placement='pooled'",
                retry_after=self._patience(),
            )

    def withdraw(self, wish: Wish) -> None:
        """Whoever asked does not wait any more."""
        if wish in self._waiting:
            self._waiting.remove(wish)

    def up(self, name: str, seconds: float) -> None:
        """An actor has started, within so many seconds."""
        self._start_seconds += _WEIGHT * (seconds - self._start_seconds)
        host = self._hosts.get(name)
        if host is not None:  # it may be gone again
            host.state = "ready"

    def failed(self, name: str) -> Wish | None:
        """An actor did not start: whoever has waited longest is told, so that nobody waits for ever."""
        self.gone(name)
        return self._waiting.pop(0) if self._waiting else None

    def left(self, session_id: str, name: str) -> None:
        """A session lives in this actor no more."""
        host = self._hosts.get(name)
        if host is None:
            return
        host.sessions.discard(session_id)
        if not host.sessions and host.state == "ready":
            if host.runs:
                host.state = "leaving"
            else:
                host.placement = None

    def retire(self, name: str) -> set[str]:
        """The actor takes no more sessions and ends without them; those that it has."""
        host = self._hosts.get(name)
        if host is None:
            return set()
        host.state = "leaving"
        return set(host.sessions)

    def gone(self, name: str) -> None:
        """The actor is not there any more, nor anything in it."""
        self._hosts.pop(name, None)

    def found(self, report: dict[str, Any]) -> None:
        """A restarted supervisor hears of an actor."""
        self.avoid([report["name"]])
        host = self._hosts[report["name"]] = Host(report["name"], "ready")
        host.runs = report["runs"]
        for told in report["sessions"]:
            host.take(Wish(told["session_id"], told["placement"], report["runs"]))
        if report["stopping"] or (host.runs and not host.sessions):
            host.state = "leaving"

    def avoid(self, taken: Iterable[str]) -> None:
        """No actor gets one of these names again."""
        numbers = [number for name in taken if (number := names.parse_host(name)) is not None]
        self._next = max([self._next, *(number + 1 for number in numbers)])

    def stop(self) -> None:
        """Nothing is started any more."""
        self._stopped = True

    # What follows.

    def assign(self) -> list[tuple[Wish, str]]:
        """Sessions that have their actor now, those first that have waited longest."""
        assigned = []
        for wish in list(self._waiting):
            host = self._fitting(wish)
            if host is not None:
                self._waiting.remove(wish)
                host.take(wish)
                assigned.append((wish, host.name))
        return assigned

    def starts(self) -> list[str]:
        """Names of actors to start now."""
        if self._stopped:
            return []
        starting = sum(host.state == "starting" for host in self._hosts.values())
        missing = self._needed() + self._options.warm - self._blanks() - starting
        count = max(0, min(missing, self._options.starting - starting))
        started = [names.host(self._next + place) for place in range(count)]
        self._next += count
        self._hosts |= {name: Host(name) for name in started}
        return started

    def ends(self) -> list[str]:
        """Actors to end now; they are forgotten."""
        # What a session leaves behind and what was started in its place are both kept, or opening and
        # closing by turns would start and end an actor each time.
        surplus = self._blanks() - 2 * self._options.warm - self._needed()
        blank = [host.name for host in self._hosts.values() if host.blank]
        empty = [host.name for host in self._hosts.values() if host.state == "leaving" and not host.sessions]
        ended = [*empty, *blank[: max(0, surplus)]]
        for name in ended:
            del self._hosts[name]
        return ended

    def snapshot(self) -> dict[str, Any]:
        """How many actors there are, by what they do, and how many sessions wait for one."""
        hosts = self._hosts.values()
        return {
            "warm": self._blanks(),
            "starting": sum(host.state == "starting" for host in hosts),
            "dedicated": sum(host.placement == "dedicated" for host in hosts),
            "pooled": sum(host.placement == "pooled" for host in hosts),
            "leaving": sum(host.state == "leaving" for host in hosts),
            "sessions": sum(len(host.sessions) for host in hosts),
            "waiting": len(self._waiting),
        }

    def _fitting(self, wish: Wish) -> Host | None:
        """The fullest actor with room for such a session, so that others empty; else a blank one."""
        if wish.placement == "pooled":
            shared = [host for host in self._hosts.values() if self._has_room(host, wish.runs)]
            if shared:
                return max(shared, key=lambda host: len(host.sessions))
        return next((host for host in self._hosts.values() if host.blank), None)

    def _has_room(self, host: Host, runs: str) -> bool:
        return (
            host.state == "ready"
            and host.placement == "pooled"
            and host.runs == runs
            and len(host.sessions) < self._options.slots
        )

    def _blanks(self) -> int:
        return sum(host.blank for host in self._hosts.values())

    def _needed(self) -> int:
        """How many blank actors the waiting sessions would take."""
        pooled = Counter(wish.runs for wish in self._waiting if wish.placement == "pooled")
        shared = sum(math.ceil(count / self._options.slots) for count in pooled.values())
        return len(self._waiting) - pooled.total() + shared

    def _patience(self) -> float:
        return self._start_seconds * max(1.0, len(self._waiting) / self._options.starting)
