"""Tool calls for a model that has none: a provider around a provider."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from decimal import Decimal
from typing import Any

from jiter import from_json

from llmgine.providers.codecs.assembly import new_call_id
from llmgine.providers.contracts import (
    Adjustment,
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    ToolCallPart,
    ToolSpec,
    Usage,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError
from llmgine.providers.events import (
    Done,
    Failed,
    PartDone,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from llmgine.providers.local import wording
from llmgine.providers.provider import Provider


class ToolEmulation:
    """Gives tools to the model behind `inner`, one call a turn; every reply says that it was emulated.

    `constrained` answers where the form is fixed (a choice, arguments, an output schema) and may be
    the same provider. `new_id` names the calls.
    """

    def __init__(
        self,
        inner: Provider,
        constrained: Provider | None = None,
        *,
        new_id: Callable[[], str] = new_call_id,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = inner.name
        self._inner = inner
        self._constrained = constrained or inner
        self._new_id = new_id
        self._clock = clock

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        """The events of one call; the last is exactly one `Done` or `Failed`."""
        call = _Emulated(self, request, session, self._clock)
        source: AsyncIterator[StreamEvent] | None = None
        try:
            tool = await call.tool()
            source = call.answer() if tool is None else call.call(tool)
            async for event in source:
                yield event
        except ProviderError as error:
            yield Failed(error, usage=call.usage)
        finally:
            await _close(source)

    async def aclose(self) -> None:
        await self._inner.aclose()
        if self._constrained is not self._inner:
            await self._constrained.aclose()


class _Emulated:
    """One request on its way through choice, arguments and answer."""

    def __init__(
        self, emulation: ToolEmulation, request: LLMRequest, session: str, clock: Callable[[], float]
    ) -> None:
        self._emulation = emulation
        self._request = request
        self._session = session
        self._clock = clock
        self._begun = clock()
        self.usage: Usage | None = None

    async def tool(self) -> ToolSpec | None:
        """The tool to call now, chosen by the model where there is a choice."""
        if not self._request.tools:
            return None
        tools = wording.candidates(self._request)
        may_answer = self._request.tool_choice == "auto"
        if not tools or (len(tools) == 1 and not may_answer):
            return tools[0] if tools else None
        response = await self._drained(wording.choosing(self._request, tools, may_answer=may_answer))
        chosen = response.text.strip()
        return next((tool for tool in tools if tool.name == chosen), None)

    async def call(self, tool: ToolSpec) -> AsyncGenerator[StreamEvent, None]:
        id_ = self._emulation._new_id()
        yield ToolCallStart(0, id_, tool.name)
        filling = self._in_time(wording.filling(self._request, tool))
        source = self._emulation._constrained.stream(filling, session=self._session)
        try:
            async for event in source:
                if isinstance(event, TextDelta):
                    yield ToolCallDelta(0, event.text)
                elif isinstance(event, Failed):
                    yield Failed(event.error, _cut_off(id_, tool, event.partial), self._with(event.usage))
                elif isinstance(event, Done):
                    part = _call_part(id_, tool, event.response.message)
                    yield PartDone(0, part)
                    yield Done(self._called(event.response, part))
        finally:
            await _close(source)

    async def answer(self) -> AsyncGenerator[StreamEvent, None]:
        request, adjustments = wording.plain(self._in_time(self._request))
        if self._request.tools and self._request.tool_choice != "none":
            adjustments = (wording.EMULATED, *adjustments)
        provider = self._emulation._constrained if request.output else self._emulation._inner
        source = provider.stream(request, session=self._session)
        try:
            async for event in source:
                if isinstance(event, Done):
                    yield Done(self._finished(event.response, adjustments))
                elif isinstance(event, Failed):
                    yield Failed(event.error, event.partial, self._with(event.usage))
                else:
                    yield event
        finally:
            await _close(source)

    async def _drained(self, request: LLMRequest) -> LLMResponse:
        source = self._emulation._constrained.stream(self._in_time(request), session=self._session)
        try:
            async for event in source:
                if isinstance(event, Done):
                    self.usage = self._with(event.response.usage)
                    return event.response
                if isinstance(event, Failed):
                    self.usage = self._with(event.usage)
                    raise event.error
        finally:
            await _close(source)
        raise AssertionError("a stream ended without Done or Failed")

    def _in_time(self, request: LLMRequest) -> LLMRequest:
        if request.deadline is None:
            return request
        left = request.deadline - (self._clock() - self._begun)
        if left <= 0:
            raise ProviderError(
                f"the call took longer than its deadline of {request.deadline:g} s",
                kind=ErrorKind.TIMEOUT,
                phase=ErrorPhase.PRE_TOKEN,
                scope=ErrorScope.ENDPOINT,
                provider=self._emulation.name,
                model=request.model.removeprefix(f"{self._emulation.name}/"),
            )
        return request.model_copy(update={"deadline": left})

    def _with(self, usage: Usage | None) -> Usage | None:
        if self.usage is None or usage is None:
            return usage or self.usage
        return self.usage + usage

    def _called(self, response: LLMResponse, part: ToolCallPart) -> LLMResponse:
        whole = part.arguments is not None
        fields: dict[str, Any] = {
            "message": Message(role="assistant", parts=(part,)),
            "finish_reason": FinishReason.TOOL_CALLS if whole else response.finish_reason,
        }
        return self._finished(response.model_copy(update=fields), (wording.EMULATED,))

    def _finished(self, response: LLMResponse, adjustments: tuple[Adjustment, ...]) -> LLMResponse:
        fields: dict[str, Any] = {
            "usage": self._with(response.usage),
            "adjustments": (*adjustments, *response.adjustments),
            "cost": Decimal(0),
        }
        return response.model_copy(update=fields)


def _cut_off(id_: str, tool: ToolSpec, partial: Message | None) -> Message | None:
    return partial and Message(role="assistant", parts=(_call_part(id_, tool, partial),))


def _call_part(id_: str, tool: ToolSpec, message: Message) -> ToolCallPart:
    raw = message.text
    try:
        arguments = from_json(raw.encode())
    except ValueError:
        arguments = None
    origin = message.parts[0].origin if message.parts else None
    return ToolCallPart(
        id=id_,
        name=tool.name,
        arguments=arguments if isinstance(arguments, dict) else None,
        raw_arguments=raw,
        id_source="synthesised",
        origin=origin,
    )


async def _close(source: AsyncIterator[StreamEvent] | None) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()
