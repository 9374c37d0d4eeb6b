"""From publishers into mailboxes: depth, the router's own messages, and graphs of handlers that publish."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmgine.actors.bus import wire
from llmgine.actors.bus.filters import TypeFilter
from llmgine.actors.bus.router.records import Origin
from llmgine.actors.bus.router.sequences import Sequences
from tests.actors.bus.router.scripted import Script
from tests.actors.bus.router.world import BODY, COMMAND, LINEAGE, Client, World


def made(**options: Any) -> tuple[World, Client, Client]:
    world = World(**options)
    return world, world.client("p"), world.client("h")


def origin(sequence: int = 1, **fields: Any) -> Origin:
    given: dict[str, Any] = {"producer": "schedule:x", "epoch": 1, "session": "s1", "lineage": LINEAGE}
    return Origin(**{**given, "sequence": sequence, "body": BODY, **fields})


def test_too_deep_is_a_dead_letter() -> None:
    """Past max_depth nothing is routed; the producer is told, and goes on."""
    world, producer, server = made(max_depth=3)
    record = world.handler(server, "h")
    world.handler(server, "run", "command")
    world.start()
    producer.publish(depth=3)
    producer.publish(depth=4)
    producer.publish(lineage=COMMAND, flags=wire.COMMAND, depth=4)
    world.rest()
    assert server.handled[record.number] == [(("p", 1, "BUS"), 1)]
    assert producer.refused == {("BUS", 2): [("", "depth")]}
    assert producer.results["BUS", 3][2] == "depth"
    assert world.store is not None
    assert [letter.reason for letter in world.store.letters] == ["depth", "depth"]


def test_whoever_waits_for_room_gets_it_whatever_made_it() -> None:
    """Commands that may not go any more leave an empty mailbox: the last one does not stay outside."""
    script = Script()
    script.handler("other")
    number = script.handler(kind="command", capacity=1, concurrency=1)
    script.execute()
    assert script.order() == [1]
    for _ in range(3):
        script.publish(session="BUS", flags=wire.COMMAND | wire.AGAIN, since=1)
    script.say("worker", [wire.OUTCOME, [[number, 1, wire.VALUE, [True, b"x", "", "", False, 1, 0.0]]]])
    assert script.got() == []
    script.wait(0.1)
    assert script.got() == []
    assert [answer[2] for answer in script.results()] == ["", *["outcome_unknown"] * 3]
    assert script.row(number)["held"] == 0


def test_a_command_that_nobody_handles_fails_at_once() -> None:
    """It names its class, and is a dead letter."""
    world, producer, _ = made()
    world.start()
    producer.publish("s9", lineage=COMMAND, flags=wire.COMMAND)
    world.rest()
    answer = producer.results["s9", 1]
    assert (answer[0], answer[2]) == (False, "no_handler")
    assert "test.Command" in answer[3]
    assert "s9" in answer[3]


def test_the_router_may_send_by_itself() -> None:
    """Its messages go to whoever handles them, and it hears once when all are done."""
    world, _, server = made()
    record = world.handler(server, "h")
    world.start()
    heard: list[bool] = []
    state = world.core._state
    assert not state.originate(origin(lineage="nobody.Event"))
    assert state.originate(origin(on_settled=heard.append))
    assert heard == []
    world.rest()
    assert server.handled[record.number] == [(("schedule:x", 1, "s1"), 1)]
    assert heard == [True]
    for sequence in range(2, 300):
        assert state.originate(origin(sequence, producer=f"schedule:{sequence}", on_settled=heard.append))
        world.rest()
    assert heard == [True] * 299
    origins: Any = world.core._admission._origins
    assert len(origins._lines) < 150


def test_the_router_hears_of_failures() -> None:
    """`on_settled` says whether every handler succeeded."""
    world, _, server = made()
    world.handler(server, "h")
    world.start()
    heard: list[bool] = []
    world.core._state.originate(origin(on_settled=heard.append))
    world.rest(work=False)
    [(number, entry, *_)] = server.jobs
    server.jobs.clear()
    detail = ["invalid", "ValueError", "no", 1, 0.0, False]
    server.outgoing.append([wire.OUTCOME, [[number, entry, wire.FAILED, detail]]])
    world.rest()
    assert heard == [False]


def test_what_all_filters_refuse_is_settled() -> None:
    """There are handlers, so it has been sent, and that was all."""
    world, _, server = made()
    world.handler(server, "h", filter=TypeFilter(exclude=["test.Event"]).to_wire())
    world.start()
    heard: list[bool] = []
    assert world.core._state.originate(origin(on_settled=heard.append))
    assert heard == [True]


def test_a_replay_goes_to_one_handler_only() -> None:
    """Past filters and journal, events and commands alike, and says what it repeats."""
    world, _, server = made()
    wanted = world.handler(
        server, "wanted", durable=True, filter=TypeFilter(exclude=["test.Event"]).to_wire()
    )
    world.handler(server, "other")
    run = world.handler(server, "run", "command")
    world.start()
    heard: list[bool] = []
    fields: dict[str, Any] = {"producer": "replay:r", "on_settled": heard.append, "replay_of": "letter"}
    state = world.core._state
    assert state.originate(origin(3, only=world.mailbox(wanted), **fields))
    assert state.originate(
        origin(
            9, only=world.mailbox(run), lineage=COMMAND, command=True, **{**fields, "replay_of": "another"}
        )
    )
    parcel = next(iter(iter(lambda: world.core.take(server.state), None)))
    while parcel[0] != wire.DELIVER:
        parcel = world.core.take(server.state)
    extras = [run_[8] for run_ in parcel[1]]
    server.inbox.append(parcel)
    world.rest()
    assert [extra["replay_of"] for extra in extras][:1] == ["letter"]
    assert server.handled[wanted.number] == [(("replay:r", 1, "s1"), 3)]
    assert server.handled[run.number] == [(("replay:r", 1, "s1"), 9)]
    assert heard == [True, True]
    assert world.store is not None
    assert not world.store.journal


def test_a_firing_is_kept_for_durable_handlers_and_recognised_after_a_crash() -> None:
    """It is settled once the journal has it; the same firing after a crash is no second one."""
    world, _, server = made()
    kept = world.handler(server, "kept", durable=True)
    world.start()
    heard: list[bool] = []
    world.core._state.originate(origin(on_settled=heard.append))
    assert heard == []
    world.rest(work=False)
    assert heard == [True]
    world.start()
    assert world.core._state.originate(origin(on_settled=heard.append))
    world.rest()
    assert heard == [True, True]
    assert server.handled[kept.number] == [(("schedule:x", 1, "s1"), 1)]


def test_without_a_store_a_firing_fails() -> None:
    """The journal did not take it, and who sent it is told."""
    world, _, server = made()
    world.handler(server, "kept", durable=True)
    world.start()
    world.core.no_store("this runtime has no store")
    heard: list[bool] = []
    assert world.core._state.originate(origin(on_settled=heard.append))
    assert heard == [False]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), max_size=200))
def test_sequences_know_their_lowest(steps: list[tuple[bool, int]]) -> None:
    """However they come and go."""
    sequences, model = Sequences(), set()
    for add, number in steps:
        if add:
            sequences.add(number)
            model.add(number)
        else:
            sequences.discard(number)
            model.discard(number)
        assert sequences.lowest == (min(model) if model else None)
        assert len(sequences) == len(model) == len(list(sequences))
    assert len(sequences._heap) <= 2 * len(model) + 64


class Graph(World):
    """Handlers that publish to other handlers, in circles, until the depth ends it."""

    def __init__(self, seed: int) -> None:
        super().__init__(
            seed=seed,
            mailbox_capacity=2,
            prefetch=2,
            max_unadmitted=2,
            max_unsettled=6,
            max_depth=4,
            reserve=0.5,
            block_timeout=5.0,
            adaptive_delay=0.5,
        )
        choose = self.choose
        for name in "abc":
            self.client(name)
        self.edges: dict[int, list[str]] = {}
        self.depths: dict[tuple[tuple[str, int, str], int], int] = {}
        for number in range(5):
            record = self.handler(
                self.clients[choose.choice("abc")],
                f"h{number}",
                wire_name=f"E{number}",
                overflow=choose.choice(["block", "block", "adaptive", "coalesce"]),
                durable=choose.random() < 0.3,
                priority=choose.choice([1, 50]),
                concurrency=1,
            )
            self.edges[record.number] = [f"E{choose.randrange(5)}" for _ in range(choose.randint(0, 2))]
        self.start()

    def handler(self, client: Client, name: str, kind: Any = "event", **fields: Any) -> Any:
        wire_name = fields.pop("wire_name")
        record = super().handler(client, name, kind, **fields)
        self.table.remove(record.number)
        client.numbers.remove(record.number)
        settled = self.table.add(
            type(record).from_wire({**record.to_wire(), "wire_name": wire_name})
        ).subscription
        client.serve(settled)
        return settled

    def send_off(self, client: Client, session: str, lineage: str, depth: int) -> None:
        sequence = client.publish(session, lineage=lineage, depth=depth)
        self.depths[(client.name, client.epoch, session), sequence] = depth

    def serve_one(self, client: Client) -> None:
        """One handler runs, and publishes what it has to."""
        if not client.jobs:
            return
        before = list(client.jobs)
        client.work(self.choose)
        [done] = [job for job in before if job not in client.jobs]
        number, _, key, sequence, _ = done
        for lineage in self.edges[number]:
            self.send_off(client, key[2], lineage, self.depths[key, sequence] + 1)

    def finish(self) -> None:
        for _ in range(400):
            for client in self.clients.values():
                self.serve_one(client)
            self.rest(work=False)
            if not any(client.jobs or client.outbox.count for client in self.clients.values()):
                return
            self.pass_time(0.5)
        raise AssertionError("it does not come to rest")


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_handlers_that_publish_in_circles_come_to_rest(seed: int) -> None:
    """Whatever publishes to whom, in mailboxes of two messages: nothing waits for itself."""
    world = Graph(seed)
    choose = random.Random(seed)
    for _ in range(15):
        client = world.clients[choose.choice("abc")]
        world.send_off(client, choose.choice(["BUS", "s1"]), f"E{choose.randrange(5)}", 0)
    world.finish()
    world.core.validate()
    assert world.core.unsettled == 0
