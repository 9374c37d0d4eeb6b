"""Models are shown the conversation through its session's window; the conversation itself stays whole."""

from __future__ import annotations

from typing import Any

from llmgine.actors.sessions.context.window import Window
from llmgine.actors.sessions.errors import WindowTooSmall
from llmgine.actors.sessions.journal.records import ContextChanged
from llmgine.actors.sessions.turns.events import TurnDone
from llmgine.providers.catalogue import tokens
from llmgine.providers.contracts import FinishReason, LLMRequest
from tests.actors.sessions.running.test_handed_over import THEIRS, results
from tests.actors.sessions.words import PROVIDER_FAILED, MakeBench, failure


def shown(at: Any, call: int = -1) -> list[str]:
    return [message.text for message in at.models.requests[call].messages]


def size(request: LLMRequest) -> int:
    return tokens.estimate(request).input_tokens or 0


async def talk(at: Any, turns: int) -> None:
    for _ in range(turns):
        assert isinstance(await at.turn(f"question {len(at.context) // 2} " + "x" * 80), TurnDone)


async def test_a_window_of_messages(bench: MakeBench, script: Any) -> None:
    """No model call is shown more messages than the window has; the conversation keeps them all."""
    at = bench(*[script.says("answer") for _ in range(12)], window=Window.messages(5))
    await talk(at, 12)
    assert max(len(request.messages) for request in at.models.requests) == 5
    assert shown(at)[-1].startswith("question 11")
    assert len(at.context) == 24


async def test_a_window_over_turns_of_results(bench: MakeBench, script: Any) -> None:
    """Rounds of calls that the asker runs go on below one prompt, which stays in view."""
    rounds = [script.says(calls=(script.call("theirs", f"c{number}"),)) for number in range(6)]
    at = bench(*rounds, script.says("Done."), window=Window.messages(5))
    last = await at.turn("question", tools=THEIRS)
    for number in range(6):
        assert isinstance(last, TurnDone)
        last = await at.turn(results(f"c{number}"), tools=THEIRS)
    assert isinstance(last, TurnDone)
    assert last.reply.text == "Done."
    assert max(len(request.messages) for request in at.models.requests) <= 5
    assert shown(at)[0] == "question"


async def test_a_window_of_tokens_counts_what_goes_along(bench: MakeBench, script: Any) -> None:
    """System prompt, tools and messages together stay within the window."""
    at = bench(*[script.says("answer") for _ in range(12)], window=Window.tokens(150))
    await talk(at, 12)
    assert max(size(request) for request in at.models.requests) <= 150
    assert len(at.models.requests[-1].messages) > 1


async def test_what_does_not_fit_fails_the_turn(bench: MakeBench, script: Any) -> None:
    """A prompt larger than the window is an error that says so, and leaves no trace."""
    at = bench(script.says("never"), window=Window.tokens(50))
    assert "larger window" in str(failure(await at.turn("x" * 1000), WindowTooSmall))
    assert at.roles == []


async def test_a_window_that_fits_the_model(bench: MakeBench, script: Any) -> None:
    """Without a number the window is three quarters of what the model holds; unknown is no window."""
    script_of = [script.says("answer") for _ in range(8)]
    at = bench(*script_of, window=Window.tokens(), holds=lambda model: 200)
    await talk(at, 8)
    assert 75 < size(at.models.requests[-1]) <= 150
    at = bench(*script_of, window=Window.tokens())
    await talk(at, 8)
    assert len(at.models.requests[-1].messages) == 15


SUMMARY = Window.summary(model="scripted/writer", above=150, keep=60)


async def test_a_summary_takes_the_place_of_what_is_old(bench: MakeBench, script: Any) -> None:
    """Where too much would be shown, another model writes notes, which stand first; the log keeps it all."""
    answers = [script.says("answer") for _ in range(4)]
    at = bench(*answers, script.says("They count."), script.says("answer"), window=SUMMARY)
    await talk(at, 5)
    asked, answered = at.models.requests[4:]
    assert asked.model == "scripted/writer"
    assert "question 0" in asked.messages[0].text
    assert "question 4" not in asked.messages[0].text
    assert answered.messages[0].text.endswith("They count.")
    assert answered.messages[-1].text.startswith("question 4")
    assert size(answered) <= 150
    assert len(at.context) == 10
    (summary,) = at.context.summaries
    assert (summary.since, summary.model, summary.text) == (0, "scripted/writer", "They count.")
    entries = [record.entry for record in at.journal.records if isinstance(record, ContextChanged)]
    assert [entry.summary for entry in entries if entry.op == "summary"] == [summary]


async def test_a_summary_takes_in_the_one_before(bench: MakeBench, script: Any) -> None:
    """The next summary is made of the last one and what came since, and says so."""
    plays = [script.says("answer") for _ in range(4)]
    for number in range(20):
        plays += [script.says(f"Notes {number}."), script.says("answer"), script.says("answer")]
    at = bench(*plays, window=SUMMARY)
    while len(at.context.summaries) < 2:
        await talk(at, 1)
    first, second = at.context.summaries
    assert second.since == first.upto
    *_, request = (one for one in at.models.requests if one.model == "scripted/writer")
    assert "Notes 0." in request.messages[0].text
    assert "question 0" not in request.messages[0].text


async def test_a_summary_counts_for_its_turn(bench: MakeBench, script: Any) -> None:
    """What the summary used is in the reply's usage and cost; its words are not among the turn's events."""
    at = bench(
        *[script.says("answer") for _ in range(4)], script.says("Notes."), script.says("ok"), window=SUMMARY
    )
    await talk(at, 4)
    at.events.clear()
    done = await at.turn("question " + "x" * 80)
    assert (done.reply.usage.input_tokens, done.reply.steps) == (6, 1)
    assert not any("Notes" in getattr(event, "text", "") for event in at.events)


async def test_without_a_summary_the_turn_goes_on(bench: MakeBench, script: Any) -> None:
    """A summary that fails, is refused or is empty leaves older messages out; it is tried again."""
    refused = script.says("I will not.", finish_reason=FinishReason.REFUSAL)
    for bad in ([PROVIDER_FAILED], refused, script.says(" ")):
        answers = [script.says("answer") for _ in range(4)]
        at = bench(*answers, bad, script.says("ok"), script.says("Notes."), script.says("ok"), window=SUMMARY)
        await talk(at, 5)
        assert at.context.summaries == ()
        assert size(at.models.requests[-1]) <= 150
        assert shown(at)[-1].startswith("question 4")
        await talk(at, 1)
        assert len(at.context.summaries) == 1


async def test_pins_stay_in_view(bench: MakeBench, script: Any) -> None:
    """A pinned message is shown whatever the window leaves out."""
    at = bench(*[script.says("answer") for _ in range(12)], window=Window.messages(6))
    await talk(at, 1)
    at.context.note(0, "pinned", True)
    await talk(at, 11)
    assert shown(at)[0].startswith("question 0")
    assert len(at.models.requests[-1].messages) <= 6
