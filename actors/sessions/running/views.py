"""What a turn's model calls are shown of the conversation; makes the summaries that its window asks for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from llmgine.actors.sessions.context.entries import Summary
from llmgine.actors.sessions.context.summary import summary_message, summary_request
from llmgine.actors.sessions.context.window import (
    Measured,
    Sight,
    Window,
)
from llmgine.actors.sessions.journal.keeping import Journal
from llmgine.actors.sessions.journal.records import ContextChanged
from llmgine.actors.sessions.running.spans import ModelSpan
from llmgine.actors.sessions.running.steps import Conversation, ModelCaller, Turn, closing
from llmgine.providers.catalogue import tokens
from llmgine.providers.contracts import FinishReason, LLMRequest, LLMResponse, Message
from llmgine.providers.errors import ErrorKind, LlmgineError, ProviderError
from llmgine.providers.events import Done, Failed

log = logging.getLogger(__name__)

_EMPTY = Message(role="user", parts=())


class Views:
    """The views of one conversation through its window; the whole conversation where it has none.

    A summary that cannot be made holds no turn up: older messages are left out as by a window of tokens,
    and it is tried again before the next model call.
    """

    def __init__(
        self,
        conversation: Conversation,
        models: ModelCaller,
        journal: Journal,
    ) -> None:
        self._conversation = conversation
        self._window = conversation.window
        self._models = models
        self._journal = journal
        self._sizes: dict[str, int | None] = {}
        counted = conversation.window is not None and conversation.window.kind == "messages"
        self._measured = Measured((lambda _: 1) if counted else tokens.of_message)

    async def of(self, turn: Turn) -> tuple[Message, ...]:
        """What the turn's next model call is to see; WindowTooSmall where even the least is too much."""
        window, messages = self._window, self._conversation.context.view()
        if window is None:
            return messages
        bound = window.most if window.most is not None else await self._fitting(turn.view.model)
        if bound is None:
            return messages
        self._measured.follow(messages)
        sight = self._sight(turn)
        if window.kind != "messages":
            bound = max(1, bound - _around(turn))
        if window.kind != "summary":
            return sight.view_from(sight.start_within(bound))
        await self._summarise_in_time(turn, window, sight, bound)
        return self._after_summary(sight, bound)

    async def _fitting(self, model: str) -> int | None:
        """Three quarters of what the model holds; None where that is not known."""
        if model not in self._sizes:
            # Tables are read for it the first time, which the loop should not wait for.
            self._sizes[model] = await asyncio.to_thread(self._conversation.holds, model)
        context = self._sizes[model]
        return None if context is None else context * 3 // 4

    def _sight(self, turn: Turn) -> Sight:
        context = self._conversation.context
        messages = context.view()
        return Sight(
            self._measured, messages, self._measured.kept(context.pinned), _prompt(messages, turn.mark)
        )

    # Summaries

    def _after_summary(self, sight: Sight, bound: int) -> tuple[Message, ...]:
        summary = self._newest()
        if summary is None:
            return sight.view_from(sight.start_within(bound))
        notes, start = summary_message(summary), summary.upto
        bound = max(1, bound - tokens.of_message(notes))
        if sight.size_from(start) > bound:
            start = max(start, sight.start_within(bound))
        return (notes, *sight.view_from(start))

    async def _summarise_in_time(self, turn: Turn, window: Window, sight: Sight, above: int) -> None:
        """Makes a new summary where the last one leaves more than `above` to be shown."""
        context, last = self._conversation.context, self._newest()
        if context.open_calls or not turn.begins_call:
            return
        upto, notes = 0, 0
        if last is not None:
            upto, notes = last.upto, tokens.of_message(summary_message(last))
        if sight.size_from(upto) + notes <= above:
            return
        keep = max(1, above // 4 if window.keep is None else min(window.keep, above // 2))
        end = sight.summary_end(keep, after=upto)
        if end is None:
            return
        model = window.model or turn.view.model
        try:
            text = await self._written(turn, model, sight.messages[upto:end], last)
        except LlmgineError as error:
            log.warning("session %s could not be summarised: %s", self._conversation.session_id, error)
            return
        entry = context.summarise(Summary(upto=end, since=upto, text=text, model=model))
        self._journal.append(ContextChanged(turn.request.turn_id, entry))

    async def _written(
        self, turn: Turn, model: str, messages: Sequence[Message], last: Summary | None
    ) -> str:
        request = summary_request(model, messages, last)
        remaining = max(turn.clock.remaining, 0.001)
        priority = turn.view.options.get("priority", request.priority)
        request = request.model_copy(update={"deadline": remaining, "priority": priority})
        with turn.spans.model_call(request, turn.tally.steps) as span:
            response = await self._response(turn, request, span)
            span.answered(response)
        refused = response.finish_reason in (FinishReason.REFUSAL, FinishReason.CONTENT_FILTER)
        if refused or not response.text.strip():
            raise ProviderError("the model gave no summary", kind=ErrorKind.BAD_OUTPUT, model=model)
        return response.text.strip()

    async def _response(self, turn: Turn, request: LLMRequest, span: ModelSpan) -> LLMResponse:
        events = self._models.stream(request, session=self._conversation.session_id, trace=span.context)
        async with closing(events):
            async for event in events:
                match event:
                    case Done(response):
                        turn.tally.spent(response.usage, response.cost)
                        return response
                    case Failed(error, _, usage):
                        turn.tally.spent(usage, None)
                        span.used(usage)
                        raise error
        raise ProviderError(
            "the model call ended without its last event", kind=ErrorKind.INTERNAL, model=request.model
        )

    def _newest(self) -> Summary | None:
        summaries = self._conversation.context.summaries
        return summaries[-1] if summaries else None


def _prompt(messages: Sequence[Message], mark: int) -> int:
    """What the turn that began at `mark` answers: one that began with results, an earlier turn's prompt."""
    return next((at for at in range(mark, -1, -1) if messages[at].role == "user"), mark)


def _around(turn: Turn) -> int:
    """Tokens of what goes along with the messages; by the rule of a request with one empty message."""
    view = turn.view
    around = LLMRequest(
        model=view.model, messages=(_EMPTY,), system=view.system, tools=view.tools, output=view.output
    )
    return tokens.estimate(around).input_tokens or 0
