"""What must hold of a router's state at any time, in one pass over what it holds."""

from __future__ import annotations

from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import ClientState, Record
from llmgine.actors.bus.router.state import RouterState


def check(state: RouterState) -> None:
    """Every message is where it is said to be, and is counted once; no limit is exceeded."""
    boxes = [*state.mailboxes.values(), *state.closing.values()]
    held: dict[Record, int] = {}
    for mailbox in boxes:
        mailbox.validate()
        _check_servings(mailbox)
        _check_trouble(mailbox)
        for record in (*mailbox.everything(), *mailbox.waiting):
            held[record] = held.get(record, 0) + 1
    for record in state.holding():
        held[record] = held.get(record, 0) + 1
    for record, count in held.items():
        stored = len(record.kept.pending) if record.kept is not None else 0
        assert record.head.line.unsettled.get(record.sequence) is record, (record.id, "is settled")
        assert record.open <= count <= record.open + stored, (record.id, record.open, stored, count)
    for client in state.clients.values():
        _check_client(client, held)
    _check_counters(state)


def _check_servings(mailbox: Mailbox) -> None:
    name = mailbox.subscription.name
    for client, serving in mailbox.members.items():
        assert serving.client is client, name
        attached = client.servings.get(mailbox.subscription.number)
        assert attached is (serving if client.connected else None), (name, client.name)
        assert not serving.inflight or max(serving.inflight) < serving.next_entry, name
        assert not serving.inflight.keys() & serving.aside.keys(), name
        assert serving.untried <= serving.inflight.keys(), (name, "counts an entry that is done")
        free = sum(1 for record in serving.inflight.values() if record.head.chain)
        assert len(serving.inflight) - free <= mailbox.window, (name, len(serving.inflight))
        if serving.lanes is not None:
            lanes = [mailbox.lane(one) for one in (*serving.in_hand(), *serving.meant())]
            counted = {lane: lanes.count(lane) for lane in lanes if lane is not None}
            assert counted == serving.lanes, (name, counted, serving.lanes)
    if mailbox.sole is not None:
        assert list(mailbox.members.values()) == [mailbox.sole], name
    assert mailbox.running == mailbox.each * sum(one.connected for one in mailbox.members), name


def _check_trouble(mailbox: Mailbox) -> None:
    trouble = mailbox.trouble
    if trouble is None:
        return
    name, breaker = mailbox.subscription.name, trouble.breaker
    here = set(mailbox.everything())
    assert trouble.tries.keys() <= here, (name, "remembers attempts of what is gone")
    assert (trouble.parked is not None) is (breaker.state != "closed"), (name, breaker.state)
    assert set(trouble.parked or ()) <= here, (name, "parks what is gone")
    stays = breaker.state == "open" and trouble.wake is None and not mailbox.closing
    assert not stays, (name, "stays open for ever")
    for lane, hold in trouble.holds.items():
        assert hold.timer is not None or hold.due, (name, lane)
        assert not hold.due or hold.recalls, (name, lane, "waits for nothing")
        recalls = sum(
            recall.lane == lane for one in mailbox.members.values() for recall in one.recalls.values()
        )
        assert hold.recalls == recalls, (name, lane, hold.recalls, recalls)
    if breaker.state == "half_open":
        trials = sum(
            entry >= serving.boundary and entry not in serving.untried
            for serving in mailbox.members.values()
            for entry in serving.inflight
        )
        assert breaker.taken == trials, (name, breaker.taken, trials)


def _check_client(client: ClientState, held: dict[Record, int]) -> None:
    for line in client.lines.values():
        for sequence, record in line.unsettled.items():
            assert sequence <= max(line.received, line.journaled), record.id
            assert held.get(record, 0) > 0, (record.id, "is held by nobody")


def _check_counters(state: RouterState) -> None:
    counters = state.counters
    events = counters["events_processed_total"] + counters["events_failed_total"]
    commands = counters["commands_processed_total"] + counters["commands_failed_total"]
    published = counters["events_published_total"] + counters["commands_sent_total"]
    assert 0 <= published - events - commands <= state.unsettled, (counters, state.unsettled)
