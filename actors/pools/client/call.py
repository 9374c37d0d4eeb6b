"""One call over all its tries: which model and actor is next, what it is sent, what it has cost."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

from pydantic_core import PydanticSerializationError

from llmgine.actors.pools import wire
from llmgine.actors.pools.client.door import Asked, Declined, Try, admitted
from llmgine.actors.pools.client.failures import as_failure, too_late
from llmgine.actors.pools.client.shared import Shared
from llmgine.actors.pools.client.told import Told
from llmgine.actors.pools.failover.plan import (
    FULL,
    Again,
    By,
    Failure,
    Following,
    GiveUp,
    NextModel,
    Standing,
    decide,
    speaks_against_model,
    takes_over_after,
)
from llmgine.actors.pools.pieces import Body, unwritable
from llmgine.providers import (
    EmbeddingRequest,
    EmbeddingResponse,
    ErrorKind,
    ErrorPhase,
    Failed,
    LLMRequest,
    LLMResponse,
    ProviderError,
    Usage,
)
from llmgine.providers.names import Link, ModelName
from llmgine.telemetry import TraceContext

_R = TypeVar("_R", LLMRequest, EmbeddingRequest)
_Response = TypeVar("_Response", LLMResponse, EmbeddingResponse)

_UNSENT = frozenset({ErrorPhase.REQUEST, ErrorPhase.CONNECT})
# Seconds after which the time that is left is counted anew.
_LATER = 0.001
_EXHAUSTED = (
    "too many calls of this process are tried again already for this one to be; pools.failover.budget says "
    "how many may be"
)


class Call(Generic[_R]):
    """One call. `request` is what is asked at present, with all its fallbacks taken out."""

    def __init__(
        self, shared: Shared, kind: str, request: _R, session: str, trace: TraceContext | None
    ) -> None:
        fallbacks = request.fallbacks if isinstance(request, LLMRequest) else ()
        self._links: tuple[Link, ...] = shared.chain(request.model, fallbacks)
        self._shared = shared
        self._kind = kind
        self._session = session
        self._trace = trace and trace.to_wire()
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._at = self._tries = self._losses = self._sent = 0
        self._waited = 0.0
        self._avoided: frozenset[str] = frozenset()
        # How the present model has failed the call: more is known of that than of a pool that has no room.
        self._failure: ProviderError | None = None
        self._asked: _R = request.model_copy(update={"fallbacks": ()}) if fallbacks else request
        self.request: _R = self._asked
        # How often what the reader had heard was taken back or gone on with; None where neither may be.
        self.restarts: int | None = None
        self.told = Told()
        shared.budget.called()

    @property
    def model(self) -> ModelName:
        """The model that is asked at present."""
        return self._links[self._at].name

    @property
    def asked(self) -> _R:
        """The call as its caller made it."""
        return self._asked

    @property
    def was_sent(self) -> bool:
        """Whether an actor has taken it, so that its failure is told as an event."""
        return self._sent > 0

    @property
    def was_sent_once(self) -> bool:
        return self._sent == 1

    @property
    def now(self) -> float:
        return self._clock()

    @property
    def left(self) -> float | None:
        """Seconds until its deadline."""
        deadline = self._asked.deadline
        return None if deadline is None else deadline - (self._clock() - self._began)

    async def admitted(self) -> Try:
        """The next try, at an actor that has taken it; raises why there is none."""
        while True:
            try:
                async with asyncio.timeout(self.left):
                    answer = await admitted(self._shared, self._question())
            except TimeoutError:
                raise self._failure or too_late(self.model) from None
            if isinstance(answer, Try):
                self._sent += 1
                return answer
            await self._declined(answer)

    async def hedge(self, tried: Try) -> Try | None:
        """The same try at another actor; None where none takes it now."""
        self._avoided |= {tried.actor}
        if tried.router.choose(self.now, self._avoided) is None:
            return None
        answer = await admitted(self._shared, self._question(queue=False))
        if isinstance(answer, Try):
            self._sent += 1
            return answer
        return None

    def cancelled(self, tried: Try) -> None:
        """That try is not waited for: another was faster."""
        self.told.add((), tried.actor, tried.model, "cancelled", self.now - tried.began)
        self.told.spent(Usage(), None)
        tried.end()

    async def after(self, tried: Try, error: ProviderError, *, by_actor: bool = False) -> bool:
        """Whether another try may follow on one that failed so; by then it is its time."""
        by = _by(error, by_actor=by_actor)
        self._failure = error
        self._tries += by == "provider"
        self._losses += by == "actor"
        untried = tried.router.choose(self.now, self._avoided) is not None
        failure = Failure(error.kind, by, error.phase, error.retryable, error.retry_after)
        return await self._goes_on(failure, error, untried=untried)

    def failed(self, tried: Try, failed: Failed, *, by_actor: bool = False) -> None:
        """A try has failed. What was refused with an HTTP status, or never sent, has cost nothing."""
        error, by = failed.error, _by(failed.error, by_actor=by_actor)
        outcome = "refused" if by == "pool" else error.kind.value
        self.told.add(failed.attempts, tried.actor, tried.model, outcome, self.now - tried.began)
        is_spent = failed.usage is not None if tried.is_anothers else (error.status or 200) < 300
        if error.phase not in _UNSENT and is_spent:
            self.told.spent(failed.usage or Usage(), None)
        against = speaks_against_model(Failure(error.kind, by, error.phase, error.retryable))
        tried.end(model_failed=against or None, actor_failed=by_actor, whole=not by_actor)
        self._avoided |= {tried.actor}

    def answered(self, tried: Try, response: _Response) -> _Response:
        """The answer, with what all tries used."""
        self.told.add(response.attempts, tried.actor, tried.model, "done", self.now - tried.began)
        tried.end(model_failed=False, whole=True)
        if self._sent == 1:
            return response.model_copy(update={"attempts": self.told.attempts})
        self.told.spent(response.usage, response.cost)
        fields = {"usage": self.told.usage, "cost": self.told.cost, "attempts": self.told.attempts}
        return response.model_copy(update=fields)

    def _question(self, *, queue: bool = True) -> Asked:
        request, model = self._request(), self.model
        body = self._body(request)
        key = self._shared.answers.of(request, body, model.provider)
        return Asked(
            self._kind,
            [body, self._session, self._trace],
            model,
            self._ask(request, key, queue=queue),
            self._session,
            key or b"",
            self._avoided,
            self._passed,
        )

    def _passed(self, actor: str, outcome: str) -> None:
        self.told.add((), actor, self.model, outcome, 0.0)

    async def _declined(self, declined: Declined) -> None:
        error = as_failure(declined.error, self.model)
        by_provider = declined.by == "provider"
        if by_provider:
            self._tries += 1
            self.told.add((), "", self.model, error.kind.value, 0.0)
        failure = Failure(error.kind, declined.by, error.phase, error.retryable, error.retry_after)
        if not await self._goes_on(failure, error):
            raise (None if by_provider else self._failure) or declined.error

    async def _goes_on(self, failure: Failure, error: ProviderError, *, untried: bool = False) -> bool:
        shared = self._shared
        decision = decide(
            failure,
            self._standing(untried),
            shared.options,
            budget=lambda: shared.budget.take(self.now),
            random=shared.chance.random,
        )
        match decision:
            case Again(wait):
                self._waited += wait
                if wait:
                    await asyncio.sleep(wait)
            case NextModel():
                self._at += 1
                self._tries = 0
                self._failure = None
                self.request = self._asked
                self._avoided = frozenset()
            case GiveUp(exhausted):
                if exhausted:
                    error.hint = error.hint or _EXHAUSTED
                return False
        return True

    def _standing(self, untried: bool) -> Standing:
        return Standing(
            tries=self._tries,
            losses=self._losses,
            waited=self._waited,
            restarts=self.restarts,
            left=self.left,
            untried=untried,
            following=self._following(),
        )

    def _following(self) -> Following:
        if self._at + 1 >= len(self._links):
            return "none"
        on = self._links[self._at + 1].on
        return "any" if on is None else on

    def _request(self) -> _R:
        """The next try's request, to its model and with the time that is left."""
        fields: dict[str, Any] = {}
        if self.request.model != (name := str(self.model)):
            fields["model"] = name
        if (left := self.left) is not None and self._clock() - self._began > _LATER:
            fields["deadline"] = max(left, _LATER)
        if self._sent and isinstance(self.request, LLMRequest) and self.request.idempotency_key is not None:
            fields["idempotency_key"] = f"{self.request.idempotency_key}.{self._sent + 1}"
        return self.request.model_copy(update=fields) if fields else self.request

    def _body(self, request: _R) -> Body | bytes:
        if isinstance(request, LLMRequest):
            return self._shared.writer.write(request)
        try:
            return request.model_dump_json().encode()
        except PydanticSerializationError as error:
            raise unwritable(error) from None

    def _ask(self, request: _R, key: bytes | None, *, queue: bool) -> wire.Ask:
        following = takes_over_after(self._following(), ErrorKind.OVERLOADED)
        wait = self._shared.options.wait if following else None
        return wire.Ask(request.priority, wait, key, queue)


def _by(error: ProviderError, *, by_actor: bool) -> By:
    if by_actor:
        return "actor"
    return "pool" if error.phase is ErrorPhase.REQUEST and error.kind in FULL else "provider"
