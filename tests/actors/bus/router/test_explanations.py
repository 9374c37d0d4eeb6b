"""Why was this event not delivered: stories, whereabouts and figures of the router."""

from __future__ import annotations

import pytest

from llmgine.actors.bus import wire
from llmgine.actors.bus.policies import BreakerPolicy, RetryPolicy
from llmgine.actors.bus.router import figures
from llmgine.actors.bus.router.story import Stories, session_of
from tests.actors.bus.router.scripted import Script


def test_a_story_is_told_by_handler_session_and_event() -> None:
    """Each failed attempt, when the next one comes, the breaker's changes, and the dead letter."""
    breaker = BreakerPolicy(failures=2, jitter=0.0, open_for=5.0)
    script = Script(breaker=breaker, retry=RetryPolicy(retries=1, base=1.0))
    number = script.handler("h")
    script.publish(1)
    script.got()
    script.fail(number, 1)
    script.give_back(number, 1)
    script.wait(1.0)
    script.got()
    script.fail(number, 2, attempt=2)
    whole = [what for what, _ in script.story(handler="h")]
    assert whole == ["attempt failed", "retry", "breaker opened", "attempt failed", "dead letter"]
    expected = ["attempt failed", "retry", "attempt failed", "dead letter"]
    assert [what for what, _ in script.story(session="s")] == expected
    assert [what for what, _ in script.story(event="producer:1:s:1")] == expected
    assert script.story(event="producer:1:s:2") == []
    for number, question in enumerate(({}, {"event": "nonsense"}), 2):
        script.say("producer", [wire.ASK, number, "story", question])
        script.hear("producer")
        assert script.heard["producer"][-1][2] is False
    assert "'nonsense' is no id" in str(script.heard["producer"][-1])


def test_an_event_is_found_where_it_is() -> None:
    """Queued, handed out, held back for a retry, a breaker or a priority, or waiting for its process."""
    script = Script()
    number = script.handler("h", priority=1)
    script.handler("low", client="other", priority=2)

    def places(sequence: int) -> list[tuple[str, str]]:
        story = script.story(event=f"producer:1:s:{sequence}")
        return [line for line in story if line[0].startswith("is ")]

    script.publish(2)
    assert [what for what, _ in places(1)] == ["is queued", "is held back"]
    script.got()
    assert places(1)[0] == ("is handed out", "attempt 1, to worker")
    script.fail(number, 1)
    script.give_back(number, 2, 1)
    assert "tried again" in places(1)[0][1]
    assert "tried again" in places(2)[0][1]
    script.disconnect("worker")
    script.wait(1.0)
    assert places(1)[0] == ("is held back", "nobody serves the handler now")


def test_what_goes_well_is_no_story() -> None:
    """The successful way notes nothing."""
    script = Script()
    number = script.handler("h")
    script.publish(5)
    script.got()
    script.done(number, 1, 5)
    assert script.story(handler="h") == script.story(session="s") == []


def test_stories_are_bounded() -> None:
    """In length and in number: what nothing was noted of for longest is forgotten."""
    stories = Stories(3, 4, lambda: 0)
    for number in range(10):
        stories.note("retry", handler="kept", message=str(number))
        stories.note("retry", handler=f"h{number}")
    assert len(stories) == 4
    assert [line[4] for line in stories.of_handler("kept")] == ["7", "8", "9"]
    nothing = Stories(0, 4, lambda: 0)
    nothing.note("retry", handler="h")
    assert len(nothing) == 0


@pytest.mark.parametrize("session", ["s", "BUS", "a:b", "7:x"])
def test_a_messages_id_says_its_session(session: str) -> None:
    """Also where the session holds colons."""
    assert session_of(f"producer:12:{session}:34") == session


def test_figures_account_for_every_message() -> None:
    """Per handler: accepted is the sum of all ends and of what is held."""
    script = Script()
    number = script.handler("h", concurrency=2, overflow="reject_new", capacity=6)
    script.publish(10, "BUS")
    got = script.got()
    script.done(number, got[0].entry)
    script.fail(number, got[1].entry, "undecodable")
    row = script.row(number)
    ends = ("handled", "failed", "expired", "cancelled", "dropped", "coalesced", "discarded")
    assert row["accepted"] == sum(row[name] for name in ends) + row["held"] == 8
    assert (row["handled"], row["failed"], row["rejected"], row["held"]) == (1, 1, 2, 6)


def test_what_a_newer_event_replaces_is_no_failure() -> None:
    """It has a counter and a story of its own, and its event counts as processed."""
    script = Script()
    number = script.handler("h", overflow="coalesce", concurrency=1)
    script.publish(3)
    (latest,) = script.got()
    script.done(number, latest.entry)
    row, statistics = script.row(number), script.core.statistics()
    assert (row["accepted"], row["handled"], row["coalesced"], row["held"]) == (3, 1, 2, 0)
    assert (statistics["events_processed_total"], statistics["events_failed_total"]) == (3, 0)
    assert (statistics["coalesced_total"], statistics["failures"]) == (2, {})
    assert [what for what, _ in script.story(event="producer:1:s:2")] == ["coalesced"]


def test_only_the_busiest_handlers_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With very many handlers the sums stay exact and the list stays short."""
    monkeypatch.setattr(figures, "LISTED", 3)
    script = Script()
    for number in range(6):
        script.handler(f"h{number}", session=f"s{number}")
    script.publish(1, "s4")
    statistics = script.core.statistics()
    assert len(statistics["per_handler"]) == 3
    assert any(key.endswith("h4") for key in statistics["per_handler"])
    assert statistics["registered_handlers"] == 6
    assert statistics["events_published_total"] == 1


def test_gaps_are_told_with_the_next_delivery() -> None:
    """A handler hears once how many messages its full mailbox has lost."""
    script = Script()
    number = script.handler("h", concurrency=1, overflow="drop_oldest", capacity=2)
    script.publish(6, "BUS")
    (first,) = script.got()
    script.done(number, first.entry)
    (second,) = script.got()
    script.done(number, second.entry)
    (third,) = script.got()
    assert first.missed + second.missed + third.missed == script.row(number)["dropped"] > 0
    assert third.missed == 0
