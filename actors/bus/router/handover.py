"""Who serves a subscription: clients come, go, take over and share; nothing in their hands is lost.

An ordinary subscription is handed over only when its former owner has nothing in hand. A member that is
away keeps what it had in hand until it comes back or is given up; the rest goes to the others.
"""

from __future__ import annotations

from collections.abc import Collection

from llmgine.actors.bus.router.breakers import Breakers
from llmgine.actors.bus.router.ends import Ends
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import ClientState, Record
from llmgine.actors.bus.router.serving import Serving
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.router.verdicts import Verdicts

# How long a new life of the router waits for the members that the former one had: what they have seen is
# known to them alone.
GATHER = 1.0


class Handover:
    """Every change of who serves."""

    def __init__(self, state: RouterState, ends: Ends, breakers: Breakers, verdicts: Verdicts) -> None:
        self._state = state
        self._ends = ends
        self._breakers = breakers
        self._verdicts = verdicts

    # Coming

    def gather(self) -> None:
        """Clients come over from an earlier life of the router: the first of them starts the wait for all."""
        state = self._state
        if not state.gathered:
            state.gathered = state.gathering = True
            state.timers.at(state.now + GATHER, self._share_out)

    def _share_out(self) -> None:
        self._state.gathering = False
        for mailbox in self._state.mailboxes.values():
            if mailbox.subscription.members:
                self._state.mark_ready(mailbox)

    def attach(self, mailbox: Mailbox, client: ClientState) -> None:
        """This client serves the subscription from now, or once its former owner has nothing in hand."""
        serving = mailbox.members.get(client)
        if serving is not None:
            client.servings[mailbox.subscription.number] = serving
            serving.retiring = False
            self._joined(mailbox)
        elif mailbox.subscription.members:
            self._serve(mailbox, client)
        else:
            mailbox.heir = client
            if mailbox.sole is None or not mailbox.sole.inflight:
                self.hand_over(mailbox, mailbox.sole)

    def _serve(self, mailbox: Mailbox, client: ClientState) -> None:
        serving = mailbox.members[client] = Serving(mailbox, client)
        client.servings[mailbox.subscription.number] = serving
        if serving.lanes is None:
            mailbox.sole = serving
        self._joined(mailbox)

    def _joined(self, mailbox: Mailbox) -> None:
        mailbox.count_places()
        self._regather(mailbox)
        self._ends.admit_waiting(mailbox)
        self._state.press(mailbox)
        self._state.mark_ready(mailbox)

    def _regather(self, mailbox: Mailbox) -> None:
        """What was meant for members and is in nobody's hand is shared out anew."""
        records: list[Record] = []
        for serving in mailbox.members.values():
            if serving.lanes is None:
                continue
            # What it may have seen already stays its own.
            suspect = mailbox.suspect
            bound = {mailbox.lane(one) for one in (*serving.in_hand(), *serving.meant()) if one in suspect}
            bound.update(mailbox.lane(one) for one in serving.in_hand())
            records += serving.pull(
                one
                for one in serving.meant()
                if one not in suspect and (mailbox.lane(one) is None or mailbox.lane(one) not in bound)
            )
        mailbox.put_back(records)

    # Going

    def detach(self, serving: Serving) -> None:
        """Its link broke: what it had in hand will be handed out again."""
        mailbox, client = serving.mailbox, serving.client
        client.ready.pop(serving, None)
        client.servings.pop(mailbox.subscription.number, None)
        if serving.lanes is None or serving.retiring or mailbox.closing:
            self.hand_over(mailbox, serving)
            return
        self._suspect(mailbox, serving)
        serving.put_back(serving.take_in_hand())
        mailbox.count_places()
        self._verdicts.abandoned(serving)
        self._regather(mailbox)
        self._state.mark_ready(mailbox)

    def give_up(self, client: ClientState) -> None:
        """This life of a client will not come back: commands that went with it have no known outcome."""
        for mailbox in list(self._state.mailboxes.values()):
            serving = mailbox.members.get(client)
            if serving is None and mailbox.subscription.owner != client.owner:
                continue
            if serving is not None:
                self._give_up(mailbox, serving)
                continue
            for record in list(mailbox.suspect):
                self._may_have_run(mailbox, record)

    def forgo(self, client: ClientState, numbers: Collection[int]) -> None:
        """It has come back and serves these alone: what else it was a member of goes to the others."""
        for mailbox in list(self._state.mailboxes.values()):
            serving = mailbox.members.get(client)
            if serving is not None and mailbox.subscription.number not in numbers:
                self._give_up(mailbox, serving)

    def _give_up(self, mailbox: Mailbox, serving: Serving) -> None:
        for record in serving.meant():
            self._may_have_run(mailbox, record)
        self.hand_over(mailbox, serving)

    def _may_have_run(self, mailbox: Mailbox, record: Record) -> None:
        if record in mailbox.suspect and record.head.command and record.sent:
            self._forsaken(mailbox, record)

    def _forsaken(self, mailbox: Mailbox, record: Record) -> None:
        if mailbox.subscription.idempotent or not mailbox.unqueue(record):
            return
        text = f"the process of {mailbox.subscription.name!r} went away with the command in hand"
        self._ends.fail(mailbox, record, "outcome_unknown", "outcome_unknown", text)

    def _suspect(self, mailbox: Mailbox, serving: Serving) -> None:
        inflight = serving.inflight
        mailbox.suspect.update(inflight.values())
        mailbox.counters.redelivered += len(inflight)
        self._breakers.released(serving, list(inflight))

    def _leave(self, serving: Serving) -> None:
        """What it had goes back into the mailbox, in order."""
        mailbox, client = serving.mailbox, serving.client
        client.ready.pop(serving, None)
        if client.servings.get(mailbox.subscription.number) is serving:
            del client.servings[mailbox.subscription.number]
        # Before anything that could hand out to it.
        del mailbox.members[client]
        if mailbox.sole is serving:
            mailbox.sole = None
        self._suspect(mailbox, serving)
        gone = list(serving.inflight.values()) if serving.lanes is not None else []
        records = serving.take_in_hand()
        for record in records:
            serving.released(record)
        mailbox.outstanding -= len(records)
        if serving.lanes is not None:
            records += serving.pull(serving.meant())
        mailbox.count_places()
        mailbox.put_back(records)
        self._verdicts.abandoned(serving)
        self._state.arrived(mailbox, records)
        for record in gone:
            if record.head.command and record.sent:
                # Another member would run it beside the first, or once more.
                self._forsaken(mailbox, record)

    def hand_over(self, mailbox: Mailbox, serving: Serving | None) -> None:
        """From whoever has nothing in hand, or is gone, to whoever waits for it."""
        if serving is not None:
            self._leave(serving)
        if mailbox.closing:
            if not mailbox.members:
                self._end(mailbox)
            return
        heir, mailbox.heir = mailbox.heir, None
        if heir is not None and heir.connected:
            self._serve(mailbox, heir)
        else:
            self._regather(mailbox)
            self._state.mark_ready(mailbox)

    def leave(self, client: ClientState) -> None:
        """It serves nothing any more: it ends what it has begun and gives back the rest."""
        for serving in list(client.servings.values()):
            self._retire(serving)

    def retire(self, mailbox: Mailbox) -> None:
        """Another client owns the subscription now; the former one ends what it has in hand."""
        for serving in list(mailbox.members.values()):
            self._state.note("taken over", mailbox, text=f"from {serving.client.name}")
            serving.client.lost.append(mailbox.subscription.number)
            self._state.touch(serving.client)
            self._retire(serving)

    def _retire(self, serving: Serving) -> None:
        serving.client.ready.pop(serving, None)
        serving.retiring = True
        if not serving.inflight:
            self.hand_over(serving.mailbox, serving)

    # Ends of a subscription

    def close(self, mailbox: Mailbox) -> None:
        """The subscription was removed: nothing more is handed out, what runs may end."""
        number = mailbox.subscription.number
        mailbox.closing = True
        mailbox.heir = None
        self._discard_all(mailbox)
        for serving in list(mailbox.members.values()):
            if not serving.inflight:
                self._leave(serving)
                continue
            self._state.closing[number] = mailbox
            serving.client.lost.append(number)
            self._state.touch(serving.client)
        if not mailbox.members:
            self._end(mailbox)

    def come_again(self, mailbox: Mailbox) -> None:
        """Its subscription was removed here, and the table's owner had died before others heard of that.

        What its handlers still run of before belongs to a mailbox that is gone.
        """
        former = self._state.closing.get(mailbox.subscription.number)
        if former is not None:
            mailbox.next_entry = former.next_entry
            for serving in list(former.members.values()):
                self._leave(serving)
            self._end(former)

    def _end(self, mailbox: Mailbox) -> None:
        """The last of a removed subscription's messages."""
        self._discard_all(mailbox)
        self._state.closing.pop(mailbox.subscription.number, None)
        self._state.stalled.pop(mailbox, None)

    def _discard_all(self, mailbox: Mailbox) -> None:
        again = self._verdicts.empty(mailbox)
        for serving in mailbox.members.values():
            again += serving.pull(serving.meant()) if serving.lanes is not None else []
        accepted, waiting = mailbox.drain()
        for record in (*again, *accepted):
            if record.head.command and record.sent:
                text = "its handler's process went away with the command in hand"
                self._ends.fail(mailbox, record, "outcome_unknown", "outcome_unknown", text)
            else:
                self._ends.discard(mailbox, record)
        for record in waiting:
            mailbox.counters.accepted += 1
            self._ends.entered(record)
            self._ends.discard(mailbox, record)
        self._state.press(mailbox)
