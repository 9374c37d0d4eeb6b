"""One call, tried with one key after another until its first token."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, cast

from llmgine.actors.pools.keys import Blocked
from llmgine.actors.pools.serving.call import Call
from llmgine.actors.pools.serving.keychain import Keychain, Taken
from llmgine.providers import (
    Attempt,
    Done,
    EmbeddingRequest,
    EmbeddingResponse,
    ErrorKind,
    ErrorPhase,
    ErrorScope,
    Failed,
    LLMRequest,
    ProviderError,
    StreamEvent,
)
from llmgine.providers.batches import no_batches
from llmgine.providers.calls.hints import hint_for
from llmgine.providers.layers.tries import Tries
from llmgine.providers.options import EndpointOptions
from llmgine.providers.provider import Batches

_SOON = 0.01
_LAST = (Done, Failed)


class Trying:
    """What makes one call, under the layers: a provider for this call alone.

    A failure that another key may not have, or that passes at a time that the provider tells, is followed
    by another try, before the first token only and within the time that the call may wait. All others are
    passed on.
    """

    def __init__(
        self,
        name: str,
        endpoint: EndpointOptions,
        keys: Keychain,
        call: Call[Any],
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self._endpoint = endpoint
        self._keys = keys
        self._call = call
        self._clock = clock
        self._until = call.until
        self._excluded: frozenset[str] = frozenset()
        self._refused: set[str] = set()
        self._failed: Failed | None = None

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        """The events of one call; the last is exactly one `Done` or `Failed`."""
        tries = Tries(request, self._left, self._clock)
        model = self._begin(request)
        while True:
            taken = self._keys.take(model, self._call, self._excluded)
            if taken is None:
                self._tell_failure()
                waited = await self._waited(model)
                if isinstance(waited, Failed):
                    yield _told(tries, waited)
                    return
                taken = waited
                request = request.model_copy(update={"deadline": self._left})
            end: Done | Failed | None = None
            silent = True
            sent = taken.provider.stream(tries.begin(request), session=session)
            try:
                async with aclosing(cast("AsyncGenerator[StreamEvent, None]", sent)) as events:
                    async for event in events:
                        if isinstance(event, _LAST):
                            end = event
                            break
                        if silent:
                            silent = False
                            self._until = self._call.ends
                            self._keys.answered(taken)
                        yield event
            finally:
                self._keys.settle(taken, end, late=self._is_late)
            assert end is not None, "a stream ended without Done or Failed"
            if isinstance(end, Done):
                tries.answered(end.response, key=taken.key)
                yield _told(tries, end)
                return
            tries.failed(end, key=taken.key)
            if not (self._goes_on(end, taken) and silent):
                yield _told(tries, end)
                return

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        """One vector for each input, in their order; raises `ProviderError`."""
        attempts: list[Attempt] = []
        model = self._begin(request)
        while True:
            taken = self._keys.take(model, self._call, self._excluded)
            if taken is None:
                self._tell_failure()
                waited = await self._waited(model)
                if isinstance(waited, Failed):
                    raise waited.error
                taken = waited
                request = request.model_copy(update={"deadline": self._left})
            end: EmbeddingResponse | Failed | None = None
            began = self._clock()
            try:
                end = await taken.provider.embed(request, session=session)
            except ProviderError as error:
                end = Failed(error)
            finally:
                self._keys.settle(taken, end, late=self._is_late)
            outcome = end.error.kind.value if isinstance(end, Failed) else "done"
            seconds = self._clock() - began
            attempts.append(Attempt(key=taken.key, model=request.model, outcome=outcome, seconds=seconds))
            if not isinstance(end, Failed):
                return end.model_copy(update={"attempts": tuple(attempts)})
            if not self._goes_on(end, taken):
                raise end.error
            request = request.model_copy(update={"deadline": self._left})

    def batches(self, model: str) -> Batches:
        """One call has none."""
        raise no_batches(self.name, model)

    async def aclose(self) -> None:
        """Nothing is held."""

    @property
    def _left(self) -> float:
        """Seconds until the deadline."""
        return max(self._call.ends - self._clock(), 0.001)

    @property
    def _is_late(self) -> bool:
        return self._clock() >= self._call.ends - _SOON

    def _begin(self, request: LLMRequest | EmbeddingRequest) -> str:
        """A layer makes the call, perhaps not for the first time; the model's own name."""
        self._excluded, self._failed = frozenset(), None
        self._refused.clear()
        return request.model.removeprefix(f"{self.name}/")

    def _tell_failure(self) -> None:
        """No key can make the call now, and where it has failed, this is why."""
        if self._failed is not None:
            self._call.failed(self._failed.error)

    def _goes_on(self, failed: Failed, taken: Taken) -> bool:
        """Whether another try can help, now or later."""
        self._failed = failed
        error, key = failed.error, taken.key
        error.hint = error.hint or hint_for(error, self.name, self._endpoint, self._keys.place(key))
        match error.kind:
            case _ if error.phase is ErrorPhase.MID_STREAM:
                return False
            case ErrorKind.AUTHENTICATION:
                if key in self._refused:  # its new text was refused too
                    self._excluded |= {key}
                self._refused.add(key)
                return True
            case ErrorKind.PERMISSION | ErrorKind.NOT_FOUND:
                self._excluded |= {key}
                return True
            case ErrorKind.RATE_LIMIT:
                if not error.retryable or error.retry_after is None:
                    self._excluded |= {key}
                return True
            case ErrorKind.OVERLOADED:
                return error.retry_after is not None
            case _:
                return False

    async def _waited(self, model: str) -> Taken | Failed:
        """A key, once one can be had in time; else the last try's failure, or where none was made, why."""
        try:
            waited = await self._keys.wait(model, self._call, self._excluded, self._until)
            if isinstance(waited, Taken):
                return waited
            error = self._blocked(waited, model)
        except ProviderError as used_up:
            error = used_up
        if self._failed is None:
            return Failed(error)
        if error.kind is ErrorKind.RATE_LIMIT:
            self._failed.error.retry_after = error.retry_after
        return self._failed

    def _blocked(self, blocked: Blocked, model: str) -> ProviderError:
        after = None if blocked.until is None else max(blocked.until - self._clock(), 0.0)
        kind, scope, why = _WHY[blocked.why]
        return ProviderError(
            f"{why}, on node {socket.gethostname()}" if scope is ErrorScope.KEY else why,
            kind=kind,
            phase=ErrorPhase.REQUEST,
            scope=scope,
            provider=self.name,
            model=model,
            retry_after=after,
        )


def _told(tries: Tries, end: Done | Failed) -> Done | Failed:
    """The last event, with every try."""
    if isinstance(end, Failed):
        failed = tries.given_up(end, end.partial, heard=False)
        return Failed(failed.error, failed.partial, failed.usage, tries.attempts)
    response = tries.summed(end.response)
    if not response.attempts:
        response = response.model_copy(update={"attempts": tries.attempts})
    return Done(response)


_WHY = {
    "absent": (ErrorKind.AUTHENTICATION, ErrorScope.KEY, "no key is left: none holds any longer"),
    "refused": (
        ErrorKind.AUTHENTICATION,
        ErrorScope.KEY,
        "the provider refused every key, and none has changed since",
    ),
    "resting": (ErrorKind.RATE_LIMIT, ErrorScope.KEY, "every key rests until the provider takes calls again"),
    "broken": (
        ErrorKind.OVERLOADED,
        ErrorScope.ENDPOINT,
        "so many calls failed lately that none is made for a while",
    ),
    "excluded": (ErrorKind.PERMISSION, ErrorScope.KEY, "no key may make the call"),
}
