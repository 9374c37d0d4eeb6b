"""A provider's batches with structured output, which no protocol does by itself everywhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import cast

from llmgine.providers.batches import ForwardingBatches
from llmgine.providers.contracts import LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorKind, ErrorPhase, InvalidRequest, ProviderError
from llmgine.providers.layers.structured import Means, WholeOutput, planned
from llmgine.providers.provider import Batches, BatchResult


class LayeredBatches(ForwardingBatches):
    """`inner` for requests with an `output` too; `means` says by what the model is brought to it.

    An answer that does not fit is an error of kind bad_output: there is nobody to show it to the model.
    """

    def __init__(self, inner: Batches, means: Callable[[LLMRequest], Means]) -> None:
        super().__init__(inner)
        self._means = means

    def line(self, custom_id: str, request: LLMRequest) -> bytes:
        if request.tools:
            raise _refused("a batch calls no tools, for nobody is there to run them", ErrorKind.UNSUPPORTED)
        if request.output is not None:
            request = planned(request, self._means(request)).request
        return super().line(custom_id, request)

    def results(self, id: str, like: LLMRequest) -> AsyncIterator[BatchResult]:
        return super().results(id, like) if like.output is None else self._checked(id, like)

    async def _checked(self, id: str, like: LLMRequest) -> AsyncGenerator[BatchResult, None]:
        means = self._means(like)
        try:
            output = await WholeOutput.of(like, means)
        except InvalidRequest as error:
            raise _refused(str(error), ErrorKind.INVALID_REQUEST) from None
        sent = planned(like, means).request
        results = cast("AsyncGenerator[BatchResult, None]", self.inner.results(id, sent))
        async with aclosing(results):
            async for result in results:
                outcome = result.outcome
                if isinstance(outcome, LLMResponse):
                    outcome = await output.read(outcome)
                yield BatchResult(result.custom_id, outcome)


def _refused(message: str, kind: ErrorKind) -> ProviderError:
    return ProviderError(message, kind=kind, phase=ErrorPhase.REQUEST)
