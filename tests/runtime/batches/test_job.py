"""What becomes of each prompt of a map in batches."""

from __future__ import annotations

import pytest

from llmgine.providers import (
    ErrorKind,
    FinishReason,
    InvalidRequest,
    LlmgineError,
    LLMResponse,
    Message,
    OutputInvalid,
    ProviderError,
)
from llmgine.runtime import Reply
from llmgine.runtime.batches.job import Job

PASSES = ProviderError("busy", kind=ErrorKind.SERVER)
STAYS = ProviderError("no", kind=ErrorKind.INVALID_REQUEST)
ANSWER = LLMResponse(
    message=Message.assistant("hi"), finish_reason=FinishReason.STOP, model="m", provider="p"
)


def replied(response: LLMResponse, id: str) -> Reply:
    return Reply(
        text=response.text,
        parts=(),
        model="m",
        finish_reason=FinishReason.STOP,
        turn_id=id,
        trace_id="",
        session_id="",
    )


def refusing(response: LLMResponse, id: str) -> Reply:
    raise OutputInvalid("no City")


def job(prompts: int = 2, retries: int = 1, *, keeps_errors: bool = True) -> Job:
    made = Job("m", prompts, retries, keeps_errors=keeps_errors, reply=replied)
    made.take(range(prompts))
    return made


def test_an_answer_is_the_result() -> None:
    """Known by the map and the prompt's place in it."""
    made = job()
    made.settle(1, "1-abc", ANSWER, counts=True)
    result = made.results[1]
    assert isinstance(result, Reply)
    assert (result.text, result.turn_id, made.unsettled) == ("hi", "m/1-abc", [0])


@pytest.mark.parametrize(
    ("error", "rounds"),
    [(PASSES, 3), (STAYS, 1), (OutputInvalid("no"), 3), (InvalidRequest("no"), 1)],
)
def test_what_may_pass_is_asked_again(error: LlmgineError, rounds: int) -> None:
    """As often as there are retries."""
    made = job(1, retries=2)
    for number in range(rounds):
        assert 0 not in made.results, number
        made.failed(0, error, counts=True)
        assert (0 in made.waiting) == (number < rounds - 1)
        made.take([0])
    assert made.results == {0: error}


def test_a_failure_that_does_not_count_is_never_the_last() -> None:
    """What an earlier run was told is asked anew, and so is what was never tried."""
    made = job(1, retries=0)
    made.failed(0, STAYS, counts=False)
    assert made.waiting == {0}
    made.failed(0, PASSES, counts=True)
    assert made.results == {0: PASSES}


def test_what_the_type_refuses_may_pass() -> None:
    """The next answer may fit."""
    made = Job("m", 1, 1, keeps_errors=True, reply=refusing)
    made.take([0])
    made.settle(0, "0-a", ANSWER, counts=True)
    assert made.waiting == {0}


def test_the_first_final_error_is_raised() -> None:
    """It says which prompt it is about; a prompt that has its result is not touched any more."""
    made = job(2, keeps_errors=False)
    made.settle(0, "0-a", ANSWER, counts=True)
    with pytest.raises(ProviderError) as failed:
        made.end([0, 1], STAYS)
    assert failed.value.__notes__ == ["the prompt is number 1 of the map 'm'"]
    made.put_back([0, 1])
    assert made.waiting == {1}
