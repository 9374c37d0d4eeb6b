"""Where one message is at this moment, handler by handler, in the words of a story."""

from __future__ import annotations

from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import Record
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.router.story import Line, What, session_of


def whereabouts(state: RouterState, id_: str) -> list[Line]:
    """One line for each handler that is not done with it; none where it is settled or unknown."""
    session = session_of(id_)
    producer, _, rest = id_.partition(f":{session}:")
    name, _, epoch = producer.rpartition(":")
    client = state.clients.get(name)
    if client is None or str(client.epoch) != epoch or not rest.isdigit():
        return []
    line = client.lines.get(session)
    record = line.unsettled.get(int(rest)) if line is not None else None
    if record is None:
        return []
    now = state.wall() / 1e9
    found: list[Line] = []
    for mailbox in (*state.mailboxes.values(), *state.closing.values()):
        place = _place(mailbox, record)
        if place is not None:
            what, text = place
            found.append((now, what, mailbox.subscription.name, session, id_, text))
    if not found and record.waiting:
        found.append((now, "is held back", "", session, id_, "its publish is not acknowledged yet"))
    return found


def _place(mailbox: Mailbox, record: Record) -> tuple[What, str] | None:
    trouble = mailbox.trouble
    found = mailbox.entry_of(record)
    if found is not None:
        attempt = trouble.attempt(record) if trouble is not None else 1
        return "is handed out", f"attempt {attempt}, to {found[0].client.name}"
    if mailbox.held.holds(record):
        return "is held back", "until handlers of a higher priority, or what came before it, are done"
    if record in mailbox.waiting:
        return "is held back", "until its mailbox has room"
    if trouble is not None and record in trouble.backoff:
        return "is held back", "until its next attempt"
    if trouble is not None and any(record in hold.records for hold in trouble.holds.values()):
        return "is held back", "until the failed message of its session, or it itself, is tried again"
    if record not in set(mailbox.everything()):
        return None
    if trouble is not None and trouble.parked is not None:
        return "is held back", f"the handler's breaker is {trouble.breaker.state}"
    if not any(client.connected for client in mailbox.members):
        return "is held back", "nobody serves the handler now"
    return "is queued", f"with {mailbox.size} in its mailbox"
