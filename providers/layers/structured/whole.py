"""Structured output where answers come whole, each for itself, as those of a batch do."""

from __future__ import annotations

import asyncio

from llmgine.providers.contracts import LLMRequest, LLMResponse
from llmgine.providers.errors import ProviderError
from llmgine.providers.events import Done
from llmgine.providers.layers.structured.by_tool import AsText
from llmgine.providers.layers.structured.checking import Checker, is_loaded, load
from llmgine.providers.layers.structured.layer import checked, finished, unfit
from llmgine.providers.layers.structured.plan import Means, planned


class WholeOutput:
    """Reads answers to requests that all have the output of `request`."""

    def __init__(self, request: LLMRequest, means: Means) -> None:
        assert request.output is not None
        self._plan = planned(request, means)
        self._checker = Checker(request.output.json_schema)

    @classmethod
    async def of(cls, request: LLMRequest, means: Means) -> WholeOutput:
        """The reader, with what it checks by loaded; `InvalidRequest` where the schema is none."""
        if not is_loaded():
            await asyncio.to_thread(load)
        return cls(request, means)

    async def read(self, response: LLMResponse) -> LLMResponse | ProviderError:
        """The answer with its value; the error of one that does not fit."""
        if self._plan.tool is not None:
            for event in AsText(self._plan.tool).take(Done(response)):
                if isinstance(event, Done):
                    response = event.response
        seen = await checked(response, self._checker)
        if seen.problem is not None:
            return unfit(response, seen.problem)
        return finished(response, self._plan, seen)
