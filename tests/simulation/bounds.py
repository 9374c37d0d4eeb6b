"""Invariant 6: no ring, story, table, buffer or mailbox ever holds more than its options allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.replay import REMEMBERED, WAITING
from llmgine.actors.bus.router.writes import WAITING_LETTERS
from tests.simulation.plan import PRODUCERS, WORKERS

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.router import RouterHost
    from tests.simulation.world import World

_CLIENTS = len(PRODUCERS) + len(WORKERS)


class Bounds:
    """`router` and `process` look at everything that grows; `mailboxes` is quick enough for every step."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._options = world.plan.options

    def _within(self, whose: str, what: str, size: int, limit: int) -> None:
        if size > limit:
            raise self.world.account.violation(6, f"{whose} has {size} {what}, allowed are {limit}")

    # Routers

    def mailboxes(self, router: RouterHost) -> None:
        for mailbox in router.core._state.mailboxes.values():
            # What is being handled takes no room, and whoever handled it may have gone since.
            limit = mailbox.subscription.capacity + _CLIENTS * mailbox.each
            if mailbox.size > limit:
                self._within(router.name, f"messages for {mailbox.subscription.name}", mailbox.size, limit)

    def router(self, router: RouterHost) -> None:
        state, options, name = router.core._state, self._options, router.name
        self._within(name, "failures in its history", len(state.failures.latest), options.history)
        stories = state.story
        self._within(name, "stories", len(stories), options.stories)
        self._within(name, "rows of unheard events", len(stories._unheard), options.stories)
        longest = max(map(len, stories._stories.values()), default=0)
        self._within(name, "lines in a story", longest, options.story)
        self._within(name, "letters to write", len(state.writes._letters), WAITING_LETTERS)
        replays = router.core._replays
        self._within(name, "replays that wait", len(replays._waiting), WAITING)
        self._within(name, "answers of replays", len(replays._answers), REMEMBERED)
        # Their former lives go with the lease.
        self._within(name, "clients", len(state.clients), _CLIENTS + 2)
        for client in state.clients.values():
            for line in client.lines.values():
                self._within(name, f"results for {client.name}", len(line.results), options.max_unsettled)
        for mailbox in state.mailboxes.values():
            self._waiting(name, mailbox)

    def _waiting(self, name: str, mailbox: Mailbox) -> None:
        """Whoever waits for room does so in a producer's window.

        Handlers' own messages and the router's have none, and what the journal had is as much as it is.
        """
        waiting = [
            record
            for record in mailbox.waiting
            if not (record.head.depth or record.head.on_settled or (record.kept and record.kept.told))
        ]
        lines = {record.head.line for record in waiting}
        limit = len(lines) * self._options.max_unadmitted
        self._within(name, f"messages before {mailbox.subscription.name}", len(waiting), limit)

    # Processes

    def process(self, process: Process, shard: int) -> None:
        options, name = self._options, process.life
        outbox = process.ends[shard].outbox
        self._within(name, "bytes in its outbox", outbox.bytes, options.outbox_bytes + 2_000)
        for line in outbox.lines.values():
            where = f"messages under way in {line.session}"
            self._within(name, where, line.sent - line.floor + 1, options.max_unsettled)
            self._within(name, f"unadmitted {where}", line.unadmitted, options.max_unadmitted)
            self._within(name, f"missing {where}", -line.unadmitted, 0)
        handling = process.handling
        self._within(name, "bytes of kept results", handling.kept._size, options.kept_result_bytes)
        for places in handling.places.values():
            lines = places.lines
            busy = sum(1 for one in lines if one.running)
            self._within(name, "remembered lines", len(lines), options.dedup_lines + busy)
            # What goes ahead of its line, for its own handler waits for it, comes on top of the window.
            most = max((one.mask.bit_count() for one in lines), default=0)
            self._within(name, "remembered messages of a line", most, lines._window + options.max_unsettled)
