"""One call, tried with one key after another until its first token."""

from __future__ import annotations

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
from llmgine.providers.calls.hints import hint_for
from llmgine.providers.layers.tries import Tries
from llmgine.providers.options import EndpointOptions

_SOON = 0.01


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

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        """The events of one call; the last is exactly one `Done` or `Failed`."""
        tries = Tries(request, max(self._call.ends - self._clock(), 0.001), self._clock)
        model = self._begin(request)
        failed: Failed | None = None
        while True:
            taken = self._keys.take(model, self._call, self._excluded)
            if taken is None:
                waited = await self._keys.wait(model, self._call, self._excluded, self._until)
                if isinstance(waited, Blocked):
                    yield self._given_up(tries, self._blocked(waited, model, failed))
                    return
                taken = waited
                request = request.model_copy(update={"deadline": max(tries.left, 0.001)})
            if failed is not None:
                self._call.failed(failed.error)
            end: Done | Failed | None = None
            silent = True
            try:
                source = cast(
                    "AsyncGenerator[StreamEvent, None]",
                    taken.provider.stream(tries.begin(request), session=session),
                )
                async with aclosing(source):
                    async for event in source:
                        if isinstance(event, Done | Failed):
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
                yield Done(_told(tries.summed(end.response), tries))
                return
            tries.failed(end, key=taken.key)
            failed = self._signed(end, taken)
            if not (silent and self._goes_on(end.error, taken.key)):
                yield self._given_up(tries, end)
                return

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        """One vector for each input, in their order; raises `ProviderError`."""
        model = self._begin(request)
        attempts: list[Attempt] = []
        failed: Failed | None = None
        while True:
            taken = self._keys.take(model, self._call, self._excluded)
            if taken is None:
                waited = await self._keys.wait(model, self._call, self._excluded, self._until)
                if isinstance(waited, Blocked):
                    raise self._blocked(waited, model, failed).error
                taken = waited
            if failed is not None:
                self._call.failed(failed.error)
            began = self._clock()
            left = max(self._call.ends - began, 0.001)
            end: EmbeddingResponse | Failed | None = None
            try:
                end = await taken.provider.embed(
                    request if not attempts else request.model_copy(update={"deadline": left}),
                    session=session,
                )
            except ProviderError as error:
                end = Failed(error)
            finally:
                self._keys.settle(taken, end, late=self._is_late)
            outcome = end.error.kind.value if isinstance(end, Failed) else "done"
            seconds = self._clock() - began
            attempts.append(Attempt(key=taken.key, model=request.model, outcome=outcome, seconds=seconds))
            if not isinstance(end, Failed):
                return end.model_copy(update={"attempts": tuple(attempts)})
            failed = self._signed(end, taken)
            if not self._goes_on(end.error, taken.key):
                raise end.error

    async def aclose(self) -> None:
        """Nothing is held."""

    @property
    def _is_late(self) -> bool:
        return self._clock() >= self._call.ends - _SOON

    def _begin(self, request: LLMRequest | EmbeddingRequest) -> str:
        self._excluded = frozenset()
        return request.model.removeprefix(f"{self.name}/")

    def _signed(self, failed: Failed, taken: Taken) -> Failed:
        error = failed.error
        error.hint = error.hint or hint_for(error, self.name, self._endpoint, self._keys.place(taken.key))
        return failed

    def _goes_on(self, error: ProviderError, key: str) -> bool:
        """Whether another try can help, now or later."""
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

    def _blocked(self, blocked: Blocked, model: str, failed: Failed | None) -> Failed:
        """The last try's failure, or where none was made, why."""
        left = None if blocked.until is None else max(blocked.until - self._clock(), 0.0)
        if failed is not None:
            if blocked.why in ("resting", "used_up"):
                failed.error.retry_after = left
            return failed
        kind, scope, why = _WHY[blocked.why]
        path = f"providers.endpoints.{self.name}"
        error = ProviderError(
            why,
            kind=kind,
            phase=ErrorPhase.REQUEST,
            scope=scope,
            provider=self.name,
            model=model,
            retry_after=left,
            hint=None
            if left is not None
            else f"look at {path}.{'keys' if self._endpoint.keys else 'key_env'}",
        )
        return Failed(error)

    def _given_up(self, tries: Tries, failed: Failed) -> Failed:
        end = tries.given_up(failed, failed.partial, heard=False)
        return Failed(end.error, end.partial, end.usage, tries.attempts)


def _told(response: Any, tries: Tries) -> Any:
    return response if response.attempts else response.model_copy(update={"attempts": tries.attempts})


_WHY = {
    "absent": (ErrorKind.AUTHENTICATION, ErrorScope.KEY, "no key is left: none holds any longer"),
    "refused": (
        ErrorKind.AUTHENTICATION,
        ErrorScope.KEY,
        "the provider refused every key, and none has changed since",
    ),
    "resting": (ErrorKind.RATE_LIMIT, ErrorScope.KEY, "every key rests until the provider takes calls again"),
    "used_up": (ErrorKind.RATE_LIMIT, ErrorScope.KEY, "what may be used of the keys is used up for now"),
    "broken": (
        ErrorKind.OVERLOADED,
        ErrorScope.ENDPOINT,
        "so many calls failed lately that none is made for a while",
    ),
    "excluded": (ErrorKind.PERMISSION, ErrorScope.KEY, "no key may make the call"),
}
