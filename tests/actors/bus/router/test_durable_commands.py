"""Durable commands: kept before they are handed out, run once, answered over every life of the router."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.bus import wire
from tests.actors.bus.router.world import COMMAND, Client, World


def made(**options: Any) -> tuple[World, Client, Client]:
    """A router that has read its store, a producer, and a client with handlers to be added."""
    world = World(**options)
    return world, world.client("p"), world.client("h")


def test_a_durable_command_is_marked_before_it_is_handed_out() -> None:
    """Its handler is called only when the journal knows that it is about to be."""
    world, producer, server = made()
    record = world.handler(server, "run", "command")
    world.start()
    producer.publish(lineage=COMMAND, flags=wire.COMMAND | wire.DURABLE)
    for _ in range(2):
        # Of the message first, then of its being handed out.
        world.rest_without_store()
        assert not server.jobs
        world.write()
        world.write()
    world.rest_without_store()
    assert len(server.jobs) == 1
    world.rest()
    assert server.handled[record.number] == [(("p", 1, "BUS"), 1)]
    assert producer.results["BUS", 1][0] is True


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_handed_out_command_does_not_run_twice_after_a_crash_of_everything(idempotent: bool) -> None:
    """It becomes a dead letter of unknown outcome, except where its handler may run it again."""
    world, producer, server = made(client_lease=60.0)
    record = world.handler(server, "run", "command", idempotent=idempotent)
    world.start()
    producer.publish(lineage=COMMAND, flags=wire.COMMAND | wire.DURABLE)
    world.rest(work=False)
    assert len(server.jobs) == 1
    world.clients.clear()
    server = world.client("h", 2)
    taken = world.table.add(type(record).from_wire({**record.to_wire(), "epoch": 2})).subscription
    server.serve(taken)
    world.start()
    world.rest()
    assert len(server.handled[record.number]) == idempotent
    world.pass_time(61.0)
    world.rest()
    assert world.store is not None
    assert [letter.reason for letter in world.store.letters] == ([] if idempotent else ["outcome_unknown"])
    assert not world.store.journal


def test_a_command_that_was_not_handed_out_runs_after_a_crash_of_everything() -> None:
    """The journal knows that it has never been called."""
    world, producer, server = made()
    record = world.handler(server, "run", "command")
    world.start()
    world.core.detach(server.state, 0.0)
    producer.publish(lineage=COMMAND, flags=wire.COMMAND | wire.DURABLE)
    del world.clients["h"]
    world.rest()
    del world.clients["p"]
    world.clients["h"] = server
    world.start()
    world.rest()
    assert server.handled[record.number] == [(("p", 1, "BUS"), 1)]


def test_a_caller_that_lives_gets_its_answer_over_the_routers_death() -> None:
    """A command in hand when the router died is not run again; its handler's answer finds the caller."""
    world, producer, server = made()
    record = world.handler(server, "run", "command")
    world.start()
    producer.publish(lineage=COMMAND, flags=wire.COMMAND | wire.DURABLE)
    world.rest(work=False)
    server.work(world.choose)
    server.outgoing.clear()
    world.start()
    world.rest()
    assert server.handled[record.number] == [(("p", 1, "BUS"), 1)]
    assert producer.results["BUS", 1][0] is True


def test_a_command_that_was_refused_while_the_journal_was_not_read_never_runs() -> None:
    """An earlier router had written it: its caller hears that its outcome is unknown, and nobody runs it."""
    world, producer, server = made(journal_timeout=5.0)
    record = world.handler(server, "run", "command")
    world.start()
    world.core.detach(server.state, 0.0)
    producer.publish(lineage=COMMAND, flags=wire.COMMAND | wire.DURABLE)
    world.rest_without_store()
    batch = world.core.next_write()
    assert batch is not None
    assert world.store is not None
    world.store.apply(batch[1])
    assert world.store.journal
    world.start(read=False)
    world.rest_without_store()
    world.pass_time(5.1)
    world.rest_without_store()
    assert producer.results["BUS", 1][:3:2] == [False, "outcome_unknown"]
    world.read_store()
    world.rest()
    assert server.handled[record.number] == []
    assert [letter.reason for letter in world.store.letters] == ["outcome_unknown"]
    assert not world.store.journal


def test_a_command_whose_handler_went_waits_for_what_the_journal_says() -> None:
    """Sent again before the journal is read, it ends as one dead letter, not as two."""
    world, producer, server = made()
    record = world.handler(server, "run", "command")
    world.start()
    world.core.detach(server.state, 0.0)
    producer.publish(lineage=COMMAND, flags=wire.COMMAND | wire.DURABLE)
    world.rest(work=False)
    world.table.remove(record.number)
    world.start(read=False)
    world.rest_without_store()
    assert not producer.results
    world.read_store()
    world.rest()
    assert world.store is not None
    assert [letter.reason for letter in world.store.letters] == ["no_handler"]
    assert producer.results["BUS", 1][2] == "no_handler"
    assert not world.store.journal
