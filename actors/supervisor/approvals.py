"""Which approvals are pending and until when. Pure: times are nanoseconds since 1970, given in."""

from __future__ import annotations

import heapq


class PendingApprovals:
    """Pending approvals by id, each with its session; those whose time is over come out as due."""

    def __init__(self) -> None:
        self._sessions: dict[str, str] = {}
        self._expiries: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._sessions)

    def asked(self, id_: str, session: str, expires: int | None) -> bool:
        """It is pending from now on; whether that is news."""
        if id_ in self._sessions:
            return False
        self._sessions[id_] = session
        if expires is not None:
            heapq.heappush(self._expiries, (expires, id_))
        return True

    def answered(self, id_: str) -> None:
        """It is pending no more; where it has an expiry, that comes to nothing."""
        self._sessions.pop(id_, None)
        if len(self._expiries) > 2 * len(self._sessions) + 64:
            self._expiries = [one for one in self._expiries if one[1] in self._sessions]
            heapq.heapify(self._expiries)

    def due(self, now: int) -> list[str]:
        """Those whose time is over, the earliest first; each is named once."""
        over = []
        while self._expiries and self._expiries[0][0] <= now:
            _, id_ = heapq.heappop(self._expiries)
            if id_ in self._sessions:
                over.append(id_)
        return over

    def again(self, id_: str, at: int) -> None:
        """One that was due could not be answered: it is due again then."""
        if id_ in self._sessions:
            heapq.heappush(self._expiries, (at, id_))
