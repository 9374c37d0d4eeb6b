"""One link's deliveries: order, verdicts, duplicates, breaks, deadlines."""

from __future__ import annotations

from typing import Any

from llmgine.actors.bus import BusOptions, wire

DONE = -1


def sequences(jobs: list[Any]) -> list[int]:
    return [job.sequence for job in jobs]


# Order


def test_sessions_keep_their_order_and_others_pass(pure: Any) -> None:
    """One at a time per session; bus events and commands beside each other, in order of arrival."""
    side = pure(concurrency=16)
    for session in ("s1", "s1", "s2", "BUS", "BUS"):
        side.deliver(session)
    jobs = side.start_all()
    assert [(job.head.session, job.sequence) for job in jobs] == [
        ("s1", 1),
        ("s2", 1),
        ("BUS", 1),
        ("BUS", 2),
    ]
    side.succeed(jobs[0])
    [second] = side.start_all()
    assert (second.head.session, second.sequence) == ("s1", 2)


def test_strict_order_holds_for_bus_events(pure: Any) -> None:
    """With the order "strict" bus events of the handler run one after another, too."""
    side = pure(order="strict")
    side.deliver(bodies=[b"", b""])
    [first] = side.start_all()
    side.succeed(first)
    assert sequences(side.start_all()) == [2]


def test_what_follows_in_a_lane_may_take_the_place(pure: Any) -> None:
    """The next of the lane runs in place of the one before; bus events have no lane."""
    side = pure()
    side.deliver("s1", [b"", b""])
    side.deliver()
    lane, alone = side.start(), side.start()
    assert side.queue.following(alone) is None
    following = side.queue.following(lane)
    assert following.sequence == 2
    assert side.queue.following(following) is None
    side.queue.ended(following)
    side.deliver("s1")
    assert side.start().sequence == 3


def test_a_suspended_handler_leaves_its_place(pure: Any) -> None:
    """Where it waits for the bus another may start, and while nobody does none more than its concurrency."""
    side = pure(concurrency=1)
    side.deliver(bodies=[b"", b""])
    first = side.start()
    side.places.taken = 1
    assert side.start() is None
    first.suspend()
    assert side.told[-1] == "ready"
    assert side.start().sequence == 2
    first.resume()
    assert not side.places.free


# Verdicts


def test_nothing_starts_until_a_failure_is_judged(pure: Any) -> None:
    """A failed attempt holds back the whole handler; the verdict KEEP lets it go on."""
    side = pure(concurrency=4)
    entries = side.deliver("s1", [b"", b""]) + side.deliver("s2") + side.deliver()
    first = side.start()
    side.fail(first)
    assert side.start() is None
    assert [(entry, code) for entry, code, _ in side.answers()] == [(entries[0], wire.FAILED)]
    side.deliver("s3")
    assert side.start() is None
    side.inbox.verdict(1, entries[0], wire.KEEP)
    assert len(side.start_all()) == 4
    assert side.answers() == []


def test_a_lane_is_given_back_in_order(pure: Any) -> None:
    """LANE returns what has not started of the failed message's session, and ends with its own entry."""
    side = pure()
    failed, *behind = side.deliver("s1", [b"", b"", b""])
    side.deliver("s2")
    side.fail(side.start())
    late = side.deliver("s1")
    side.answers()
    side.inbox.verdict(1, failed, wire.LANE)
    assert side.answers() == [(entry, wire.RETURNED, None) for entry in (*behind, *late, failed)]
    assert [job.head.session for job in side.start_all()] == ["s2"]
    side.deliver("s1", [b""], first=1, attempt=2)
    side.deliver("s1", [b"", b""], first=2)
    [retry] = side.start_all()
    assert (retry.sequence, retry.passage.attempt) == (1, 2)


def test_everything_is_given_back_where_a_breaker_opens(pure: Any) -> None:
    """ALL returns all that has not started, re-entries too; what runs goes on."""
    side = pure()
    failed, running = side.deliver(bodies=[b"", b""])
    rest = side.deliver("s1", [b"", b""]) + side.deliver()
    rest += side.deliver(reentrant=True)
    first, second = side.start(), side.start()
    side.fail(first)
    side.answers()
    assert side.queue.start_beside() is None
    side.inbox.verdict(1, failed, wire.ALL)
    assert [entry for entry, _, _ in side.answers()] == [*rest, failed]
    side.succeed(second)
    assert side.answers() == [(running, DONE, None)]
    assert side.queue.count == 0


