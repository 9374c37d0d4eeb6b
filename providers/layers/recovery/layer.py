"""A provider's calls, mended where they break after their first token."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import cast

from llmgine.providers.catalogue.profiles import UNKNOWN_MODEL, ModelProfile
from llmgine.providers.codecs.failures import SIGNATURE_INVALID
from llmgine.providers.contracts import Adjustment, LLMRequest, Message
from llmgine.providers.events import Done, Failed, Reset, StreamEvent
from llmgine.providers.layers.recovery.heard import Heard, put_together
from llmgine.providers.layers.recovery.policy import (
    Again,
    continued,
    next_try,
    prefills,
    unsealed,
)
from llmgine.providers.layers.tries import Tries
from llmgine.providers.provider import Provider

_FIRST_WAIT = 0.5
_UNSEALED = Adjustment(
    field="messages",
    action="dropped",
    reason="the provider did not accept the signatures of earlier thinking, so the call was made without it",
)


def jittered(restarts: int) -> float:
    """Seconds to wait before the next try: twice as long each time, and no two callers alike."""
    return float(_FIRST_WAIT * 2**restarts * random.uniform(0.5, 1.0))


class Recovery:
    """Makes calls of `inner` that are restarted or gone on with, as the request's `mid_stream` says.

    A call whose history was sealed by another model, and is refused for it, is made once more without
    the seals. `limit` is the seconds that all tries of a call may take together.
    """

    def __init__(
        self,
        inner: Provider,
        limit: float,
        *,
        profile: Callable[[str], ModelProfile] = lambda model: UNKNOWN_MODEL,
        backoff: Callable[[int], float] = jittered,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._limit = limit
        self._profile = profile
        self._backoff = backoff
        self._sleep = sleep
        self._clock = clock

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        """The events of one call; the last is exactly one `Done` or `Failed`."""
        call = _Call(request, Tries(request, self._limit, self._clock), self._profile(request.model))
        while True:
            end: Done | Failed | None = None
            sent = call.tries.begin(call.request)
            source = cast("AsyncGenerator[StreamEvent, None]", self._inner.stream(sent, session=session))
            async with aclosing(source):
                async for event in source:
                    if isinstance(event, Done | Failed):
                        end = event
                        break
                    for heard in call.heard.take(event):
                        yield heard
            assert end is not None, "a stream ended without Done or Failed"
            if isinstance(end, Done):
                for heard in call.heard.end():
                    yield heard
                yield call.done(end)
                return
            call.tries.failed(end)
            again = call.next(end, self._backoff)
            if again is None:
                yield call.given_up(end)
                return
            if not again.goes_on and not call.heard.silent:
                yield Reset(f"the call begins anew: {end.error.message}")
            call.prepare(again, end)
            if again.wait:
                await self._sleep(again.wait)


class _Call:
    """One call over all its tries."""

    def __init__(self, request: LLMRequest, tries: Tries, profile: ModelProfile) -> None:
        self.request = self._asked = request
        self.tries = tries
        self.heard = Heard()
        self._profile = profile
        self._restarts = 0
        self._pieces = 1
        self._notes: tuple[Adjustment, ...] = ()

    def next(self, failed: Failed, backoff: Callable[[int], float]) -> Again | None:
        if self._refused_for_seals(failed):
            return Again(0.0, goes_on=False)
        return next_try(
            self._asked,
            failed.error,
            restarts=self._restarts,
            left=self.tries.left,
            may_go_on=self.heard.texts is not None and _is_text(failed.partial),
            backoff=backoff,
        )

    def prepare(self, again: Again, failed: Failed) -> None:
        """Makes `request` the one of the next try."""
        if self._refused_for_seals(failed):
            self._notes = (_UNSEALED,)
            self.request = self._asked = unsealed(self._asked)
            return
        self._restarts += 1
        texts = self.heard.texts
        if not again.goes_on or texts is None:
            self.heard.clear()
            self._pieces = 1
            self.request = self._asked
            return
        self._pieces += 1
        self.request = continued(self._asked, texts, self._profile)
        self.heard.broke(swallow=prefills(self._asked, self._profile))

    def done(self, done: Done) -> Done:
        response = done.response
        self.tries.answered(response)
        notes = self._notes
        if self._pieces > 1:
            response = put_together(response, self.heard, self._pieces)
        if notes:
            response = response.model_copy(update={"adjustments": (*notes, *response.adjustments)})
        return Done(self.tries.summed(response))

    def given_up(self, failed: Failed) -> Failed:
        partial = failed.partial
        if self._pieces > 1:
            partial = self.heard.joined(partial)
        return self.tries.given_up(failed, partial, heard=self._restarts > 0)

    def _refused_for_seals(self, failed: Failed) -> bool:
        """Whether to try without the seals: they were refused, there are some, and it is the first time."""
        if failed.error.code != SIGNATURE_INVALID or self._notes or not self.heard.silent:
            return False
        bare = unsealed(self._asked)
        return bool(bare.messages) and bare != self._asked


def _is_text(partial: Message | None) -> bool:
    return partial is None or all(part.type == "text" for part in partial.parts)
