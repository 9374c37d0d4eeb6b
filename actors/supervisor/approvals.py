"""Until when approvals are pending. Pure: times are nanoseconds since 1970, given in."""

from __future__ import annotations

import heapq


class PendingApprovals:
    """Pending approvals that expire; those whose time is over come out as due."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._expiries: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._ids)

    def asked(self, id_: str, expires: int | None) -> None:
        """It is pending from now on; one that never expires need not be watched over."""
        if expires is not None and id_ not in self._ids:
            self._ids.add(id_)
            heapq.heappush(self._expiries, (expires, id_))

    def answered(self, id_: str) -> None:
        """It is pending no more; where it has an expiry, that comes to nothing."""
        self._ids.discard(id_)
        if len(self._expiries) > 2 * len(self._ids) + 64:
            self._expiries = [one for one in self._expiries if one[1] in self._ids]
            heapq.heapify(self._expiries)

    def due(self, now: int) -> list[str]:
        """Those whose time is over, the earliest first; each is named once."""
        over = []
        while self._expiries and self._expiries[0][0] <= now:
            _, id_ = heapq.heappop(self._expiries)
            if id_ in self._ids:
                over.append(id_)
        return over

    def again(self, id_: str, at: int) -> None:
        """One that was due could not be answered: it is due again then."""
        if id_ in self._ids:
            heapq.heappush(self._expiries, (at, id_))
