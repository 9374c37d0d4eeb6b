"""A provider's calls with structured output: brought about, checked, and asked for again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Protocol, cast

from llmgine.providers.contracts import FinishReason, LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, InvalidRequest, ProviderError
from llmgine.providers.events import Done, Failed, Reset, StreamEvent
from llmgine.providers.layers.structured.by_tool import AsText
from llmgine.providers.layers.structured.checking import Checked, Checker, is_loaded, load
from llmgine.providers.layers.structured.plan import Means, Plan, asked_again, planned
from llmgine.providers.layers.tries import Tries

_ANSWERS = frozenset({FinishReason.STOP, FinishReason.UNKNOWN, FinishReason.LENGTH, FinishReason.TOOL_CALLS})
_LARGE = 100_000


class _Caller(Protocol):
    def __call__(self, request: LLMRequest, *, session: str = "") -> AsyncIterator[StreamEvent]: ...


class StructuredOutput:
    """Makes calls by `call` until their answer fits the request's `output`, as often as that allows.

    `means` says by what the model of a request can be brought to it; `limit` is the seconds that all tries
    of a call may take together.
    """

    def __init__(
        self,
        call: _Caller,
        limit: float,
        *,
        means: Callable[[LLMRequest], Means],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call = call
        self._limit = limit
        self._means = means
        self._clock = clock

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        """The events of one call; the last is exactly one `Done` or `Failed`.

        An answer that ends as a refusal, for the content filter, or with calls of the caller's own tools
        is passed on unchecked.
        """
        assert request.output is not None
        if not is_loaded():
            await asyncio.to_thread(load)
        try:
            checker = Checker(request.output.json_schema)
            plan = planned(request, self._means(request))
        except (InvalidRequest, ValueError, TypeError, RecursionError) as error:
            yield Failed(_refused(error))
            return
        tries = Tries(request, self._limit, self._clock)
        async with aclosing(
            self._until_it_fits(plan, checker, tries, request.output.repairs, session)
        ) as events:
            async for event in events:
                yield event

    async def _until_it_fits(
        self, plan: Plan, checker: Checker, tries: Tries, repairs: int, session: str
    ) -> AsyncGenerator[StreamEvent, None]:
        sent = plan.request
        while True:
            end: Done | Failed | None = None
            source = self._once(plan, tries.begin(sent), session)
            async with aclosing(source):
                async for event in source:
                    if isinstance(event, Done | Failed):
                        end = event
                    else:
                        yield event
            if isinstance(end, Failed):
                tries.failed(end)
                yield tries.given_up(end, end.partial, heard=sent is not plan.request)
                return
            assert end is not None, "a stream ended without Done or Failed"
            response = end.response
            seen = await checked(response, checker)
            if seen.problem is None:
                tries.answered(response)
                yield Done(finished(tries.summed(response), plan, seen))
                return
            tries.answered(response, ErrorKind.BAD_OUTPUT.value)
            error = unfit(response, seen.problem)
            if not error.retryable or repairs == 0 or tries.left <= 0:
                failed = Failed(error, usage=response.usage, attempts=response.attempts)
                yield tries.given_up(failed, response.message, heard=True)
                return
            repairs -= 1
            yield Reset(f"the answer does not fit: {seen.problem}")
            sent = asked_again(sent, response.message, seen.problem)

    async def _once(self, plan: Plan, request: LLMRequest, session: str) -> AsyncGenerator[StreamEvent, None]:
        source = cast("AsyncGenerator[StreamEvent, None]", self._call(request, session=session))
        as_text = None if plan.tool is None else AsText(plan.tool)
        async with aclosing(source):
            async for event in source:
                if as_text is None:
                    yield event
                else:
                    for taken in as_text.take(event):
                        yield taken


async def checked(response: LLMResponse, checker: Checker) -> Checked:
    """What an answer is worth; one that is no answer yet, or none by intent, is not looked at."""
    refused = any(part.type == "refusal" for part in response.message.parts)
    if refused or response.tool_calls or response.finish_reason not in _ANSWERS:
        return Checked()
    if len(response.text) > _LARGE:  # other calls of this process must not wait for it
        return await asyncio.to_thread(checker.check, response.message)
    return checker.check(response.message)


def finished(response: LLMResponse, plan: Plan, seen: Checked) -> LLMResponse:
    """The answer with its value, and how it was come by."""
    fields = {
        "output": seen.value,
        "output_mode": plan.mode,
        "adjustments": (*plan.adjustments, *response.adjustments),
    }
    return response.model_copy(update=fields)


def unfit(response: LLMResponse, problem: str) -> ProviderError:
    """The error of an answer that does not fit."""
    message, hint, again = f"the answer does not fit the output schema: {problem}", None, True
    if response.finish_reason is FinishReason.LENGTH:
        message = "the answer was cut off before it was whole"
        hint, again = "raise max_output_tokens", False
    return ProviderError(
        message,
        kind=ErrorKind.BAD_OUTPUT,
        phase=ErrorPhase.MID_STREAM,
        scope=ErrorScope.MODEL,
        provider=response.provider,
        model=response.model,
        request_id=response.request_id,
        retryable=again,
        hint=hint,
    )


def _refused(error: Exception) -> ProviderError:
    return ProviderError(
        f"the request cannot be sent: {error}",
        kind=ErrorKind.INVALID_REQUEST,
        phase=ErrorPhase.REQUEST,
        scope=ErrorScope.REQUEST,
    )
