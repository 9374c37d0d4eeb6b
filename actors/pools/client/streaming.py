"""One streamed call over all its tries, as its reader hears it.

A try that fails before anything was passed on leaves no trace but its attempt. Where the reader has heard
something, the request's `mid_stream` says what follows: the end, with what had arrived; the same call
anew, after a `Reset`; or a call that goes on with what had been said, by the same model. Another model
always begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Sequence
from typing import Any

from llmgine.actors.link import LinkError
from llmgine.actors.pools import wire
from llmgine.actors.pools.client.call import Call
from llmgine.actors.pools.client.door import Try
from llmgine.actors.pools.client.failures import as_failure, lost, unreadable
from llmgine.actors.pools.client.hedging import hedged
from llmgine.actors.pools.client.joining import Joined, joined
from llmgine.actors.pools.client.said import Said
from llmgine.actors.pools.client.shared import Shared
from llmgine.providers import (
    Done,
    ErrorPhase,
    Failed,
    LlmgineError,
    LLMRequest,
    Reset,
    StreamEvent,
)
from llmgine.providers.events import from_wire
from llmgine.telemetry import TraceContext


class Streaming:
    """One call. `begin` each try, `take` its messages, tell it where it was `lost`, and `close` the call."""

    def __init__(self, shared: Shared, request: LLMRequest, session: str, trace: TraceContext | None) -> None:
        self._shared = shared
        self._call = Call(shared, wire.LLM_STREAM, request, session, trace)
        self._call.restarts = None if request.mid_stream == "fail" else 0
        self._said = Said()
        self._joined: Joined | None = None
        self._try: Try | None = None
        self._begins = True
        self._failure: tuple[Failed, bool] | None = None
        self._tell: tuple[StreamEvent, ...] = ()
        self._is_done = False
        self.is_over = False  # the present try

    async def begin(self) -> AsyncIterable[Any] | None:
        """The messages of the next try; None where the call is over."""
        if self._is_done:
            return None
        try:
            if self._failure is not None and not await self._again(*self._failure):
                return None
            told_by = None if self._try is None else self._try.model
            tried = self._try = await self._call.admitted()
            if self._stands and tried.model != told_by:
                self._take_back()
            self._begins, self.is_over, self._failure = True, False, None
            if not self._shared.options.hedge.enabled or self._stands:
                return tried.stream
            self._try, messages = await hedged(self._shared, self._call, tried)
            return messages
        except LlmgineError as error:
            if not self._call.was_sent:
                raise
            self._give_up(Failed(as_failure(error, self._call.model)))
            return None

    def told(self) -> Sequence[StreamEvent]:
        """What the reader is to hear besides what `take` gives."""
        tell, self._tell = self._tell, ()
        return tell

    def take(self, message: list[Any]) -> Sequence[StreamEvent]:
        """What the reader hears of the try's next message."""
        tried = self._try
        assert tried is not None
        try:
            event = from_wire(message)
        except ValueError as error:
            self._fails(Failed(unreadable(tried.actor, tried.model, self._phase, error)), by_actor=True)
            return ()
        if self._begins:
            self._begins = False
            tried.first_chunk(self._call.now)
        if isinstance(event, Done):
            return self._done(tried, event)
        if isinstance(event, Failed):
            self._fails(event)
            return ()
        if self._joined is not None:
            return self._joined.take(event)
        self._said.add(event)
        return (event,)

    def lost(self, error: LinkError) -> None:
        """The try ended without its last message."""
        assert self._try is not None
        self._fails(Failed(lost(self._try.actor, self._try.model, self._phase, error)), by_actor=True)

    def close(self) -> None:
        """The reader is gone, or has heard the end."""
        if self._try is not None:
            self._try.end()

    @property
    def _stands(self) -> bool:
        """Whether the reader has heard something that was not taken back."""
        return self._joined is not None or not self._said.is_empty

    @property
    def _phase(self) -> ErrorPhase:
        return ErrorPhase.PRE_TOKEN if self._begins else ErrorPhase.MID_STREAM

    def _done(self, tried: Try, done: Done) -> Sequence[StreamEvent]:
        self.is_over = self._is_done = True
        response = self._call.answered(tried, done.response)
        if self._joined is None:
            return (Done(response),)
        return (*self._joined.end(), Done(self._joined.response(response)))

    def _fails(self, failed: Failed, *, by_actor: bool = False) -> None:
        assert self._try is not None
        self.is_over = True
        self._call.failed(self._try, failed, by_actor=by_actor)
        self._failure = (failed, by_actor)

    async def _again(self, failed: Failed, by_actor: bool) -> bool:
        """Whether another try follows; it is then prepared."""
        call, model = self._call, self._call.model
        assert self._try is not None
        if not await call.after(self._try, failed.error, by_actor=by_actor):
            self._give_up(failed)
            return False
        goes_on = call.model == model
        if not self._stands or (goes_on and failed.error.phase is not ErrorPhase.MID_STREAM):
            return True
        call.restarts = (call.restarts or 0) + 1
        following = await self._continued(failed) if goes_on else None
        if following is None:
            self._take_back()
        call.request = following or call.asked
        return True

    def _take_back(self) -> None:
        """The reader is told that what it has heard is void."""
        assert self._failure is not None
        self._tell = (Reset(f"the call begins anew: {self._failure[0].error.message}"),)
        self._said.clear()
        self._joined = None

    async def _continued(self, failed: Failed) -> LLMRequest | None:
        """The request that has the model go on with what it had said; None where it cannot be."""
        asked, partial = self._call.asked, failed.partial
        if asked.mid_stream != "continue" or asked.output is not None:
            return None
        if partial is not None and any(part.type != "text" for part in partial.parts):
            return None
        if self._joined is None:
            profile = await asyncio.to_thread(self._shared.profile, self._call.model)
            self._joined = joined(self._said, asked, profile)
        return self._joined.goes_on()

    def _give_up(self, failed: Failed) -> None:
        told, error = self._call.told, failed.error
        if self._call.restarts and error.phase is not ErrorPhase.REQUEST:
            error.phase = ErrorPhase.MID_STREAM
        partial = failed.partial
        if self._joined is not None:
            partial = self._joined.message(partial)
        elif partial is None and not self._said.is_empty:
            partial = self._said.heard().joined(None)
        usage = failed.usage if self._call.was_sent_once else told.usage
        self._tell = (Failed(error, partial, usage, told.attempts),)
        self._is_done = True