def test_several_failures_are_judged_one_by_one(pure: Any) -> None:
    """The handler goes on when the last of them is judged."""
    side = pure()
    entries = side.deliver(bodies=[b"", b"", b""])
    one, two = side.start(), side.start()
    side.fail(one)
    side.fail(two)
    side.answers()
    side.inbox.verdict(1, entries[0], wire.LANE)
    assert side.start() is None
    side.inbox.verdict(1, entries[1], wire.KEEP)
    assert side.start().sequence == 3
    assert side.answers() == [(entries[0], wire.RETURNED, None)]


def test_another_members_breaker_takes_everything_back(pure: Any) -> None:
    """Entry 0 judges no attempt: own failures still wait for their verdict."""
    side = pure()
    failed, behind = side.deliver(bodies=[b"", b""])
    side.fail(side.start())
    side.answers()
    side.inbox.verdict(1, 0, wire.ALL)
    assert side.answers() == [(behind, wire.RETURNED, None), (0, wire.RETURNED, None)]
    side.deliver()
    assert side.start() is None
    side.inbox.verdict(1, failed, wire.KEEP)
    assert side.start() is not None


def test_a_removed_handlers_recall_is_ended_all_the_same(pure: Any) -> None:
    """The router waits for the end mark, whoever is gone."""
    side = pure()
    [failed] = side.deliver()
    side.fail(side.start())
    side.inbox.remove(1)
    side.answers()
    side.inbox.verdict(1, failed, wire.LANE)
    assert side.answers() == [(failed, wire.RETURNED, None)]


# Duplicates and retries


def test_a_retry_runs_although_an_attempt_was_finished(pure: Any) -> None:
    """A higher attempt runs; the same one again is only answered again, and judged again."""
    side = pure()
    [entry] = side.deliver("s1")
    side.fail(side.start())
    side.answers()
    side.inbox.verdict(1, entry, wire.KEEP)
    [again] = side.deliver("s1", first=1, redelivered=True)
    assert side.start() is None
    [(_, code, detail)] = side.answers()
    assert (code, detail[3]) == (wire.FAILED, 1)
    side.deliver("s2")
    assert side.start() is None
    side.inbox.verdict(1, again, wire.KEEP)
    side.succeed(side.start())
    side.deliver("s1", first=1, attempt=2, redelivered=True)
    side.succeed(side.start())
    side.answers()
    side.deliver("s1", first=1, attempt=2, redelivered=True)
    assert side.start() is None
    assert [code for _, code, _ in side.answers()] == [DONE]


def test_a_failure_whose_text_is_forgotten_is_still_no_success(pure: Any) -> None:
    """A failed attempt that comes again has failed, whatever is kept of it."""
    side = pure(BusOptions(kept_result_bytes=0))
    side.deliver()
    side.fail(side.start())
    side.answers()
    side.deliver(first=1, redelivered=True)
    [(_, code, detail)] = side.answers()
    assert (code, detail[0]) == (wire.FAILED, "handler")
    assert "kept_result_bytes" in detail[2]


def test_a_running_message_answers_its_second_delivery(pure: Any) -> None:
    """Over a break it is not entered twice: the run that goes on answers the new delivery."""
    side = pure()
    side.deliver("s1", [b"", b""])
    [job] = side.start_all()
    side.inbox.link_lost()
    [again, behind] = side.deliver("s1", [b"", b""], first=1, redelivered=True)
    assert side.start() is None
    side.succeed(job)
    assert side.answers() == [(again, DONE, None)]
    side.succeed(side.start())
    assert side.answers() == [(behind, DONE, None)]


def test_a_running_retry_answers_what_another_router_hands_out(pure: Any) -> None:
    """A router that knows of no attempt hands out the first again: the retry that runs answers it."""
    side = pure()
    [entry] = side.deliver("s1")
    side.fail(side.start())
    side.answers()
    side.inbox.verdict(1, entry, wire.KEEP)
    side.deliver("s1", first=1, attempt=2)
    [retry] = side.start_all()
    side.inbox.link_lost()
    [again] = side.deliver("s1", first=1, redelivered=True)
    assert side.answers() == []
    side.fail(retry)
    [(answered, code, detail)] = side.answers()
    assert (answered, code, detail[3]) == (again, wire.FAILED, 2)


def test_a_break_ends_the_wait_for_a_verdict(pure: Any) -> None:
    """What had failed is delivered again, and answered again; nothing stays held back."""
    side = pure()
    side.deliver("s1", [b"", b""])
    side.fail(side.start())
    side.inbox.link_lost()
    assert side.answers() == []
    first, _ = side.deliver("s1", [b"", b""], first=1, redelivered=True)
    [(entry, code, _)] = side.answers()
    assert (entry, code) == (first, wire.FAILED)
    assert side.start() is None
    side.inbox.verdict(1, first, wire.KEEP)
    assert side.start().sequence == 2


