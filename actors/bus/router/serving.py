"""One client that serves one subscription: what it has in hand, and what is meant for it.

An ordinary subscription is served by one client at a time, which takes straight from the mailbox. Of a
subscription with members each has a queue of its own: the messages of a session stay with one member
until it has none of them left; then the member of the highest weight for that session takes the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING
from zlib import crc32

from llmgine.actors.bus.router.records import ClientState, Record

if TYPE_CHECKING:
    from llmgine.actors.bus.router.mailbox import Mailbox


class Recall:
    """What a verdict takes back until the client says that it was all: one lane, or everything (None)."""

    __slots__ = ("everything", "lane")

    def __init__(self, lane: str | None, *, everything: bool) -> None:
        self.lane = lane
        self.everything = everything


class Serving:
    """Entries handed to one client, and what came back of them unhandled.

    `inflight` and `aside` are by entry: on their way or running, and given back while others of the same
    verdict still come. Results of entries before `boundary` are of an older state of the breaker;
    `untried` are those that a half-open breaker does not count. `lanes` counts a member's messages by
    session.
    """

    __slots__ = (
        "aside",
        "boundary",
        "client",
        "inflight",
        "lanes",
        "mailbox",
        "next_entry",
        "queue",
        "recalls",
        "retiring",
        "seed",
        "untried",
        "urgent",
    )

    def __init__(self, mailbox: Mailbox, client: ClientState) -> None:
        self.mailbox = mailbox
        self.client = client
        self.inflight: dict[int, Record] = {}
        self.aside: dict[int, Record] = {}
        self.recalls: dict[int, Recall] = {}
        # Entries of a client that served before are never used again.
        self.next_entry = self.boundary = mailbox.next_entry
        self.untried: set[int] = set()
        self.retiring = False
        self.queue = mailbox.queue
        self.urgent = mailbox.urgent
        self.lanes: dict[str, int] | None = None
        self.seed = 0
        if mailbox.subscription.members:
            self.queue, self.urgent, self.lanes = deque(), deque(), {}
            self.seed = crc32(client.name.encode("utf-8", "surrogatepass"))

    @property
    def recalling(self) -> bool:
        """Whether everything is on its way back, so that nothing may be handed out before it is here."""
        return any(recall.everything for recall in self.recalls.values())

    def in_hand(self) -> list[Record]:
        """What was handed out and is not done, in that order."""
        return [record for _, record in sorted([*self.inflight.items(), *self.aside.items()])]

    def take_in_hand(self) -> list[Record]:
        """The same, taken away: it will be handed out again."""
        records = self.in_hand()
        self.inflight.clear()
        self.aside.clear()
        self.untried.clear()
        return records

    def take_aside(self, lane: str | None) -> list[Record]:
        """What was given back of this lane, or of all of them where it is None, in order."""
        mailbox = self.mailbox
        entries = sorted(
            entry for entry, record in self.aside.items() if lane is None or mailbox.lane(record) == lane
        )
        return [self.aside.pop(entry) for entry in entries]

    # Members

    def assign(self, record: Record) -> None:
        """It goes to this member."""
        mailbox = self.mailbox
        if self.lanes is not None:
            lane = mailbox.lane(record)
            if lane is not None:
                self.lanes[lane] = self.lanes.get(lane, 0) + 1
        mailbox.outstanding += 1
        (self.urgent if mailbox.reenters(record) else self.queue).append(record)

    def put_back(self, records: list[Record]) -> None:
        """These of its own come before the others, in this order."""
        for record in reversed(records):
            (self.urgent if self.mailbox.reenters(record) else self.queue).appendleft(record)

    def released(self, record: Record) -> None:
        """It is not this member's any more."""
        if self.lanes is None:
            return
        lane = self.mailbox.lane(record)
        if lane is None:
            return
        left = self.lanes[lane] - 1
        if left:
            self.lanes[lane] = left
        else:
            del self.lanes[lane]

    def meant(self) -> list[Record]:
        """What was given to this member and not handed out."""
        return [] if self.lanes is None else [*self.urgent, *self.queue]

    def pull(self, records: Iterable[Record]) -> list[Record]:
        """Take back what was meant for this member and not handed out."""
        wanted = set(records)
        taken = [record for record in self.meant() if record in wanted]
        if not taken:
            return taken
        for queue in (self.urgent, self.queue):
            kept = [record for record in queue if record not in wanted]
            queue.clear()
            queue.extend(kept)
        for record in taken:
            self.released(record)
        self.mailbox.outstanding -= len(taken)
        return taken


def weight(seed: int, key: int) -> int:
    """How much a member is meant for a key: the same in every life of the router."""
    mixed = (seed ^ key) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    mixed = (mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    return mixed ^ mixed >> 32


def share(mailbox: Mailbox) -> None:
    """Give what is queued to the members that it is meant for; without any it waits."""
    members = [one for one in mailbox.members.values() if one.client.connected and not one.retiring]
    if not members:
        return
    # What was given to a member cannot make room for newer messages any more.
    limit = None if mailbox.keeps else mailbox.window
    for urgent, queue in ((True, mailbox.urgent), (False, mailbox.queue)):
        while queue or (not urgent and mailbox.refill()):
            record = queue[0]
            lane = mailbox.lane(record)
            hold = mailbox.trouble.holds.get(lane) if mailbox.trouble is not None and lane else None
            if hold is not None:
                queue.popleft()
                hold.records.append(record)
                mailbox.outstanding += 1
                continue
            member = _unasked(mailbox, members, record) or _member(mailbox, members, record, lane)
            if not urgent and limit is not None and len(member.queue) + len(member.inflight) >= limit:
                break
            queue.popleft()
            member.assign(record)


def _unasked(mailbox: Mailbox, members: list[Serving], record: Record) -> Serving | None:
    """Who is to be asked next whether it knows this command; None where that is no question any more."""
    head = record.head
    if not (head.command and head.again) or mailbox.subscription.idempotent:
        return None
    asked = mailbox.probing.setdefault(record, set())
    return next((member for member in members if member.client not in asked), None)


def _member(mailbox: Mailbox, members: list[Serving], record: Record, lane: str | None) -> Serving:
    if lane is not None:
        for one in mailbox.members.values():
            if one.lanes is not None and lane in one.lanes:
                return one
    if len(members) == 1:
        return members[0]
    key = crc32((lane if lane is not None else record.id).encode("utf-8", "surrogatepass"))
    return max(members, key=lambda one: weight(one.seed, key))