def test_what_fails_during_a_break_waits_for_its_verdict_afterwards(pure: Any) -> None:
    """An attempt that ends without a link is answered when it is asked for, before those behind it start."""
    side = pure()
    side.deliver("s1", [b"", b""])
    [job] = side.start_all()
    side.inbox.link_lost()
    side.fail(job)
    side.deliver("s1", [b"", b""], first=1, redelivered=True)
    assert side.start() is None
    assert [code for _, code, _ in side.answers()] == [wire.FAILED]


def test_a_commands_result_is_said_again(pure: Any) -> None:
    """A command that has run does not run again: its result is kept, else its outcome is unknown."""
    for kept, expected in ((1_000, "value"), (0, "outcome_unknown")):
        side = pure(BusOptions(kept_result_bytes=kept), kind="command")
        side.deliver(flags=wire.COMMAND)
        job = side.start()
        side.inbox.answer(job, wire.VALUE, [True, "value", "", "", False, 1, 0.0])
        side.answers()
        side.deliver(first=1, flags=wire.COMMAND, redelivered=True)
        assert side.start() is None
        [(_, code, detail)] = side.answers()
        assert code == wire.VALUE
        assert expected in detail


def test_what_was_missed_is_said_once(pure: Any) -> None:
    """The first message behind a gap says how many were lost."""
    side = pure()
    side.deliver(bodies=[b"", b""], missed=3)
    assert [job.passage.missed for job in side.start_all()] == [3, 0]


# Ends


def test_deliveries_of_a_removed_handler_are_given_back(pure: Any) -> None:
    """What had not started, and what comes later, is discarded; what runs is answered."""
    side = pure()
    running, waiting = side.deliver("s1", [b"", b""])
    [job] = side.start_all()
    side.inbox.remove(1)
    late = side.deliver("s1")
    assert side.answers() == [(entry, wire.DISCARDED, None) for entry in (waiting, *late)]
    side.succeed(job)
    assert side.answers() == [(running, DONE, None)]


def test_a_leaving_process_returns_what_has_not_started(pure: Any) -> None:
    """Others take it over: it is returned, not discarded, and no attempt is used up."""
    side = pure()
    _, *waiting = side.deliver("s1", [b"", b"", b""])
    side.start_all()
    side.inbox.give_back()
    assert side.answers() == [(entry, wire.RETURNED, None) for entry in waiting]


def test_a_late_handler_is_cancelled_and_then_stuck(pure: Any) -> None:
    """Past its deadline it is cancelled once; if it ignores that its place stays taken, its lane goes on."""
    side = pure(concurrency=2)
    side.deliver("s1", [b"", b""])
    [job] = side.start_all()
    assert side.inbox.next_deadline() == 10.0
    assert side.inbox.overdue(9.9) == []
    assert side.inbox.overdue(10.0) == []
    assert side.cancelled == [job]
    assert side.inbox.overdue(10.5) == []
    [stuck] = side.inbox.overdue(11.0)
    side.inbox.stuck(stuck, ["stuck", "stuck", "", 1, 10.0, False])
    [(entry, code, _)] = side.answers()
    assert code == wire.FAILED
    side.inbox.verdict(1, entry, wire.KEEP)
    assert side.start().sequence == 2
    assert side.inbox.next_deadline() == float("inf")
    side.succeed(job)
    assert side.answers() == [], "a late result changes nothing"
    side.inbox.validate()


def test_an_aborted_command_is_cancelled_where_it_is(pure: Any) -> None:
    """Its caller has gone: one that runs is cancelled, one that has not started is not called."""
    side = pure(kind="command")
    entries = side.deliver(bodies=[b"", b""], flags=wire.COMMAND)
    running = side.start()
    side.inbox.started(running, 10.0)
    for entry in (*entries, entries[0]):
        side.inbox.abort(1, entry)
    assert side.cancelled == [running]
    assert "before it was called" in side.start().aborted


def test_a_question_runs_nothing(pure: Any) -> None:
    """Attempt 0 asks who knows a command: what ran is told again, what runs is joined, all else returned."""
    side = pure(concurrency=2)
    [unknown] = side.deliver(flags=wire.COMMAND, attempt=0, redelivered=True)
    assert side.answers() == [(unknown, wire.RETURNED, None)]
    assert side.start_all() == []
    side.deliver(flags=wire.COMMAND, first=1)
    [job] = side.start_all()
    [running] = side.deliver(flags=wire.COMMAND, first=1, attempt=0, redelivered=True)
    value = [True, b"", "", "", False, 1, 0.0]
    side.inbox.answer(job, wire.VALUE, value)
    [finished] = side.deliver(flags=wire.COMMAND, first=1, attempt=0, redelivered=True)
    answers = side.answers()
    assert [(entry, code) for entry, code, _ in answers if entry in (running, finished)] == [
        (running, wire.VALUE),
        (finished, wire.VALUE),
    ]
